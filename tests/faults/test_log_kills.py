"""Whoever takes lines into the log store is killed at every step: afterwards each line is there
once, and none is missing.
"""

import datetime
import signal
import subprocess
import sys
import types
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa

from casemate.core.entry import Entry
from casemate.operations.logs.ingest import ingest
from casemate.respond.holds import HOLDS
from casemate.watch.logs import incoming
from casemate.watch.logs.query import parse
from casemate.watch.logs.store import LogStore

WORK = """
import os, signal, sys
from tests.faults.test_log_kills import project, store
from casemate.operations.logs import ingest as module
from casemate.watch.logs import day, incoming, index, store as stores

left = int(sys.argv[2])

def step():
    global left
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1

def around(owner, name):
    real = getattr(owner, name)
    def killed(*args, **kwargs):
        step()
        answer = real(*args, **kwargs)
        step()
        return answer
    setattr(owner, name, killed)

for owner, name in [
    (stores.LogStore, "keep"), (day.Day, "add"), (index.Index, "add"), (index, "_packed"),
    (incoming, "remove"), (stores.LogStore, "settle"), (day.Day, "seal"), (day, "table"),
    (stores.LogStore, "forget"), (stores.LogStore, "_remove"), (stores, "exchange"),
    (stores, "remove_tree"), (stores, "fsync_tree"),
]:
    around(owner, name)
at = store(sys.argv[1])
with at.writing():
    module.ingest(project(at), at)
    if sys.argv[3:]:
        from casemate.watch.logs.query import parse
        at.erase(parse(sys.argv[3]), len)
print(left)
"""
NOW = datetime.datetime(2026, 11, 29, 12, tzinfo=datetime.UTC)
MOST = 120
"""Steps that may be needed; there are fewer."""


class Log:
    """An audit log of two days, of which the first is too old by now."""

    def size(self):
        return 8

    def entries(self, start):
        for index in range(start, 8):
            day = "2026-11-28" if index < 4 else "2026-11-29"
            yield Entry(
                index=index,
                time=f"{day}T0{index}:00:00.000Z",
                principal="casemate",
                action="run:start",
                resource='Run::"r"',
                outcome="done",
                detail={},
            )

    def record(self, *_, **__):
        """That days were forgotten."""


def project(at):
    retention = types.SimpleNamespace(hold=[])
    config = types.SimpleNamespace(
        project=types.SimpleNamespace(id="p"), sinks={}, retention=retention
    )
    catalogue = sa.create_engine("sqlite://")
    HOLDS.create(catalogue)
    return types.SimpleNamespace(
        log=Log(),
        config=config,
        clock=at.clock,
        state=at.folder.parent,
        database=types.SimpleNamespace(reading=catalogue.begin),
    )


def store(folder):
    clock = types.SimpleNamespace(now=lambda: NOW)
    return LogStore(Path(folder), clock, 90, 2048)


def came_in(at):
    from tests.unit.watch.test_log_store import line

    writer = incoming.Writer(at.incoming, 10**9)
    writer.append([msgspec.json.encode(line(n, "2026-11-28")) for n in range(300)])
    writer.append([msgspec.json.encode(line(n)) for n in range(5)] + [b"garbage"])


def killed_at(folder, number, *words):
    done = subprocess.run(
        [sys.executable, "-c", WORK, str(folder), str(number), *words],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    if done.returncode == -signal.SIGKILL:
        return True
    assert done.returncode == 0, done.stderr
    return False


def test_a_kill_at_any_step_loses_no_line_and_doubles_none(tmp_path, scale):
    for number in range(0, MOST, scale(5, 1)):
        at = store(tmp_path / str(number))
        came_in(at)
        was_killed = killed_at(at.folder, number)
        with at.writing():
            ingest(project(at), at)
        found = [one.id for one in at.search(parse(""), 1_000).lines]
        assert (len(found), len(set(found))) == (313, 313), number
        assert incoming.waiting(at.incoming) == []
        assert at.positions().entry == 8
        if not was_killed:
            assert number > 20
            return
    pytest.fail("there were more steps than expected")


def test_an_erasure_that_is_killed_at_any_step_is_done_by_the_next_one_and_loses_nothing_else(
    tmp_path, scale
):
    for number in range(0, MOST, scale(5, 1)):
        at = store(tmp_path / str(number))
        came_in(at)
        was_killed = killed_at(at.folder, number, "number7")
        with at.writing():
            ingest(project(at), at)
            at.erase(parse("number7"), len)
            assert not (at.folder / "tmp").exists() or not list((at.folder / "tmp").iterdir())
        assert at.search(parse("number7"), 9).lines == []
        assert at.search(parse(""), 1_000).matched + at.count("day", parse("")).lines >= 312
        assert at.count("day", parse("")).lines == 312, number
        if not was_killed:
            return
    pytest.fail("there were more steps than expected")
