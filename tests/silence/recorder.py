"""Runs commands in a namespace that nothing leaves, and says which names they asked for, whom they
called and what they wrote.

    unshare --user --map-root-user --net --mount python recorder.py < job.json > record.json

Every address in the world is routed to the loopback device, where a packet socket hears each first
packet; `/etc/resolv.conf` names a resolver that knows every name and remembers it; whoever calls a
well-known port is answered and hung up on. The root folder is a fresh one in memory: system,
interpreter and package are mounted into it, everything else is empty, so that what lies there
afterwards was written by the commands. Standard library only.
"""

import ctypes
import json
import os
import select
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

LIBC = ctypes.CDLL(None, use_errno=True)
PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
BIND, PRIVATE, DETACH = 0x1000 | 0x4000, 0x40000 | 0x4000, 2
SYSTEM = (
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/etc",
    "/proc",
    "/sys",
    "/dev",
    "/nix",
)
ADDRESS = "203.0.113.7"
"""What every name stands for (RFC 5737: an address of nobody)."""
SETTLE = 0.3


def checked(result: int, what: str) -> None:
    """Raise what libc said."""
    if result != 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


def mount(source: str, target: str, kind: str, flags: int) -> None:
    """mount(2)."""
    checked(
        LIBC.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), None),
        f"mount {target}",
    )


def new_root(root: Path, shared: list[str]) -> None:
    """Make a root folder in memory that holds the system and `shared`, and live in it."""
    mount("none", "/", "", PRIVATE)
    mount("root", str(root), "tmpfs", 0)
    for path in SYSTEM:
        if os.path.islink(path):
            os.symlink(os.readlink(path), root / path[1:])
        elif os.path.isdir(path):
            _bind(path, root)
    for path in shared:
        _bind(path, root)
    for name in ("tmp", "home", "root", "run", "var", "var/tmp"):
        (root / name).mkdir(exist_ok=True)
    mount("shm", f"{root}/dev/shm", "tmpfs", 0)
    resolver = root / "resolv.conf"
    resolver.write_text("nameserver 127.0.0.1\n")
    # of some systems a link into /run
    target = Path(f"{root}{os.path.realpath('/etc/resolv.conf')}")
    if target.exists():
        mount(str(resolver), str(target), "", BIND)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(resolver.read_text())
    os.chdir(root)
    checked(LIBC.syscall(PIVOT_ROOT[os.uname().machine], b".", b"."), "pivot_root")
    checked(LIBC.umount2(b".", DETACH), "umount")
    os.chdir("/")


def _bind(path: str, root: Path) -> None:
    target = root / path[1:]
    if target.exists() and target.stat().st_dev == os.stat(path).st_dev:
        return  # it came with a folder above
    target.mkdir(parents=True, exist_ok=True)
    mount(path, str(target), "", BIND)


def question(packet: bytes) -> tuple[str, int, int]:
    """(name, type, where it ends) of a DNS query."""
    labels, at = [], 12
    while packet[at]:
        labels.append(packet[at + 1 : at + 1 + packet[at]].decode(errors="replace"))
        at += 1 + packet[at]
    return ".".join(labels), struct.unpack("!H", packet[at + 1 : at + 3])[0], at + 5


def resolve(record: set[str]) -> None:
    """Answer every query, for ever."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 53))
        while True:
            packet, asker = server.recvfrom(4096)
            name, kind, end = question(packet)
            record.add(name)
            answer = (
                b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 60, 4) + socket.inet_aton(ADDRESS)
                if kind == 1
                else b""
            )
            server.sendto(
                packet[:2]
                + struct.pack("!5H", 0x8180, 1, bool(answer), 0, 0)
                + packet[12:end]
                + answer,
                asker,
            )


def hang_up() -> None:
    """Take every call at ports where strangers listen."""
    listeners = [socket.create_server(("0.0.0.0", port), backlog=100) for port in (80, 443)]
    while True:
        for listener in select.select(listeners, [], [])[0]:
            listener.accept()[0].close()


def hear(sniffer: socket.socket, record: set[str]) -> None:
    """Note whom a first packet of TCP, or any of another protocol, is for."""
    while True:
        packet, where = sniffer.recvfrom(128)
        if where[1] == 0x0800 and packet[0] >> 4 == 4:
            protocol, head, to = (
                packet[9],
                (packet[0] & 15) * 4,
                socket.inet_ntop(socket.AF_INET, packet[16:20]),
            )
        elif where[1] == 0x86DD:
            protocol, head, to = packet[6], 40, socket.inet_ntop(socket.AF_INET6, packet[24:40])
        else:
            continue
        port = struct.unpack("!H", packet[head + 2 : head + 4])[0]
        if protocol == 6 and packet[head + 13] & 0x12 == 0x02:
            record.add(f"tcp {to} {port}")
        elif protocol == 17 and not (
            to == "127.0.0.1" and 53 in (port, struct.unpack("!H", packet[head : head + 2])[0])
        ):
            record.add(f"udp {to} {port}")
        elif protocol not in (6, 17, 58, 1):
            record.add(f"protocol {protocol} {to}")


def first_packets(sniffer: socket.socket) -> None:
    """Let the kernel drop what belongs to open connections, so that nothing is lost under load
    (classic BPF).
    """
    v4_protocol, v4_head, v6 = (0x30, 0, 0, 9), (0xB1, 0, 0, 0), (0x28, 0, 0, 0xFFFFF000)
    program = [
        v6,
        (0x15, 0, 5, 0x0800),  # IPv4?
        v4_protocol,
        (0x15, 0, 8, 6),  # what is no TCP is heard
        v4_head,
        (0x50, 0, 0, 13),  # flags
        (0x05, 0, 0, 3),
        (0x30, 0, 0, 6),  # IPv6: next header
        (0x15, 0, 3, 6),
        (0x30, 0, 0, 53),
        (0x54, 0, 0, 0x12),
        (0x15, 0, 1, 0x02),  # SYN without ACK
        (0x06, 0, 0, 128),
        (0x06, 0, 0, 0),
    ]
    code = b"".join(struct.pack("=HBBI", *line) for line in program)
    buffer = ctypes.create_string_buffer(code)
    sniffer.setsockopt(
        socket.SOL_SOCKET, 26, struct.pack("=HxxxxxxQ", len(program), ctypes.addressof(buffer))
    )


def written(since: dict[str, tuple[int, int]]) -> tuple[list[str], dict[str, tuple[int, int]]]:
    """(what is new or changed below the root in memory, all of it)."""
    found: dict[str, tuple[int, int]] = {}
    for root in ("/", "/dev/shm"):
        device = os.stat(root).st_dev
        for folder, names, files in os.walk(root):
            names[:] = [
                name for name in names if os.lstat(os.path.join(folder, name)).st_dev == device
            ]
            found |= {os.path.join(folder, name): (0, 0) for name in names}
            for path in (os.path.join(folder, name) for name in files):
                status = os.lstat(path)
                if status.st_dev == device:
                    found[path] = (status.st_mtime_ns, status.st_size)
    return sorted(path for path, state in found.items() if since.get(path) != state), found


def beside_packages(shared: list[str], began: float) -> list[str]:
    """What was written into the folders that were mounted, bytecode aside: the interpreter keeps it
    beside its modules.
    """
    found = []
    for root in shared:
        for folder, names, files in os.walk(root):
            names[:] = [name for name in names if name not in ("__pycache__", ".git", "tests")]
            found += [
                path
                for name in files
                if os.lstat(path := os.path.join(folder, name)).st_mtime > began
            ]
    return sorted(found)


def main() -> None:
    """Read a job, do its steps, write the record."""
    job = json.load(sys.stdin)
    for words in (["link", "set", "lo", "up"], ["route", "add", "local", "0.0.0.0/0", "dev", "lo"]):
        subprocess.run(["ip", *words], check=True)
    # a kernel may lack IPv6
    subprocess.run(
        ["ip", "-6", "route", "add", "local", "::/0", "dev", "lo"], check=False, capture_output=True
    )
    new_root(Path(job["root"]), job["shared"])
    names: set[str] = set()
    calls: set[str] = set()
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0003)) as sniffer:
        first_packets(sniffer)
        for work in ((resolve, names), (hear, sniffer, calls), (hang_up,)):
            threading.Thread(target=work[0], args=work[1:], daemon=True).start()
        Path("/home/somebody").mkdir()
        _, files = written({})
        steps = []
        for step in job["steps"]:
            for number, (path, text) in enumerate(step.get("replaced", {}).items()):
                Path(f"/replaced-{number}").write_text(text)
                mount(f"/replaced-{number}", path, "", BIND)
            _, files = written(files)
            names.clear()
            calls.clear()
            began = time.time()
            environment = {
                "PATH": "/usr/bin:/bin",
                "HOME": "/home/somebody",
                **step.get("environment", {}),
            }
            done = subprocess.run(
                step["words"],
                env=environment,
                cwd="/home/somebody",
                capture_output=True,
                text=True,
                timeout=step["seconds"],
            )
            time.sleep(SETTLE)
            new, files = written(files)
            steps.append(
                {
                    "code": done.returncode,
                    "out": done.stdout[-20_000:],
                    "err": done.stderr[-4000:],
                    "names": sorted(names),
                    "calls": sorted(calls),
                    "files": (
                        new
                        + (beside_packages(job["watched"], began) if step.get("packages") else [])
                    ),
                }
            )
        lost = struct.unpack("=II", sniffer.getsockopt(263, 6, 8))[1]
    json.dump({"steps": steps, "lost": lost}, sys.stdout)


if __name__ == "__main__":
    main()
