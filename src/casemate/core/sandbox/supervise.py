"""The process above a job: it looks several times a second at what all of the job's processes use
together, and ends them.

It runs casemate's code only, so it is not confined, and it has no capabilities. In a PID namespace
it is the first process: when it ends, the kernel ends all others. Elsewhere it inherits the job's
orphans and ends them itself. What is measured is what a memory cgroup would count, without the
right to make one: private memory, page tables, /dev/shm, shared mappings, deleted files that are
still open, buffers of pipes and sockets.
"""

import contextlib
import os
import re
import signal
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

MEMORY, TASKS, FILES, HIDDEN = 71, 72, 73, 74
"""How a job ended that used too much memory, processes, files, or that cannot be looked at."""
CODES = (MEMORY, TASKS, FILES, HIDDEN)
MAX_FILES = 10_000
"""Files and folders in what a job may write: a search's journal and a model are fewer than ten,
joblib's copies some hundred.
"""
MAX_WRITTEN = 8 * 2**30
"""Bytes in them, and in what was deleted there but is still in use."""
_INTERVAL = 0.1
_SHARE = 20
"""Looking takes a 20th of the time, …"""
_PAUSE = 1.0
"""… but no longer a pause than this, in seconds."""
_PIPE, _SOCKET = 64 * 1024, 208 * 1024
"""What a pipe or a socket can hold in the kernel's default settings."""
_ANONYMOUS = re.compile(
    rb"^([0-9a-f]+)-([0-9a-f]+) \S+ \S+ (\S+) (\d+) +/dev/zero \(deleted\)$", re.MULTILINE
)
"""Shared memory without a name, in /proc/PID/maps."""
_FOLDER = "/dev/shm"  # noqa: S108 - what processes share there is memory


@dataclass
class ProcessLimits:
    """What all processes of a job may use together."""

    memory_bytes: int
    tasks: int
    """Processes and threads."""
    folders: list[str]
    """What they may write."""
    own_shared_memory: bool
    """Whether /dev/shm is the job's alone."""


@dataclass
class _Use:
    """What was counted at one look."""

    pids: list[int]
    memory: int = 0
    held: dict[tuple[int, int], int] = field(default_factory=dict)
    """Bytes of what has no name but a descriptor."""


class Supervisor:
    """Watches the processes of one job, and ends all of them when they take too much."""

    def __init__(self, limits: ProcessLimits) -> None:
        self.limits = limits
        self.me = int(os.readlink("/proc/self"))  # the number that this /proc knows us by
        self.parent = os.getppid()
        self.given = {(status.st_dev, status.st_ino) for _, status in _descriptors(self.me)}
        self.free = {os.path.realpath(folder): _free(folder) for folder in limits.folders}
        self.earlier = set() if limits.own_shared_memory else set(os.listdir(_FOLDER))

    def wait(self, worker: int) -> int:
        """How `worker` ended; after that, none of its descendants is left.

        Returns:
            Its exit status, 128 + signal, or one of `CODES`.
        """
        # sigtimedwait takes what is blocked only, and so misses none that comes while it looks
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        ended, pause = None, _INTERVAL
        while ended is None:
            signal.sigtimedwait({signal.SIGCHLD}, pause)
            ended = _reap(worker)
            if os.getppid() != self.parent:
                ended = 128 + signal.SIGKILL
            if ended is None:
                began = time.monotonic()
                ended = self.exceeded()
                pause = min(max(_INTERVAL, _SHARE * (time.monotonic() - began)), _PAUSE)
            elif ended in CODES:
                ended = 1  # the job does not say what the limits found
        self._end()
        return ended

    def exceeded(self) -> int | None:
        """Which limit is exceeded now."""
        try:
            found = descendants(self.me)
            if sum(found.values()) > self.limits.tasks:
                return TASKS
            use = self._look(list(found))
            shared = self._shared()
            if (
                use.memory + shared > self.limits.memory_bytes
                and self._exactly(use) + shared > self.limits.memory_bytes
            ):
                return MEMORY
            return FILES if self._too_many_files() or self._hides_files(list(found)) else None
        except PermissionError:
            return HIDDEN
        except OSError:  # a name too long, a folder too deep, …
            return HIDDEN

    def _look(self, pids: list[int]) -> _Use:
        """An upper bound, cheap: pages that several processes share count for each of them."""
        use = _Use(pids)
        for pid in pids:
            with _gone(pid):
                told = _fields(f"/proc/{pid}/status")
                use.memory += 1024 * sum(
                    told.get(name, 0) for name in ("RssAnon", "RssShmem", "VmSwap", "VmPTE")
                )
                for place, status in _descriptors(pid):
                    use.held[place] = _held(status)
        for place in self.given:
            use.held.pop(place, None)
        use.memory += sum(use.held.values())
        return use

    def _exactly(self, use: _Use) -> int:
        """The same, every page counted once (it takes a walk through the page tables)."""
        total, named, shared = sum(use.held.values()), {}, 0
        for pid in use.pids:
            with _gone(pid):
                told = _fields(f"/proc/{pid}/smaps_rollup")
                total += 1024 * (told.get("Pss_Anon", 0) + told.get("SwapPss", 0))
                total += 1024 * _fields(f"/proc/{pid}/status").get("VmPTE", 0)
                shared += 1024 * told.get("Pss_Shmem", 0)
                with open(f"/proc/{pid}/maps", "rb") as file:
                    for first, last, device, inode in _ANONYMOUS.findall(file.read()):
                        named[device, inode, first] = int(last, 16) - int(first, 16)
        return total + min(shared, sum(named.values()))

    def _shared(self) -> int:
        """Bytes in /dev/shm."""
        if self.limits.own_shared_memory:
            found = os.statvfs(_FOLDER)
            return (found.f_blocks - found.f_bfree) * found.f_frsize
        size = 0
        for name in set(os.listdir(_FOLDER)) - self.earlier:
            with contextlib.suppress(FileNotFoundError):
                status = os.lstat(os.path.join(_FOLDER, name))
                size += status.st_blocks * 512 if status.st_uid == os.getuid() else 0
        return size

    def _too_many_files(self) -> bool:
        files = size = 0
        for folder in self.limits.folders:
            for status in _below(folder):
                files, size = files + 1, size + status.st_blocks * 512
                if files > MAX_FILES or size > MAX_WRITTEN:
                    return True
        return False

    def _hides_files(self, pids: list[int]) -> bool:
        """Whether the disk gets full of what has neither name nor descriptor: deleted files that
        are mapped or on their way through a socket.

        Nobody tells their size to whoever has no capability, so the free space does; it falls
        because of other programs too, and then counts only for a job that has a place to hide
        files.
        """
        full = [
            os.fsencode(folder)
            for folder, before in self.free.items()
            if before - _free(folder) > MAX_WRITTEN
        ]
        return bool(full) and any(self._could_hide(pid, full) for pid in pids)

    def _could_hide(self, pid: int, folders: list[bytes]) -> bool:
        with _gone(pid):
            if any(
                stat.S_ISSOCK(status.st_mode)
                for place, status in _descriptors(pid)
                if place not in self.given
            ):
                return True
            with open(f"/proc/{pid}/maps", "rb") as file:
                gone = [line for line in file if line.endswith(b" (deleted)\n")]
            return any(folder + b"/" in line for line in gone for folder in folders)
        return False

    def _end(self) -> None:
        """Kill what is left; not needed, and not possible by number, where the first process of a
        PID namespace ends.
        """
        if os.getpid() == 1:
            return
        while left := descendants(self.me):
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            _reap(0)
            time.sleep(0.001)


def descendants(root: int) -> dict[int, int]:
    """Processes below `root`, with their threads."""
    known: dict[int, tuple[int, int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with _gone(), open(f"/proc/{name}/stat", "rb") as file:
                # after the name, which may hold anything
                words = file.read().rpartition(b")")[2].split()
                known[int(name)] = int(words[1]), int(words[17])
    found: dict[int, int] = {}
    higher = {root}
    while higher:
        lower = {
            pid: threads
            for pid, (parent, threads) in known.items()
            if parent in higher and pid not in found
        }
        found |= lower
        higher = set(lower)
    return found


def _reap(worker: int) -> int | None:
    """Take every ended child; how `worker` ended when it is among them."""
    ended = None
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            if pid == worker:
                code = os.waitstatus_to_exitcode(status)
                ended = code if code >= 0 else 128 - code
    return ended


@contextlib.contextmanager
def _gone(pid: int | None = None) -> Iterator[None]:
    """A process that ended meanwhile uses nothing; one that has only to be waited for belongs to
    root, and has no memory.
    """
    try:
        yield
    except (FileNotFoundError, ProcessLookupError):
        return
    except PermissionError:
        if pid is None or _size(pid):
            raise


def _size(pid: int) -> int:
    """Pages of a process's address space: none when it ends."""
    with (
        contextlib.suppress(FileNotFoundError, ProcessLookupError),
        open(f"/proc/{pid}/statm", "rb") as file,
    ):
        return int(file.read().split()[0])
    return 0


def _fields(path: str) -> dict[str, int]:
    """Numbers of a file of `Name: number` lines."""
    with open(path, "rb") as file:
        lines = file.read().decode(errors="replace").splitlines()
    split = [line.replace(":", " ").split() for line in lines]
    return {words[0]: int(words[1]) for words in split if len(words) > 1 and words[1].isdigit()}


def _descriptors(pid: int) -> Iterator[tuple[tuple[int, int], os.stat_result]]:
    folder = f"/proc/{pid}/fd"
    with _gone():
        for name in os.listdir(folder):
            with _gone():
                status = os.stat(f"{folder}/{name}")
                yield (status.st_dev, status.st_ino), status


def _free(folder: str) -> int:
    """Bytes that the file system of `folder` has left."""
    found = os.statvfs(folder)
    return found.f_bfree * found.f_frsize


def _held(status: os.stat_result) -> int:
    """Bytes that a descriptor alone keeps."""
    if stat.S_ISFIFO(status.st_mode):
        return _PIPE
    if stat.S_ISSOCK(status.st_mode):
        return _SOCKET
    return status.st_blocks * 512 if status.st_nlink == 0 else 0


def _below(folder: str) -> Iterator[os.stat_result]:
    """Everything in and below `folder`, links not followed."""
    todo = [folder]
    while todo:
        with (
            contextlib.suppress(FileNotFoundError, NotADirectoryError),
            os.scandir(todo.pop()) as entries,
        ):
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    yield entry.stat(follow_symlinks=False)
                    if entry.is_dir(follow_symlinks=False):
                        todo.append(entry.path)
