"""`[run] engine = "dask"`: the helpers of a run's sandboxed jobs are workers of a Dask cluster.

No Dask is imported here, and no pickle read: a process beside this one does that (`connector.py`).
"""

import importlib.util
import itertools
import math
import os
import secrets
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa

from casemate.config import DaskTable
from casemate.controls.keys import certificates
from casemate.core.errors import ConfigError, TransientError
from casemate.core.files import remove_tree
from casemate.core.sandbox.conversation import MAX_MESSAGE
from casemate.core.sandbox.failure import JobFailed
from casemate.core.sandbox.helpers import NEAR, Assignment, Heard, Task
from casemate.core.sandbox.run import interpreter_paths
from casemate.supply.crew import messages, worker
from casemate.supply.crew.cluster import Cluster, started
from casemate.supply.crew.messages import Bounds, Given
from casemate.supply.crew.sealed import ANSWER, FAILURE, JOB, TASK, JobKey

SHARES = 4
"""Parts that each worker's share of the tasks is cut into, so that a slow one holds up little."""
MOST_BYTES = 1 << 30
"""Of a sealed job: it is in the memory of the run, the scheduler and each worker."""
TEXT = 11
"""Bytes of a float in base64."""
LOCAL = 'or set [run] engine = "local"'


class DaskHelpers:
    """Helpers on a cluster, which is reached when they are first asked; see `Helpers`."""

    def __init__(self, options: DaskTable, root: Path, threads: int) -> None:
        """Reach nobody yet.

        Args:
            options: `[run.dask]`.
            root: the project's folder, below which its paths lie.
            threads: `[train] threads`; 0: as many as this machine has cores, on every machine.

        Raises:
            ConfigError: Dask is not installed.
        """
        if importlib.util.find_spec("distributed") is None:
            raise ConfigError(
                "[run] engine = \"dask\" needs casemate[dask]: pip install 'casemate[dask]'",
                hint=f"this Python has no module 'distributed'; install it, {LOCAL}",
            )
        self._options, self._root = options, root
        self._threads = threads or os.cpu_count() or 1
        self._line: Line | None = None
        self._job: _Job | None = None
        self._lock = threading.Lock()

    def begin(self) -> None:
        """See `Helpers`."""
        with self._lock:
            if self._line is None:
                self._line = Line(self._options, self._root)

    def answers(self, assignment: Assignment, tasks: list[Task]) -> Iterator[Heard]:
        """See `Helpers`."""
        with self._lock:
            if self._line is None:
                raise _gone("the connection to the cluster was closed")
            if self._job is not None and self._job.assignment is not assignment:
                self._job.forget()
                self._job = None
            if self._job is None:
                self._job = _Job(self._line, assignment, self._threads)
            job = self._job
        try:
            yield from job.answers(tasks)
        except TransientError:
            self.close()
            raise
        except BaseException:
            self._drop(job)
            raise

    def _drop(self, job: "_Job") -> None:
        """Have a job forgotten, with what is under way of it."""
        with self._lock:
            if self._job is job:
                self._job = None
                job.forget()

    def close(self) -> None:
        """See `Helpers`; a cluster of the run's own ends."""
        with self._lock:
            line, self._line, self._job = self._line, None, None
        if line is not None:
            line.close()


class Line:
    """The connector, and the cluster where it is the run's own."""

    def __init__(self, options: DaskTable, root: Path) -> None:
        self.numbers = itertools.count(1)
        """Of tasks: no two of a cluster have the same."""
        self._folder = Path(tempfile.mkdtemp(prefix="casemate-"))
        self._cluster: Cluster | None = None
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._connect(options, root)
        except BaseException:
            self.close()
            raise

    def _connect(self, options: DaskTable, root: Path) -> None:
        if options.scheduler is None:
            self._cluster = Cluster(options.workers)
            address, folder = self._cluster.scheduler, self._cluster.client
        else:
            address, folder = options.scheduler, root / (options.certificate or "")
            _require_certificate(folder)
        process = started(
            "connector", folder=self._folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._process = process
        assert process.stdin and process.stdout  # noqa: S101 - both are pipes
        self._in = process.stdin
        self._heard: Iterator[Any] = messages.read(process.stdout, messages.Heard)
        self.say(
            messages.Connect(
                scheduler=address,
                folder=str(folder.resolve()),
                read=interpreter_paths(),
                seconds=options.wait,
            )
        )

    def say(self, message: messages.Asked) -> None:
        """Ask the connector; TransientError when it is gone."""
        try:
            messages.write(self._in, message)
        except (OSError, ValueError) as error:
            raise _gone("the connection to the cluster has ended") from error

    def hear(self) -> Any:
        """Its next message; TransientError when there will be none."""
        try:
            found = next(self._heard, None)
        except (OSError, ValueError, msgspec.DecodeError) as error:
            raise _gone("the connection to the cluster is broken") from error
        if found is None or isinstance(found, messages.Lost):
            raise _gone("the connection to the cluster has ended" if found is None else found.why)
        return found

    def unhear(self, heard: list[Any]) -> None:
        """Hear these again, before what comes."""
        self._heard = itertools.chain(heard, self._heard)

    def close(self) -> None:
        """End the connector, then the cluster."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        if self._cluster is not None:
            self._cluster.close()
        remove_tree(self._folder)


def _require_certificate(folder: Path) -> None:
    """Nothing; ConfigError where the connector could not use what is in the folder."""
    chain, key, authority = (
        folder / name for name in (certificates.CHAIN, certificates.KEY, certificates.AUTHORITY)
    )
    fault = next(
        (f"has no {path.name}" for path in (chain, key, authority) if not path.is_file()), ""
    )
    if not fault:
        try:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.load_cert_chain(chain, key, password="")  # nobody is asked for one
            context.load_verify_locations(authority)
        except OSError as error:
            fault = f"holds no certificate with its key and CA ({error})"
    if fault:
        raise ConfigError(
            f"[run.dask] certificate: {folder} {fault}",
            hint="a folder as `casemate keys certificate issue client` writes it",
        )


def _gone(why: str) -> TransientError:
    return TransientError(
        f"Dask: {why}",
        hint=f"`casemate run` goes on once the cluster is back, {LOCAL}",
    )


class _Job:
    """A job that workers were given, and its tasks on their way."""

    def __init__(self, line: Line, assignment: Assignment, threads: int) -> None:
        self._line, self.assignment = line, assignment
        columns = sorted({name for one in assignment.tables for name in one.column_names})
        until = time.time() + assignment.limits.seconds
        self._key = JobKey.new(Bounds(job=secrets.token_hex(16), columns=columns, until=until))
        given = Given(
            target=assignment.target,
            threads=threads,
            job=assignment.job,
            tables=[_stream(one) for one in assignment.tables],
            inputs=assignment.inputs,
            seconds=assignment.limits.seconds,
            memory_bytes=assignment.limits.memory_bytes,
            required=assignment.required,
        )
        self._sealed = self._key.seal(JOB, 0, msgspec.msgpack.encode(given))
        if len(self._sealed) > MOST_BYTES:
            raise ConfigError(
                f"the job is {len(self._sealed) >> 20} MiB, and at most {MOST_BYTES >> 20} MiB are"
                " given to workers",
                hint='set [run] engine = "local", or train on fewer rows',
            )
        self._ready: set[str] = set()
        self._shares: dict[int, list[int]] = {}
        self._tasks: list[Task] = []

    def answers(self, tasks: list[Task]) -> Iterator[Heard]:
        """See `Helpers`."""
        self._tasks = tasks
        self._greet()
        order = sorted(range(len(tasks)), key=lambda at: tasks[at].get(NEAR, 0))
        size = math.ceil(len(tasks) / (SHARES * len(self._ready)))
        # a sandbox says so much and no more, and an answer may hold a float for every row
        rows = max((one.num_rows for one in self.assignment.tables), default=0)
        size = max(1, min(size, MAX_MESSAGE // 2 // (TEXT * rows + 1)))
        for start in range(0, len(order), size):
            number = next(self._line.numbers)
            self._shares[number] = order[start : start + size]
            self._submit(number)
        found: dict[int, Heard] = {}
        for place in range(len(tasks)):
            while place not in found:
                found |= self._next()
            yield found.pop(place)

    def forget(self) -> None:
        """Have its rows and its key dropped."""
        self._line.say(messages.Forget(job=self._key.bounds.job))

    def _submit(self, number: int) -> None:
        asked = [self._tasks[place] for place in self._shares[number]]
        sealed = self._key.seal(TASK, number, msgspec.json.encode(asked))
        work = messages.Work(job=self._key.bounds.job, number=number, sealed=sealed)
        self._line.say(messages.Submit(number=number, content=msgspec.msgpack.encode(work)))

    def _next(self) -> dict[int, Heard]:
        """What the next message brings, by the task's place."""
        heard = self._line.hear()
        if not isinstance(heard, messages.Answered) or heard.number not in self._shares:
            return {}  # or of a job that was given up
        said = _said(heard.content)
        number = heard.number
        if isinstance(said, messages.Unknown):  # it came after the others
            self._greet()
            self._submit(number)
            return {}
        if isinstance(said, messages.Failed):
            content = self._key.open(FAILURE, number, said.sealed)
            raise _failure(msgspec.msgpack.decode(content, type=messages.Failure))
        if not isinstance(said, messages.Done):
            raise _refused(said)
        content = self._key.open(ANSWER, number, said.sealed)
        told = msgspec.msgpack.decode(content, type=messages.Answers)
        places = self._shares.pop(number, [])
        return {
            place: Heard(answer, told.findings, told.isolation)
            for place, answer in zip(places, told.answers, strict=True)
        }

    def _greet(self) -> None:
        """Give the job to every worker that has not got it.

        Raises:
            ConfigError: a worker is another version.
        """
        self._line.say(messages.Greet())
        early: list[messages.Answered] = []
        found = self._heard(messages.Workers, early)
        for address, content in found.found.items():
            if address in self._ready:
                continue
            hello = _said(content)
            if not isinstance(hello, messages.Hello):
                raise _refused(hello)
            _compare(address, hello.versions)
            take = messages.Take(
                bounds=self._key.bounds, key=self._key.wrapped(hello.public), sealed=self._sealed
            )
            self._line.say(messages.Give(worker=address, content=msgspec.msgpack.encode(take)))
            gave = self._heard(messages.Gave, early)
            if not gave.content:
                continue
            taken = _said(gave.content)
            if not isinstance(taken, messages.Taken):
                raise _refused(taken)
            self._ready.add(address)
        self._line.unhear(early)
        if not self._ready:
            raise _gone("no worker could be reached")

    def _heard(self, kind: type[Any], early: list[messages.Answered]) -> Any:
        while True:
            heard = self._line.hear()
            if isinstance(heard, kind):
                return heard
            early.append(heard)


def _stream(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def _said(content: bytes) -> messages.Said:
    try:
        said: messages.Said = msgspec.msgpack.decode(content, type=messages.Said)
    except msgspec.MsgspecError as error:
        raise ConfigError(
            "a worker answers as another version of casemate would",
            hint=f"install the same version on every worker, {LOCAL}",
        ) from error
    return said


def _compare(address: str, theirs: dict[str, str]) -> None:
    ours = worker.versions()
    other = [
        f"{name} {theirs.get(name, 'missing')} (here {ours.get(name, 'missing')})"
        for name in sorted({*ours, *theirs})
        if ours.get(name) != theirs.get(name)
    ]
    if other:
        raise ConfigError(
            f"the worker at {address} would compute with other versions: {', '.join(other[:8])}",
            hint=f"install the same locks on every worker, {LOCAL}",
        )


def _failure(told: messages.Failure) -> JobFailed:
    return JobFailed(
        told.kind, told.message, hint=told.hint, findings=list(told.findings), plain=told.plain
    )


def _refused(said: messages.Said) -> ConfigError:
    why = said.why if isinstance(said, messages.Refused) else f"it said {type(said).__name__}"
    return ConfigError(f"a worker refuses the job: {why}", hint=f"mend the worker, {LOCAL}")
