"""Counting over spans of time: against the back end's own SQL, in any order, in any batches."""

import functools
import json
import tempfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sigma.backends.sqlite import sqliteBackend
from sigma.collection import SigmaCollection
from tests.unit.watch.rule_lines import START, correlation, denied, line, rule

from casemate.core.store.sqlite import driver
from casemate.watch.rules import Rules, windows

BASES = {
    "first": rule("{event.action: a}", title="first", level="", more="name: first\n"),
    "second": rule("{event.action: [b, a]}", title="second", level="", more="name: second\n"),
    "third": rule("{event.reason: done}", title="third", level="", more="name: third\n"),
}
KINDS = {
    "event_count": ("event_count", ["first", "second"], "{gte: 3}"),
    "event_count_gt": ("event_count", ["second"], "{gt: 1}"),
    "value_count": ("value_count", ["second", "third"], "{gte: 2, field: labels.resource}"),
    "temporal": ("temporal", ["first", "second", "third"], "{gte: 2}"),
    "temporal_all": ("temporal", ["first", "third"], ""),
    "temporal_ordered": ("temporal_ordered", ["first", "third"], ""),
    "temporal_ordered_3": ("temporal_ordered", ["first", "second", "third"], ""),
}
COLUMNS = {
    "event.action": "action",
    "event.reason": "reason",
    "user.name": "user",
    "labels.resource": "resource",
}
some = st.builds(
    lambda at, action, reason, user, resource: (at, action, reason, user, resource),
    st.integers(0, 40),
    st.sampled_from(["a", "b", "c"]),
    st.sampled_from(["done", "denied"]),
    st.sampled_from(["", "u", "v"]),
    st.sampled_from(["", "r", "s", "t"]),
)
drawn = st.lists(some, max_size=25)


def lines_of(content):
    return [
        line(at, id=str(number), action=action, reason=reason, user=user, resource=resource)
        for number, (at, action, reason, user, resource) in enumerate(content)
    ]


@functools.cache
def read(kind: str, group: str) -> tuple[str, Rules]:
    """The text of a correlation with its rules, and what was read from it."""
    what, bases, condition = KINDS[kind]
    text = "---\n".join(
        [*map(BASES.get, bases), correlation(what, bases, condition, span="10s", group=group)]
    )
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rules.yml"
        file.write_text(text)
        made = Rules(file, starter=False)
    assert made.faults == []
    return text, made


def anew(made: Rules) -> Rules:
    """As if it had seen nothing."""
    made._windows = {key: windows.Windows(one.counted) for key, one in made._windows.items()}
    made._horizon = 0.0
    return made


@functools.cache
def query_of(text: str) -> str:
    backend = sqliteBackend(
        table="lines", timestamp_field="at", timestamp_seconds_expression="{field}"
    )
    return backend.convert(SigmaCollection.from_yaml(text))[-1]


def by_back_end(text: str, lines) -> dict[str, tuple[float, int, set[str]]]:
    """(end, count, lines) of the newest window of each group, by pySigma's own translation."""
    names = ", ".join(f"`{name}` TEXT COLLATE NOCASE" for name in COLUMNS)
    connection = driver.connect(":memory:")
    connection.execute(f"CREATE TABLE lines (rowid INTEGER PRIMARY KEY, at REAL, {names})")
    for number, one in enumerate(lines):
        values = [getattr(one, name) or None for name in COLUMNS.values()]
        at = windows.seconds(one.time) - START.timestamp()
        connection.execute("INSERT INTO lines VALUES (?, ?, ?, ?, ?, ?)", [number, at, *values])
    cursor = connection.execute(query_of(text))
    heads = [one[0] for one in cursor.description]
    found = {}
    for row in cursor:
        told = dict(zip(heads, row, strict=True))
        group = ",".join(json.loads(told["group_keys"]).values())
        ids = {one.partition(":")[2] for one in json.loads(told["event_ids"])}
        if group not in found or told["window_end"] > found[group][0]:
            found[group] = told["window_end"], told["metric_value"], ids
    return found


@pytest.mark.parametrize("group", ["", "user.name", "user.name, labels.resource"])
@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None)
@given(content=drawn)
def test_what_is_counted_is_what_the_back_ends_sql_counts(kind, group, content):
    text, made = read(kind, group)
    lines = lines_of(content)
    ours = {
        ",".join(match.group.values()): (match.count, set(match.lines), match.last)
        for match in anew(made).judge(lines)
    }
    theirs = by_back_end(text, lines)
    assert {key: found[0] for key, found in ours.items()} == {
        key: found[1] for key, found in theirs.items()
    }
    if not kind.startswith("temporal_ordered"):  # there the back end names the chosen lines only
        assert {key: found[1] for key, found in ours.items()} == {
            key: found[2] for key, found in theirs.items()
        }


def groups(matches) -> set[tuple[str, ...]]:
    return {tuple(match.group.values()) for match in matches}


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None)
@given(content=drawn, cuts=st.lists(st.integers(0, 25), max_size=4), late=st.randoms())
def test_how_lines_are_divided_into_batches_changes_nothing(kind, content, cuts, late):
    _, made = read(kind, "user.name")
    lines = lines_of(content)
    # late by less than the timespan
    lines.sort(key=lambda one: windows.seconds(one.time) + late.uniform(0, 10))
    together, found = groups(anew(made).judge(lines)), set()
    anew(made)
    for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(lines)], strict=True):
        found |= groups(made.judge(lines[start:end]))
    assert found == together


def made_of(tmp_path, *texts) -> Rules:
    file = tmp_path / "rules.yml"
    file.write_text("---\n".join(texts))
    made = Rules(file, starter=False)
    assert made.faults == []
    return made


DENIED = rule("{event.reason: denied}", title="denied", level="", more="name: denied\n")
FIVE = correlation("event_count", ["denied"], "{gte: 5}", group="user.name")


def test_a_threshold_is_reached_over_several_batches_and_told_for_each_group(tmp_path):
    made = made_of(tmp_path, DENIED, FIVE)
    for number in range(4):
        assert made.judge([denied(number), denied(number, user="bob")]) == []
    (match,) = made.judge([denied(4)])
    assert (match.group, match.count) == ({"user.name": 'User::"ana"'}, 5)
    (match,) = made.judge([denied(5)])
    assert (match.group, match.count) == ({"user.name": 'User::"ana"'}, 6)
    assert made.judge([line(6)]) == []
    assert made.judge([denied(80)]) == [], "the window is over"


def test_the_same_lines_handed_over_again_count_once(tmp_path):
    made = made_of(tmp_path, DENIED, FIVE)
    for _ in range(3):
        assert made.judge([denied(0), denied(1)]) == []


def test_principals_whose_names_differ_in_case_are_two(tmp_path):
    made = made_of(tmp_path, DENIED, FIVE)
    assert made.judge([denied(one, user="aA"[one % 2]) for one in range(8)]) == []


def test_a_line_without_the_group_or_a_time_counts_for_nobody(tmp_path):
    made = made_of(tmp_path, DENIED, FIVE)
    assert made.judge([denied(one, user="") for one in range(9)]) == []
    assert made.judge([denied(one, time="yesterday", id=str(one)) for one in range(9)]) == []


def test_another_process_goes_on_where_one_ended_with_the_same_correlation_only(tmp_path):
    before = made_of(tmp_path, DENIED, FIVE)
    assert before.judge([denied(one) for one in range(4)]) == []
    kept = msgspec.json.decode(msgspec.json.encode(before.state()), type=dict[str, windows.State])
    after = made_of(tmp_path, DENIED, FIVE)
    after.restore(kept)
    (match,) = after.judge([denied(4)])
    assert (match.count, after.state() != kept) == (5, True)
    other = made_of(tmp_path, DENIED, FIVE.replace("timespan: 1m", "timespan: 2m"))
    other.restore(kept)
    assert other.judge([denied(4)]) == []


def test_a_line_that_is_late_by_less_than_the_timespan_is_counted_with_those_of_its_time(tmp_path):
    made = made_of(tmp_path, DENIED, FIVE)
    assert made.judge([denied(one) for one in range(4)]) == []
    assert made.judge([denied(100, user="bob")]) == []
    (match,) = made.judge([denied(50)])
    assert match.count == 5


def test_a_line_of_the_future_does_not_make_the_present_old(tmp_path):
    made = made_of(tmp_path, DENIED, FIVE)
    assert made.judge([denied(one) for one in range(4)]) == []
    made.judge([denied(0, time="2999-01-01T00:00:00Z")])
    assert len(made.judge([denied(4)])) == 1


def test_a_flood_is_found_and_what_could_not_be_kept_is_a_fault(tmp_path, monkeypatch):
    monkeypatch.setattr(windows, "MOST_IN_GROUP", 20)
    values = correlation("value_count", ["denied"], "{gte: 5, field: event.action}", title="values")
    made = made_of(tmp_path, DENIED, FIVE, values)
    lines = [denied(one / 1000, action=str(one)) for one in range(100)]
    assert [match.count for match in made.judge(lines)] == [100, 100]
    (fault,) = made.faults
    assert fault.rule == "values", "so many lines are enough to count lines"
    assert fault.reason.startswith("80 lines came too close together")
    assert [match.count for match in made.judge([denied(1)])] == [21, 21]


def test_more_groups_than_can_be_kept_make_room_for_newer_ones(tmp_path, monkeypatch):
    monkeypatch.setattr(windows, "MOST_KEPT", 50)
    made = made_of(tmp_path, DENIED, FIVE)
    made.judge([denied(one / 1000, user=str(one)) for one in range(100)])
    assert [fault.rule for fault in made.faults] == ["a correlation"]
    assert sum(map(len, made._windows.popitem()[1]._groups.values())) == 50


def test_many_groups_at_once_are_one_match(tmp_path):
    made = made_of(tmp_path, DENIED, FIVE)
    lines = [denied(one, user=str(user)) for user in range(30) for one in range(5)]
    (match,) = made.judge(lines)
    assert (match.group, match.count, len(match.lines)) == ({}, 30, 30)
