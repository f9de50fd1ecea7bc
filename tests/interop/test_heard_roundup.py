"""A real Roundup in both directions: what people do there comes back, while casemate writes too."""

import json
import tempfile
import threading
from pathlib import Path

import pytest
from tests.contract.faulty import FaultyProxy
from tests.contract.tracker_servers import Roundup

import casemate
from casemate.operations.incidents.heard import hear

CANARY = "zoe.zebra"


@pytest.fixture(scope="module")
def server():
    # not below pytest's own folder, which each new session closes to other users
    with tempfile.TemporaryDirectory() as folder:
        server = Roundup(Path(folder))
        yield server
        server.close()


@pytest.fixture
def roundup(server):
    server.empty()
    return server


def alert(**changes):
    one = {"name": f"Login of {CANARY} failed", "severity": "page"}
    one |= {"labels": {"instance": f"laptop-of-{CANARY}"}, "text": f"seen by {CANARY}"}
    return json.dumps({"alerts": [{**one, "began": "2026-11-29T08:00:00Z", **changes}]}).encode()


def opened(root, roundup, url=None):
    (root / "desk").write_text(roundup.token)
    (root / "desk").chmod(0o600)
    table = f'kind="roundup",url="{url or roundup.url}",user="{roundup.user}"'
    table += f',token="file:{root}/desk",people={{ben="root"}}'
    return casemate.open(root, [f"trackers.desk={{{table}}}"])


def number_of(roundup):
    return roundup.call("GET", "issue")["collection"][0]["id"]


def texts(project):
    return [one.text for one in project.incidents.show(1).comments]


def test_people_and_casemate_work_on_one_ticket(clinic, roundup):
    project = opened(clinic, roundup)
    project.incidents.report(alert())
    issue = number_of(roundup)
    roundup.said(issue, "It was the switch.")
    roundup.edit(issue, assignee="ben")
    (found,) = project.trackers.read()
    assert (found.tickets, found.comments, found.changed, found.fault) == (1, 1, (1,), "")
    shown = project.incidents.show(1)
    assert [(one.account, one.text) for one in shown.comments] == [("ben", "It was the switch.")]
    assert shown.incident.owner == 'User::"root"'
    assert shown.tickets[0].url.endswith(f"/issue{issue}")
    # closed too early: it says what stands, and names nobody
    roundup.edit(issue, state="closed")
    project.trackers.read()
    ((_, _, state, _, comments),) = roundup.all()
    assert state == "open"
    assert any("1 alert of the kind other still stand" in one for one in comments)
    assert CANARY not in str(roundup.all())
    # it is over: the closing counts
    project.incidents.report(alert(ended="2026-11-29T09:00:00Z"))
    roundup.edit(issue, state="closed")
    project.trackers.read()
    assert project.incidents.show(1).incident.state == "closed"
    ((_, _, state, _, _),) = roundup.all()
    assert state == "closed"
    # and a person opens it again
    roundup.edit(issue, state="open")
    for _ in range(3):
        project.trackers.read()
    assert project.incidents.show(1).incident.state == "acknowledged"
    assert texts(project) == ["It was the switch."]
    said = roundup.all()[0][4]
    assert len(said) == len(set(said))
    assert CANARY not in str(roundup.all())
    project.incidents.show(1)
    project.log.check()


def test_edits_at_the_same_time_lose_nothing(clinic, roundup):
    project = opened(clinic, roundup)
    project.incidents.report(alert())
    issue = number_of(roundup)
    said = [f"word {at}" for at in range(12)]
    done = threading.Event()

    def people():
        for text in said:
            roundup.said(issue, text)
            roundup.edit(issue, title=f"mine, {text}")
        done.set()

    thread = threading.Thread(target=people)
    thread.start()
    at = 0
    while not done.is_set():
        project.incidents.note(1, f"casemate's people say {at}")
        project.trackers.read()
        at += 1
    thread.join()
    for _ in range(2):
        project.trackers.read()
    assert sorted(texts(project)) == sorted(said)
    ((title, _, _, _, comments),) = roundup.all()
    assert title == "mine, word 11"
    assert set(said) < set(comments)


def test_a_ticket_that_was_retired_is_told_once(clinic, roundup):
    project = opened(clinic, roundup)
    project.incidents.report(alert())
    issue = number_of(roundup)
    etag = roundup.call("GET", f"issue/{issue}")["@etag"]
    roundup.call("DELETE", f"issue/{issue}", None, etag)
    for _ in range(3):
        project.trackers.read()
    lines = project.incidents.show(1).lines
    assert len([one for one in lines if "gone" in one.change.text]) == 1


@pytest.mark.parametrize("fault", ["429", "500", "html", "another", "garbage", "cut", "lost"])
def test_answers_that_cannot_be_believed_change_nothing_and_are_made_up_for(clinic, roundup, fault):
    proxy = FaultyProxy(roundup.url)
    project = opened(clinic, roundup, proxy.url)
    project.incidents.report(alert())
    roundup.said(number_of(roundup), "still here")
    before = project.incidents.show(1).incident
    proxy.plan("GET", r"/issue/[0-9]+(\?|$)", fault)
    (found,) = hear(project)
    assert found.fault
    assert project.incidents.show(1).incident == before
    proxy.calm()
    (found,) = project.trackers.read()
    assert (found.comments, found.fault) == (1, "")
    assert texts(project) == ["still here"]
    proxy.close()


def test_comments_of_a_megabyte_keep_no_other_from_being_heard(clinic, roundup):
    project = opened(clinic, roundup)
    project.incidents.report(alert())
    issue = number_of(roundup)
    roundup.said(issue, "before")
    for size in (1, 1, 1, 1, 6):
        roundup.said(issue, "x" * size * 1_000_000)
    roundup.said(issue, "after \x07\x1b[2J")
    (found,) = project.trackers.read()
    assert (found.comments, found.fault) == (7, "")
    assert [one[:6] for one in texts(project)] == ["before", *["xxxxxx"] * 4, "", "after "]
    assert max(map(len, texts(project))) == 2_000
    assert not any(sign in one for one in texts(project) for sign in "\x07\x1b")
