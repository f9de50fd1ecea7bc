"""A seccomp filter that allows what is listed in `calls.py` and refuses the rest.

https://docs.kernel.org/userspace-api/seccomp_filter.html; instructions: linux/bpf_common.h. Seccomp
sees numbers and values of registers, not what pointers point to, so it knows no paths.
"""

import ctypes
import errno
import platform
import struct
import sys

from casemate.core.sandbox.calls import (
    ALLOWED,
    ATTRIBUTES,
    CHECKED,
    MODES_AND_TIMES,
    OWNERS,
    Numbers,
)

_LIBC = ctypes.CDLL(None, use_errno=True)
# PR_SET_NO_NEW_PRIVS, without which nobody but root may set a filter, and PR_SET_SECCOMP
_NO_NEW_PRIVS, _SET_SECCOMP = 38, 22
_ARCHITECTURES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
Instruction = tuple[int, int, int, int]

# classic BPF with constants: LD|W|ABS, ALU|AND, JMP|JEQ, JGE, JGT, JSET, RET (linux/bpf_common.h)
_LOAD, _AND, _EQUAL, _GREATER_OR_EQUAL, _GREATER, _ANY_OF, _GIVE = (
    0x20,
    0x54,
    0x15,
    0x35,
    0x25,
    0x45,
    0x06,
)
# SECCOMP_RET_ALLOW, _KILL_PROCESS and _ERRNO, whose lower half is the error
_ALLOW, _KILL, _ERROR = 0x7FFF0000, 0x80000000, 0x00050000
# places in struct seccomp_data; both machines are little-endian
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
# __X32_SYSCALL_BIT: the same machine's other numbering, which would walk around every number
# below
_X32 = 0x40000000
_NEWER = 424
"""From here on new calls have the same number everywhere; libraries try them and fall back on
ENOSYS (clone3, openat2, …).
"""

_NAMESPACES = 0x7E020000
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET; clone(2) cannot ask for
NEWTIME.
"""
_PRCTL = (2, 3, 15, 16, 21, 23, 29, 30, 38, 39, 41, 42, 0x53564D41)
"""Names, timer slack, huge pages, names of mappings, and questions; not the signal at the parent's
death, not being dumpable.
"""
_IOCTL = (0x5401, 0x540F, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451, 0x802C542A)
"""TCGETS, TIOCGPGRP, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX, TCGETS2; not the flags of
files (chattr).
"""
_FCNTL = (0, 1, 2, 3, 4, 5, 6, 7, 36, 37, 38, 1030, 1032, 1034)
"""Duplicates, flags, locks, sizes and seals asked for; no signals to others (F_SETOWN), leases,
watches, larger pipes.
"""
# SOCK_STREAM, SOCK_SEQPACKET, AF_UNIX
_STREAM, _PACKETS, _UNIX = 1, 5, 1


def known() -> bool:
    """Whether there is a filter for this machine."""
    return sys.platform == "linux" and platform.machine() in _ARCHITECTURES


def restrict(*, metadata: bool) -> bool:
    """Apply the filter to this process and all that it will start; False where this machine or
    kernel has none.

    Args:
        metadata: whether modes, times, owners and attributes of files may be changed, because what
            lies outside is mounted read-only. Else owners are refused (EPERM), attributes are not
            there (ENOTSUP), and setting modes and times says that it was done and does nothing:
            libraries do it to their own files and do not expect to fail.
    """
    if not known():
        return False
    instructions = program(platform.machine(), metadata=metadata)
    buffer = ctypes.create_string_buffer(
        b"".join(struct.pack("=HBBI", *one) for one in instructions)
    )
    header = struct.pack("=HxxxxxxQ", len(instructions), ctypes.addressof(buffer))
    _LIBC.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0)
    return int(_LIBC.prctl(_SET_SECCOMP, 2, header, 0, 0)) == 0


def program(machine: str, *, metadata: bool) -> list[Instruction]:
    """The filter's instructions for this machine."""
    architecture, column = _ARCHITECTURES[machine]
    answers = dict.fromkeys(ALLOWED, _ALLOW)
    numbers: Numbers = {**ALLOWED, **MODES_AND_TIMES, **OWNERS, **ATTRIBUTES}
    for group, refusal in (
        (MODES_AND_TIMES, _ERROR),
        (OWNERS, _ERROR | errno.EPERM),
        (ATTRIBUTES, _ERROR | errno.EOPNOTSUPP),
    ):
        answers |= dict.fromkeys(group, _ALLOW if metadata else refusal)
    code = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, architecture),
        (_GIVE, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        (_GREATER_OR_EQUAL, 0, 1, _X32),  # the x32 numbers reach the same calls
        (_GIVE, 0, 0, _ERROR | errno.EPERM),
    ]
    for name, check in _checks().items():
        number = CHECKED[name][column]
        assert number is not None  # noqa: S101 - every checked call is on both machines
        code += [(_EQUAL, 0, len(check), number), *check]
    listed = sorted(
        (number, answers[name])
        for name, both in numbers.items()
        if (number := both[column]) is not None
    )
    for first, last, answer in _ranges(listed):
        code += [(_GREATER_OR_EQUAL, 0, 2, first), (_GREATER, 1, 0, last), (_GIVE, 0, 0, answer)]
    return [
        *code,
        (_GREATER_OR_EQUAL, 0, 1, _NEWER),
        (_GIVE, 0, 0, _ERROR | errno.ENOSYS),
        (_GIVE, 0, 0, _ERROR | errno.EPERM),
    ]


def _ranges(listed: list[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """(first, last, answer) of neighbours with the same answer."""
    found: list[tuple[int, int, int]] = []
    for number, answer in listed:
        if found and found[-1][1:] == (number - 1, answer):
            found[-1] = (found[-1][0], number, answer)
        else:
            found.append((number, number, answer))
    return found


def _checks() -> dict[str, list[Instruction]]:
    """What is asked of the arguments, per call; every way through ends with an answer."""
    refuse, allow = (_GIVE, 0, 0, _ERROR | errno.EPERM), (_GIVE, 0, 0, _ALLOW)
    return {
        "clone": [_argument(0), (_ANY_OF, 0, 1, _NAMESPACES), refuse, allow],
        "prctl": [_argument(0), *_one_of(_PRCTL, errno.EPERM)],
        "prlimit64": [_argument(0), *_one_of((0,), errno.EPERM)],  # of oneself only
        "ioctl": [_argument(1), *_one_of(_IOCTL, errno.ENOTTY)],
        "fcntl": [_argument(1), *_one_of(_FCNTL, errno.EPERM)],
        # a pair of datagram sockets could send to any named socket of this machine
        "socketpair": [
            _argument(0),
            (_EQUAL, 1, 0, _UNIX),
            refuse,
            _argument(1),
            (_AND, 0, 0, 0xF),
            *_one_of((_STREAM, _PACKETS), errno.EPERM),
        ],
    }


def _argument(place: int) -> Instruction:
    """Load the lower half of an argument: all that the kernel looks at in the checked ones."""
    return _LOAD, 0, 0, _ARGUMENTS + 8 * place


def _one_of(values: tuple[int, ...], otherwise: int) -> list[Instruction]:
    tests = [(_EQUAL, len(values) - place, 0, value) for place, value in enumerate(values)]
    return [*tests, (_GIVE, 0, 0, _ERROR | otherwise), (_GIVE, 0, 0, _ALLOW)]
