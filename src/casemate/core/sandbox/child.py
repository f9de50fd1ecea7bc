"""Inside the sandbox: `python -s -P -m casemate.core.sandbox.child SOCKET MODULE:FUNCTION...`.

A fork server: it imports every MODULE while its parent is busy elsewhere, and then forks for each
job that SOCKET asks for. The fork gets pipes and the tables' file descriptors, reads one JSON job
from standard input, confines itself, runs FUNCTION(job, channel, watch) and writes JSON lines to
what was standard output: first `isolation`, then `progress` and `finding`, at last `result` or
`error`. Anything that the code prints goes to standard error. The server itself runs nothing but
this module's code, so the next job starts from a process that no job has touched.
"""

import contextlib
import importlib
import json
import os
import signal
import socket
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from casemate.core.imports import uncollected
from casemate.core.sandbox import confine, confined, root, seccomp, supervise

_MAX_ATTEMPTS = 10_000
"""Different things that code tried; far more than an honest run, and a megabyte at most."""
_MAX_DESCRIPTORS = 64
"""Handed over with one job: three pipes, and a table each."""
_QUIET = ("/proc/", "/sys/", "/dev/")
_RETRY = 75
"""How a process ends that met a kernel which refuses; its parent tries a weaker place."""


class Place(NamedTuple):
    """What a kernel lets a job have of its own."""

    namespaces: bool
    """Users, network, IPC and mounts."""
    processes: bool
    """Process numbers, with a /proc that shows them: one without the other misleads psutil, and
    with it joblib.
    """
    root: bool
    """A root folder."""


_PLACES = (
    Place(True, True, True),
    Place(True, False, True),
    Place(True, False, False),
    Place(False, False, False),
)
"""From the strongest: all; where a /proc of one's own is refused (containers); where every mount
is; where namespaces are.
"""
Found = tuple[str, str, str, str]
"""Identifier, severity, message, path."""


class Channel:
    """Speaks to the parent."""

    def __init__(self, descriptor: int) -> None:
        self._file = os.fdopen(descriptor, "w", encoding="utf-8")

    def send(self, **message: Any) -> None:
        """Write one message to the parent, as a line of JSON."""
        self._file.write(json.dumps(message, allow_nan=False) + "\n")
        self._file.flush()

    def progress(self, text: str, done: int = 0, total: int = 0) -> None:
        """Say how far the work is."""
        self.send(progress={"text": text, "done": done, "total": total})


class Watch:
    """Reports attempts that the kernel refuses; it informs, the kernel enforces.

    What lies outside cannot be seen from here, so every path is told; whether there is something,
    the parent looks.
    """

    def __init__(self, channel: Channel, read: list[str], write: list[str]) -> None:
        self.channel = channel
        self.write = tuple(os.path.realpath(path) for path in write)
        self.read = self.write + tuple(os.path.realpath(path) for path in read)
        self.seen: set[str] = set()
        self.busy = False

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        """The audit hook (PEP 578)."""
        if self.busy or len(self.seen) > _MAX_ATTEMPTS or event not in _EVENTS:
            return
        self.busy = True
        try:
            for found in _EVENTS[event](self, arguments):
                if found[2] not in self.seen:
                    self.seen.add(found[2])
                    self.channel.send(
                        finding=dict(
                            zip(("id", "severity", "message", "location"), found, strict=True)
                        )
                    )
            if len(self.seen) > _MAX_ATTEMPTS:
                message = f"the code tried more than {_MAX_ATTEMPTS} things outside its inputs"
                self.channel.send(
                    finding={"id": "sandbox.attempts", "severity": "high", "message": message}
                )
        finally:
            self.busy = False

    def file(self, arguments: tuple[Any, ...]) -> Iterator[Found]:
        """A file outside the allowed folders."""
        path = _path(arguments[0])
        if path and not _inside(path, self.read) and not path.startswith(_QUIET):
            benign = path.startswith("/etc/") and "shadow" not in path
            message = f"the code tried to open {path}, which is not among its inputs"
            yield "sandbox.file", "low" if benign else "high", message, path

    def changed(self, change: "_Change", arguments: tuple[Any, ...]) -> Iterator[Found]:
        """A name or its metadata outside of what may be written."""
        for place, folder in change.places:
            path = _path(
                arguments[place],
                None if folder is None else arguments[folder],
                follow=change.follow,
            )
            if path and not _inside(path, self.write):
                yield (
                    "sandbox.metadata",
                    "high",
                    f"the code tried to {change.what} {path}, which is not among its outputs",
                    path,
                )

    def network(self, arguments: tuple[Any, ...]) -> Iterator[Found]:
        """A socket of an internet family."""
        if len(arguments) < 2 or arguments[1] in (2, 10):
            yield "sandbox.network", "high", "the code tried to open a network socket", ""

    def lookup(self, arguments: tuple[Any, ...]) -> Iterator[Found]:
        """A name to resolve."""
        yield "sandbox.network", "high", f"the code tried to look up {str(arguments[0])[:100]}", ""


def _path(given: Any, folder: Any = None, *, follow: bool = True) -> str:
    """The absolute path that an event names by text or descriptor; empty when it names none."""
    if isinstance(given, int):
        given = f"/proc/self/fd/{given}"
    elif not isinstance(given, str | bytes | os.PathLike):
        return ""
    elif isinstance(folder, int) and folder >= 0:
        given = os.path.join(f"/proc/self/fd/{folder}", os.fsdecode(given))
    path = os.path.abspath(os.fsdecode(given))
    path = (
        os.path.realpath(path)
        if follow
        else os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
    )
    return "" if path.startswith(("/proc/", "/memfd:")) or path.endswith(" (deleted)") else path


def _inside(path: str, roots: tuple[str, ...]) -> bool:
    return any(path == root or path.startswith(root + "/") for root in roots)


@dataclass(frozen=True)
class _Change:
    """An event about names: what happens to the paths at (place of the path, place of its folder's
    descriptor) of its arguments.
    """

    what: str
    places: tuple[tuple[int, int | None], ...]
    follow: bool = True

    def __call__(self, watch: Watch, arguments: tuple[Any, ...]) -> Iterator[Found]:
        return watch.changed(self, arguments)


_EVENTS: dict[str, Callable[[Watch, tuple[Any, ...]], Iterator[Found]]] = {
    "open": Watch.file,
    "socket.__new__": Watch.network,
    "socket.getaddrinfo": Watch.lookup,
    "socket.gethostbyname": Watch.lookup,
    # https://docs.python.org/3/library/audit_events.html
    "os.chmod": _Change("change the mode of", ((0, 2),)),
    "os.chown": _Change("change the owner of", ((0, 3),)),
    "os.utime": _Change("change the times of", ((0, 3),)),
    "os.setxattr": _Change("set an attribute of", ((0, None),)),
    "os.removexattr": _Change("remove an attribute of", ((0, None),)),
    "os.truncate": _Change("cut", ((0, None),)),
    "os.link": _Change("link", ((0, 2), (1, 3)), follow=False),
    "os.rename": _Change("rename", ((0, 2), (1, 3)), follow=False),
    "os.remove": _Change("remove", ((0, 1),), follow=False),
    "os.rmdir": _Change("remove", ((0, 1),), follow=False),
}


def _confine(job: dict[str, Any]) -> list[str]:
    """Apply everything the kernel offers; the rest of the work lives in the returned isolation.

    The processes on the way (this one, one that enters namespaces, one that watches) wait for the
    next and end as it ended.
    """
    bounds = confine.Bounds(**job["bounds"])
    if sys.platform != "linux":
        confine.limit(bounds, own_user=False)
        return ["rlimits"]
    place, isolation = _descend(job)
    confine.limit(bounds, own_user=place.namespaces)
    # also where it shows others: their memory, environment and files stay shut to whom Landlock
    # confines
    if confine.landlock([*job["read"], "/proc"], job["write"]):
        isolation["landlock"] = True
    if seccomp.restrict(metadata=place.root):
        isolation["seccomp"] = True
        isolation["metadata"] = not place.root
    return ["rlimits", *(name for name, works in isolation.items() if works)]


def _descend(job: dict[str, Any]) -> tuple[Place, dict[str, bool]]:
    """Go on in a process at the strongest place that this kernel gives; that place, and what
    isolates there.
    """
    place = next(filter(_begin, _PLACES), None)
    if place is None:
        os._exit(1)
    with _or_retry():
        if place.namespaces:
            confine.new_namespaces(processes=place.processes)
    watcher = os.fork()
    if watcher:
        os._exit(_code(watcher))
    # elsewhere the watcher outlives its parent for a moment, to end what the job left
    if place.processes:
        confine.die_with_parent()
    with _or_retry():
        if place.root:
            root.enter(
                job["read"], job["write"], job["shared_bytes"], own_processes=place.processes
            )
    isolation = {**place._asdict(), "capabilities": confine.drop_capabilities()}
    folders = [path for path in job["write"] if not path.startswith("/dev/")]
    bounds = job["bounds"]
    _supervise(
        supervise.ProcessLimits(bounds["memory_bytes"], bounds["tasks"], folders, place.root)
    )
    os.chdir(job["job"]["outputs"])
    return place, isolation


def _begin(_place: Place) -> bool:
    """Go on in a child, with one thread as new namespaces want it (True); in the parent: False when
    it met a refusal.
    """
    worker = os.fork()
    if worker == 0:
        confine.die_with_parent()
        return True
    code = _code(worker)
    if code != _RETRY:
        os._exit(code)
    return False


def _supervise(limits: supervise.ProcessLimits) -> None:
    """Go on in a child; this process watches it and all that it starts."""
    os.setsid()
    confine.adopt_orphans()
    supervisor = supervise.Supervisor(limits)
    worker = os.fork()
    if worker:
        confine.stay_private()
        try:
            code = supervisor.wait(worker)
        except BaseException:  # noqa: BLE001 - nothing that the job does may end its watcher and not the job
            code = supervise.HIDDEN
        os._exit(code)
    confine.die_with_parent()
    os.setsid()  # a signal to the own group must not reach the watcher


@contextlib.contextmanager
def _or_retry() -> Iterator[None]:
    try:
        yield
    except OSError:
        os._exit(_RETRY)


def _code(worker: int) -> int:
    """How a child ended, as an exit status."""
    code = os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1])
    return code if code >= 0 else 128 - code


def _asked(control: socket.socket) -> tuple[str, list[int]]:
    """Answer the parent until it wants a job: returns, in a fork of its own, (its target,
    descriptors of the tables).
    """
    worker, ended = 0, None
    while True:
        said, descriptors, _, _ = socket.recv_fds(control, 4096, _MAX_DESCRIPTORS)
        request, _, target = said.decode().partition(" ")
        if request == "start":
            worker, ended = os.fork(), None
            # both do it: whoever comes second is told that it is done
            with contextlib.suppress(OSError):
                os.setpgid(worker, worker)
            if worker == 0:
                confine.die_with_parent()
                control.close()
                for number, descriptor in enumerate(descriptors[:3]):
                    os.dup2(descriptor, number)
                    os.close(descriptor)
                return target, descriptors[3:]
            for descriptor in descriptors:
                os.close(descriptor)
        elif ended is None and worker:
            if request != "poll":  # `kill`, or nothing: the parent is gone
                os.killpg(worker, signal.SIGKILL)
            pid, status = os.waitpid(worker, os.WNOHANG if request == "poll" else 0)
            ended = os.waitstatus_to_exitcode(status) if pid else None
        if not said:
            os._exit(0)
        control.sendall(json.dumps(ended).encode())


def _receive(tables: list[int]) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(sys.stdin.buffer.read())
    if message["job"].get("answers"):  # see `helpers`: the last one is no table
        message["job"]["answers"] = tables.pop()
    if message["job"].get("fed"):  # see `feed`: neither is the one before
        message["job"]["fed"] = tables.pop()
    message["job"]["tables"] = tables
    outputs = message["job"]["outputs"]
    os.environ.update(HOME=outputs, TMPDIR=outputs)
    tempfile.tempdir = outputs
    os.chdir(outputs)
    return message


def main() -> int:
    """Serve; what returns is a fork that has run one job."""
    confine.die_with_parent()
    # for good: no fork looks for garbage among it, and so none copies its pages
    with uncollected(for_good=True):
        modules = {
            target: importlib.import_module(target.partition(":")[0]) for target in sys.argv[2:]
        }
    target, descriptors = _asked(socket.socket(fileno=int(sys.argv[1])))
    work = getattr(modules[target], target.partition(":")[2])
    job = _receive(descriptors)
    further = [job["job"].get(name) for name in ("answers", "fed")]
    given = {*job["job"]["tables"], *filter(None, further)}
    confine.close_other_descriptors({0, 1, 2, *given})
    isolation = _confine(job)  # from here on in another process
    channel = Channel(os.dup(1))
    os.dup2(2, 1)
    channel.send(isolation=isolation)
    if job["required"] and not confined(isolation):
        channel.send(
            error={
                "kind": "sandbox",
                "message": f"only {', '.join(isolation)} work here",
                "traceback": "",
            }
        )
        return 1
    try:
        result = work(job["job"], channel, Watch(channel, job["read"], job["write"]))
        channel.send(result=result)
    except BaseException as error:  # noqa: BLE001 - the process ends here; the parent raises the typed error
        kind = getattr(error, "kind", type(error).__name__)
        trace = "".join(traceback.format_exception(error, limit=-4))
        channel.send(error={"kind": kind, "message": str(error)[:2000], "traceback": trace[-4000:]})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
