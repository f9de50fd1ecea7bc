"""A fault at every write, fsync, rename, unlink, mkdir and truncate of the spool: no line is lost,
and none comes twice but those of the batch that was on its way.
"""

from collections import Counter

import msgspec
import pytest
from tests.faults import work
from tests.faults.test_every_point import FAULTS, injector  # noqa: F401

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
    for at in range(1, points + 1, scale(3, 1)):
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
