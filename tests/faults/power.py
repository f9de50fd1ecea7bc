"""Power loss: from a system-call trace of a run to every state that its disk may be in when the
power goes.

The model is POSIX's with ext4's habits: a file's bytes are durable after its fsync, a name after
the fsync of its folder (a new file's name also with its own fsync). What was not synced may be
there, may be missing, and may be torn at a 512-byte sector. `states` yields, for the moment before
operation `k`, the worst, the best and mixed cases.
"""

import random
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

CALLS = "openat,write,pwrite64,fsync,fdatasync,rename,unlink,unlinkat,rmdir,mkdir,link,ftruncate,close,dup,dup2,fcntl"
LINE = re.compile(r"^(?P<pid>\d+)\s+(?P<call>\w+)\((?P<args>.*)\)\s+= (?P<value>-?\d+)")
UNFINISHED = re.compile(r"^(?P<pid>\d+)\s+(?P<head>\w+\(.*) <unfinished \.\.\.>$")
RESUMED = re.compile(r"^(?P<pid>\d+)\s+<\.\.\. \w+ resumed>(?P<tail>.*)$")
TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
SECTOR = 512


@dataclass(frozen=True)
class Op:
    """One operation on a path below the traced folder."""

    kind: str
    path: str = ""
    other: str = ""
    offset: int = 0
    content: bytes = b""


@dataclass(eq=False)
class Inode:
    """A file: what is on the platter, and the writes that are not."""

    durable: bytes = b""
    pending: list[tuple[str, int, bytes]] = field(default_factory=list)
    cached: bytes = b""

    def change(self, kind: str, offset: int, content: bytes) -> None:
        self.pending.append((kind, offset, content))
        self.cached = changed(self.cached, kind, offset, content)

    def sync(self) -> None:
        self.durable, self.pending = self.cached, []

    def torn(self, generator: random.Random) -> bytes:
        found = self.durable
        for kind, offset, content in self.pending:
            if generator.random() < 0.5:
                continue
            if kind == "write" and len(content) >= 2 * SECTOR and generator.random() < 0.3:
                content = content[: SECTOR * generator.randrange(1, len(content) // SECTOR)]  # noqa: PLW2901 - the torn part
            found = changed(found, kind, offset, content)
        return found


def changed(content: bytes, kind: str, offset: int, new: bytes) -> bytes:
    if kind == "cut":
        return content[:offset].ljust(offset, b"\0")
    return content.ljust(offset, b"\0")[:offset] + new + content[offset + len(new) :]


def record(words: list[str], log: Path, **usual) -> subprocess.CompletedProcess:
    """Run a command under strace."""
    return subprocess.run(
        ["strace", "-f", "-s", "9999999", "-xx", "-o", str(log), "-e", f"trace={CALLS}", *words],
        check=False,
        **usual,
    )


def lines(log: Path) -> Iterator[tuple[str, str, int]]:
    """(call, arguments, value) with calls that another thread interrupted put together again."""
    waiting: dict[str, str] = {}
    with log.open(encoding="ascii", errors="replace") as file:
        for line in file:
            text = line.rstrip("\n")
            if match := UNFINISHED.match(text):
                waiting[match["pid"]] = match["head"]
                continue
            if match := RESUMED.match(text):
                text = f"{match['pid']} {waiting.pop(match['pid'], '')}{match['tail']}"
            if match := LINE.match(text):
                yield match["call"], match["args"], int(match["value"])


def operations(log: Path, root: Path) -> list[Op]:  # noqa: PLR0912 - one branch a system call
    """What the trace did below `root`; lines `ACK text` on standard output are acknowledgements."""
    ops: list[Op] = []
    files: dict[int, list] = {}
    prefix = f"{root}/"

    def inside(path: str) -> bool:
        return path == str(root) or path.startswith(prefix)

    for call, args, value in lines(log):
        if value < 0:
            continue
        texts = [bytes.fromhex(found.replace("\\x", "")) for found in TEXT.findall(args)]
        number = int(re.match(r"-?\d*", args)[0] or -1)
        if call == "openat":
            files.pop(value, None)
            path = texts[0].decode()
            if inside(path):
                files[value] = [path, 0, "O_APPEND" in args]
                if "O_CREAT" in args:
                    ops.append(Op("create", path))
                if "O_TRUNC" in args:
                    ops.append(Op("cut", path, offset=0))
        elif call == "write" and number == 1 and texts and texts[0].startswith(b"ACK "):
            ops.append(Op("ack", texts[0].decode().strip()[4:]))
        elif call in {"rename", "link"} and inside(texts[-1].decode()):
            ops.append(Op(call, texts[0].decode(), texts[1].decode()))
        elif (
            call in {"unlink", "unlinkat", "rmdir"}
            and texts
            and texts[0].decode().startswith(prefix)
        ):
            ops.append(Op("unlink", texts[0].decode()))
        elif call == "mkdir" and inside(texts[0].decode()):
            ops.append(Op("mkdir", texts[0].decode()))
        elif number in files:
            path, offset, _ = files[number]
            if call == "write":
                ops.append(Op("write", path, offset=offset, content=texts[0][:value]))
                files[number][1] += value
            elif call == "pwrite64":
                ops.append(
                    Op("write", path, offset=int(args.rsplit(",", 1)[1]), content=texts[0][:value])
                )
            elif call == "ftruncate":
                ops.append(Op("cut", path, offset=int(args.split(",")[1])))
            elif call in {"fsync", "fdatasync"}:
                ops.append(Op("sync", path))
            elif call == "close":
                del files[number]
    return ops


class Disk:
    """Names and files as the programs see them, and as the platter holds them."""

    def __init__(self, root: Path, start: dict[str, bytes], folders: set[str]) -> None:
        self.root = str(root)
        self.live: dict[str, Inode] = {
            name: Inode(content, [], content) for name, content in start.items()
        }
        self.folders = set(folders) | {self.root}
        self.durable: dict[str, Inode] = dict(self.live)
        self.durable_folders = set(self.folders)
        self.acks: list[str] = []
        self._ever: list[Inode] = []
        self._carried: set[str] = set()

    def apply(self, op: Op) -> None:
        if op.kind == "ack":
            self.acks.append(op.path)
        elif op.kind == "mkdir":
            self.folders.add(op.path)
        elif op.kind == "create":
            if op.path not in self.live and op.path not in self.folders:
                self.live[op.path] = Inode()
        elif op.kind in {"write", "cut"} and op.path in self.live:
            self.live[op.path].change(op.kind, op.offset, op.content)
        elif op.kind == "sync":
            self._sync(op.path)
        elif op.kind == "rename":
            self._rename(op.path, op.other)
        elif op.kind == "link" and op.path in self.live:
            self.live[op.other] = self.live[op.path]
        elif op.kind == "unlink":
            self.live.pop(op.path, None)
            self.folders.discard(op.path)

    def _sync(self, path: str) -> None:
        if path in self.live:
            self.live[path].sync()
            self.durable.setdefault(path, self.live[path])
            return
        inside = lambda name: name.rpartition("/")[0] == path  # noqa: E731
        moved = {name for name in self.durable_folders if inside(name)} - self.folders
        for gone in moved:  # a folder that was renamed or removed: everything below left with it
            self.durable = {
                name: inode
                for name, inode in self.durable.items()
                if not name.startswith(f"{gone}/")
            }
            self.durable_folders = {
                name
                for name in self.durable_folders
                if name != gone and not name.startswith(f"{gone}/")
            }
        self.durable = {name: inode for name, inode in self.durable.items() if not inside(name)}
        self.durable |= {name: inode for name, inode in self.live.items() if inside(name)}
        for name in [name for name in self.folders if inside(name)]:
            if name not in self.durable_folders:
                self.durable_folders.add(name)
                # a renamed folder brings along what was durable inside it under its old name
                below = f"{name}/"
                self.durable |= {
                    n: i for n, i in self.live.items() if n.startswith(below) and i in self._ever
                }
                self.durable_folders |= {
                    n for n in self.folders if n.startswith(below) and n in self._carried
                }

    def _rename(self, old: str, new: str) -> None:
        if old in self.live:
            self.live[new] = self.live.pop(old)
            return
        if old not in self.folders:
            return
        below = f"{old}/"
        held = [inode for name, inode in self.durable.items() if name.startswith(below)]
        self._ever = [*self._ever, *held]
        self._carried = self._carried | {
            new + name[len(old) :] for name in self.durable_folders if name.startswith(below)
        }
        for name in [name for name in self.live if name.startswith(below)]:
            self.live[new + name[len(old) :]] = self.live.pop(name)
        moved = {name for name in self.folders if name == old or name.startswith(below)}
        self.folders = (self.folders - moved) | {new + name[len(old) :] for name in moved}

    def states(self, generator: random.Random, mixed: int) -> Iterator[dict[str, bytes]]:
        """What may be found after the power comes back."""
        reachable = {
            name: inode
            for name, inode in self.durable.items()
            if name.rpartition("/")[0] in self.durable_folders
        }
        yield {name: inode.durable for name, inode in reachable.items()}
        yield {name: inode.cached for name, inode in self.live.items()}
        yield {name: inode.durable for name, inode in self.live.items()}
        for _ in range(mixed):
            names = generator.choice((reachable, self.live))
            yield {name: inode.torn(generator) for name, inode in names.items()}


def snapshot(root: Path) -> tuple[dict[str, bytes], set[str]]:
    """Files and folders that are on the platter before the trace."""
    found = {str(path): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    return found, {str(path) for path in root.rglob("*") if path.is_dir()}
