"""`python -m tests.attacks.situations SITUATION PROGRAM …` runs a program as on a poorer machine.

A situation is `root` or `user` (in a user namespace: the same files, no capabilities), a comma, and
what is missing: `nothing`, `processes` (a part of /proc is hidden, as in containers, so that nobody
may mount his own), `namespaces` or `mounts`. Few imports: a process with threads cannot enter a
user namespace.
"""

import ctypes
import os
import struct
import sys
from pathlib import Path

LIBC = ctypes.CDLL(None, use_errno=True)


def enter_user_namespace(inside: int) -> None:
    """Be user `inside` in a user namespace with mounts of its own."""
    uid, gid = os.getuid(), os.getgid()
    if LIBC.unshare(0x10000000 | 0x20000):
        raise OSError(ctypes.get_errno(), "no user namespace here")
    for name, content in (
        ("setgroups", "deny"),
        ("uid_map", f"{inside} {uid} 1"),
        ("gid_map", f"{inside} {gid} 1"),
    ):
        Path(f"/proc/self/{name}").write_text(content)


def hide_version() -> None:
    """Mount something over a file in /proc."""
    if LIBC.mount(b"/dev/null", b"/proc/version", None, 4096, None):
        raise OSError(ctypes.get_errno(), "no mount here")


def forbid_mounts() -> None:
    """Landlock that allows everything below / forbids mounting all the same."""
    ruleset = LIBC.syscall(444, struct.pack("=Q", (1 << 13) - 1), ctypes.c_size_t(8), 0)
    folder = os.open("/", os.O_PATH)
    LIBC.syscall(445, ruleset, 1, struct.pack("=Qi", (1 << 13) - 1, folder), 0)
    LIBC.prctl(38, 1, 0, 0, 0)
    if LIBC.syscall(446, ruleset, 0):
        raise OSError(ctypes.get_errno(), "no Landlock here")


def main() -> None:
    """Become poorer, and the program."""
    user, missing = sys.argv[1].split(", ")
    if user == "user" or missing in ("namespaces", "processes"):
        enter_user_namespace(1000 if user == "user" else 0)
    if missing == "namespaces":
        Path("/proc/sys/user/max_user_namespaces").write_text("0")
    if missing == "processes":
        hide_version()
    if missing == "mounts":
        forbid_mounts()
    os.execv(sys.executable, [sys.executable, *sys.argv[2:]])


if __name__ == "__main__":
    main()
