"""What the kernel and this process protect: settings, the sandbox's ground, dumps, swap, clock.

Settings: https://docs.kernel.org/admin-guide/sysctl/kernel.html and .../fs.html; Landlock's
versions: https://docs.kernel.org/userspace-api/landlock.html.
"""

import ctypes
import os
import resource
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from casemate.core.sandbox import confine
from casemate.core.sandbox.kernel import available
from casemate.operations.selfcheck.interface import Look


@dataclass(frozen=True)
class Setting:
    """One setting of the kernel."""

    name: str
    """As sysctl calls it."""
    least: int
    """From which value on it protects."""
    protects: str
    """What falls away below that."""


SETTINGS = (
    Setting("kernel.randomize_va_space", 2, "addresses in memory can be guessed"),
    Setting("kernel.yama.ptrace_scope", 1, "processes of one user read each other's memory"),
    Setting("kernel.kptr_restrict", 1, "everybody reads the kernel's addresses"),
    Setting("kernel.dmesg_restrict", 1, "everybody reads the kernel's messages"),
    Setting("kernel.unprivileged_bpf_disabled", 1, "everybody loads programs into the kernel"),
    Setting("kernel.perf_event_paranoid", 2, "everybody measures what others compute"),
    Setting("fs.protected_symlinks", 1, "links in shared folders lead others astray"),
    Setting("fs.protected_hardlinks", 1, "files of others get further names"),
    Setting("fs.protected_fifos", 1, "pipes in shared folders stand in for files"),
    Setting("fs.protected_regular", 1, "files in shared folders stand in for one's own"),
)
OPTIONAL = ("kernel.yama.ptrace_scope",)
"""Settings whose absence is the absence of what they set."""
ABIS = ((2, "moving files between folders"), (3, "cutting files off"), (5, "commands to devices"))
"""From which version on Landlock knows what, of what the sandbox asks it for."""
UNSET, TIMEX_BYTES = 5, 512
"""What adjtimex(2) answers where nobody sets the clock (TIME_ERROR); more bytes than any machine's
`struct timex` has.
"""


def sandbox(_: Path) -> Iterator[Look]:
    """What of the sandbox holds here, and what does without the rest."""
    found, abi = available(), confine.landlock_abi()
    lacking = [what for version, what in ABIS if abi < version]
    state = f"ABI {abi}" + (f", without {', '.join(lacking)}" if lacking else "")
    rest = "the list of system calls holds alone" if found["seccomp"] else "nothing holds"
    yield Look.judged(
        "sandbox: Landlock",
        state if abi else f"not in this kernel: {rest}",
        "Linux 6.10 or newer has all of it; 5.13 is the first with any",
        good=abi > 0 and not lacking,
    )
    yield Look.judged(
        "sandbox: seccomp",
        "a list of allowed system calls" if found["seccomp"] else "no list for this machine",
        "x86_64 or aarch64",
        good=found["seccomp"],
    )
    yield Look.judged(
        "sandbox: namespaces",
        "network, IPC, PID and mount"
        if found["namespaces"]
        else "not permitted: sockets are refused by seccomp alone, and jobs see other processes",
        "permit user namespaces (user.max_user_namespaces, kernel.unprivileged_userns_clone,"
        " kernel.apparmor_restrict_unprivileged_userns)",
        good=found["namespaces"],
    )
    yield Look.judged(
        "sandbox: files",
        "a root folder of its own"
        if found["root"]
        else "no mounts permitted: files are kept apart by Landlock alone",
        "permit mounts in user namespaces",
        good=found["root"],
    )


def settings(root: Path) -> Iterator[Look]:
    """Settings of the kernel."""
    for one in SETTINGS:
        path = root / "proc/sys" / one.name.replace(".", "/")
        subject = f"kernel: {one.name.partition('.')[2]}"
        try:
            value = int(path.read_text().split()[0])
        except FileNotFoundError:
            if one.name in OPTIONAL:
                state = f"not in this kernel: {one.protects}"
                yield Look.judged(subject, state, "a kernel with it", good=False)
            else:
                yield Look.unseen(subject, f"{path} is not there")
            continue
        except (OSError, ValueError, IndexError) as error:
            yield Look.unseen(subject, f"{path} cannot be read: {type(error).__name__}")
            continue
        good = value >= one.least
        yield Look.judged(
            subject,
            str(value) if good else f"{value}: {one.protects}",
            f"sysctl -w {one.name}={one.least}",
            good=good,
        )


def processor(root: Path) -> Iterator[Look]:
    """Known weaknesses of the processor that nobody has closed."""
    folder = root / "sys/devices/system/cpu/vulnerabilities"
    told = {path.name: path.read_text().strip() for path in sorted(folder.iterdir())}
    open_ = [name for name, text in told.items() if text.startswith("Vulnerable")]
    yield Look.judged(
        "processor",
        f"vulnerable: {', '.join(open_)}" if open_ else f"{len(told)} known weaknesses are closed",
        "newer microcode and kernel; others on this machine may read memory until then",
        good=not open_,
    )


def dumps(root: Path) -> Iterator[Look]:
    """Whether memory, keys and rows with it, is written down when a process crashes."""
    soft, _ = resource.getrlimit(resource.RLIMIT_CORE)
    pattern = (root / "proc/sys/kernel/core_pattern").read_text().strip()
    if pattern.startswith("|"):  # core(5): the limit does not hold for a program
        state = f"go to {pattern[1:].split(' ')[0]}, whatever the limit is"
        advice = "sysctl -w kernel.core_pattern=core, and ulimit -c 0"
    else:
        state = "none is written" if soft == 0 else "are written where a process crashes"
        advice = "ulimit -c 0 before casemate starts; LimitCORE=0 in a unit of systemd"
    good = soft == 0 and not pattern.startswith("|")
    yield Look.judged("core dumps", state, advice, good=good)
    value = int((root / "proc/sys/fs/suid_dumpable").read_text())
    told = str(value) if value == 0 else f"{value}: of programs with other rights, too"
    yield Look.judged("core dumps: suid", told, "sysctl -w fs.suid_dumpable=0", good=value == 0)


def swap(root: Path) -> Iterator[Look]:
    """Whether memory is written to a disk in clear."""
    lines = (root / "proc/swaps").read_text().splitlines()[1:]
    open_ = [line.split()[0] for line in lines if line.split() and not _is_veiled(root, line)]
    state = "none" if not lines else "in memory, or encrypted"
    yield Look.judged(
        "swap",
        f"{', '.join(open_)}: keys and rows in memory may come to lie there in clear"
        if open_
        else state,
        "swapoff -a, or swap on an encrypted device",
        good=not open_,
    )


def _is_veiled(root: Path, line: str) -> bool:
    """Whether what is swapped there is encrypted, or stays in memory; of a file nobody can say."""
    name = Path(line.split(maxsplit=1)[0]).name
    if name.startswith("zram"):
        return True
    for device in (root / "sys/block").glob("dm-*"):
        names = {device.name, (device / "dm/name").read_text().strip()}
        if name in names:
            return (device / "dm/uuid").read_text().startswith("CRYPT-")
    return False


def umask(root: Path) -> Iterator[Look]:
    """Whether new files of other programs of this account may be written by others."""
    status = (root / "proc/self/status").read_text()
    found = [line.split()[1] for line in status.splitlines() if line.startswith("Umask:")]
    if not found:
        yield Look.unseen("umask", "the kernel does not tell it")
        return
    value = int(found[0], 8)
    good = value & 0o022 == 0o022
    state = found[0] if good else f"{found[0]}: others may write into new files"
    yield Look.judged("umask", state, "umask 027", good=good)


def clock(_: Path) -> Iterator[Look]:
    """Whether somebody sets the clock: by it tokens, certificates and waivers end."""
    state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.create_string_buffer(TIMEX_BYTES))
    if state < 0:
        yield Look.unseen("clock", f"the kernel does not say: {os.strerror(ctypes.get_errno())}")
        return
    good = state != UNSET
    told = "is set by a server of time" if good else "nobody sets it"
    advice = "run chrony, systemd-timesyncd or ntpd; in a container: where the machine is run"
    yield Look.judged("clock", told, advice, good=good)


def variables(_: Path) -> Iterator[Look]:
    """Whether the environment undoes what casemate protects."""
    for name, does in VARIABLES.items():
        if os.environ.get(name):
            yield Look.judged(f"variable: {name}", f"is set: {does}", f"unset {name}", good=False)


VARIABLES = {
    "SSLKEYLOGFILE": "keys of TLS sessions are written to a file",
    "LD_PRELOAD": "a library is put before all others",
    "LD_AUDIT": "a library watches all others",
    "PYTHONINSPECT": "a prompt opens where a command ends",
    "PYTHONSTARTUP": "a file is run where a prompt opens",
}
"""Variables that a process inherits -> what they do."""
LOOKERS: dict[str, Callable[[Path], Iterable[Look]]] = {
    "sandbox": sandbox,
    "kernel": settings,
    "processor": processor,
    "core dumps": dumps,
    "swap": swap,
    "umask": umask,
    "clock": clock,
    "variables": variables,
}
"""What is looked at -> by whom."""
