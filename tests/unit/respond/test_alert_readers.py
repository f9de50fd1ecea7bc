"""Messages of other systems are read whole or refused with a sentence that is true."""

import datetime
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.core.errors import RequestError
from casemate.respond import readers
from casemate.respond.alerts import joined
from casemate.respond.readers import TRUNCATED, read

NOW = datetime.datetime(2026, 11, 29, 8, tzinfo=datetime.UTC)
ZERO = "0001-01-01T00:00:00Z"


def managed(*alerts, truncated=0, **more):
    body = {
        "version": "4",
        "groupKey": '{}:{alertname="X"}',
        "truncatedAlerts": truncated,
        "status": "firing",
        "receiver": "casemate",
        "alerts": list(alerts),
    }
    return json.dumps({**body, **more}).encode()


def alert(status="firing", ends=ZERO, **labels):
    return {
        "status": status,
        "labels": {"alertname": "X", **labels},
        "annotations": {"summary": "it burns", "action": "put it out"},
        "startsAt": "2026-11-29T07:00:00.5Z",
        "endsAt": ends,
        "generatorURL": "http://prometheus/graph",
        "fingerprint": "abc",
    }


def test_alertmanagers_message_is_read_with_its_begin_and_end():
    firing, over = read(
        managed(
            alert(severity="page", model="m@1"),
            alert("resolved", "2026-11-29T07:30:00Z", severity="ticket"),
        ),
        NOW,
    ).alerts
    assert (firing.name, firing.severity, firing.stands) == ("X", "page", True)
    assert (firing.text, firing.hint) == ("it burns", "put it out")
    assert firing.link == "http://prometheus/graph"
    assert firing.labels == {"model": "m@1", "severity": "page"}
    assert (over.severity, over.stands) == ("note", False)


def test_left_out_alerts_are_an_alert_of_their_own_until_a_whole_message_comes():
    post = read(managed(alert(), truncated=7), NOW)
    told = post.alerts[-1]
    assert (told.name, told.stands, told.text[:8]) == (TRUNCATED, True, "7 alerts")
    assert post.over == []
    later = read(managed(alert()), NOW + datetime.timedelta(minutes=1))
    assert len(later.alerts) == 1
    assert joined(told, later.over[0]).stands is False
    other = read(managed(alert(), groupKey="other"), NOW).over[0]
    assert other.fingerprint != told.fingerprint


def test_a_search_of_splunk_is_a_moment_and_no_field_of_anybody_is_taken():
    body = {
        "search_name": "odd logins",
        "sid": "scheduler__ada__search__RMD5_at_1795936500_12",
        "owner": "ada",
        "app": "search",
        "results_link": "http://splunk/x",
        "result": {"user": "bob", "model": "m@1", "_raw": "secret", "severity": "high"},
    }
    (found,) = read(json.dumps(body).encode(), NOW).alerts
    assert found.is_moment
    assert found.began.startswith("2026-11-29T07:15:00")
    assert found.labels == {"app": "search", "model": "m@1", "severity": "high"}
    assert "bob" not in str(found)
    assert "ada" not in str(found)


def test_our_own_form_fills_what_is_not_said():
    body = {"alerts": [{"name": "a"}, {"name": "b", "ended": 1795939200, "severity": "low"}]}
    begun, over = read(json.dumps(body).encode(), NOW).alerts
    assert (begun.source, begun.severity, begun.stands) == ("generic", "page", True)
    assert (over.severity, over.stands) == ("note", False)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "not as expected"),
        (b"[]", "not as expected"),
        (b"{}", "neither groupKey"),
        (b'{"alerts": 1}', "not as expected"),
        (b'{"alerts": [{"name": "a", "more": 1}]}', "not as expected"),
        (b'{"alerts": [{"name": "a", "source": "casemate"}]}', "is not 'casemate'"),
        (b'{"alerts": [{"name": "a", "began": "soon"}]}', "began is no time"),
        (managed(alert(), version="5"), "version '5'"),
        (managed({**alert(), "startsAt": 1}), "not as expected"),
        (managed({**alert(), "labels": {"a": 1}}), "not as expected"),
        (managed(alert("resolved", "never")), "endsAt is no time"),
        (b'{"search_name": "x"}', "not as expected"),
        (b'{"groupKey":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "not as expected"),
        (b'{"groupKey": "\xff"}', "not as expected"),
        (b" " * (readers.MOST_BYTES + 1), "8 MiB"),
        (managed(*[{**alert(), "labels": {}}] * 10_001), "10001 alerts"),
    ],
)
def test_what_is_no_such_message_is_refused_with_a_sentence(body, told):
    with pytest.raises(RequestError, match=told):
        read(body, NOW)


@given(
    st.binary(max_size=300)
    | st.recursive(
        st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=20),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["alerts", "groupKey", "version", "labels", "name", "sid", "result"]
                ),
                inner,
                max_size=4,
            )
        ),
    ).map(lambda value: json.dumps(value).encode())
)
def test_nothing_but_a_refusal_comes_of_nonsense(body):
    try:
        read(body, NOW)
    except RequestError as error:
        assert error.message
