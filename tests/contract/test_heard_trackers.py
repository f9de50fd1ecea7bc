"""Every tracker that can be read, at a project: what people do there comes to the incident once, and
nothing that names somebody goes back.
"""

import json

import pytest
from tests.contract import tracker_stubs
from tests.contract.faulty import FaultyProxy
from tests.contract.test_trackers import STUBS

import casemate
from casemate.operations.incidents.heard import hear
from casemate.respond.trackers import web

CANARY = "zoe.zebra"
PEOPLE = {"jira-cloud": "id-of-ben", "jira-data-center": "ben", "gitlab": "ben", "github": "ben"}


class Place:
    """A project, a tracker and a proxy between them."""

    def __init__(self, kind, root):
        self.kind, self.server = kind, STUBS[kind]()
        self.proxy = FaultyProxy(self.server.url)
        (root / "desk").write_text(tracker_stubs.TOKEN)
        (root / "desk").chmod(0o600)
        table = f'kind="{kind}",url="{self.proxy.url}",project="{self.server.project}"'
        table += f',token="file:{root}/desk",timeout=2.0'
        table += f',people={{"{self.account(root)}"="root"}}'
        if kind == "jira-cloud":
            table += f',user="{tracker_stubs.USER}"'
        self.project = casemate.open(root, [f"trackers.desk={{{table}}}"])

    def account(self, _):
        return self.server.account("ben")["accountId"] if self.kind == "jira-cloud" else "ben"

    def report(self, **changes):
        one = {"name": f"Login of {CANARY} failed", "severity": "page"}
        one |= {"labels": {"instance": f"laptop-of-{CANARY}"}, "text": f"seen by {CANARY}"}
        one |= {"began": "2026-11-29T08:00:00Z", **changes}
        self.project.incidents.report(json.dumps({"alerts": [one]}).encode())

    def one(self):
        return r"/issues?/[0-9]+(\?|$)"

    def state(self):
        return self.server.all()[0][2]

    def texts(self):
        return [one.text.strip() for one in self.project.incidents.show(1).comments]

    def close(self):
        self.project.close()
        self.proxy.close()
        self.server.close()


@pytest.fixture(params=list(STUBS))
def place(request, clinic):
    place = Place(request.param, clinic)
    place.report()
    yield place
    place.close()


def test_comments_assignee_and_state_come_back_once_and_nothing_personal_goes_out(place):
    place.server.said(1, f"It was the switch, says {CANARY}.")
    place.server.edit(1, assignee="ben")
    for _ in range(3):
        (found,) = place.project.trackers.read()
        assert found.fault == ""
    shown = place.project.incidents.show(1)
    (one,) = shown.comments
    assert one.account.endswith("ben")
    assert "It was the switch" in one.text
    assert shown.incident.owner == 'User::"root"'
    place.server.edit(1, state="closed")
    place.project.trackers.read()
    assert place.state() == "open"
    place.report(ended="2026-11-29T09:00:00Z")
    place.server.edit(1, state="closed")
    place.project.trackers.read()
    assert place.project.incidents.show(1).incident.state == "closed"
    place.server.edit(1, state="open")
    for _ in range(3):
        place.project.trackers.read()
    assert place.project.incidents.show(1).incident.state == "acknowledged"
    assert place.state() == "open"
    assert len(place.texts()) == 1
    ((title, body, _, labels, comments),) = place.server.all()
    assert [one for one in comments if CANARY in one] == [comments[0]], "the person's own"
    assert CANARY not in title + body + str(labels)
    assert any("1 alert of the kind other" in one for one in comments)


@pytest.mark.parametrize(
    "fault", ["429", "500", "503", "html", "another", "garbage", "cut", "lost"]
)
def test_answers_that_cannot_be_believed_change_nothing_and_are_made_up_for(place, fault):
    place.server.said(1, "still here")
    before = place.project.incidents.show(1).incident
    place.proxy.plan("GET", place.one(), fault)
    (found,) = hear(place.project)
    assert found.fault
    assert tracker_stubs.TOKEN not in found.fault
    assert place.project.incidents.show(1).incident == before
    place.proxy.calm()
    (found,) = place.project.trackers.read()
    assert (found.comments, found.fault) == (1, "")


def test_a_ticket_that_was_moved_or_is_gone_is_told_once(place):
    for fault in ("302", "410", "404"):
        place.proxy.plan("GET", place.one(), fault)
        assert hear(place.project)[0].fault == ""
    lines = place.project.incidents.show(1).lines
    assert [one.change.text for one in lines if "gone" in one.change.text] == [
        "its ticket is gone, was moved or may not be seen any more"
    ]


def test_an_issue_of_gitlab_that_was_moved_was_closed_by_nobody(clinic):
    place = Place("gitlab", clinic)
    place.report()
    place.report(ended="2026-11-29T09:00:00Z")
    place.server.edit(1, state="closed", moved=77)
    place.project.trackers.read()
    shown = place.project.incidents.show(1)
    assert shown.incident.is_open
    assert shown.tickets[0].lost
    place.close()


def test_many_long_comments_are_asked_for_in_smaller_pages(place, monkeypatch):
    place.server.page = 1000
    monkeypatch.setattr(web, "MAX_ANSWER", 60_000)
    said = [f"{at}: " + "x" * (9_000 if at % 7 else 30_000) for at in range(130)]
    for text in said:
        place.server.said(1, text)
    (found,) = place.project.trackers.read()
    assert (found.comments, found.fault) == (130, "")
    assert [one.split(":")[0] for one in place.texts()] == [str(at) for at in range(130)]


def test_a_token_without_an_account_reads_nothing_because_it_cannot_tell_whose_words_they_are(
    place,
):
    paths = {"jira-cloud": "myself", "jira-data-center": "myself"}
    place.proxy.plan("GET", paths.get(place.kind, "/user$"), "403", 9)
    place.server.said(1, "hello")
    (found,) = hear(place.project)
    assert "whose the token is" in found.fault
    assert place.texts() == []


def test_the_commands_show_what_came_from_tickets(clinic, cli, tmp_path):
    place = Place("github", clinic)
    place.report()
    place.server.said(1, "It was \x1b[2Jthe switch.\nAnd Zoe.")
    with (clinic / "casemate.toml").open("a") as config:
        config.write(f"""
[trackers.desk]
kind = "github"
url = "{place.proxy.url}"
project = "{place.server.project}"
token = "file:{clinic}/desk"
""")
    read = cli("tracker", "read", "--config", clinic)
    assert read.code == 0, read.err
    assert "desk: 1 tickets read, 1 new comments, incident 1 changed" in read.out
    shown = cli("incident", "show", "1", "--config", clinic)
    assert "1 comment in ticket 1 of desk" in shown.out
    assert "the switch." in shown.out
    assert "\x1b" not in shown.out
    assert place.project.incidents.show(1).tickets[0].url in shown.out
    place.proxy.plan("GET", place.one(), "500", 5)
    away = cli("tracker", "read", "--config", clinic)
    assert (away.code, "500" in away.out) == (1, True)
    assert cli("incident", "erase", "1", "--config", clinic).code == 0
    assert "(erased)" in cli("incident", "show", "1", "--config", clinic).out
    exported = cli("incident", "export", "1", "--config", clinic)
    assert "accounts" not in exported.out
    assert cli("fsck", "--config", clinic).code == 0
    place.close()
