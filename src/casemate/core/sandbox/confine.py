"""What a process does to itself before it runs foreign code. Pure ctypes: imported before anything
heavy.

Landlock: https://docs.kernel.org/userspace-api/landlock.html; the filter of system calls is
`seccomp.py`, the root folder `root.py`.
"""

import ctypes
import os
import resource
import signal
import struct
import sys
from dataclasses import dataclass

_LIBC = ctypes.CDLL(None, use_errno=True)
# landlock_* in asm-generic/unistd.h: the same number on every machine
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
# PR_SET_* in linux/prctl.h
_NO_NEW_PRIVS, _PDEATHSIG, _SUBREAPER, _DUMPABLE = 38, 1, 36, 4
_NAMESPACES = 0x10000000 | 0x40000000 | 0x08000000 | 0x00020000  # user, network, IPC, mount
_PID_NAMESPACE = 0x20000000

# PR_CAPBSET_DROP, PR_SET_SECUREBITS, PR_CAP_AMBIENT and PR_CAP_AMBIENT_CLEAR_ALL
_BOUNDING_DROP, _SECUREBITS, _AMBIENT, _AMBIENT_CLEAR_ALL = 24, 28, 47, 4
_LOCKED_BITS = 0xEF
"""NOROOT, NO_SETUID_FIXUP, NO_CAP_AMBIENT_RAISE, each with its lock, and KEEP_CAPS locked off: user
0 is nobody special (capabilities(7)).
"""
# linux/capability.h: capset(2) with 64 bits
_CAPABILITY_VERSION_3 = 0x20080522
_MAX_CAPABILITY = 63

# LANDLOCK_ACCESS_FS_* in linux/landlock.h; bits 14 and 15 below are TRUNCATE and IOCTL_DEV
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_FILE_RIGHTS = _EXECUTE | _WRITE_FILE | _READ_FILE | (1 << 14) | (1 << 15)
_READ_RIGHTS = _EXECUTE | _READ_FILE | _READ_DIR
# version 2 brought REFER, 3 TRUNCATE, 5 IOCTL_DEV; a kernel refuses bits that it does not know
_FS_RIGHTS_BY_ABI = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
_NET_PORT, _CONNECT_TCP = 2, 2  # LANDLOCK_RULE_NET_PORT, LANDLOCK_ACCESS_NET_CONNECT_TCP
MAX_OPEN = 4096
"""Open files of one process; also bounds what lies in buffers of the kernel."""


@dataclass(frozen=True)
class Bounds:
    """What one process may use; `supervise.py` bounds what all of them use."""

    memory_bytes: int
    cpu_seconds: int
    file_bytes: int
    tasks: int


def landlock_abi() -> int:
    """Landlock's ABI version in this kernel; 0 when there is none."""
    version = _LIBC.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), 1)
    return max(int(version), 0)


def limit(bounds: Bounds, *, own_user: bool) -> None:
    """Bound address space, CPU time, file size and open files; no core dumps.

    Args:
        bounds: how much.
        own_user: this process lives in a user namespace of the job's own, so the kernel's count of
            a user's tasks is the job's.
    """
    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_AS: bounds.memory_bytes,
        resource.RLIMIT_CPU: bounds.cpu_seconds,
        resource.RLIMIT_FSIZE: bounds.file_bytes,
        resource.RLIMIT_NOFILE: MAX_OPEN,
    }
    if own_user:
        # against bursts; the watcher ends the job before, and says why
        limits[resource.RLIMIT_NPROC] = 2 * bounds.tasks
    for kind, value in limits.items():
        hard = resource.getrlimit(kind)[1]
        bounded = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (bounded, bounded))


def close_other_descriptors(keep: set[int]) -> None:
    """Close every descriptor but `keep`: what a library opened while it was imported is no way
    around the rules.
    """
    last = -1
    for descriptor in sorted(keep):
        if descriptor > last + 1:  # closerange(0, 0) is not empty in CPython 3.11: it closes all
            os.closerange(last + 1, descriptor)
        last = descriptor
    os.closerange(last + 1, os.sysconf("SC_OPEN_MAX"))


def new_namespaces(*, processes: bool) -> None:
    """Enter empty network and IPC namespaces and a mount namespace, as the same user; `processes`:
    children get a PID namespace.

    Raises:
        OSError: not allowed here; this process may be of no use afterwards.
    """
    uid, gid = os.getuid(), os.getgid()
    if _LIBC.unshare(_NAMESPACES | (_PID_NAMESPACE if processes else 0)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    # setgroups first: without it nobody but root may write gid_map (user_namespaces(7))
    for name, content in (
        ("setgroups", "deny"),
        ("uid_map", f"{uid} {uid} 1"),
        ("gid_map", f"{gid} {gid} 1"),
    ):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(content)


def drop_capabilities() -> bool:
    """Give up every capability for good, the bounding set and those of user 0 too; whether none is
    left.
    """
    for capability in range(_MAX_CAPABILITY + 1):  # refused where there is none to give up
        _LIBC.prctl(_BOUNDING_DROP, capability, 0, 0, 0)
    _LIBC.prctl(_SECUREBITS, _LOCKED_BITS, 0, 0, 0)
    _LIBC.prctl(_AMBIENT, _AMBIENT_CLEAR_ALL, 0, 0, 0)
    header, none = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0), struct.pack("=6I", *[0] * 6)
    if _LIBC.capset(header, none) != 0:
        return False
    found = ctypes.create_string_buffer(24)
    return _LIBC.capget(header, found) == 0 and not any(found.raw)


def adopt_orphans() -> None:
    """Become the parent of descendants whose parents end."""
    _LIBC.prctl(_SUBREAPER, 1, 0, 0, 0)


def stay_private() -> None:
    """Let nobody of the same user look into or write to this process's memory (PR_SET_DUMPABLE)."""
    _LIBC.prctl(_DUMPABLE, 0, 0, 0, 0)


def die_with_parent() -> None:
    """Get SIGKILL when the parent ends, where the kernel can do that."""
    if sys.platform == "linux":
        _LIBC.prctl(_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def landlock(read: list[str], write: list[str], *, network: bool = False, port: int = 0) -> bool:
    """Allow reading below `read`, reading and writing below `write`, TCP where `network` says so,
    and nothing else; False where not supported.

    Args:
        read: files and folders.
        write: files and folders.
        network: all of TCP.
        port: the only one of TCP that may be connected to; 0: none.
    """
    abi = landlock_abi()
    if abi == 0:
        return False
    handled = _FS_RIGHTS_BY_ABI[max(known for known in _FS_RIGHTS_BY_ABI if known <= abi)]
    # All of TCP, then abstract sockets and signals: fields of ABI 4 and 6. A kernel refuses bits in
    # what it does not know (E2BIG).
    tcp = 3 if abi >= 4 and not network else 0
    attributes = struct.pack("=QQQ", handled, tcp, 3 if abi >= 6 else 0)
    attributes = attributes[: 24 if abi >= 6 else 16 if abi >= 4 else 8]
    ruleset = _LIBC.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0)
    if ruleset < 0:
        return False
    for paths, rights in ((read, _READ_RIGHTS), (write, handled)):
        for path in paths:
            _allow(ruleset, path, rights & handled)
    if port and abi >= 4:
        rule = struct.pack("=QQ", _CONNECT_TCP, port)
        _LIBC.syscall(_ADD_RULE, ruleset, _NET_PORT, rule, 0)
    # else restricting oneself needs CAP_SYS_ADMIN, since a set-user-ID program would inherit it
    _LIBC.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0)
    restricted: int = _LIBC.syscall(_RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)
    return restricted == 0


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # a path that this machine lacks needs no rule
    try:
        if not os.path.isdir(path):
            rights &= _FILE_RIGHTS  # rights of folders are refused in a file's rule (EINVAL)
        _LIBC.syscall(_ADD_RULE, ruleset, 1, struct.pack("=Qi", rights, descriptor), 0)
    finally:
        os.close(descriptor)
