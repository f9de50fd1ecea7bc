"""A fault at every write, fsync, rename, unlink, mkdir and truncate of the spool, and power loss
between any two of them: no line is lost, and after a kill none comes twice but those of the batch
that was on its way.
"""

import random
import shutil
import sys
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from tests.faults import power, work
from tests.faults.test_every_point import FAULTS, injector  # noqa: F401
from tests.faults.test_power_loss import NO_FOLDER, NO_FSYNC, lay_out

from casemate.watch.sinks.spool import Spool

IDS = [f"{at:04d}" for at in range(work.SPOOLED)]


def heard(acks):
    return [ack.removeprefix("got ") for ack in acks if ack.startswith("got ")]


@pytest.mark.parametrize(("mode", "sticky"), FAULTS, ids=str)
def test_every_line_reaches_a_sink_after_a_fault_at_any_point(
    injector,  # noqa: F811
    tmp_path,
    scale,
    mode,
    sticky,
):
    whole = tmp_path / "whole"
    whole.mkdir()
    status, acks, points = injector.run("spool", whole)
    assert (status, acks[-1], heard(acks)) == (0, "left 0", IDS)
    assert points > 80
    for at in range(1, points + 1, scale(5, 1)):
        root = tmp_path / f"{at}"
        root.mkdir()
        _, before, _ = injector.run("spool", root, at, mode, sticky)
        status, after, _ = injector.run("spool", root)
        assert (status, after[-1]) == (0, "left 0"), (at, before, after)
        found = Counter([*heard(before), *heard(after)])
        assert sorted(found) == IDS, (at, before, after)
        twice = sorted(int(name) for name, count in found.items() if count > 1)
        # what was appended and not confirmed is appended again: at most one batch of 40
        assert not twice or twice[-1] - twice[0] < 40, (at, twice)
        cursor = Spool(root / ".casemate" / "spool", 2**16, ["one"]).cursor("one")
        assert cursor.dropped == 0
        letters = (root / ".casemate" / "spool" / "dead" / "one.jsonl").read_bytes().splitlines()
        buried = {msgspec.json.decode(letter)["id"] for letter in letters}
        assert buried == {name for name in IDS if name.endswith("0")}


SCRIPT = """
import os, sys
sys.path.insert(0, {repo!r})
from pathlib import Path
{mutant}
from tests.faults import work
work.spool(Path({root!r}), lambda text: os.write(1, f"ACK {{text}}\\n".encode()))
"""


@pytest.fixture
def traced(tmp_path):
    if shutil.which("strace") is None:
        pytest.skip("no strace: install it")

    def trace(mutant=""):
        root = tmp_path / "p"
        (root / ".casemate").mkdir(parents=True)
        start = power.snapshot(root / ".casemate")
        script = SCRIPT.format(repo=str(Path(__file__).parents[2]), root=str(root), mutant=mutant)
        words = [sys.executable, "-c", script]
        done = power.record(words, tmp_path / "trace", capture_output=True, text=True)
        if "ptrace" in done.stderr and done.returncode:
            pytest.skip("this machine does not let us trace processes")
        assert "ACK left 0" in done.stdout, done.stderr
        ops = power.operations(tmp_path / "trace", root / ".casemate")
        return root, ops, power.Disk(root / ".casemate", *start)

    return trace


def lost(root, ops, disk, stride):
    """(disk states looked at, lines that never came in one of them)."""
    generator, seen = random.Random(5), 0
    for number, op in enumerate(ops):
        if number % stride == 0:
            for files in disk.states(generator, 2):
                lay_out(root, disk, files)
                taken = [ack for ack in disk.acks if ack.startswith("appended")]
                (root / "remembered").write_text(taken[-1].split()[1] if taken else "0")
                acks = list(disk.acks)
                work.spool(root, acks.append)
                seen += 1
                missing = sorted(set(IDS) - set(heard(acks)))
                if missing or acks[-1] != "left 0":
                    return seen, missing or acks[-1:]
        disk.apply(op)
    return seen, []


def test_no_line_is_lost_in_any_state_that_power_loss_may_leave(traced, scale):
    seen, missing = lost(*traced(), scale(9, 1))
    assert missing == []
    assert seen > 100


@pytest.mark.parametrize("mutant", [NO_FSYNC, NO_FOLDER], ids=["no fsync", "no fsync of folders"])
def test_a_spool_that_does_not_sync_loses_lines_in_the_same_test(traced, mutant):
    more = "\nimport casemate.watch.sinks.spool as s; s.fsync_folder = lambda folder: None"
    _, missing = lost(*traced(mutant + more), 2)
    assert missing
