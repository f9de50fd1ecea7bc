"""Power loss after every operation of a run: nothing acknowledged is lost, nothing is corrupt, the
next start finishes.

The harness itself is under test: with a catalogue that does not sync, or files whose folder is not
synced, it must fail.
"""

import random
import shutil
import sys
from pathlib import Path

import pytest
from tests.faults import power, work
from tests.faults.test_every_point import (
    check_acknowledged,
    check_complete,
    copy,
    pristine,  # noqa: F401 - a fixture
)

ROOT = Path(__file__).parents[2]
SCRIPT = """
import os, sys
sys.path.insert(0, {repo!r})
from pathlib import Path
{mutant}
from tests.faults import work
work.bookkeeping(Path({root!r}), lambda text: os.write(1, f"ACK {{text}}\\n".encode()))
"""
JOURNAL = """
import sqlite3
from casemate.core.store import sqlite
sqlite.driver, sqlite.affected = sqlite3, lambda _version: True
sqlite.driver.connect({catalog!r}, isolation_level=None).execute("PRAGMA journal_mode=DELETE")
"""
"""What a machine without a sound SQLite makes: a rollback journal."""
FULL = JOURNAL + "sqlite.EXTRA = 'synchronous=FULL'\n"
NORMAL = (
    "from casemate.core.store import sqlite; sqlite.PRAGMAS = tuple(p.replace('FULL', 'NORMAL') for"
    " p in sqlite.PRAGMAS)"
)
NO_FOLDER = (
    "from casemate.core import files; files.fsync_folder = lambda folder: None\nimport"
    " casemate.core.run as e; e.fsync_folder = files.fsync_folder"
)
NO_FSYNC = "import os; os.fsync = lambda descriptor: None"


@pytest.fixture
def traced(pristine, tmp_path):  # noqa: F811
    if shutil.which("strace") is None:
        pytest.skip("no strace: install it")

    def trace(mutant: str = "") -> tuple[Path, list[power.Op], power.Disk]:
        root = copy(pristine, tmp_path / "p")
        start = power.snapshot(root / ".casemate")
        mutant = mutant.replace("{catalog!r}", repr(str(root / ".casemate" / "catalog.db")))
        script = SCRIPT.format(repo=str(ROOT), root=str(root), mutant=mutant)
        done = power.record(
            [sys.executable, "-c", script], tmp_path / "trace", capture_output=True, text=True
        )
        if "ptrace" in done.stderr and done.returncode:
            pytest.skip("this machine does not let us trace processes")
        assert done.returncode == 0, done.stderr
        assert "ACK done" in done.stdout
        ops = power.operations(tmp_path / "trace", root / ".casemate")
        return root, ops, power.Disk(root / ".casemate", *start)

    return trace


def lay_out(root: Path, disk: power.Disk, files: dict[str, bytes]) -> None:
    state = root / ".casemate"
    shutil.rmtree(state)
    for folder in sorted(disk.durable_folders):
        Path(folder).mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        if name.endswith("-shm"):
            continue
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(content)


def damage_in(root: Path, acks: list[str], *, resume: bool) -> str:
    """What is wrong with this state, or nothing."""
    try:
        check_acknowledged(root, acks)
        if resume:
            work.bookkeeping(root, lambda _: None)
            work.bookkeeping(root, lambda _: None)  # what was claimed for delivery is due by now
            check_complete(root, effects=4)
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:300]
    return ""


def examine(root, ops, disk, states, *, stride=1, stop=False):
    """(states looked at, what was wrong)."""
    generator = random.Random(7)
    seen, wrong = 0, []
    for number, op in enumerate(ops):
        if number % stride == 0 or op.kind == "ack":
            for index, files in enumerate(disk.states(generator, states)):
                lay_out(root, disk, files)
                problem = damage_in(root, disk.acks, resume=(number + index) % 5 == 0)
                seen += 1
                if problem:
                    wrong.append((number, index, problem))
                    if stop:
                        return seen, wrong
        disk.apply(op)
    return seen, wrong


@pytest.mark.parametrize(
    "mode", ["", pytest.param(JOURNAL, marks=pytest.mark.long)], ids=["log", "journal"]
)
def test_no_acknowledged_work_is_lost_in_any_state_that_power_loss_may_leave(traced, scale, mode):
    root, ops, disk = traced(mode)
    assert len([op for op in ops if op.kind == "ack"]) == 6
    seen, wrong = examine(root, ops, disk, scale(1, 12), stride=scale(97, 1))
    print(f"{len(ops)} operations, {seen} disk states")
    assert wrong == []
    assert seen >= scale(40, 5000)


@pytest.mark.parametrize(
    "mutant",
    [NORMAL, FULL, NO_FOLDER, NO_FSYNC],
    ids=["synchronous=NORMAL", "journal with synchronous=FULL", "no fsync of folders", "no fsync"],
)
def test_the_harness_notices_a_missing_sync(traced, mutant):
    root, ops, disk = traced(mutant)
    _, wrong = examine(root, ops, disk, 2, stride=3, stop=True)
    assert wrong, "a product that does not sync must not pass"


def test_a_call_that_another_thread_interrupted_is_put_together(tmp_path):
    log = tmp_path / "log"
    head, tail = '1 openat(AT_FDCWD, "\\x2f\\x61", O_RDWR|O_CREAT, 0600', ") = 3"
    log.write_text(f"{head} <unfinished ...>\n2 fsync(9) = 0\n1 <... openat resumed>{tail}\n")
    assert [(call, value) for call, _, value in power.lines(log)] == [("fsync", 0), ("openat", 3)]


def test_a_written_file_is_lost_without_its_fsync_and_kept_with_it(tmp_path):
    disk = power.Disk(tmp_path, {}, set())
    name = f"{tmp_path}/f"
    disk.apply(power.Op("create", name))
    disk.apply(power.Op("write", name, content=b"x" * 2000))
    worst, best, empty, *_ = disk.states(random.Random(1), 1)
    assert (worst, best, empty) == ({}, {name: b"x" * 2000}, {name: b""})
    disk.apply(power.Op("sync", name))
    assert next(disk.states(random.Random(1), 0)) == {name: b"x" * 2000}
    disk.apply(power.Op("rename", name, f"{name}2"))
    assert next(disk.states(random.Random(1), 0)) == {name: b"x" * 2000}
    disk.apply(power.Op("sync", str(tmp_path)))
    assert next(disk.states(random.Random(1), 0)) == {f"{name}2": b"x" * 2000}
