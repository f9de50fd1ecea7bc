"""Other processes that do tasks of a run, on this machine or others: `[run] engine = "dask"`.

`dask.py` is what a run asks; it knows no Dask. It seals what workers need, and talks to a process
(`connector.py`) that Landlock confines and that alone speaks Dask's protocol, whose messages are
pickles. `worker.py` is what runs in a worker: it opens the rows and hands them to a sandbox.
`cluster.py` starts a cluster of the run's own. docs/adr/0076 says what none of this is: a boundary
of trust between the machines of a cluster.
"""
