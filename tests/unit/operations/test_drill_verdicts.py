"""Verdicts of a drill: what counts as seen and as stopped, and what blocks."""

import pytest

from casemate.core.errors import ConfigError
from casemate.operations.drills import catalogue, report
from casemate.operations.drills.attack import Attack
from casemate.operations.drills.seen import Seen
from casemate.stages.release.drill import Drill, Moment


def attack(contains="it", within=10.0):
    return Attack(
        id="a",
        title="t",
        technique="AML.T0020",
        detects="the screen",
        contains=contains,
        within=within,
        play=lambda scene: Seen(),
    )


def at(seconds):
    return Moment(by="the screen", seconds=seconds)


@pytest.mark.parametrize(
    ("contains", "seen", "verdict", "holds"),
    [
        ("it", Seen(at(1), at(2)), "contained", True),
        ("it", Seen(at(1)), "detected", False),
        ("", Seen(at(1)), "detected", True),
        ("it", Seen(None, at(1)), "missed", False),
        ("", Seen(), "missed", False),
        ("it", Seen(at(11), at(12)), "missed", False),
        ("it", Seen(at(1), at(11)), "detected", False),
    ],
)
def test_what_is_not_seen_or_stopped_in_time_is_not_at_all(contains, seen, verdict, holds):
    found = attack(contains).judged(seen, 1.0)
    assert (found.verdict, found.holds) == (verdict, holds)
    assert bool(report.why(found)) is not holds


def test_what_was_not_played_blocks_and_says_why():
    found = attack("").told("not-played", said="no table")
    drill = Drill(
        **dict.fromkeys(("id", "project", "time", "casemate"), "x"),
        seconds=1.0,
        whole=True,
        rows=1,
        differences=[],
        left_out={},
        played=[found],
    )
    assert drill.broken == [found]
    assert report.why(found) == "no table"
    assert b"no table" in report.written(drill, "k")


def test_attacks_have_a_technique_of_their_own_words_and_a_time():
    for name, one in catalogue.ATTACKS.items():
        assert name == one.id
        assert one.technique.startswith("AML.T0")
        assert not one.weakness or one.weakness.startswith("CWE-")
        assert one.detects
        assert 0 < one.within <= 600
    with pytest.raises(ConfigError, match="no attack"):
        catalogue.named(["nothing"])
