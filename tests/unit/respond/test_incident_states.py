"""An incident's life: what may follow what, in any order and with any crash between."""

import random

import pytest

from casemate.core.errors import RefusedError, VerificationError
from casemate.operations.incidents.books import KIND
from casemate.respond import states
from casemate.respond.states import Change, applied

T = "2026-11-29T08:00:{:02}.000000+00:00"
OPENING = Change(
    at=T.format(0), text="t", root="model:m", chain=("model:m",), severity="medium", joined=1
)
AFTER = {
    "new": {"acknowledged", "contained", "merged"},
    "acknowledged": {"contained", "recovered", "closed", "merged"},
    "contained": {"acknowledged", "recovered", "closed", "merged"},
    "recovered": {"acknowledged", "closed", "merged"},
    "closed": {"reviewed", "reopened"},
    "reviewed": {"reopened"},
}
"""Written from the documentation: what people may do in each state."""
SAYING = {"noted", "assigned", "severity-set", "overdue"}
GROWING = {"alerts", "rerooted", "absorbed"}
ALL = sorted(SAYING | GROWING | {"opened"} | {one for some in AFTER.values() for one in some})


def change(rng: random.Random, second: int) -> Change:
    return Change(
        at=T.format(second % 60),
        text=rng.choice(("", "words")),
        root=rng.choice(("dataset:d", "model:m")),
        chain=("dataset:d",),
        severity=rng.choice((None, "low", "high", "critical")),
        joined=rng.choice((0, 1)),
        again=rng.choice((0, 0, 1)),
        other=7,
        owner="o",
        standing=rng.choice((0, 0, 2)),
        clock="contain",
        latest=T.format(second % 60),
    )


def test_ten_thousand_histories_hold_whatever_happens_between(scale):
    rng = random.Random(11)
    seen, refused = set(), 0
    for _ in range(scale(10_000, 10_000)):
        incident = applied(None, 1, states.OPENED, OPENING)
        entries = [(states.OPENED, OPENING)]
        merged = False
        for second in range(rng.randint(1, 14)):
            word, one = rng.choice(ALL), change(rng, second)
            before = incident
            taken = before.acknowledged is not None
            unexplained = word == "closed" and one.standing and not one.text
            is_open = before.state in ("new", "acknowledged", "contained", "recovered")
            may = not merged and (
                (
                    word in AFTER[before.state]
                    and not unexplained
                    and not (word == "acknowledged" and taken)
                )
                or word in SAYING
                or (word in GROWING and is_open)
            )
            action = f"incident:{word}"
            try:
                incident = applied(before, 1, action, one)
                assert may, (before.state, word)
            except RefusedError:
                assert not may, (before.state, word)
                refused += 1
                continue
            entries.append((action, one))
            merged = merged or word == "merged"
            seen.add((before.state, word, incident.state))
            if rng.random() < 0.3:  # whoever held it in memory died
                incident = KIND.folded(1, entries)
        assert incident == KIND.folded(1, entries)
        assert incident.changes == len(entries)
        assert (incident.closed is not None) == (incident.state in ("closed", "reviewed"))
        assert incident.state != "acknowledged" or incident.acknowledged is not None
    assert refused > 1000
    assert {state for _, _, state in seen} == set(AFTER)
    assert ("recovered", "alerts", "acknowledged") in seen
    assert ("contained", "acknowledged", "contained") in seen
    assert ("recovered", "acknowledged", "recovered") in seen
    assert ("closed", "reopened", "new") in seen
    assert ("closed", "reopened", "acknowledged") in seen


def test_an_incident_that_is_over_and_goes_on_is_taken_up_again():
    incident = applied(None, 1, states.OPENED, OPENING)
    for action in (states.ACKNOWLEDGED, states.RECOVERED):
        incident = applied(incident, 1, action, Change(at=T.format(1)))
    ended = applied(incident, 1, states.ALERTS, Change(at=T.format(2), ended=1))
    assert ended.state == "recovered"
    again = applied(incident, 1, states.ALERTS, Change(at=T.format(2), again=1))
    assert (again.state, again.recovered) == ("acknowledged", None)


def test_what_was_over_before_anybody_took_it_up_can_still_be_taken_up_once():
    incident = applied(None, 1, states.OPENED, OPENING)
    for action in (states.CONTAINED, states.RECOVERED):
        incident = applied(incident, 1, action, Change(at=T.format(1)))
    taken = applied(incident, 1, states.ACKNOWLEDGED, Change(at=T.format(2), owner="o"))
    assert (taken.state, taken.acknowledged, taken.owner) == ("recovered", T.format(2), "o")
    assert taken.recovered == T.format(1)
    with pytest.raises(RefusedError, match="was acknowledged by o"):
        applied(taken, 1, states.ACKNOWLEDGED, Change(at=T.format(3), owner="p"))
    closed = applied(incident, 1, states.CLOSED, Change(at=T.format(2)))
    assert applied(closed, 1, states.REOPENED, Change(at=T.format(3), text="w")).state == "new"


def test_alerts_raise_the_severity_until_a_person_says_what_it_is():
    incident = applied(None, 1, states.OPENED, OPENING)
    raised = applied(incident, 1, states.ALERTS, Change(at="x", severity="high"))
    assert raised.severity == "high"
    assert applied(raised, 1, states.ALERTS, Change(at="x", severity="low")).severity == "high"
    graded = applied(raised, 1, states.SEVERITY, Change(at="x", severity="low"))
    later = applied(graded, 1, states.ALERTS, Change(at="x", severity="critical"))
    assert later.severity == "low"


def test_entries_that_do_not_follow_one_another_are_no_incident():
    with pytest.raises(VerificationError, match="do not follow one another"):
        KIND.folded(1, [(states.OPENED, OPENING), (states.REVIEWED, Change(at="x"))])
    with pytest.raises(VerificationError, match="no entry about incident 1"):
        KIND.folded(1, [])
    with pytest.raises(VerificationError, match="cannot be read"):
        KIND.change_of({"at": 1})
    with pytest.raises(RefusedError, match="there is no incident 1"):
        applied(None, 1, states.CLOSED, Change(at="x"))
