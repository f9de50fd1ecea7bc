"""In a worker of Dask: what a connector may have called, by name; everything else is bytes.

A worker's process keeps a job's rows in memory, opened, as long as the job's key is good. What runs
on them runs in a sandbox of its own, as it would beside the run: without network, without files,
without this process's certificate.
"""

import os
import platform
import tempfile
import threading
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import msgspec
import pyarrow as pa
from cryptography.exceptions import InvalidTag

from casemate import __version__
from casemate.core import hybrid
from casemate.core.errors import Error
from casemate.core.files import remove_tree
from casemate.core.sandbox.failure import JobFailed, JobLimits
from casemate.core.sandbox.run import Worker
from casemate.core.sandbox.server import ForkServer
from casemate.supply.crew import messages
from casemate.supply.crew.messages import Bounds, Given
from casemate.supply.crew.sealed import ANSWER, FAILURE, JOB, TASK, JobKey

COMPUTING = (
    "cloudpickle",
    "dask",
    "distributed",
    "joblib",
    "msgspec",
    "numpy",
    "pandas",
    "pyarrow",
    "scikit-learn",
    "scipy",
    "skops",
    "threadpoolctl",
)
"""What must be of one version on both sides: another one may score otherwise."""
OPTIONAL = ("catboost", "imbalanced-learn", "lightgbm", "torch", "xgboost", "xgboost-cpu")
SLACK = 300.0
"""Seconds that clocks of two machines may differ by."""


@dataclass
class _Job:
    key: JobKey
    given: Given
    tables: list[pa.Table]


_JOBS: dict[str, _Job] = {}
_SERVERS: dict[tuple[str, int], ForkServer] = {}
"""By target and threads: they import while others read, run no job themselves, and so serve one job
after the other.
"""
_PAIR: list[tuple[bytes, bytes]] = []
_AT_WORK: list[str] = []
"""The job whose tasks are being done."""
_ONE = threading.Lock()
"""A fork server does one job after the other."""


def versions() -> dict[str, str]:
    """Of what computes here."""
    found = {"casemate": __version__, "python": platform.python_version()}
    for name in (*COMPUTING, *OPTIONAL):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            if name in COMPUTING:
                found[name] = "missing"
    return found | {"machine": platform.machine()}


def hello() -> bytes:
    """A `Hello`."""
    if not _PAIR:
        _PAIR.append(hybrid.pair())
    return msgspec.msgpack.encode(messages.Hello(public=_PAIR[0][1], versions=versions()))


def take(content: bytes) -> bytes:
    """Open a job and keep it: a `Taken`, or a `Refused`. Runs in the worker's first thread, with
    which the sandbox's server ends.
    """
    try:
        asked = msgspec.msgpack.decode(content, type=messages.Take)
        bounds = asked.bounds
        _forget_old()
        if _expired(bounds):
            return _refused("the job's key is no longer good")
        key = JobKey.unwrapped(bounds, _PAIR[0][0], asked.key)
        given = msgspec.msgpack.decode(key.open(JOB, 0, asked.sealed), type=Given)
        tables = [pa.ipc.open_stream(one).read_all() for one in given.tables]
        strange = sorted({name for one in tables for name in one.column_names} - {*bounds.columns})
        if strange:
            return _refused(f"the key is not good for the columns {', '.join(strange)}")
        _server(given)
        _JOBS[bounds.job] = _Job(key, given, tables)
    except (Error, InvalidTag, ValueError, IndexError, OSError) as error:
        return _refused(f"the job cannot be opened here: {type(error).__name__}")
    return msgspec.msgpack.encode(messages.Taken())


def work(content: bytes) -> bytes:
    """Do tasks: a `Done`, `Failed`, `Unknown` or `Refused`."""
    asked = msgspec.msgpack.decode(content, type=messages.Work)
    _forget_old()
    job = _JOBS.get(asked.job)
    if job is None:
        return msgspec.msgpack.encode(messages.Unknown())
    try:
        tasks = msgspec.json.decode(job.key.open(TASK, asked.number, asked.sealed))
        found: msgspec.Struct
        kind, found = ANSWER, _done(job, tasks)
    except JobFailed as error:
        plain = error.plain if error.from_outside else ""
        kind, found = (
            FAILURE,
            messages.Failure(
                kind=error.kind,
                message=error.message,
                hint=error.hint,
                plain=plain,
                findings=error.findings,
            ),
        )
    except (Error, OSError) as error:
        return _refused(str(error))
    sealed = job.key.seal(kind, asked.number, msgspec.msgpack.encode(found))
    said = messages.Done if kind is ANSWER else messages.Failed
    return msgspec.msgpack.encode(said(sealed=sealed))


def forget(job: str) -> bytes:
    """Drop a job, its rows and its key."""
    gone = _JOBS.pop(job, None)
    if gone is not None and job in _AT_WORK:  # what is under way is given up too
        _SERVERS.pop((gone.given.target, gone.given.threads)).close()
    return b""


def _server(given: Given) -> ForkServer:
    kind = (given.target, given.threads)
    if kind not in _SERVERS:
        _SERVERS[kind] = ForkServer([given.target], given.threads)
    return _SERVERS[kind]


def _done(job: _Job, tasks: list[object]) -> messages.Answers:
    given = job.given
    scratch = Path(tempfile.mkdtemp(prefix="casemate-"))
    try:
        with _ONE:
            _AT_WORK[:] = [job.key.bounds.job]
            try:
                outcome = Worker(given.target, server=_server(given)).run(
                    {**given.job, "tasks": tasks},
                    tables=job.tables,
                    inputs=given.inputs,
                    scratch=scratch,
                    limits=JobLimits(given.seconds, given.memory_bytes),
                    required=given.required,
                    hidden=[Path.home()],
                )
            finally:
                _AT_WORK.clear()
    finally:
        remove_tree(scratch)
    answers = outcome.result.get("answers")
    if not isinstance(answers, list) or len(answers) != len(tasks):
        raise JobFailed("answers", "the code answered another question", hint="", findings=[])
    return messages.Answers(answers=answers, findings=outcome.findings, isolation=outcome.isolation)


def _expired(bounds: Bounds) -> bool:
    return time.time() > bounds.until + SLACK


def _forget_old() -> None:
    for name, job in list(_JOBS.items()):
        if _expired(job.key.bounds):
            forget(name)


def _refused(why: str) -> bytes:
    return msgspec.msgpack.encode(messages.Refused(why=f"{platform.node()}, {os.getpid()}: {why}"))
