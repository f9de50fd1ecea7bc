"""The contract of a tracker: made once, nobody written over, nothing said twice, faults sorted."""

import datetime
import re
import tempfile
from pathlib import Path

import msgspec
import pytest
from tests.contract import tracker_stubs
from tests.contract.faulty import FaultyProxy
from tests.contract.tracker_servers import Roundup

from casemate.config import TrackerTable
from casemate.core.errors import BackendError, ConfigError, TransientError
from casemate.core.store.sqlite import SqliteStore
from casemate.respond.trackers import Reference, Ticket, open_tracker
from casemate.respond.trackers.guard import mark
from casemate.respond.trackers.remembered import TICKETS

TICKET = Ticket(
    title="Drift of age",
    body="The share of\nmissing ages doubled.\n\nSince Monday.",
    severity="high",
)
STUBS = {
    "jira-cloud": tracker_stubs.JiraCloudStub,
    "jira-data-center": tracker_stubs.JiraDataCenterStub,
    "gitlab": tracker_stubs.GitLabStub,
    "github": tracker_stubs.GitHubStub,
}
KINDS = ("roundup", *STUBS)
LISTED = {"jira-cloud": "search/jql", "jira-data-center": "search", "roundup": "data/issue"}


class Clock:
    def __init__(self):
        self.time = datetime.datetime(2026, 11, 29, 8, tzinfo=datetime.UTC)

    def now(self):
        return self.time

    def go(self, seconds):
        self.time += datetime.timedelta(seconds=seconds)


class World:
    """A tracker, its server, and a proxy between them."""

    def __init__(self, kind, server, store, root):
        self.kind, self.server, self.store, self.root = kind, server, store, root
        self.proxy, self.clock = FaultyProxy(server.url), Clock()
        known = {
            "roundup": {"user": Roundup.user},
            "jira-cloud": {"user": tracker_stubs.USER},
        }.get(kind, {})
        if kind != "roundup":
            known["project"] = server.project
        self.token = Roundup.token if kind == "roundup" else tracker_stubs.TOKEN
        self.table = TrackerTable(
            kind=kind, url=self.proxy.url, token="env:TOKEN", timeout=2.0, labels=["drift"], **known
        )

    def tracker(self, store=None, **changes):
        table = msgspec.structs.replace(self.table, **changes)
        return open_tracker(
            "desk", table, store or self.store, self.clock, self.root, lambda _: self.token
        )

    def post(self):
        """Where a ticket is made."""
        return {"roundup": "data/issue$", "gitlab": "/issues$", "github": "/issues$"}.get(
            self.kind, "/issue$"
        )

    def one(self, number=None):
        """Where a ticket is read or changed."""
        return rf"/issues?/{number or '[0-9]+'}(\?|$)"

    def write(self):
        return "PATCH" if self.kind == "github" else "PUT"

    def forget(self):
        """As after a restore of a catalogue from before."""
        with self.store.transaction() as tx:
            tx.execute(TICKETS.delete())


@pytest.fixture(scope="session")
def real_roundup():
    # not below pytest's own folder, which each new session closes to other users
    with tempfile.TemporaryDirectory() as folder:
        server = Roundup(Path(folder))
        yield server
        server.close()


@pytest.fixture
def store(tmp_path):
    store = SqliteStore(tmp_path / "catalog.db")
    store.upgrade()
    yield store
    store.close()


@pytest.fixture(params=KINDS)
def world(request, store, tmp_path):
    if request.param == "roundup":
        server = request.getfixturevalue("real_roundup")
        server.empty()
    else:
        server = STUBS[request.param]()
    world = World(request.param, server, store, tmp_path)
    yield world
    world.proxy.close()
    if request.param != "roundup":
        server.close()


@pytest.fixture
def tracker(world):
    return world.tracker()


def says(text, words):
    """Whether a text holds these words, however a tracker's markup escapes them."""
    return " ".join(words.split()) in " ".join(
        re.sub(r"[\\`\u2060]|^text$", "", text, flags=re.MULTILINE).split()
    )


def test_a_ticket_says_what_it_was_given_and_is_found_again(world, tracker):
    made = tracker.create("incident-1", TICKET)
    ((title, body, state, labels, comments),) = world.server.all()
    assert title.startswith("Drift of age")
    assert says(body, TICKET.body)
    assert (state, comments) == ("open", [])
    assert {"casemate", "drift", "severity-high"} <= set(labels)
    assert tracker.create("incident-1", TICKET) == made
    world.forget()
    assert tracker.create("incident-1", TICKET) == made
    assert len(world.server.all()) == 1
    assert made.url.startswith(("http://127.0.0.1:", "https://"))


def test_another_key_makes_another_ticket(world, tracker):
    keys = [f"incident-{number}" for number in range(5)]
    made = [tracker.create(key, TICKET) for key in keys]
    assert len({one.id for one in made}) == 5
    world.forget()
    assert [tracker.create(key, TICKET) for key in keys] == made


@pytest.mark.parametrize("fault", ["lost", "500 afterwards", "cut", "slow"])
def test_an_answer_that_does_not_come_makes_no_second_ticket(world, fault):
    tracker = world.tracker(timeout=1.0) if fault == "slow" else world.tracker()
    world.proxy.plan("POST", world.post(), fault)
    with pytest.raises(TransientError):
        tracker.create("incident-1", TICKET)
    made = tracker.create("incident-1", TICKET)
    assert len(world.server.all()) == 1
    assert world.tracker().create("incident-1", TICKET) == made


@pytest.mark.parametrize("kind", list(STUBS))
def test_a_search_that_does_not_see_it_yet_makes_no_second_ticket(store, tmp_path, kind):
    world = World(kind, STUBS[kind](), store, tmp_path)
    tracker = world.tracker()
    world.server.blind = True
    world.proxy.plan("POST", world.post(), "lost")
    for _ in range(3):
        with pytest.raises(BackendError):
            tracker.create("incident-1", TICKET)
        world.clock.go(tracker.settles / 4)
    assert len(world.server.all()) == 1
    world.server.blind = False
    assert tracker.create("incident-1", TICKET).id
    assert len(world.server.all()) == 1
    world.proxy.close()
    world.server.close()


def test_what_was_never_made_is_made_once_a_search_can_be_believed(world, tracker):
    world.proxy.plan("POST", world.post(), "500")
    with pytest.raises(TransientError):
        tracker.create("incident-1", TICKET)
    with pytest.raises(TransientError, match="second one"):
        tracker.create("incident-1", TICKET)
    world.clock.go(tracker.settles + 1)
    tracker.create("incident-1", TICKET)
    assert len(world.server.all()) == 1


@pytest.mark.parametrize("fault", ["429", "401", "403"])
def test_a_refusal_leaves_the_way_open_for_the_next_attempt(world, fault):
    world.proxy.plan("POST", world.post(), fault)
    kind = TransientError if fault == "429" else ConfigError
    with pytest.raises(kind, match=fault):
        world.tracker().create("incident-1", TICKET)
    assert world.tracker().create("incident-1", TICKET).id
    assert len(world.server.all()) == 1


def test_a_tracker_that_asks_for_a_pause_gets_one(world, tracker):
    world.proxy.plan("GET" if world.kind != "jira-cloud" else "POST", ".", "429")
    with pytest.raises(TransientError, match="wait 1 seconds"):
        tracker.create("incident-1", TICKET)
    asked = len(world.proxy.asked)
    with pytest.raises(TransientError, match="asked for a pause"):
        tracker.create("incident-1", TICKET)
    assert len(world.proxy.asked) == asked


def test_two_processes_that_make_the_same_ticket_make_one(world):
    first, second = world.tracker(), world.tracker()
    post = first._post

    def meanwhile(*arguments):
        with pytest.raises(TransientError, match="second one"):
            second.create("incident-1", TICKET)
        return post(*arguments)

    first._post = meanwhile
    made = first.create("incident-1", TICKET)
    assert second.create("incident-1", TICKET) == made
    assert len(world.server.all()) == 1


def test_the_oldest_of_several_tickets_with_a_mark_is_ours(world, tracker):
    made = tracker.create("incident-1", TICKET)
    other = world.tracker()
    other._tickets._tracker = "somebody"
    other._find = lambda _: []
    copy = other.create("incident-1", TICKET)
    assert copy.id != made.id
    world.forget()
    assert tracker.create("incident-1", TICKET) == made


def test_an_update_changes_what_only_casemate_has_written(world, tracker):
    made = tracker.create("incident-1", TICKET)
    newer = msgspec.structs.replace(
        TICKET, title="Drift of age and sex", body="Worse.", severity="low"
    )
    tracker.update(made, newer, "It spreads.")
    tracker.update(made, newer, "It spreads.")
    ((title, body, state, labels, comments),) = world.server.all()
    assert title.startswith("Drift of age and sex")
    assert state == "open"
    said = [*comments] if world.kind == "roundup" else [body, *comments]
    assert len(said) == 2
    assert says(said[0], "Worse.")
    assert says(said[1], "It spreads.")
    if world.kind != "roundup":
        assert "severity-low" in labels
        assert "severity-high" not in labels


def test_what_a_person_wrote_stays_and_the_news_become_a_comment(world, tracker):
    made = tracker.create("incident-1", TICKET)
    world.server.edit(made_number(world), title="Age drifts, see the ward's mail")
    if world.kind != "roundup":
        world.server.edit(made_number(world), body=world.server.body_of("My own words."))
    newer = msgspec.structs.replace(TICKET, title="Drift of age and sex", body="Worse.")
    for _ in range(2):
        tracker.update(made, newer)
    ((title, body, _, _, comments),) = world.server.all()
    assert title == "Age drifts, see the ward's mail"
    if world.kind != "roundup":
        assert body.strip() == "My own words."
    assert len(comments) == 2
    assert says(comments[0] + comments[1], "Drift of age and sex")
    assert says(comments[0] + comments[1], "Worse.")


@pytest.mark.parametrize("fault", ["500", "lost"])
def test_news_that_could_not_be_said_are_said_the_next_time(world, tracker, fault):
    made = tracker.create("incident-1", TICKET)
    world.server.edit(made_number(world), title="Mine")
    path = "data/msg$" if world.kind == "roundup" else "/(comments?|notes)$"
    world.proxy.plan("POST", path, fault)
    newer = msgspec.structs.replace(TICKET, title="Drift of age and sex")
    with pytest.raises(TransientError):
        tracker.update(made, newer)
    tracker.update(made, newer)
    ((title, _, _, _, comments),) = world.server.all()
    assert title == "Mine"
    assert [says(one, "Drift of age and sex") for one in comments] == [True]


def made_number(world):
    """As the server names its only ticket."""
    return (
        world.server.call("GET", "issue")["collection"][0]["id"] if world.kind == "roundup" else 1
    )


def test_a_persons_edit_survives_an_update_that_says_the_same(world, tracker):
    made = tracker.create("incident-1", TICKET)
    world.server.edit(made_number(world), title="Mine")
    tracker.update(made, TICKET, "Still there.")
    ((title, _, _, _, comments),) = world.server.all()
    assert title == "Mine"
    assert len(comments) == 1


@pytest.mark.parametrize("fault", ["lost", "500 afterwards", "cut"])
def test_an_update_whose_answer_is_lost_says_nothing_twice(world, tracker, fault):
    made = tracker.create("incident-1", TICKET)
    newer = msgspec.structs.replace(TICKET, title="Drift of age and sex")
    path = "data/issue" if world.kind == "roundup" else "/(comments?|notes)$"
    verb = "PUT" if world.kind == "roundup" else "POST"
    world.proxy.plan(verb, path, fault)
    world.proxy.plan(world.write(), world.one(), fault)
    for _ in range(3):
        try:
            tracker.update(made, newer, "It spreads.")
        except TransientError:
            continue
    tracker.update(made, newer, "It spreads.")
    ((title, _, _, _, comments),) = world.server.all()
    assert title.startswith("Drift of age and sex")
    assert len(comments) == 1


def test_state_assignee_and_comments_are_read_and_a_cursor_tells_the_new_ones(world, tracker):
    made = tracker.create("incident-1", TICKET)
    number = made_number(world)
    tracker.update(made, TICKET, "Told by casemate.")
    for text in ("First.", "Second.", "Third."):
        world.server.said(number, text)
    seen = tracker.read(made)
    assert seen.state == "open"
    assert [(one.own, says(one.text, words)) for one, words in zip(
        seen.comments, ("Told by casemate.", "First.", "Second.", "Third."), strict=True
    )] == [(True, True), (False, True), (False, True), (False, True)]  # fmt: skip
    again = tracker.read(made, seen.cursor)
    assert (again.comments, again.version, again.cursor) == ((), seen.version, seen.cursor)
    world.server.edit(number, assignee="ben", state="closed")
    world.server.said(number, "Done.") if world.kind != "roundup" else None
    later = tracker.read(made, seen.cursor)
    assert later.state == "closed"
    assert later.assignee.endswith("ben")
    assert later.version != seen.version
    if world.kind != "roundup":
        assert [one.author.endswith("ben") for one in later.comments] == [True]


def test_closing_says_why_and_is_done_once_and_opening_undoes_it(world, tracker):
    made = tracker.create("incident-1", TICKET)
    for _ in range(2):
        tracker.close(made, "The ages are back.")
    assert tracker.read(made).state == "closed"
    tracker.update(made, TICKET, "Looked again.")
    assert tracker.read(made).state == "closed", "a person may have closed it"
    tracker.reopen(made, "They are gone again.")
    assert tracker.read(made).state == "open"
    tracker.update(made, msgspec.structs.replace(TICKET, state="closed"))
    ((_, _, state, _, comments),) = world.server.all()
    assert state == "closed"
    assert len(comments) == 3


@pytest.mark.parametrize(
    "fault",
    ["html", "400 page", "failed", "cut", "500", "503", "garbage", "another", "slow", "lost"],
)
def test_an_answer_that_cannot_be_believed_is_asked_for_later(world, tracker, fault):
    made = tracker.create("incident-1", TICKET)
    world.proxy.plan("GET", world.one(), fault)
    quick = world.tracker(timeout=1.0) if fault == "slow" else tracker
    with pytest.raises(BackendError) as caught:
        quick.read(made)
    assert "another ticket" in caught.value.message or fault != "another"
    assert world.token not in str(caught.value) + caught.value.hint
    if fault != "503":
        assert tracker.read(made).state == "open"


@pytest.mark.parametrize("fault", ["410", "401", "403", "302"])
def test_an_answer_that_somebody_must_act_on_says_so(world, tracker, fault):
    made = tracker.create("incident-1", TICKET)
    world.proxy.plan("GET", world.one(), fault)
    with pytest.raises(ConfigError, match=fault) as caught:
        tracker.read(made)
    assert caught.value.hint


def test_a_ticket_that_is_gone_is_no_transient_fault(world, tracker):
    made = tracker.create("incident-1", TICKET)
    with pytest.raises(ConfigError):
        tracker.read(Reference(id=str(int(made.id) + 900), url=""))
    for impossible in ("../1", "1?x=", "", "1/2"):
        with pytest.raises(ConfigError, match="no ticket's id"):
            tracker.read(Reference(id=impossible, url=""))
    with pytest.raises(ConfigError, match="no cursor"):
        tracker.read(made, "1; drop")


def test_a_check_of_a_good_place_finds_nothing_missing(world, tracker):
    checked = tracker.check()
    assert checked.problems == ()
    assert checked.account.endswith(("casemate", "desk"))
    assert world.server.all() == []


def test_a_wrong_token_is_told_apart_from_a_wrong_project(world):
    if world.kind != "roundup":
        checked = world.tracker(
            project="NO" if world.kind.startswith("jira") else "no/thing"
        ).check()
        (problem,) = checked.problems
        assert "404" in problem
    world.token = "wrong"
    with pytest.raises(ConfigError, match="token is not accepted"):
        world.tracker().check()


def test_the_token_is_in_no_address_and_no_error(world, tracker, capsys):
    made = tracker.create("incident-1", TICKET)
    tracker.update(made, TICKET, "x")
    assert not [path for _, path in world.proxy.asked if world.token in path]
    assert world.token not in repr(tracker) + str(vars(tracker)) + str(vars(tracker._web))


def test_the_key_of_an_incident_does_not_leave(world, tracker):
    tracker.create("incident-of-ward-7", TICKET)
    assert "ward-7" not in str(world.server.all())
    assert mark("incident-of-ward-7") != mark("incident-of-ward-8")


@pytest.mark.parametrize(
    "change",
    [
        {"title": "x" * 201},
        {"title": " "},
        {"title": "two\nlines"},
        {"title": "bell\x07"},
        {"body": "x" * 15_001},
        {"body": "\u202ereversed"},
        {"body": "escape \x1b[2J"},
        {"labels": ("two words",)},
        {"labels": ("a,b",)},
    ],
)
def test_a_text_that_may_not_leave_leaves_nothing(world, tracker, change):
    wrong = msgspec.structs.replace(TICKET, **change)
    with pytest.raises(ConfigError):
        tracker.create("incident-1", wrong)
    with pytest.raises(ConfigError):
        tracker.update(Reference(id="1", url=""), wrong)
    assert world.proxy.asked == []
    assert world.server.all() == []


def test_a_text_as_long_as_may_be_is_taken(world, tracker):
    made = tracker.create("i", Ticket(title="@" * 200, body="{*" * 7_500, severity="low"))
    assert tracker.read(made).state == "open"
