"""Outside the sandbox: start a process that will confine itself, feed it, watch its deadline, take back data only."""

import contextlib
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
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Self

import msgspec
import pyarrow as pa

from casemate.core.errors import Error, SandboxError, TrainingError
from casemate.core.sandbox import confine
from casemate.core.types import Finding

MAX_MESSAGE = 64 * 1024 * 1024
MAX_FILE = 8 * 2**30
MAX_OUTPUT = 2 * 2**30
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
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Limits:
    """What a job may use."""

    seconds: float
    memory_bytes: int


@dataclass
class Outcome:
    """What came back."""

    result: dict[str, Any]
    files: dict[str, bytes]
    findings: list[Finding]
    isolation: list[str]


@dataclass
class _Conversation:
    isolation: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    result: dict[str, Any] | None = None
    error: dict[str, str] | None = None


class JobFailed(TrainingError):
    """The job ended without a result; `kind` is `timeout`, `killed` or the exception's type inside."""

    def __init__(self, kind: str, message: str, *, hint: str, findings: list[Finding]) -> None:
        super().__init__(message, hint=hint)
        self.kind = kind
        self.findings = findings


def interpreter_paths() -> list[str]:
    """Folders that Python and its packages live in."""
    package = Path(__file__).resolve().parents[3]
    paths = {sys.prefix, sys.base_prefix, str(package), *site.getsitepackages()}
    return sorted(os.path.realpath(path) for path in paths)


def available() -> dict[str, bool]:
    """What this kernel offers."""
    linux = sys.platform == "linux"
    return {
        "landlock": linux and confine.landlock_abi() > 0,
        "seccomp": confine.seccomp_works(),
        "namespaces": linux and confine.namespaces_work(),
    }


class Worker:
    """A process that warms up at once, takes one job, and is gone afterwards."""

    def __init__(self, target: str, threads: int = 0) -> None:
        """Start it.

        Args:
            target: `module:function`, called as `function(job, channel, watch)` inside.
            threads: threads of numeric libraries; 0 means all cores.
        """
        cores = os.cpu_count() or 1
        count = str(threads or cores)
        environment = {
            "PATH": "/usr/bin:/bin",
            "HOME": "/",
            "LANG": "C.UTF-8",
            "LOKY_MAX_CPU_COUNT": str(cores),
            "OMP_NUM_THREADS": count,
            "OPENBLAS_NUM_THREADS": count,
            "PYTHONHASHSEED": "0",  # converters iterate over sets: equal input must give equal files
        }
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed in close()
        self._control, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-s", "-P", "-m", "casemate.core.sandbox.child", target, str(theirs.fileno())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                env=environment,
                cwd="/",
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Kill whatever is left of it."""
        _kill(self._process)
        self._control.close()
        self._log.close()

    def run(
        self,
        job: dict[str, Any],
        *,
        tables: list[pa.Table],
        inputs: dict[str, bytes],
        outputs: tuple[str, ...] = (),
        scratch: Path,
        limits: Limits,
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
            hidden: files and folders that must not lie inside any readable folder (key store, project, source).
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
        message = {
            "job": {**job, "inputs": str(source), "outputs": str(target)},
            "read": read,
            "write": [str(target), "/dev/null", "/dev/shm", *map(str, writable or [])],  # noqa: S108 - joblib shares memory there
            "required": required,
            "memory_bytes": limits.memory_bytes,
            "cpu_seconds": int(limits.seconds * (os.cpu_count() or 1)) + 60,
            "file_bytes": MAX_FILE,
        }
        descriptors = [_memory_file(table) for table in tables]
        try:
            socket.send_fds(self._control, [b"t"], descriptors)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        try:
            conversation = _converse(self._process, msgspec.json.encode(message), limits.seconds, progress)
        finally:
            _kill(self._process)
        if conversation is None:
            raise JobFailed("timeout", f"the code did not finish within {limits.seconds:g} s", hint="raise the timeout or do less work", findings=[])
        if conversation.result is None:
            raise _failure(conversation, self._process.returncode, _tail(self._log))
        taken = {name: _take(target, name) for name in outputs}
        files = {name: content for name, content in taken.items() if content is not None}
        return Outcome(conversation.result, files, conversation.findings, conversation.isolation)


def _keep_out(hidden: list[Path], read: list[str]) -> None:
    for path in hidden:
        real = os.path.realpath(path)
        for root in map(os.path.realpath, read):
            if real == root or real.startswith(root + "/"):
                raise SandboxError(
                    f"{path} lies inside {root}, which training code may read", hint="move it out of the system's and Python's folders"
                )


def _take(folder: Path, name: str) -> bytes | None:
    """A file that the job left: a plain one of bounded size, opened without following links; None otherwise."""
    try:
        descriptor = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1 or status.st_size > MAX_OUTPUT:
            return None
        return file.read(MAX_OUTPUT)


def _memory_file(table: pa.Table) -> int:
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("casemate", os.MFD_CLOEXEC)
    else:
        with tempfile.TemporaryFile() as unlinked:
            descriptor = os.dup(unlinked.fileno())
    with os.fdopen(os.dup(descriptor), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)
    return descriptor


def _converse(process: subprocess.Popen[bytes], message: bytes, seconds: float, progress: Progress | None) -> _Conversation | None:
    """Feed the job and read its lines until it ends; None when the deadline passed."""
    assert process.stdin and process.stdout  # noqa: S101 - both are pipes
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(message)
        process.stdin.close()
    deadline = time.monotonic() + seconds
    conversation, pending, total = _Conversation(), b"", 0
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            if not selector.select(min(left, 1.0)):
                if process.poll() is not None and not selector.select(0):
                    return conversation
                continue
            chunk = os.read(process.stdout.fileno(), 1 << 20)
            if not chunk:
                process.wait(max(deadline - time.monotonic(), 0.1))
                return conversation
            total += len(chunk)
            if total > MAX_MESSAGE:
                return conversation
            *lines, pending = (pending + chunk).split(b"\n")
            for line in lines:
                _hear(conversation, line, progress)
            if conversation.result is not None or conversation.error is not None:
                return conversation


def _hear(conversation: _Conversation, line: bytes, progress: Progress | None) -> None:
    try:
        message = msgspec.json.decode(line, type=dict[str, Any])
        if not conversation.isolation:
            conversation.isolation = list(map(str, message["isolation"]))
        elif "finding" in message and len(conversation.findings) < 100:
            conversation.findings.append(_finding(message["finding"]))
        elif "progress" in message and progress:
            told = message["progress"]
            progress(str(told["text"])[:200], int(told["done"]), int(told["total"]))
        elif "result" in message:
            conversation.result = dict(message["result"])
        elif "error" in message:
            conversation.error = {name: str(message["error"].get(name, "")) for name in ("kind", "message", "traceback")}
    except (msgspec.MsgspecError, KeyError, TypeError, ValueError, RecursionError):
        return  # what foreign code writes there is not believed; without a result the job has failed


def _finding(told: dict[str, Any]) -> Finding:
    finding = msgspec.convert({**told, "confidence": "high"}, Finding)
    return msgspec.structs.replace(finding, id=finding.id[:100], message=finding.message[:500], location=finding.location[:200])


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe:
            with contextlib.suppress(OSError):
                pipe.close()


def _tail(log: IO[bytes]) -> str:
    log.seek(0, os.SEEK_END)
    log.seek(max(0, log.tell() - 2000))
    return "\n".join(log.read().decode(errors="replace").strip().splitlines()[-5:])


def _failure(conversation: _Conversation, code: int | None, tail: str) -> Error:
    error = conversation.error
    if error is None:
        return JobFailed(
            "killed",
            f"the code's process died (exit {code})" + (f": {tail}" if tail else ""),
            hint="it may have run out of memory: raise [train] memory_gb or use fewer rows",
            findings=conversation.findings,
        )
    if error["kind"] == "sandbox" and not {"landlock", "seccomp"} <= set(conversation.isolation):  # said before the code ran, not by it
        return SandboxError(
            f"this kernel cannot confine the code: only {', '.join(conversation.isolation)} work here",
            hint='use Linux 5.13 or newer with Landlock, or set [sandbox] mode = "prefer" and accept the finding',
        )
    kind = error["kind"]
    if kind in ("MemoryError", "ArrowMemoryError", "_ArrayMemoryError"):
        text, hint = f"the code ran out of memory: {error['message']}", "raise [train] memory_gb or use fewer rows"
    else:
        text, hint = f"{kind}: {error['message']}", error["traceback"].strip() or "see the message"
    return JobFailed(kind, text, hint=hint, findings=conversation.findings)
