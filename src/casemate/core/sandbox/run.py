"""Outside the sandbox: start a process that will confine itself, feed it, watch its deadline, take
back data only.
"""

import contextlib
import fcntl
import os
import selectors
import signal
import site
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Self

import msgspec
import pyarrow as pa

from casemate.core import quiet
from casemate.core.errors import Error, SandboxError, TrainingError
from casemate.core.sandbox import confine, confined, root, seccomp, supervise
from casemate.core.text import clean, clean_values
from casemate.core.types import Finding

MAX_MESSAGE = 64 * 1024 * 1024
MAX_PROGRESS = 20_000
"""Lines of progress; a search of a thousand trials says a thousand."""
MAX_FINDINGS = 100
"""Of each severity."""
MAX_LOG = 64 * 1024
"""Bytes of what the job prints that are kept: the last ones."""
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
_LONGEST = 4096
"""Characters of a path that can be opened (PATH_MAX, limits.h); to follow a longer one takes time
and finds nothing.
"""
ATTEMPTS = ("sandbox.file", "sandbox.metadata")
"""Findings about a path."""
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class JobLimits:
    """What a job may use."""

    seconds: float
    memory_bytes: int

    @property
    def tasks(self) -> int:
        """Processes and threads together: a worker for each core, with a few pools of a thread for
        each core.
        """
        cores = os.cpu_count() or 1
        return 256 + cores * (4 * cores + 16)


@dataclass
class Outcome:
    """What came back from a job: its answer and the files that it left."""

    result: dict[str, Any]
    files: dict[str, bytes]
    findings: list[Finding]
    isolation: list[str]


@dataclass
class _Conversation:
    """What was heard of a job."""

    read: list[str]
    """What it may open."""
    write: list[str]
    """What it may change."""
    isolation: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    result: dict[str, Any] | None = None
    error: dict[str, str] | None = None
    steps: int = 0
    log: bytes = b""
    """The end of what it printed."""
    stopped: str = ""
    """Why nobody listened any longer: `timeout`, `flood`, or nothing."""


class JobFailed(TrainingError):
    """The job ended without a result; `kind` is `timeout`, `killed`, `limit` or the exception's
    type inside.
    """

    def __init__(
        self, kind: str, message: str, *, hint: str, findings: list[Finding], plain: str = ""
    ) -> None:
        super().__init__(
            message, hint=hint, findings=findings, plain=plain or "the training code failed"
        )
        self.kind = kind
        self.from_outside = bool(plain)
        """Whether the kind and `plain` are what was seen from here, and not what the code said of
        itself.
        """


def interpreter_paths() -> list[str]:
    """Folders that Python and its packages live in."""
    package = Path(__file__).resolve().parents[3]
    paths = {sys.prefix, sys.base_prefix, str(package), *site.getsitepackages()}
    return sorted(paths | {os.path.realpath(path) for path in paths})


def available() -> dict[str, bool]:
    """What this kernel offers."""
    linux = sys.platform == "linux"
    return {
        "landlock": linux and confine.landlock_abi() > 0,
        "seccomp": seccomp.known(),
        "namespaces": linux and _tried(partial(confine.new_namespaces, processes=False)),
        "root": linux and any(_tried(partial(_new_root, processes=own)) for own in (True, False)),
    }


def _tried(work: Callable[[], object]) -> bool:
    """Whether something that changes this process for good works, in a child."""
    # Asked of the kernel by trying: what is compiled in may still be forbidden to this user, or in
    # this container.
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            work()
            os._exit(0)
        os._exit(1)
    return os.waitpid(child, 0)[1] == 0


def _new_root(*, processes: bool) -> None:
    confine.new_namespaces(processes=processes)
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            root.enter([], [], 2**20, own_processes=processes)
            os._exit(0)
        os._exit(1)
    if os.waitpid(child, 0)[1]:
        raise OSError


class ForkServer:
    """A process that warms up at once, and forks for every job that one of its workers gets; it
    runs none itself.
    """

    def __init__(self, targets: Sequence[str], threads: int = 0) -> None:
        """Start it.

        Args:
            targets: `module:function` of each kind of job, called as `function(job, channel,
                watch)` inside.
            threads: threads of numeric libraries; 0 means all cores.
        """
        cores = os.cpu_count() or 1
        count = str(threads or cores)
        environment = {
            "PATH": "/usr/bin:/bin",
            "HOME": os.devnull,  # nobody can make a folder there; the job gets its own
            **quiet.environment(),
            "LANG": "C.UTF-8",
            "LOKY_MAX_CPU_COUNT": str(cores),
            "OMP_NUM_THREADS": count,
            "OPENBLAS_NUM_THREADS": count,
            # converters iterate over sets: equal input must give equal files
            "PYTHONHASHSEED": "0",
        }
        self._log = _memory()
        self._control, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-s",
                    "-P",
                    "-m",
                    "casemate.core.sandbox.child",
                    str(theirs.fileno()),
                    *targets,
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._log,
                env=environment,
                cwd="/",
                pass_fds=[theirs.fileno()],
                # Its own session, so that all of its children can be ended together, and no
                # terminal's signal reaches them.
                start_new_session=True,
            )

    def start(self, target: str, descriptors: list[int]) -> None:
        """Fork for a job, whose standard input, output and error are the first three
        descriptors.
        """
        self._ask(f"start {target}", descriptors)

    def ended(self) -> int | None:
        """How the job ended, as `subprocess.Popen.returncode`; None while it runs."""
        return self._ask("poll")

    def kill(self) -> int | None:
        """End the job if it has not; how it ended."""
        return self._ask("kill")

    def log(self) -> bytes:
        """The end of what it printed before it forked for the first job."""
        self._log.seek(0)
        return self._log.read()[-MAX_LOG:]

    def _ask(self, request: str, descriptors: Sequence[int] = ()) -> int | None:
        try:
            socket.send_fds(self._control, [request.encode()], descriptors)
            return msgspec.json.decode(self._control.recv(64), type=int | None)
        except (OSError, msgspec.DecodeError):  # it is gone, and everything that it started
            return self._process.wait()
        # interrupted before the answer came, which would be taken for a part of the next one
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End it, and what it started."""
        self._control.close()
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._log.close()


class Worker:
    """Takes one job, in a process of its own that is gone afterwards."""

    def __init__(self, target: str, threads: int = 0, server: ForkServer | None = None) -> None:
        """Warm up.

        Args:
            target: `module:function`, called as `function(job, channel, watch)` inside.
            threads: threads of numeric libraries; 0 means all cores.
            server: whom to ask for the process, one job after the other; default: a server for this
                job only.
        """
        self.findings: list[Finding] = []
        """What the job tried so far; of use where it is interrupted, and neither returns
        nor fails.
        """
        self._target = target
        self._server = server or ForkServer([target], threads)
        self._own = self._server if server is None else None

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

        Raises:
            SandboxError: the kernel cannot confine and `required`.
            JobFailed: the job failed, was killed, or ran out of time or memory.
        """
        source, target = scratch / "in", scratch / "out"
        source.mkdir()
        target.mkdir()
        for name, content in inputs.items():
            path = source / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        read = [*interpreter_paths(), *SYSTEM_PATHS, str(source)]
        _keep_out(hidden, read)
        write = [str(target), "/dev/null", root.SHARED_MEMORY, *map(str, writable or [])]
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
        heard = _Conversation(read, write, findings=self.findings)
        with _Job(self._server, self._target, tables) as process:
            _converse(process, msgspec.json.encode(message), limits.seconds, progress, heard)
        if heard.result is None:
            heard.log = heard.log or self._server.log()
            raise _failure(heard, process.code, limits)
        taken = {name: _take(target, name) for name in outputs}
        files = {name: content for name, content in taken.items() if content is not None}
        return Outcome(heard.result, files, heard.findings, heard.isolation)


class _Job:
    """A fork of the server while it works: its pipes, and how it ended."""

    def __init__(self, server: ForkServer, target: str, tables: list[pa.Table]) -> None:
        self.server = server
        self.code: int | None = None
        pipes = [os.pipe() for _ in range(3)]
        (stdin, ours), (out, stdout), (err, stderr) = pipes
        self.stdin, self.stdout, self.stderr = (
            os.fdopen(ours, "wb"),
            os.fdopen(out, "rb"),
            os.fdopen(err, "rb"),
        )
        theirs = [stdin, stdout, stderr]
        try:
            theirs += map(_memory_file, tables)
            server.start(target, theirs)
        finally:
            for descriptor in theirs:
                os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.code = self.server.kill()
        for pipe in (self.stdin, self.stdout, self.stderr):
            with contextlib.suppress(OSError):
                pipe.close()


def _keep_out(hidden: list[Path], read: list[str]) -> None:
    for path in hidden:
        real = os.path.realpath(path)
        for base in map(os.path.realpath, read):
            if real == base or real.startswith(base + "/"):
                raise SandboxError(
                    f"{path} lies inside {base}, which training code may read",
                    hint="move it out of the system's and Python's folders",
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


def _memory() -> BinaryIO:
    """A file that lies on no disk, where the kernel has that."""
    if not hasattr(os, "memfd_create"):
        return tempfile.TemporaryFile()
    return os.fdopen(os.memfd_create("casemate", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING), "w+b")


def _memory_file(table: pa.Table) -> int:
    """A descriptor of a file in memory that holds the table and that nobody can change."""
    with _memory() as file:
        with pa.ipc.new_stream(file, table.schema) as writer:
            writer.write_table(table)
        file.flush()
        if hasattr(os, "memfd_create"):
            fcntl.fcntl(
                file,
                fcntl.F_ADD_SEALS,
                fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL,
            )
        return os.dup(file.fileno())


def _converse(
    process: _Job, message: bytes, seconds: float, progress: Progress | None, heard: _Conversation
) -> None:
    """Feed the job and hear it until it says how it ended, is gone, says too much, or its time is
    up.
    """
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(message)
        process.stdin.close()
    deadline = time.monotonic() + seconds
    pending, total = b"", 0
    with selectors.DefaultSelector() as selector:
        said = selector.register(process.stdout, selectors.EVENT_READ)
        selector.register(process.stderr, selectors.EVENT_READ)
        while said.fileobj in selector.get_map():
            left = deadline - time.monotonic()
            if left <= 0:
                heard.stopped = "timeout"
                return
            ready = selector.select(min(left, 1.0))
            if not ready and process.server.ended() is not None:
                return
            for key, _ in ready:
                chunk = os.read(key.fd, 1 << 20)
                if not chunk:
                    selector.unregister(key.fileobj)
                elif key is not said:
                    heard.log = (heard.log + chunk)[-MAX_LOG:]
                else:
                    total += len(chunk)
                    *lines, pending = (pending + chunk).split(b"\n")
                    for line in lines:
                        _hear(heard, line, progress)
            if heard.result is not None or heard.error is not None:
                return
            if total > MAX_MESSAGE:
                heard.stopped = "flood"
                return
    while process.server.ended() is None:  # it says nothing more, and ends
        if time.monotonic() > deadline:
            heard.stopped = "timeout"
            return
        time.sleep(0.005)


def _hear(heard: _Conversation, line: bytes, progress: Progress | None) -> None:
    """Take one message. Every text that leaves the sandbox is bounded and cleaned here, and nowhere
    else.
    """
    try:
        message = clean_values(msgspec.json.decode(line, type=dict[str, Any]))
        if not heard.isolation:
            heard.isolation = list(map(str, message["isolation"]))
        elif "finding" in message:
            _take_down(heard, message["finding"])
        elif "progress" in message:
            told = message["progress"]
            heard.steps += 1
            if progress and heard.steps <= MAX_PROGRESS:
                progress(clean(str(told["text"]), 200), int(told["done"]), int(told["total"]))
        elif "result" in message:
            heard.result = dict(message["result"])
        elif "error" in message:
            told = dict(message["error"])
            heard.error = {
                name: str(told.get(name, ""))[:MAX_LOG] for name in ("kind", "message", "traceback")
            }
    except (msgspec.MsgspecError, KeyError, TypeError, ValueError, RecursionError):
        # what foreign code writes there is not believed; without a result the job has failed
        return


def _take_down(heard: _Conversation, told: dict[str, Any]) -> None:
    """Keep a finding; an attempt counts when there is something to be had at its path, which the
    sandbox cannot see.
    """
    finding = msgspec.convert({**told, "confidence": "high"}, Finding)
    attempt = finding.id in ATTEMPTS and finding.location
    if attempt:
        if len(finding.location) > _LONGEST:
            return
        allowed = heard.write if finding.id == "sandbox.metadata" else heard.read + heard.write
        path = os.path.realpath(finding.location)
        inside = any(
            path == base or path.startswith(base + "/") for base in map(os.path.realpath, allowed)
        )
        if inside or not os.path.lexists(path):
            return
    finding = msgspec.structs.replace(
        finding,
        id=clean(finding.id, 100),
        message=clean(finding.message, 500),
        location="" if attempt else clean(finding.location, 200),
    )
    alike = [other for other in heard.findings if other.severity == finding.severity]
    if finding not in alike and len(alike) < MAX_FINDINGS:
        heard.findings.append(finding)


def _tail(log: bytes) -> str:
    """The last five lines."""
    text = clean(log[-2000:].decode(errors="replace"), 2000, lines=True)
    return "\n".join(text.strip().splitlines()[-5:])


def _failure(heard: _Conversation, code: int | None, limits: JobLimits) -> Error:
    """What to say of a job without a result."""
    failed = partial(JobFailed, findings=heard.findings)
    error = heard.error
    if heard.stopped == "timeout":
        text = f"the code did not finish within {limits.seconds:g} s"
        return failed("timeout", text, hint="raise the timeout or do less work", plain=text)
    if heard.stopped == "flood":
        text = f"the code said more than {MAX_MESSAGE >> 20} MiB"
        return failed("limit", text, hint="return less and report less progress", plain=text)
    if error is None and code in supervise.CODES:
        text, hint = _exceeded(code, limits)
        return failed("limit", text, hint=hint, plain=text)
    if error is None:
        tail = _tail(heard.log)
        return failed(
            "killed",
            f"the code's process died (exit {code})" + (f": {tail}" if tail else ""),
            hint="it may have run out of memory: raise [train] memory_gb or use fewer rows",
            plain="the code's process died",
        )
    # said before the code ran, not by it
    if error["kind"] == "sandbox" and not confined(heard.isolation):
        return SandboxError(
            f"this kernel cannot confine the code: only {', '.join(heard.isolation)} work here",
            hint=(
                'use Linux 5.13 or newer with Landlock, or set [sandbox] mode = "prefer" and accept'
                " the finding"
            ),
        )
    kind = clean(error["kind"], 100)
    if kind in ("MemoryError", "ArrowMemoryError", "_ArrayMemoryError"):
        text, hint = (
            f"the code ran out of memory: {error['message']}",
            "raise [train] memory_gb or use fewer rows",
        )
    else:
        text, hint = f"{kind}: {error['message']}", error["traceback"].strip() or "see the message"
    return failed(kind, text, hint=hint)


def _exceeded(code: int, limits: JobLimits) -> tuple[str, str]:
    """What to say, and advise, of a limit of the whole job."""
    return {
        supervise.MEMORY: (
            (
                "the job's processes together used more than [train] memory_gb ="
                f" {limits.memory_bytes / 2**30:g}"
            ),
            (
                "raise [train] memory_gb, lower [train] jobs, or use fewer rows; /dev/shm counts as"
                " memory"
            ),
        ),
        supervise.TASKS: (
            f"the job had more than {limits.tasks} processes and threads",
            "start fewer; [train] jobs starts what pays",
        ),
        supervise.FILES: (
            (
                f"the job left more than {supervise.MAX_FILES} files or"
                f" {supervise.MAX_WRITTEN >> 30} GiB"
            ),
            "remove temporary files while the code works",
        ),
        supervise.HIDDEN: (
            "what the job uses could not be looked at",
            "do not take rights away from its own files, and nest no folders thousands deep",
        ),
    }[code]
