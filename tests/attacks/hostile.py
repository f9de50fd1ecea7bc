"""Training code that tries what it can against files, metadata, processes and the kernel, for the
tests of the sandbox.

`ACTIONS` is the text of a `train.py` that runs schedules of them, each in a process of its own; as
a program, `python -m tests.attacks.hostile FOLDER` runs every action once. `situations.py` makes
the machine poorer before.
"""

import hashlib
import json
import os
import random
import stat
import sys
from pathlib import Path

import msgspec
import pyarrow as pa

from casemate.config import DataTable, TrainTable
from casemate.core.sandbox.failure import JobFailed, JobLimits
from casemate.core.sandbox.run import Worker
from casemate.stages.data import schema as schemas

ACTIONS = r'''
import ctypes, json, mmap, os, resource, signal, socket, subprocess, sys, time

CASE = json.loads(@CASE@)
LIBC = ctypes.CDLL(None, use_errno=True)
OUT = os.environ["HOME"]

def raw(number, *arguments):
    answer = LIBC.syscall(number, *arguments)
    if answer < 0:
        raise OSError(ctypes.get_errno(), "refused")
    return answer

def opened(path, flags):
    return os.open(path, flags)

def b(text):
    return ctypes.c_char_p(os.fsencode(text))

def through_link(path, work):
    link = os.path.join(OUT, "link%d" % os.getpid())
    os.symlink(path, link)
    try:
        return work(link)
    finally:
        os.unlink(link)

def written(path, flags):
    descriptor = opened(path, flags)
    return os.write(descriptor, b"x")

def mapped(path):
    descriptor = opened(path, os.O_RDWR)
    with mmap.mmap(descriptor, 1) as memory:
        memory[0:1] = b"x"

def limits_of(pid):
    return raw(302, pid, 7, struct_of(1, 1), None)

def struct_of(*numbers):
    return ctypes.create_string_buffer(b"".join(n.to_bytes(8, "little") for n in numbers))

def datagram(path):
    one, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    return one.sendto(b"x", path)

def cloned(flag):
    pid = raw(56, flag | signal.SIGCHLD, 0, 0, 0, 0)
    if pid == 0:
        os._exit(0)
    return pid

def capabilities(*names):
    return [line for line in open("/proc/self/status") if line.startswith(names) and int(line.split()[1], 16)][0]

ON_PATHS = {
    "chmod": lambda p: os.chmod(p, 0o777),
    "setuid": lambda p: os.chmod(p, 0o6755),
    "fchmod": lambda p: os.fchmod(opened(p, os.O_RDONLY), 0o666),
    "chmod by descriptor": lambda p: os.chmod("/proc/self/fd/%d" % opened(p, os.O_PATH), 0o666),
    "chmod through a link": lambda p: through_link(p, lambda link: os.chmod(link, 0o666)),
    "chown": lambda p: os.chown(p, os.getuid(), os.getgid()),
    "lchown": lambda p: os.lchown(p, -1, os.getgid()),
    "utime": lambda p: os.utime(p, (1, 1)),
    "setxattr": lambda p: os.setxattr(p, "user.casemate", b"x"),
    "removexattr": lambda p: os.removexattr(p, "user.kept"),
    "link": lambda p: os.link(p, os.path.join(OUT, "hard%d" % os.getpid())),
    "link beside": lambda p: os.link(p, p + ".more"),
    "rename": lambda p: os.rename(p, p + ".gone"),
    "move": lambda p: os.rename(p, os.path.join(OUT, "moved%d" % os.getpid())),
    "remove": lambda p: os.unlink(p),
    "rmdir": lambda p: os.rmdir(os.path.dirname(p)),
    "truncate": lambda p: os.truncate(p, 0),
    "open to cut": lambda p: opened(p, os.O_RDONLY | os.O_TRUNC),
    "write": lambda p: written(p, os.O_WRONLY),
    "append": lambda p: written(p, os.O_WRONLY | os.O_APPEND),
    "create beside": lambda p: opened(p + ".new", os.O_CREAT | os.O_WRONLY),
    "mkdir beside": lambda p: os.mkdir(p + ".folder"),
    "symlink beside": lambda p: os.symlink("x", p + ".link"),
    "map": mapped,
    "flags": lambda p: raw(16, opened(p, os.O_RDONLY), 0x40086602, struct_of(0x40)),
    "fchmodat2": lambda p: raw(452, -100, b(p), 0o777, 0),
    "setxattrat": lambda p: raw(463, -100, b(p), 0, b("user.casemate"), struct_of(0, 0), 16),
    "file_setattr": lambda p: raw(469, -100, b(p), struct_of(0, 0, 0), 24, 0),
    "open_tree_attr": lambda p: raw(467, -100, b(p), 1, struct_of(0, 1, 0, 0), 32),
    "mount over": lambda p: raw(165, b("tmpfs"), b(os.path.dirname(p)), b("tmpfs"), 0, None),
    "remount": lambda p: raw(165, None, b("/"), None, 32 | 4096, None),
    "mount_setattr": lambda p: raw(442, -100, b("/"), 0x8000, struct_of(0, 1, 0, 0), 32),
    "handle": lambda p: raw(303, -100, b(p), struct_of(128, 0, 0), struct_of(0), 0),
    "by another root": lambda p: os.chmod("/proc/1/root" + p, 0o777),
    "by a program": lambda p: subprocess.run(["/bin/chmod", "777", p], check=True, capture_output=True),
    "by another python": lambda p: subprocess.run([sys.executable, "-c", "import os,sys; os.utime(sys.argv[1], (5, 5))", p], check=True, capture_output=True),
}
ELSE = {
    "unshare": lambda: raw(272, 0x10000000),
    "unshare mounts": lambda: raw(272, 0x20000),
    "clone user": lambda: cloned(0x10000000),
    "clone network": lambda: cloned(0x40000000),
    "clone mounts": lambda: cloned(0x20000),
    "clone3": lambda: raw(435, struct_of(0x10000000, 0, 0, 0, 17, 0, 0, 0), 64),
    "setns": lambda: raw(308, opened("/proc/self/ns/net", os.O_RDONLY), 0),
    "pivot_root": lambda: raw(155, b("."), b(".")),
    "chroot": lambda: os.chroot(OUT),
    "ptrace": lambda: raw(101, 16, os.getppid(), 0, 0),
    "process_vm_writev": lambda: raw(311, os.getppid(), struct_of(0, 0), 1, struct_of(0, 0), 1, 0),
    "pidfd_open": lambda: raw(434, os.getppid(), 0),
    "memory of the first process": lambda: opened("/proc/1/mem", os.O_RDWR),
    "not dumpable": lambda: raw(157, 4, 0, 0, 0, 0),
    "no signal at the parent's end": lambda: raw(157, 1, 0, 0, 0, 0),
    "limits of others": lambda: limits_of(CASE["pid"]),
    "limits of the first": lambda: limits_of(1),
    "memfd": lambda: os.memfd_create("x"),
    "socket": lambda: raw(41, 2, 1, 0),
    "datagram": lambda: datagram(CASE["socket"]),
    "io_uring": lambda: raw(425, 1, struct_of(*[0] * 16)),
    "bpf": lambda: raw(321, 0, struct_of(*[0] * 16), 128),
    "keyctl": lambda: raw(250, 0, -3, 0),
    "userfaultfd": lambda: raw(323, 0),
    "perf": lambda: raw(298, struct_of(*[0] * 16), 0, -1, -1, 0),
    "shared memory": lambda: raw(29, 0, 4096, 0o1600),
    "queue": lambda: raw(240, b("casemate"), 0x42, 0o600, None),
    "personality": lambda: raw(135, 0x40000),
    "unknown call": lambda: raw(470 + os.getpid() % 90, 0, 0, 0, 0, 0),
    "x32": lambda: raw(0x40000000 + 90, b(CASE["paths"][0]), 0o777),
    "become somebody": lambda: os.setuid(12345),
    "setsid": lambda: os.setsid() and None,
    "kill outside": lambda: os.kill(CASE["pid"], signal.SIGKILL),
    "core_pattern": lambda: written("/proc/sys/kernel/core_pattern", os.O_WRONLY),
    "device": lambda: os.chmod("/dev/null", 0o622),
    "capabilities": lambda: capabilities("CapInh", "CapPrm", "CapEff", "CapAmb"),
    "bounding set": lambda: capabilities("CapBnd"),
}
GENTLE = {
    "stop the watcher": lambda: os.kill(1, signal.SIGSTOP),
    "kill the watcher": lambda: os.kill(1, signal.SIGKILL),
    "stop the group": lambda: (os.setpgid(0, 0), os.kill(0, signal.SIGUSR1)),
    "orphan": lambda: os.fork() or (os.setsid(), os.fork() or os.execv("/bin/sleep", ["sleep", "100"])),
    "threads": lambda: [__import__("threading").Thread(target=time.sleep, args=(0.01,)).start() for _ in range(20)],
}
ROUGH = {
    "kill the parent": lambda: os.kill(os.getppid(), signal.SIGKILL),
    "kill everybody": lambda: os.kill(-1, signal.SIGKILL),
    "stop everybody": lambda: os.kill(-1, signal.SIGSTOP),
}

def fuzzed(numbers):
    values = [0, 1, -1, -100, 3, b(CASE["paths"][0]), b(OUT), struct_of(0, 0, 0, 0), 0o777, 4096]
    number, *places = numbers
    raw(number, *[values[place] for place in places])

def act(step):
    name, *rest = step
    if name in ON_PATHS:
        return ON_PATHS[name](*rest)
    if name == "fuzz":
        return fuzzed(rest)
    return {**ELSE, **GENTLE, **ROUGH}[name]()

def attempt(step):
    try:
        return ["got", repr(act(step))[:60]]
    except BaseException as error:
        return ["refused", type(error).__name__, getattr(error, "errno", None)]

def schedule(steps):
    """Run steps in a child; its answers."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        os.close(reader)
        try:
            os.write(writer, json.dumps([[step, attempt(step)] for step in steps]).encode()[:60000])
        finally:
            os._exit(0)
    os.close(writer)
    told = b""
    began = time.monotonic()
    os.set_blocking(reader, False)
    while time.monotonic() - began < 25:
        try:
            chunk = os.read(reader, 65536)
            if not chunk:
                break
            told += chunk
        except BlockingIOError:
            time.sleep(0.01)
    try:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    except OSError:
        pass
    os.close(reader)
    return json.loads(told) if told.endswith(b"]") else []

def build():
    answers = []
    for number, steps in CASE["schedules"]:
        with open(os.path.join(CASE["study"], "begun"), "a") as file:
            file.write("%d\n" % number)
        answers += schedule(steps)
    with open("answers.json", "w") as file:
        json.dump(answers, file)
    raise RuntimeError("DONE")
'''


def _load() -> dict[str, list[str]]:
    """Names of the actions by group."""
    space: dict[str, object] = {}
    exec(ACTIONS.replace("@CASE@", "'{}'"), space)
    return {group: list(space[group]) for group in ("ON_PATHS", "ELSE", "GENTLE", "ROUGH")}  # type: ignore[call-overload]


class Ground:
    """A project and a key store to be attacked, below one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.keys, self.project = folder / "keys", folder / "project"
        self.study = self.project / ".casemate" / "study"
        for path in (self.keys, self.study, self.project / "data"):
            path.mkdir(parents=True)
        self.keys.chmod(0o700)
        self.secret = self.keys / "keystore.json"
        self.files = [
            self.secret,
            self.project / "casemate.toml",
            self.project / "data" / "rows.csv",
        ]
        for file in self.files:
            file.write_text(f"what is in {file.name}")
            file.chmod(0o600)
            try:
                os.setxattr(file, "user.kept", b"kept")
            except OSError:
                pass
        self.count = 0

    def paths(self) -> list[str]:
        """What is attacked: key store, project, casemate's own code, the interpreter, the
        machine.
        """
        import casemate

        return [
            *map(str, self.files),
            casemate.__file__,
            os.path.realpath(sys.executable),
            "/etc/passwd",
            "/usr/bin/env",
        ]

    def state(self) -> dict[str, object]:
        """Everything about what must not change but what reading changes."""
        found: dict[str, object] = {path: _state(path) for path in self.paths()}
        for base in (self.keys, self.project):
            for root, folders, files in os.walk(base):
                if Path(root) == self.study or Path(root).name == "scratch":
                    folders.clear()
                    continue
                for name in [".", *files, *folders]:
                    path = os.path.normpath(os.path.join(root, name))
                    if path not in (
                        str(self.study),
                        str(self.project / ".casemate" / "scratch"),
                        str(self.project / ".casemate"),
                    ):
                        found[path] = _state(path)
        found["/dev/null"] = stat.S_IMODE(os.stat("/dev/null").st_mode)
        found["core_pattern"] = Path("/proc/sys/kernel/core_pattern").read_text()
        return found

    def run(
        self, schedules: list[tuple[int, list[list[object]]]], seconds: float = 300
    ) -> tuple[JobFailed, list[object]]:
        """How training with these schedules ended, and the answers that its code left."""
        scratch = self.project / ".casemate" / "scratch" / str(self.count)
        self.count += 1
        scratch.mkdir(parents=True)
        table = pa.table(
            {"a": [float(n % 7) for n in range(40)], "y": [str(n % 2) for n in range(40)]}
        )
        schema, _ = schemas.infer(table, DataTable(source="t", target="y"))
        case = {
            "paths": self.paths(),
            "pid": os.getpid(),
            "study": str(self.study),
            "socket": str(self.folder / "socket"),
            "schedules": schedules,
        }
        job = {
            "entry": "train.py:build",
            "schema": msgspec.to_builtins(schema),
            "train": msgspec.to_builtins(TrainTable(entry="train.py:build")),
            "grouped": False,
            "study": str(self.study),
        }
        self.isolation: list[str] = []
        with Worker("casemate.stages.train.fit:main", 1) as worker:
            try:
                worker.run(
                    job,
                    tables=[table],
                    inputs={"train.py": ACTIONS.replace("@CASE@", repr(json.dumps(case))).encode()},
                    scratch=scratch,
                    limits=JobLimits(seconds, 3 * 2**30),
                    required=True,
                    hidden=[self.keys],
                    writable=[self.study],
                )
            except JobFailed as error:
                answers = scratch / "out" / "answers.json"
                return error, json.loads(answers.read_text()) if answers.exists() else []
        raise AssertionError("the code ended without an error")

    def begun(self) -> set[int]:
        """Schedules that were begun."""
        path = self.study / "begun"
        return set(map(int, path.read_text().split())) if path.exists() else set()


def _state(path: str) -> object:
    status = os.lstat(path)
    content = (
        hashlib.sha256(Path(path).read_bytes()).hexdigest() if stat.S_ISREG(status.st_mode) else ""
    )
    try:
        attributes = {
            name: os.getxattr(path, name, follow_symlinks=False).hex()
            for name in os.listxattr(path, follow_symlinks=False)
        }
    except OSError:
        attributes = {}
    fields = (
        "st_mode",
        "st_uid",
        "st_gid",
        "st_size",
        "st_nlink",
        "st_ino",
        "st_mtime_ns",
        "st_ctime_ns",
    )
    return [*(getattr(status, name) for name in fields), content, attributes]


def schedules(
    count: int, seed: int, paths: int, start: int = 0
) -> list[tuple[int, list[list[object]]]]:
    """Random schedules, numbered; one in forty kills the code's own processes at its end, one in
    four hundred stops them.
    """
    names = _load()
    found = []
    for number in range(start, start + count):
        chance = random.Random(f"{seed}/{number}")
        steps: list[list[object]] = []
        for _ in range(chance.randint(3, 12)):
            kind = chance.random()
            if kind < 0.6:
                steps.append([chance.choice(names["ON_PATHS"]), chance.randrange(paths)])
            elif kind < 0.8:
                steps.append([chance.choice(names["ELSE"] + names["GENTLE"])])
            else:
                steps.append(
                    [
                        "fuzz",
                        chance.randrange(700),
                        *(chance.randrange(10) for _ in range(chance.randint(1, 6))),
                    ]
                )
        if chance.random() < 1 / 40:  # what stops everybody costs the whole timeout
            steps.append(
                [
                    (
                        "stop everybody"
                        if chance.random() < 1 / 10
                        else chance.choice(names["ROUGH"][:2])
                    )
                ]
            )
        found.append((number, steps))
    return found


def named(
    plan: list[tuple[int, list[list[object]]]], paths: list[str]
) -> list[tuple[int, list[list[object]]]]:
    """With paths in place of their numbers."""
    known = set(_load()["ON_PATHS"])
    return [
        (
            number,
            [[step[0], paths[int(str(step[1]))]] if step[0] in known else step for step in steps],
        )
        for number, steps in plan
    ]


def every_action(paths: list[str]) -> list[tuple[int, list[list[object]]]]:
    """Each action once, on the key store and on casemate's code where it takes a path."""
    names = _load()
    steps: list[list[object]] = [
        [name, path] for name in names["ON_PATHS"] for path in (paths[0], paths[1], paths[3])
    ]
    return [
        (number, [step])
        for number, step in enumerate([*steps, *([name] for name in names["ELSE"])])
    ]


def main() -> None:
    """Run every action once and print what was found."""
    ground = Ground(Path(sys.argv[1]))
    before = ground.state()
    error, answers = ground.run(every_action(ground.paths()))
    after = ground.state()
    changed = [path for path in before if before[path] != after.get(path)] + [
        path for path in after if path not in before
    ]
    findings = [finding.message for finding in error.findings]
    print(
        json.dumps(
            {
                "error": error.message,
                "hint": error.hint,
                "answers": answers,
                "changed": changed,
                "findings": findings,
                "uid": os.getuid(),
            }
        )
    )


if __name__ == "__main__":
    main()
