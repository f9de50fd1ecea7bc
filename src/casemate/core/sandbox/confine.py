"""What a process does to itself before it runs foreign code. Pure ctypes: imported before anything heavy.

Landlock: https://docs.kernel.org/userspace-api/landlock.html; seccomp: https://docs.kernel.org/userspace-api/seccomp_filter.html
"""

import ctypes
import os
import platform
import resource
import signal
import struct
import sys

_LIBC = ctypes.CDLL(None, use_errno=True)
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_NO_NEW_PRIVS, _SET_SECCOMP, _PDEATHSIG = 38, 22, 1
_NAMESPACES = 0x10000000 | 0x40000000 | 0x08000000 | 0x20000000 | 0x00020000  # user, network, IPC, PID, mount
_REC_PRIVATE, _NOSUID_NODEV_NOEXEC = 0x44000, 0xE

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_FILE_RIGHTS = _EXECUTE | _WRITE_FILE | _READ_FILE | (1 << 14) | (1 << 15)
_READ_RIGHTS = _EXECUTE | _READ_FILE | _READ_DIR
_FS_RIGHTS_BY_ABI = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}

_ARCHITECTURES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
_REFUSED = {
    # no socket of any family: what two processes of a job need is a pipe or a socketpair
    "socket": (41, 198),
    "connect": (42, 203),
    "accept": (43, 202),
    "accept4": (288, 242),
    "bind": (49, 200),
    "listen": (50, 201),
    # nothing that reaches into other processes
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "pidfd_getfd": (438, 438),
    # nothing that changes what is mounted or which namespaces hold
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "unshare": (272, 97),
    "setns": (308, 268),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "open_by_handle_at": (304, 265),
    # nothing that talks to the kernel past these rules, or that has often had holes
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "swapon": (167, 224),
    "reboot": (169, 142),
}
"""Refused system calls with their numbers on x86_64 and aarch64."""


def landlock_abi() -> int:
    """Landlock's ABI version in this kernel; 0 when there is none."""
    version = _LIBC.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), 1)
    return max(int(version), 0)


def namespaces_work() -> bool:
    """Whether this process may create user, network, IPC, PID and mount namespaces (tried in a child)."""
    pid = os.fork()
    if pid == 0:
        os._exit(0 if _LIBC.unshare(_NAMESPACES) == 0 else 1)
    return os.waitpid(pid, 0)[1] == 0


def seccomp_works() -> bool:
    """Whether a seccomp filter for this machine is known."""
    return sys.platform == "linux" and platform.machine() in _ARCHITECTURES


def limit(memory_bytes: int, cpu_seconds: int, file_bytes: int) -> None:
    """Bound address space, CPU time and file size; no core dumps."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for kind, value in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_CPU, cpu_seconds),
        (resource.RLIMIT_FSIZE, file_bytes),
    ):
        hard = resource.getrlimit(kind)[1]
        bounded = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (bounded, bounded))


def close_other_descriptors(keep: set[int]) -> None:
    """Close every descriptor but `keep`: what a library opened while it was imported is no way around the rules."""
    last = -1
    for descriptor in sorted(keep):
        if descriptor > last + 1:  # closerange(0, 0) is not empty in CPython 3.11: it closes all
            os.closerange(last + 1, descriptor)
        last = descriptor
    os.closerange(last + 1, os.sysconf("SC_OPEN_MAX"))


def new_namespaces() -> bool:
    """Enter empty network and IPC namespaces, a mount and a PID namespace for children; False where not allowed."""
    uid, gid = os.getuid(), os.getgid()
    if _LIBC.unshare(_NAMESPACES) != 0:
        return False
    for name, content in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(content)
    return True


def private_mounts() -> bool:
    """Mount an empty /dev/shm and a /proc that shows only this PID namespace; whether /proc is private now.

    Where a mount is not allowed, the shared folder stays; Landlock still decides what in it may be opened.
    """
    if _LIBC.mount(None, b"/", None, ctypes.c_ulong(_REC_PRIVATE), None) != 0:
        return False
    _LIBC.mount(b"tmpfs", b"/dev/shm", b"tmpfs", ctypes.c_ulong(_NOSUID_NODEV_NOEXEC), None)
    mounted: int = _LIBC.mount(b"proc", b"/proc", b"proc", ctypes.c_ulong(_NOSUID_NODEV_NOEXEC), None)
    return mounted == 0


def die_with_parent() -> None:
    """Get SIGKILL when the parent ends."""
    _LIBC.prctl(_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def landlock(read: list[str], write: list[str]) -> bool:
    """Allow reading below `read`, reading and writing below `write`, and nothing else; False where not supported."""
    abi = landlock_abi()
    if abi == 0:
        return False
    handled = _FS_RIGHTS_BY_ABI[max(known for known in _FS_RIGHTS_BY_ABI if known <= abi)]
    attributes = struct.pack("=QQQ", handled, 3 if abi >= 4 else 0, 3 if abi >= 6 else 0)
    attributes = attributes[: 24 if abi >= 6 else 16 if abi >= 4 else 8]
    ruleset = _LIBC.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0)
    if ruleset < 0:
        return False
    for paths, rights in ((read, _READ_RIGHTS), (write, handled)):
        for path in paths:
            _allow(ruleset, path, rights & handled)
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
            rights &= _FILE_RIGHTS
        _LIBC.syscall(_ADD_RULE, ruleset, 1, struct.pack("=Qi", rights, descriptor), 0)
    finally:
        os.close(descriptor)


def seccomp() -> bool:
    """Refuse the system calls of `_REFUSED` with EPERM, foreign architectures with a kill; False where not known."""
    if not seccomp_works():
        return False
    architecture, column = _ARCHITECTURES[platform.machine()]
    load, equal, greater, give = 0x20, 0x15, 0x35, 0x06
    allow, refuse, kill = 0x7FFF0000, 0x00050001, 0x80000000
    program = [(load, 0, 0, 4), (equal, 1, 0, architecture), (give, 0, 0, kill), (load, 0, 0, 0)]
    program += [(greater, 0, 1, 0x40000000), (give, 0, 0, refuse)]  # the x32 numbers reach the same calls
    for numbers in _REFUSED.values():
        program += [(equal, 0, 1, numbers[column]), (give, 0, 0, refuse)]
    program.append((give, 0, 0, allow))
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(code)
    header = struct.pack("=HxxxxxxQ", len(program), ctypes.addressof(buffer))
    _LIBC.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0)
    return int(_LIBC.prctl(_SET_SECCOMP, 2, header, 0, 0)) == 0
