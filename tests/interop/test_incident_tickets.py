"""Incidents at a real Roundup: one ticket each, which follows them, however often it is told."""

import json
import tempfile
from pathlib import Path

import msgspec
import pytest
from tests.contract.tracker_servers import Roundup

import casemate

SECRET_NAME = "zoe.zebra"


@pytest.fixture
def roundup():
    # not below pytest's own folder, which each new session closes to other users
    with tempfile.TemporaryDirectory() as folder:
        server = Roundup(Path(folder))
        yield server
        server.close()


def alert(**changes):
    one = {"name": "drift", "severity": "page", "labels": {"model": "wdbc"}}
    one["text"] = f"seen by {SECRET_NAME}"
    return json.dumps({"alerts": [{**one, "began": "2026-11-29T08:00:00Z", **changes}]}).encode()


def opened(clinic, roundup):
    (clinic / "desk").write_text(roundup.token)
    (clinic / "desk").chmod(0o600)
    table = f'kind="roundup",url="{roundup.url}",user="{roundup.user}",token="file:{clinic}/desk"'
    return casemate.open(clinic, [f"trackers.desk={{{table}}}"])


def test_an_incident_has_one_ticket_that_follows_it_until_it_is_closed(clinic, roundup):
    project = opened(clinic, roundup)
    for _ in range(3):
        project.incidents.report(alert())
    (ticket,) = roundup.all()
    title, body, state, labels, comments = ticket
    assert title.startswith("casemate incident 1: ")
    assert "casemate incident show 1" in body
    assert (state, comments) == ("open", [])
    assert "casemate" in labels
    project.incidents.acknowledge(1)
    project.messages.deliver()
    project.incidents.report(alert(ended="2026-11-29T09:00:00Z"))
    project.incidents.close(1)
    project.messages.deliver()
    ((_, _, state, _, comments),) = roundup.all()
    assert state == "closed"
    assert any("acknowledged" in one for one in comments)
    project.incidents.reopen(1, "it was not")
    project.messages.deliver()
    ((_, _, state, _, comments),) = roundup.all()
    assert state == "open"
    assert len(comments) == len(set(comments))
    # who is named in an alert, or in what people said, stays here
    assert SECRET_NAME not in str(roundup.all())


def test_an_incident_that_turns_out_small_and_one_of_somebodys_machine(clinic, roundup):
    project = opened(clinic, roundup)
    table = project.config.trackers["desk"]
    project.config.trackers["desk"] = msgspec.structs.replace(table, severities=["high", "medium"])
    machine = f"laptop-of-{SECRET_NAME}"
    project.incidents.report(alert(name="Login failed", labels={"instance": machine * 8}))
    ((title, _, _, _, _),) = roundup.all()
    assert title.startswith("casemate incident 1: instance (")
    project.incidents.grade(1, "low")
    project.incidents.acknowledge(1)
    project.incidents.close(1, "nothing came of it")
    project.messages.deliver()
    ((_, _, state, _, _),) = roundup.all()
    assert state == "closed"
    assert SECRET_NAME not in str(roundup.all())


def test_a_message_that_comes_late_leaves_the_ticket_as_the_incident_is(clinic, roundup):
    project = opened(clinic, roundup)
    project.incidents.report(alert())
    project.incidents.acknowledge(1)
    project.incidents.close(1, "it is over")
    project.incidents.reopen(1, "it is not")
    ((_, _, state, _, _),) = roundup.all()
    assert state == "open"
    late = next(
        message
        for number in range(1, 20)
        for message in [project.messages.show(number)]
        if message.content.get("what") == "incident:closed"
    )
    project.outbox.routes["tickets-desk"].deliver(late)
    ((_, _, state, _, _),) = roundup.all()
    assert state == "open"


def test_a_tracker_that_is_away_keeps_no_incident_from_opening_and_is_told_later(clinic, roundup):
    project = opened(clinic, roundup)
    roundup.close()
    project.incidents.report(alert())
    assert [one.incident.id for one in project.incidents.list()] == [1]
    (waiting,) = project.messages.list("pending")
    assert (waiting["target"], waiting["event"]) == ("tickets-desk", "incident:opened")
    assert "CM-" in waiting["error"]
