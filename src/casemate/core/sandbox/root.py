"""A root folder of its own for a job: what it may read, mounted read-only, what it may write, and
nothing else.

In a mount namespace, with the calls of Linux 5.12 (open_tree, move_mount, mount_setattr: man 2, and
https://docs.kernel.org/filesystems/mount_api.html), so that modes, times, owners, attributes and
links are read-only too, which Landlock does not look at, and so that what is not mounted has no
name.
"""

import ctypes
import os
import stat
import struct
from pathlib import PurePosixPath

_LIBC = ctypes.CDLL(None, use_errno=True)
# asm-generic/unistd.h; pivot_root is older and has a number for each machine
_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR = 428, 429, 442
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
# AT_FDCWD, AT_EMPTY_PATH, AT_RECURSIVE, OPEN_TREE_CLONE
_HERE, _EMPTY_PATH, _RECURSIVE, _CLONE, _CLOSE_ON_EXEC = -100, 0x1000, 0x8000, 1, os.O_CLOEXEC
_FROM_EMPTY_PATH = 4
# MOUNT_ATTR_* of mount_setattr(2), and its propagation MS_PRIVATE
_READ_ONLY, _NO_SUID, _NO_DEVICES, _NO_PROGRAMS, _PRIVATE = 1, 2, 4, 8, 1 << 18
_MS_PRIVATE, _DETACH = 0x44000, 2  # MS_REC | MS_PRIVATE
_BASE = "/proc"
"""Where the new root is put together: a folder that is there wherever namespaces can be made."""
SHARED_MEMORY = "/dev/shm"  # noqa: S108 - where joblib and semaphores look for it
MAX_NAMES = 10_000
"""Files and folders in the shared memory: joblib makes one for each array, semaphores one each."""
# as many as the kernel follows, path_resolution(7)
_MAX_LINKS = 40


def enter(read: list[str], write: list[str], shared_bytes: int, *, own_processes: bool) -> None:
    """Make a new root and go there for good.

    Args:
        read: files and folders, seen under the same names, read-only; those that are not there are
            left out.
        write: likewise, to be written. `SHARED_MEMORY` becomes an empty one of the job's own.
        shared_bytes: size of the shared memory.
        own_processes: mount a /proc of this PID namespace; else the one that there is.

    Raises:
        OSError: the kernel refuses; what was mounted so far goes with the mount namespace.
    """
    _check(_LIBC.mount(None, b"/", None, ctypes.c_ulong(_MS_PRIVATE), None))
    trees = [(path, _tree(path, _READ_ONLY)) for path in _outermost(read)]
    for path in write:
        if path != SHARED_MEMORY:  # a device on a read-only mount can be written, its mode cannot
            trees.append((path, _tree(path, _READ_ONLY if path.startswith("/dev/") else 0)))
    processes = None if own_processes else _tree("/proc", _READ_ONLY)
    _mount("tmpfs", _BASE, f"size=1m,nr_inodes={MAX_NAMES},mode=755", _NO_SUID | _NO_DEVICES)
    for path, tree in trees:
        if tree is not None:
            _place(path, tree)
    os.makedirs(_BASE + SHARED_MEMORY, exist_ok=True)
    _mount(
        "tmpfs",
        _BASE + SHARED_MEMORY,
        f"size={shared_bytes},nr_inodes={MAX_NAMES},mode=700",
        _NO_SUID | _NO_DEVICES | _NO_PROGRAMS,
    )
    os.makedirs(_BASE + "/proc", exist_ok=True)
    if own_processes:
        _mount("proc", _BASE + "/proc", "", _READ_ONLY | _NO_SUID | _NO_DEVICES | _NO_PROGRAMS)
    elif processes is not None:
        _attach(processes, _BASE + "/proc")
    _change(_BASE)


def _outermost(paths: list[str]) -> list[str]:
    """Without what lies inside another one, and without /proc, which is made anew."""
    kept: list[str] = ["/proc"]
    for path in sorted(paths):
        if not any(path == higher or path.startswith(higher + "/") for higher in kept):
            kept.append(path)
    return kept[1:]


def _tree(path: str, attributes: int) -> int | None:
    """A descriptor of a copy of what is mounted at and below `path`, private; None where there is
    nothing.
    """
    try:
        tree = _check(
            _LIBC.syscall(_OPEN_TREE, _HERE, path.encode(), _CLONE | _RECURSIVE | _CLOSE_ON_EXEC)
        )
    except FileNotFoundError:
        return None
    if not path.startswith("/dev/"):
        attributes |= _NO_DEVICES
    _set_attributes(tree, attributes | _NO_SUID)
    return tree


def _set_attributes(tree: int, attributes: int) -> None:
    told = struct.pack("=QQQQ", attributes, 0, _PRIVATE, 0)
    flags = _EMPTY_PATH | _RECURSIVE
    _check(_LIBC.syscall(_MOUNT_SETATTR, tree, b"", flags, told, ctypes.c_size_t(len(told))))


def _place(path: str, tree: int) -> None:
    """Mount `tree` below the base under its name, with the links that lead to it."""
    real, links = resolve(path)
    for link, target in links:
        if not os.path.lexists(_BASE + link):
            os.makedirs(_BASE + os.path.dirname(link), exist_ok=True)
            os.symlink(target, _BASE + link)
    place = _BASE + real
    if stat.S_ISDIR(os.fstat(tree).st_mode):
        os.makedirs(place, exist_ok=True)
    elif not os.path.lexists(place):
        os.makedirs(os.path.dirname(place), exist_ok=True)
        os.close(os.open(place, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    _attach(tree, place)


def resolve(path: str) -> tuple[str, list[tuple[str, str]]]:
    """(the path without links, every (link, target) on the way)."""
    done = "/"
    links: list[tuple[str, str]] = []
    todo = list(PurePosixPath(path).parts[1:])
    while todo:
        part = todo.pop(0)
        if part == "..":
            done = os.path.dirname(done)
            continue
        here = os.path.join(done, part)
        if not os.path.islink(here):
            done = here
            continue
        if len(links) >= _MAX_LINKS:
            raise OSError(f"too many links: {path}")
        target = os.readlink(here)
        links.append((here, target))
        parts = PurePosixPath(target).parts
        done = "/" if target.startswith("/") else done
        todo[:0] = [name for name in parts if name != "/"]
    return done, links


def _attach(tree: int, place: str) -> None:
    _check(_LIBC.syscall(_MOVE_MOUNT, tree, b"", _HERE, place.encode(), _FROM_EMPTY_PATH))
    os.close(tree)


def _mount(kind: str, place: str, options: str, flags: int) -> None:
    """Mount a new file system; its flags have the same numbers as the attributes above."""
    _check(
        _LIBC.mount(
            kind.encode(),
            place.encode(),
            kind.encode(),
            ctypes.c_ulong(flags),
            options.encode() or None,
        )
    )


def _change(root: str) -> None:
    """Make `root` the root, without a way back, and read-only itself (man 2 pivot_root:
    ".", ".").
    """
    os.chdir(root)
    number = _PIVOT_ROOT[os.uname().machine]
    _check(_LIBC.syscall(number, b".", b"."))
    _check(_LIBC.umount2(b".", _DETACH))
    os.chdir("/")
    told = struct.pack("=QQQQ", _READ_ONLY, 0, 0, 0)
    _check(_LIBC.syscall(_MOUNT_SETATTR, _HERE, b"/", 0, told, ctypes.c_size_t(len(told))))


def _check(answer: int) -> int:
    if answer < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return answer
