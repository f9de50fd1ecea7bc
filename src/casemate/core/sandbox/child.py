"""Inside the sandbox: `python -s -P -m casemate.core.sandbox.child MODULE:FUNCTION SOCKET`.

Imports MODULE while the parent is busy elsewhere, then reads one JSON job from standard input and the tables' file
descriptors from SOCKET, confines itself, runs FUNCTION(job, channel, watch) and writes JSON lines to what was standard
output: first `isolation`, then `progress` and `finding`, at last `result` or `error`. Anything that the code prints
goes to standard error.
"""

import importlib
import json
import os
import socket
import sys
import tempfile
import traceback
from collections.abc import Callable
from typing import Any

from casemate.core.sandbox import confine

_MAX_FINDINGS = 20
_QUIET = ("/proc/", "/sys/", "/dev/")


class Channel:
    """Speaks to the parent."""

    def __init__(self, descriptor: int) -> None:
        self._file = os.fdopen(descriptor, "w", encoding="utf-8")

    def send(self, **message: Any) -> None:
        """Write one message."""
        self._file.write(json.dumps(message, allow_nan=False) + "\n")
        self._file.flush()

    def progress(self, text: str, done: int = 0, total: int = 0) -> None:
        """Say how far the work is."""
        self.send(progress={"text": text, "done": done, "total": total})


class Watch:
    """Reports attempts that the kernel refuses; it informs, the kernel enforces."""

    def __init__(self, channel: Channel, allowed: list[str]) -> None:
        self.channel = channel
        self.allowed = tuple(os.path.realpath(path) for path in allowed)
        self.seen: set[str] = set()
        self.busy = False

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        """The audit hook (PEP 578)."""
        if self.busy or len(self.seen) >= _MAX_FINDINGS or event not in _EVENTS:
            return
        self.busy = True
        try:
            found = _EVENTS[event](self, arguments)
            if found and found[2] not in self.seen:
                self.seen.add(found[2])
                self.channel.send(finding=dict(zip(("id", "severity", "message"), found, strict=True)))
        finally:
            self.busy = False

    def file(self, arguments: tuple[Any, ...]) -> tuple[str, str, str] | None:
        """A file outside the allowed folders."""
        if not isinstance(arguments[0], str | bytes | os.PathLike):
            return None
        path = os.path.realpath(os.fsdecode(arguments[0]))
        inside = any(path == root or path.startswith(root + "/") for root in self.allowed)
        if inside or path.startswith(_QUIET) or not os.path.exists(path):
            return None
        benign = path.startswith("/etc/") and "shadow" not in path
        return "sandbox.file", "low" if benign else "high", f"the code tried to open {path}, which is not among its inputs"

    def network(self, arguments: tuple[Any, ...]) -> tuple[str, str, str] | None:
        """A socket of an internet family."""
        if len(arguments) > 1 and arguments[1] not in (2, 10):
            return None
        return "sandbox.network", "high", "the code tried to open a network socket"

    def lookup(self, arguments: tuple[Any, ...]) -> tuple[str, str, str]:
        """A name to resolve."""
        return "sandbox.network", "high", f"the code tried to look up {str(arguments[0])[:100]}"


_EVENTS: dict[str, Callable[[Watch, tuple[Any, ...]], tuple[str, str, str] | None]] = {
    "open": Watch.file,
    "socket.__new__": Watch.network,
    "socket.getaddrinfo": Watch.lookup,
    "socket.gethostbyname": Watch.lookup,
}


def _confine(job: dict[str, Any]) -> list[str]:
    """Apply everything the kernel offers; the rest of the process lives in the returned isolation."""
    isolation = ["rlimits"]
    confine.limit(job["memory_bytes"], job["cpu_seconds"], job["file_bytes"])
    if sys.platform != "linux":
        return isolation
    _become_child()  # numeric libraries have started threads; a new process has one, as new namespaces require
    if confine.new_namespaces():
        isolation.append("namespaces")
        _become_child()  # the first process of a PID namespace: when it ends, the kernel ends all others
    process = "/proc" if "namespaces" in isolation and confine.private_mounts() else "/proc/self"
    if confine.landlock([*job["read"], process], job["write"]):
        isolation.append("landlock")
    if confine.seccomp():
        isolation.append("seccomp")
    return isolation


def _become_child() -> None:
    """Go on in a child that dies with its parent; the parent waits and passes on how it ended."""
    worker = os.fork()
    if worker:
        os.close(1)  # whoever listens waits for the end of the worker's output, not of this process
        code = os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1])
        os._exit(code if code >= 0 else 128 - code)
    confine.die_with_parent()


def _receive() -> dict[str, Any]:
    message: dict[str, Any] = json.loads(sys.stdin.buffer.read())
    with socket.socket(fileno=int(sys.argv[2])) as control:
        message["job"]["tables"] = list(socket.recv_fds(control, 1, 16)[1])
    outputs = message["job"]["outputs"]
    os.environ.update(HOME=outputs, TMPDIR=outputs)
    tempfile.tempdir = outputs
    os.chdir(outputs)
    return message


def main() -> int:
    """Run one job."""
    if sys.platform == "linux":
        confine.die_with_parent()
    module, _, function = sys.argv[1].partition(":")
    work = getattr(importlib.import_module(module), function)
    job = _receive()
    isolation = _confine(job)
    confine.close_other_descriptors({0, 1, 2, *job["job"]["tables"]})
    channel = Channel(os.dup(1))
    os.dup2(2, 1)
    channel.send(isolation=isolation)
    if job["required"] and not {"landlock", "seccomp"} <= set(isolation):
        channel.send(error={"kind": "sandbox", "message": f"only {', '.join(isolation)} work here", "traceback": ""})
        return 1
    try:
        result = work(job["job"], channel, Watch(channel, job["read"] + job["write"]))
        channel.send(result=result)
    except BaseException as error:  # noqa: BLE001 - the process ends here; the parent raises the typed error
        kind = getattr(error, "kind", type(error).__name__)
        trace = "".join(traceback.format_exception(error, limit=-4))
        channel.send(error={"kind": kind, "message": str(error)[:2000], "traceback": trace[-4000:]})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
