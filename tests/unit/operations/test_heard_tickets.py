"""What people do with tickets comes to their incidents: once, whatever dies or answers wrongly."""

import datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.operations.desk import Desk, Died, World, away, refused

from casemate.core.errors import TransientError, VerificationError
from casemate.operations.incidents import heard as hearing
from casemate.operations.incidents.heard import DAYS, hear
from casemate.respond.trackers import followed
from casemate.respond.trackers.guard import MAX_COMMENTS
from casemate.respond.trackers.remembered import Tickets
from casemate.respond.trackers.web import NotDone, OutOfTime


@pytest.fixture
def world(clinic):
    world = World(clinic)
    yield world
    world.close()


def test_what_somebody_says_on_a_ticket_is_noted_once_and_stays_out_of_the_log(world):
    number = world.alert()
    ticket = world.ticket(number)
    world.server.said(ticket, "It was the switch, says Zoe.")
    for _ in range(3):
        world.read()
    (one,) = world.project.incidents.show(number).comments
    assert (one.account, one.text) == ("mia.marder", "It was the switch, says Zoe.")
    (line,) = [one for one in world.project.incidents.show(number).lines if one.change.heard]
    assert line.action == "incident:noted"
    heard = line.change.heard
    assert (heard.tracker, heard.ticket, heard.comments) == ("desk", ticket, 1)
    logged = str(list(world.project.log.entries()))
    assert "marder" not in logged
    assert "switch" not in logged


def test_what_casemate_said_is_nobodys_comment(world):
    number = world.alert()
    world.project.incidents.acknowledge(number)
    assert world.server.texts(world.ticket(number))
    before = world.incident(number).changes
    for _ in range(3):
        assert world.read().comments == 0
    assert world.incident(number).changes == before


def test_a_comment_that_was_changed_or_taken_away_behind_the_log_is_found_out(world):
    number = world.alert()
    world.server.said(world.ticket(number), "It was the switch.")
    world.read()
    table = followed.COMMENTS
    with world.project.database.transaction() as tx:
        tx.execute(table.update().values(text="It was Ben."))
    with pytest.raises(VerificationError, match="comments of incident"):
        world.project.incidents.show(number)
    with world.project.database.transaction() as tx:
        tx.execute(table.update().values(text=None, account=None, created=None, salt=None))
    (one,) = world.project.incidents.show(number).comments
    assert (one.is_erased, one.text, one.account) == (True, "", "")
    with world.project.database.transaction() as tx:
        tx.execute(table.delete())
    with pytest.raises(VerificationError, match="comments of incident"):
        world.project.incidents.show(number)


def test_what_somebody_said_can_be_taken_out_and_does_not_come_back(world):
    number = world.alert()
    ticket = world.ticket(number)
    world.server.said(ticket, "Mia was here.")
    world.server.said(ticket, "Somebody else was.", "ben")
    world.read()
    assert world.project.incidents.erase(number, "mia.marder") == 1
    world.read()
    gone, stays = world.project.incidents.show(number).comments
    assert (gone.is_erased, gone.account, gone.text) == (True, "", "")
    assert stays.text == "Somebody else was."
    assert world.project.incidents.erase(number) == 1
    entry = list(world.project.log.entries())[-1]
    assert (entry.action, entry.detail["comments"]) == ("incident:erased", 1)


def test_a_comment_that_comes_into_view_after_a_later_one_is_heard(world):
    number = world.alert()
    ticket = world.ticket(number)
    late = world.server.said(ticket, "written first, linked last")
    world.server.tickets[ticket]["comments"].remove(late)
    world.server.said(ticket, "written second")
    for _ in range(3):
        world.read()
    world.server.tickets[ticket]["comments"].append(late)
    world.read()
    assert sorted(world.comments(number)) == ["written first, linked last", "written second"]


def test_whoever_a_ticket_is_assigned_to_owns_the_incident_if_the_table_names_them(world):
    number = world.alert()
    ticket = world.server.tickets[world.ticket(number)]
    ticket["assignee"] = "ben"
    for _ in range(2):
        world.read()
    assert world.incident(number).owner == 'User::"root"'
    ticket["assignee"] = "mia.marder"
    for _ in range(2):
        world.read()
    assert world.incident(number).owner == 'User::"root"'
    ticket["assignee"] = ""
    world.read()
    said = [one for one in world.words(number) if "assigned" in one]
    assert [one.split(" is ")[-1][:10] for one in said] == ["assigned t", "assigned t"]
    assert "marder" not in str(list(world.project.log.entries()))


def test_a_user_that_the_project_does_not_have_owns_nothing(world):
    world.project.config.trackers["desk"].people["carl"] = "nobody-here"
    number = world.alert()
    world.server.tickets[world.ticket(number)]["assignee"] = "carl"
    world.read()
    assert world.incident(number).owner is None
    assert any("does not name" in one for one in world.words(number))


def test_a_ticket_that_is_closed_when_nothing_stands_closes_its_incident(world):
    number = world.alert()
    ticket = world.ticket(number)
    world.clock.go()
    world.alert(ended=True)
    world.server.tickets[ticket]["state"] = "closed"
    world.read()
    found = world.incident(number)
    assert found.state == "closed"
    assert found.acknowledged == found.recovered == found.closed
    line = world.project.incidents.show(number).lines[-1]
    assert (line.who, line.action) == ("casemate", "incident:closed")
    assert (line.change.text, line.change.heard.ticket) == (
        "its ticket was closed, and no alert stands", ticket,
    )  # fmt: skip
    changes = found.changes
    world.read()
    assert world.incident(number).changes == changes
    assert world.server.tickets[ticket]["state"] == "closed"


def test_a_ticket_that_is_closed_too_early_is_opened_again_and_says_what_stands(world):
    number = world.alert("Login of zoe.zebra failed", instance="zoes-laptop")
    world.alert("drift", model="zoe-model", instance="zoes-laptop")
    world.alert("CasemateDown", instance="zoes-laptop")
    ticket = world.ticket(number)
    world.server.tickets[ticket]["state"] = "closed"
    for _ in range(2):
        world.read()
    assert world.server.tickets[ticket]["state"] == "open"
    assert world.incident(number).is_open
    (said,) = [one for one in world.server.texts(ticket) if one.startswith("Closed while")]
    assert "1 alert of the kind other still stand" in said
    assert "zoe" not in str(world.server.tickets[ticket]["comments"])
    assert "--despite" not in said
    world.server.tickets[ticket]["state"] = "closed"
    world.read()
    assert world.server.tickets[ticket]["state"] == "open"
    said = [one for one in world.server.texts(ticket) if one.startswith("Closed while")]
    assert len(said) == 2
    assert f"casemate incident close {number} --despite REASON" in said[1]


def test_two_programs_that_disagree_do_not_go_on_for_ever_and_agree_once_it_is_over(world):
    number = world.alert()
    ticket = world.ticket(number)
    for _ in range(6):
        world.server.tickets[ticket]["state"] = "closed"
        world.read()
    assert world.server.tickets[ticket]["state"] == "closed"
    assert world.incident(number).is_open
    assert len([one for one in world.server.texts(ticket) if "Closed while" in one]) == 2
    changes = world.incident(number).changes
    world.read()
    assert world.incident(number).changes == changes
    world.alert(ended=True)
    world.read()
    assert world.incident(number).state == "closed"


def test_no_ticket_closes_an_incident_about_what_has_no_end(world):
    number = world.alert("break-glass", is_moment=True, person="p1")
    ticket = world.ticket(number)
    world.server.tickets[ticket]["state"] = "closed"
    world.read()
    assert world.incident(number).state == "new"
    assert world.server.tickets[ticket]["state"] == "open"
    (said,) = [one for one in world.server.texts(ticket) if "Closed while" in one]
    assert "1 alert of the kind access tell of what has no end" in said


def test_a_ticket_that_somebody_opens_again_opens_its_incident_again(world):
    number = world.alert()
    ticket = world.ticket(number)
    world.project.incidents.acknowledge(number)
    world.project.incidents.close(number, "it is enough")
    world.read()
    assert world.server.tickets[ticket]["state"] == "closed"
    assert world.incident(number).state == "closed"
    world.server.tickets[ticket]["state"] = "open"
    for _ in range(2):
        world.read()
    assert world.incident(number).state == "acknowledged"
    assert world.server.tickets[ticket]["state"] == "open"


def test_what_casemate_closed_and_opened_while_the_tracker_was_away_is_nobodys_closing(world):
    number = world.alert()
    ticket = world.ticket(number)
    world.clock.go()
    world.alert(ended=True)
    world.project.incidents.acknowledge(number)
    world.project.incidents.close(number)
    assert world.server.tickets[ticket]["state"] == "closed"
    world.server.fault = away()
    world.project.incidents.reopen(number, "it was not over")
    world.server.fault = None
    world.clock.go(0)
    hear(world.project)
    assert world.incident(number).state == "acknowledged"
    world.clock.go(60)
    world.project.outbox.send()
    world.read()
    assert world.server.tickets[ticket]["state"] == "open"
    assert world.incident(number).state == "acknowledged"


def test_a_closing_that_casemate_died_in_is_nobodys_closing(world, monkeypatch):
    number = world.alert()
    ticket = world.ticket(number)
    world.clock.go()
    world.alert(ended=True)
    world.project.incidents.acknowledge(number)

    def dies(*_):
        raise Died

    monkeypatch.setattr(Tickets, "moved", dies)
    with pytest.raises(Died):
        world.project.incidents.close(number)
    monkeypatch.undo()
    assert world.server.tickets[ticket]["state"] == "closed"
    world.server.fault = away()
    world.project.incidents.reopen(number, "it was not over")
    world.server.fault = None
    hear(world.project)
    assert world.incident(number).state == "acknowledged"
    world.clock.go(60)
    world.project.outbox.send()
    world.read()
    assert world.server.tickets[ticket]["state"] == "open"
    assert world.incident(number).state == "acknowledged"


def test_a_reading_during_which_casemate_moved_the_ticket_does_not_count(world):
    number = world.alert()
    ticket = world.ticket(number)
    world.clock.go()
    world.alert(ended=True)
    look = Desk._look

    def meanwhile(self, reference):
        held = look(self, reference)
        Desk._look = look
        world.project.incidents.acknowledge(number)
        world.project.incidents.close(number)
        world.project.incidents.reopen(number, "no")
        return held

    world.server.tickets[ticket]["state"] = "closed"
    Desk._look = meanwhile
    try:
        hear(world.project)
    finally:
        Desk._look = look
    assert world.incident(number).state == "acknowledged"
    assert world.server.tickets[ticket]["state"] == "open"


def test_a_ticket_that_is_gone_is_told_once_and_read_again_when_it_is_back(world):
    number = world.alert()
    ticket = world.ticket(number)
    kept = world.server.tickets.pop(ticket)
    for _ in range(3):
        assert world.read().fault == ""
    assert len([one for one in world.words(number) if "gone" in one]) == 1
    (shown,) = world.project.incidents.show(number).tickets
    assert shown.lost
    world.server.tickets[ticket] = kept
    world.server.said(ticket, "here again")
    world.read()
    assert world.comments(number) == ["here again"]
    assert not world.project.incidents.show(number).tickets[0].lost


def test_a_tracker_that_is_away_for_a_day_is_asked_ever_less_and_heard_within_an_hour(world):
    number = world.alert()
    world.server.said(world.ticket(number), "while you were out")
    world.server.fault = away()
    world.server.fault.__class__ = TransientError
    world.server.asked = 0
    for _ in range(24 * 60):
        hear(world.project)
        world.clock.go()
    assert 24 <= world.server.asked <= 40
    assert world.incident(number).changes == 1
    world.server.fault = None
    for _ in range(61):
        hear(world.project)
        world.clock.go()
    assert world.comments(number) == ["while you were out"]


def test_a_pause_that_a_tracker_asks_for_is_kept_and_a_person_may_ask_all_the_same(world):
    number = world.alert()
    world.server.said(world.ticket(number), "in a while")
    world.server.fault = NotDone("desk answered 429", hint="later", wait=1800.0)
    world.read()
    world.server.fault, asked = None, world.server.asked
    world.clock.go(28)
    (found,) = hear(world.project)
    assert "429" in found.fault
    assert world.server.asked == asked
    (found,) = world.project.trackers.read()
    assert (found.comments, found.fault) == (1, "")


def test_what_is_wrong_with_one_ticket_keeps_no_other_from_being_read(world):
    numbers = [world.alert(f"n{at}", instance=f"h{at}") for at in range(3)]
    for number in numbers:
        world.server.said(world.ticket(number), "hello")
    look, bad = Desk._look, world.ticket(numbers[0])

    def other(self, reference):
        if reference.id == bad:
            raise away()
        return look(self, reference)

    Desk._look = other
    try:
        found = world.read()
    finally:
        Desk._look = look
    assert found.comments == 2
    assert "500" in found.fault
    assert world.read().comments == 1


@pytest.mark.parametrize("kind", [TransientError, OutOfTime])
def test_a_ticket_that_fails_or_takes_all_the_time_goes_behind_the_others(world, kind):
    numbers = [world.alert(f"n{at}", instance=f"h{at}") for at in range(3)]
    look, bad = Desk._look, world.ticket(numbers[0])

    def slow(self, reference):
        if reference.id == bad:
            raise kind("desk answered 500 or nothing", hint="later")
        return look(self, reference)

    Desk._look = slow
    try:
        world.read()
        for number in numbers[1:]:
            world.server.said(world.ticket(number), "hello")
        world.read()
    finally:
        Desk._look = look
    assert [world.comments(number) for number in numbers[1:]] == [["hello"]] * 2


def test_a_token_that_is_refused_is_said_and_nothing_is_lost(world):
    number = world.alert()
    world.server.said(world.ticket(number), "hello")
    world.server.fault = refused()
    assert "401" in world.read().fault
    assert world.comments(number) == []
    world.server.fault = None
    world.project.trackers.read()
    assert world.comments(number) == ["hello"]


def test_thousands_of_comments_of_a_megabyte_with_signs_are_bounded_and_clean(world):
    number = world.alert()
    ticket = world.ticket(number)
    for at in range(2 * MAX_COMMENTS + 50):
        world.server.said(ticket, f"{at} \x1b[2J\u202e" + "x" * (1_000_000 if at % 100 == 0 else 9))
    mark = world.server.tickets[ticket]["body"].split("\n")[-1]
    world.server.said(ticket, f"casemate said {mark}", at="1970-01-01")
    found = world.read()
    assert found.comments == 2 * MAX_COMMENTS + 51
    texts = world.comments(number)
    assert len(texts) == found.comments
    assert max(map(len, texts)) == followed.MOST_WORDS
    assert not any(sign in text for text in texts for sign in ("\x1b", "\u202e"))
    assert texts[-1] == f"casemate said {mark}"
    assert world.incident(number).changes <= 5
    assert world.read().comments == 0


def test_time_that_is_over_leaves_the_rest_to_the_next_look(world, monkeypatch):
    numbers = [world.alert(f"n{at}", instance=f"h{at}") for at in range(3)]
    for number in numbers:
        world.server.said(world.ticket(number), "hello")
    monkeypatch.setattr(hearing, "SECONDS", 0.0)
    (found,) = hear(world.project, seconds=-1.0)
    assert (found.tickets, found.left, found.fault) == (0, 3, "")
    assert world.read().comments == 3


def test_tickets_of_incidents_that_are_over_are_read_for_some_days_only(world):
    number = world.alert()
    ticket = world.ticket(number)
    world.project.incidents.acknowledge(number)
    world.project.incidents.close(number, "enough")
    world.clock.time += datetime.timedelta(days=DAYS - 1)
    world.server.said(ticket, "a late word")
    world.read()
    assert world.comments(number) == ["a late word"]
    world.clock.time += datetime.timedelta(days=2)
    assert world.read().tickets == 0


def test_what_is_said_on_the_ticket_of_a_part_is_said_of_the_whole(world):
    first, second = (world.alert(f"n{at}", instance=f"h{at}") for at in range(2))
    ticket = world.ticket(first)
    world.project.incidents.merge(first, second)
    world.read()
    world.server.said(ticket, "of the part")
    world.server.tickets[ticket]["state"] = "open"
    world.read()
    assert world.comments(second) == ["of the part"]
    assert any("part of this one" in one for one in world.words(second))
    assert world.incident(first).merged == second


def test_a_clock_that_goes_back_neither_loses_nor_repeats(world):
    number = world.alert()
    ticket = world.ticket(number)
    for at in range(5):
        world.server.said(ticket, f"{at}", at="not a time")
        world.clock.time -= datetime.timedelta(hours=3)
        world.read()
    assert world.comments(number) == ["0", "1", "2", "3", "4"]


def test_each_look_of_the_watcher_reads_tickets_and_none_fails_because_of_them(world):
    number = world.alert()
    world.server.said(world.ticket(number), "seen at a look")
    world.project.watch.once()
    assert world.comments(number) == ["seen at a look"]

    def looks():
        world.clock.go(90)
        return [one.cause.name for one in world.project.watch.once().alarms]

    world.server.fault = away()
    assert "tracker-away" not in looks() + looks()
    assert "tracker-away" in looks()
    told = [one for one in world.project.watch.show().alarms if one.cause.name == "tracker-away"]
    assert "500" in told[0].cause.text
    assert len(told) == 1
    world.server.fault = None
    looks()
    assert "tracker-away" not in looks()


def test_a_fault_of_the_catalogue_while_tickets_are_read_fails_no_look(world, monkeypatch):
    def broken(*_, **__):
        raise away()

    monkeypatch.setattr(hearing, "hear", broken)
    assert world.project.watch.once().time


DONE = st.sampled_from(
    ["say", "say", "close", "open", "assign", "free", "alert", "end", "ack", "despite", "reopen"]
)
STEP = st.tuples(DONE, st.integers(0, 12), st.booleans())


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=st.lists(STEP, min_size=1, max_size=14))
def test_whatever_people_do_and_wherever_casemate_dies_each_word_is_heard_once(world, steps):
    label = f"h{len(world.server.tickets)}"
    number = world.alert(label, instance=label)
    ticket = world.ticket(number)
    there, said = world.server.tickets[ticket], []
    incidents = world.project.incidents

    def one(what):
        if what == "say":
            said.append(f"{label} {len(said)}")
            world.server.said(ticket, said[-1])
        elif what in ("close", "open"):
            there["state"] = "closed" if what == "close" else "open"
        elif what in ("assign", "free"):
            there["assignee"] = "ben" if what == "assign" else ""
        elif what in ("alert", "end"):
            world.alert(label, ended=what == "end", instance=label)
        elif what == "ack" and world.incident(number).state == "new":
            incidents.acknowledge(number)
        elif what == "despite" and world.incident(number).state == "acknowledged":
            incidents.close(number, "enough")
        elif what == "reopen" and not world.incident(number).is_open:
            incidents.reopen(number, "no")

    for what, last, late in steps:
        world.clock.go()
        one(what)
        with world.dying(last, late=late):
            world.read()
    for _ in range(6):
        world.clock.go(60)
        world.read()
    shown = incidents.show(number)
    assert [one.text for one in shown.comments] == said
    changes = shown.incident.changes
    for _ in range(3):
        world.clock.go(60)
        world.read()
    assert world.incident(number).changes == changes
    (seen,) = incidents.show(number).tickets
    if seen.closings <= 2:
        assert (there["state"] == "open") == world.incident(number).is_open
    else:
        assert there["state"] == "closed"
    assert len(world.server.texts(ticket)) == len(set(world.server.texts(ticket)))
