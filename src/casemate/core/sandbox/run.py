"""Outside the sandbox: start a process that will confine itself, feed it, watch its deadline, take
back data only.
"""

import os
import site
import stat
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import msgspec
import pyarrow as pa

from casemate.core.errors import SandboxError
from casemate.core.sandbox import root
from casemate.core.sandbox.conversation import Conversation, Progress, converse
from casemate.core.sandbox.failure import JobFailed, JobLimits, failure
from casemate.core.sandbox.feed import FED, Feed, Pieces
from casemate.core.sandbox.helpers import ANSWERS, Assignment, Broker, Helpers
from casemate.core.sandbox.server import ForkServer, Job
from casemate.core.types import Finding

IN, OUT = "in", "out"
"""Folders in a job's scratch folder."""
MAX_FILE = 8 * 2**30
MAX_OUTPUT = 2 * 2**30
MIN_SHARED = 5 * 2**29
"""Bytes of /dev/shm: with less than 2 GB there, joblib would copy rows to the disk. What is used
counts as memory.
"""
SYSTEM_PATHS = (
    "/usr",
    "/lib",
    "/lib64",
    "/bin",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/sys/devices/system/cpu",
    "/sys/fs/cgroup",
    "/dev/urandom",
)


@dataclass
class Outcome:
    """What came back from a job: its answer and the files that it left."""

    result: dict[str, Any]
    files: dict[str, bytes]
    findings: list[Finding]
    isolation: list[str]


def interpreter_paths() -> list[str]:
    """Folders that Python and its packages live in."""
    package = Path(__file__).resolve().parents[3]
    paths = {sys.prefix, sys.base_prefix, str(package), *site.getsitepackages()}
    return sorted(paths | {os.path.realpath(path) for path in paths})


class Worker:
    """Takes one job, in a process of its own that is gone afterwards."""

    def __init__(
        self,
        target: str,
        threads: int = 0,
        server: ForkServer | None = None,
        helpers: tuple[Helpers, str] | None = None,
    ) -> None:
        """Warm up.

        Args:
            target: `module:function`, called as `function(job, channel, watch)` inside.
            threads: threads of numeric libraries; 0 means all cores.
            server: whom to ask for the process, one job after the other; default: a server for this
                job only.
            helpers: who takes tasks that the job names, and the `module:function` that does them;
                default: nobody, the job does them itself.
        """
        self.findings: list[Finding] = []
        """What the job tried so far; of use where it is interrupted, and neither returns
        nor fails.
        """
        self._target = target
        self._server = server or ForkServer([target], threads)
        self._own = self._server if server is None else None
        self._helpers = helpers

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Kill whatever is left of it."""
        if self._own is not None:
            self._own.close()

    def run(
        self,
        job: dict[str, Any],
        *,
        tables: list[pa.Table],
        inputs: dict[str, bytes],
        outputs: tuple[str, ...] = (),
        scratch: Path,
        limits: JobLimits,
        required: bool,
        hidden: list[Path],
        writable: list[Path] | None = None,
        progress: Progress | None = None,
        rows: Pieces | None = None,
    ) -> Outcome:
        """Run the job, confined.

        Args:
            job: JSON values; `inputs`, `outputs` and `tables` are added.
            tables: handed over in memory as file descriptors, plain rows never reach the disk.
            inputs: files the job may read, by name.
            outputs: files that are taken back when the job left them; nothing else is looked at.
            scratch: an empty private folder for inputs and outputs.
            limits: time and memory.
            required: refuse when the kernel cannot confine.
            hidden: files and folders that must not lie inside any readable folder (key store,
                project, source).
            writable: further folders the job may write (a resumable journal).
            progress: called with (text, done, total).
            rows: further ones than memory holds, handed over while the job reads them.

        Raises:
            SandboxError: the kernel cannot confine and `required`.
            JobFailed: the job failed, was killed, ran out of time or memory, or did not read all
                rows.
            TransientError: helpers that had tasks of the job are gone.
        """
        theirs: list[int] = []
        broker: Broker | None = None
        if self._helpers is not None:
            helpers, doing = self._helpers
            helpers.begin()
            given = Assignment(doing, job, tables, inputs, limits, required)
            reading, writing = os.pipe()
            theirs, broker = [reading], Broker(helpers, given, writing)
            job = {**job, ANSWERS: True}
        if rows is not None:
            job = {**job, FED: True}
        message, heard = described(job, scratch, limits, hidden, writable or [], required=required)
        heard.findings = self.findings
        for name, content in inputs.items():
            path = scratch / IN / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        heard.hands = broker
        feed: Feed | None = None
        try:
            if rows is not None:
                reading, writing = os.pipe()
                theirs.insert(0, reading)
                feed = Feed(rows, writing)
            with Job(self._server, self._target, tables, theirs) as process:
                converse(process, msgspec.json.encode(message), limits.seconds, progress, heard)
        finally:
            if feed is not None:
                feed.close()
            if broker is not None:
                broker.close()
        if feed is not None and feed.fault is not None:
            raise feed.fault
        if broker is not None:
            _add(heard, broker)
        if heard.result is None:
            heard.log = heard.log or self._server.log()
            raise failure(heard, process.code, limits)
        if feed is not None and not feed.whole:
            text = f"the code ended after {feed.rows} of the rows that it was given"
            raise JobFailed("rows", text, hint="read them all", findings=heard.findings, plain=text)
        taken = {name: _take(scratch / OUT, name) for name in outputs}
        files = {name: content for name, content in taken.items() if content is not None}
        return Outcome(heard.result, files, heard.findings, heard.isolation)


def described(
    job: dict[str, Any],
    scratch: Path,
    limits: JobLimits,
    hidden: list[Path],
    writable: Sequence[Path] = (),
    *,
    required: bool,
) -> tuple[dict[str, Any], Conversation]:
    """What a confined process is told, with folders for inputs and outputs made in `scratch`; and
    what will be heard of it. Arguments and errors: see `Worker.run`.
    """
    source, target = scratch / IN, scratch / OUT
    source.mkdir()
    target.mkdir()
    read = [*interpreter_paths(), *SYSTEM_PATHS, str(source)]
    _keep_out(hidden, [*read, root.SHARED_MEMORY])
    write = [str(target), "/dev/null", root.SHARED_MEMORY, *map(str, writable)]
    message = {
        "job": {**job, "inputs": str(source), "outputs": str(target)},
        "read": read,
        "write": write,
        "required": required,
        # whoever fills it exceeds the memory first
        "shared_bytes": max(limits.memory_bytes + limits.memory_bytes // 4, MIN_SHARED),
        "bounds": {
            "memory_bytes": limits.memory_bytes,
            "cpu_seconds": int(limits.seconds * (os.cpu_count() or 1)) + 60,
            "file_bytes": MAX_FILE,
            "tasks": limits.tasks,
        },
    }
    return message, Conversation(read, write)


def _add(heard: Conversation, broker: Broker) -> None:
    """What was heard of those who did the job's tasks counts as heard of the job."""
    heard.findings += [finding for finding in broker.findings if finding not in heard.findings]
    if broker.fault is not None:
        if isinstance(broker.fault, JobFailed):
            broker.fault.findings = [*heard.findings, *broker.fault.findings]
        raise broker.fault
    if broker.isolation is not None:
        heard.isolation = [name for name in heard.isolation if name in broker.isolation]


def _keep_out(hidden: list[Path], read: list[str]) -> None:
    for path in hidden:
        real = os.path.realpath(path)
        for base in map(os.path.realpath, read):
            if real == base or real.startswith(base + "/"):
                raise SandboxError(
                    f"{path} lies inside {base}, which training code may read",
                    hint="move it out of the system's and Python's folders and the shared memory",
                )


def _take(folder: Path, name: str) -> bytes | None:
    """A file that the job left: a plain one of bounded size, opened without following links; None
    otherwise.
    """
    try:
        descriptor = os.open(
            folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        )
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1 or status.st_size > MAX_OUTPUT:
            return None
        return file.read(MAX_OUTPUT)
