"""What is known of alerts does not depend on the order in which it was heard, nor on how often."""

import datetime
from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.core.errors import RequestError
from casemate.respond.alerts import (
    LATEST,
    MOST_LABEL,
    MOST_LABELS,
    Alert,
    fingerprint,
    joined,
    made,
    moment,
    time_of,
)

NOW = datetime.datetime(2026, 11, 29, 8, tzinfo=datetime.UTC)


def at(minutes: int) -> str:
    return moment(NOW + datetime.timedelta(minutes=minutes))


def message(began: int, ended: int | None = None, **more) -> Alert:
    given = {"source": "s", "name": "n", "severity": "page", **more}
    return Alert(began=at(began), ended=None if ended is None else at(ended), **given)


@st.composite
def messages(draw):
    began = draw(st.integers(0, 6))
    ended = draw(st.one_of(st.none(), st.integers(began, 8)))
    severity = draw(st.sampled_from(["page", "note"]))
    return message(began, ended, severity=severity, text=draw(st.sampled_from(["a", "b"])))


@given(
    st.lists(messages(), min_size=1, max_size=8).flatmap(
        lambda heard: st.tuples(st.just(heard), st.permutations([*heard, *heard[:3]]))
    )
)
def test_any_order_and_any_repetition_of_messages_comes_to_the_same(pair):
    heard, again = pair
    assert reduce(joined, heard) == reduce(joined, again)


@given(messages(), messages(), messages())
def test_joining_can_be_done_in_parts(one, two, three):
    assert joined(one, joined(two, three)) == joined(joined(one, two), three)
    assert joined(one, one) == one


@pytest.mark.parametrize(
    ("heard", "stands"),
    [
        ([message(0)], True),
        ([message(0), message(0, 3)], False),
        ([message(0, 3), message(0)], False),  # the end came first
        ([message(0, 3), message(4)], True),  # a new episode
        ([message(4), message(0, 3)], True),  # the old one's end came late
        ([message(4), message(0, 5)], False),  # they were one: an Alertmanager joins what overlaps
        ([message(0, 0)], False),
        ([message(0, is_moment=True)], False),
    ],
)
def test_an_alert_stands_while_it_began_after_it_ended(heard, stands):
    assert reduce(joined, heard).stands is stands


def test_two_alerts_are_one_by_source_name_and_labels_alone():
    one = message(0, labels={"b": "2", "a": "1"})
    assert one.fingerprint == message(7, text="other", labels={"a": "1", "b": "2"}).fingerprint
    for other in ({"source": "x"}, {"name": "x"}, {"labels": {"a": "1"}}):
        assert message(0, **{"labels": {"a": "1", "b": "2"}, **other}).fingerprint != (
            one.fingerprint
        )
    assert fingerprint("s", "n", {"a": "b,c=d"}) != fingerprint("s", "n", {"a": "b", "c": "d"})


def build(**more):
    given = {"source": "s", "name": "n", "severity": "page", "labels": {}, "began": NOW}
    return made(**{**given, "now": NOW, **more})


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"name": " "}, "a name|name has 1 to"),
        ({"name": "n" * 201}, "name has 1 to 200"),
        ({"labels": {str(n): "" for n in range(MOST_LABELS + 1)}}, "33 labels, at most 32"),
        ({"labels": {"a": "v" * (MOST_LABEL + 1)}}, "longer than 500"),
        ({"began": NOW + LATEST * 2}, "more than a day ahead"),
        ({"ended": NOW - LATEST}, "ended before it began"),
    ],
)
def test_what_is_too_much_is_refused_with_a_sentence(more, told):
    with pytest.raises(RequestError, match=told):
        build(**more)


def test_texts_of_strangers_are_cut_and_drive_no_terminal():
    found = build(
        name="\x1b[2Jn\n", text="t" * 5000, labels={"k\u202e": "\x1b]0;x\x07v"}, link="javascript:x"
    )
    assert (found.name, len(found.text), found.labels, found.link) == ("n", 2000, {"k?": "v"}, "")


@pytest.mark.parametrize("text", ["", "soon", "2026-11-29T08:00:00", True, None, 1e300, "nan", []])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(RequestError, match="is no time"):
        time_of(text, "began")


def test_times_have_one_length_whatever_their_zone():
    two = time_of("2026-11-29T09:00:00.123456789+01:00", "began"), time_of(1795939200, "began")
    assert [moment(one) for one in two] == [
        "2026-11-29T08:00:00.123456+00:00",
        "2026-11-29T08:00:00.000000+00:00",
    ]
