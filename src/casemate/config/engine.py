"""`[run.dask]`: other processes for a run's search, on this machine or others."""

from typing import Annotated

from msgspec import Meta

from casemate.config.table import Table


class DaskTable(Table, frozen=True, kw_only=True):
    """A Dask cluster: one of the run's own, or one that exists."""

    workers: Annotated[
        int,
        Meta(
            description="Processes of a cluster of the run's own, each with one task at a time.",
            ge=1,
            le=256,
        ),
    ] = 2
    scheduler: Annotated[
        Annotated[str, Meta(pattern=r"^tls://[^\s/@]+:[0-9]{1,5}$(?!\n)")] | None,
        Meta(
            description=(
                "An existing scheduler, such as `tls://dask.example:8786`, with `certificate`;"
                " default: a cluster of the run's own, on 127.0.0.1."
            )
        ),
    ] = None
    certificate: Annotated[
        str | None,
        Meta(
            description=(
                "Folder with `cert.pem`, `key.pem` and `ca.pem` for an existing scheduler. Whoever"
                " holds a certificate of that CA can run code on its workers: give it no other use."
            )
        ),
    ] = None
    wait: Annotated[
        float,
        Meta(
            description="Seconds to wait for the scheduler, and for a worker when none is there.",
            gt=0,
            le=3600,
        ),
    ] = 30.0
