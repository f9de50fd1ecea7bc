"""The log store of a project: where lines come from, who sees which, and what is erased."""

import datetime
import json
import os
import shutil
import ssl
import subprocess
import urllib.error
import urllib.request

import msgspec
import pytest
from bench.watch import traffic
from tests.conftest import command, serving, wait_for
from tests.unit.conftest import refused

import casemate
from casemate.core.entry import Entry
from casemate.core.errors import AccessDenied, BackendError
from casemate.operations.logs.ingest import ingest, new_lines, store_of
from casemate.operations.watching.alarms import Cause
from casemate.watch.logs import clocks, incoming
from casemate.watch.logs.entries import of_entry

PASSWORD = "four or five words"
CANARY = "canary-value-of-a-row-5f2b"


def entry(action="run:start", outcome="done", **detail):
    return Entry(
        index=7,
        time="2026-11-29T08:00:00.123456Z",
        principal='User::"ana"',
        action=action,
        resource='Model::"wdbc"',
        outcome=outcome,
        detail=detail,
    )


def test_an_entry_is_one_readable_line_with_an_id_of_the_log_and_its_number():
    line = of_entry(entry(outcome="denied", reason="no role", code="CM-DENIED"), "casemate/p")
    assert (line.dataset, line.kind, line.level, line.outcome) == (
        "casemate.audit",
        "event",
        "warning",
        "failure",
    )
    assert (line.reason, line.code, line.model, line.user) == (
        "denied",
        "CM-DENIED",
        "wdbc",
        'User::"ana"',
    )
    assert line.message == ('User::"ana" asked for run:start on Model::"wdbc": denied: no role')
    assert line == of_entry(
        entry(outcome="denied", reason="no role", code="CM-DENIED"), "casemate/p"
    )
    assert line.id != of_entry(entry(), "casemate/q").id
    assert "-7-" in line.id


def test_an_alarm_is_one_alert_and_its_end_an_event():
    told = {"alarm": "disk-full", "text": "the disk is nearly full", "severity": "page"}
    began, ended = (of_entry(entry(f"watch:{one}", **told), "o") for one in ("alarm", "well"))
    assert (began.dataset, began.kind, began.level, began.rule) == (
        "casemate.alarm",
        "alert",
        "error",
        "disk-full",
    )
    assert (ended.dataset, ended.kind, ended.level) == ("casemate.alarm", "event", "info")
    assert "the disk is nearly full" in began.message


def test_neither_personal_details_nor_rows_nor_what_nobody_has_thought_of_are_in_a_line():
    detail = {
        "personal": {"name": CANARY},
        "outcome": [CANARY],
        "anything": CANARY,
        "reason": {"deep": CANARY},
        "model": [CANARY],
    }
    told = msgspec.structs.replace(entry(), detail=detail)
    assert CANARY not in msgspec.json.encode(of_entry(told, "o")).decode()


def test_entries_are_read_once_and_searched_by_those_who_may(own):
    at = casemate.open(own)
    found = at.logs.search("action:run:train")
    assert [line.reason for line in found.lines] == ["done"]
    assert found.lines[0].run
    assert at.logs.search("action:run:train").lines == found.lines
    assert at.logs.stats("action", "run").lines == at.logs.search("run", limit=999).matched
    size = at.log.size()
    at.logs.search("zebra")
    assert at.log.size() == size


def view(at, name, *roles):
    at.access.add_user(name, list(roles), PASSWORD)
    with at.database.transaction() as tx:
        secret = at.point.sessions.begin(tx, name, "password").access
    return at.acting(secret)


def test_who_may_not_read_the_audit_log_sees_requests_and_alarms_and_no_entry(own):
    at = casemate.open(own)
    at.logs.search("run")
    operator, auditor = view(at, "eva", "operator"), view(at, "ana", "auditor")
    writer = incoming.Writer(store_of(at).incoming, 10**9)
    now = datetime.datetime.now(datetime.UTC).isoformat()
    request = {
        "@timestamp": now,
        "log.level": "info",
        "message": "asked",
        "event.id": "r-1",
        "event.dataset": "casemate.request",
    }
    writer.append([json.dumps(request).encode()])
    assert {line.dataset for line in auditor.logs.search("", limit=500).lines} == {
        "casemate.audit",
        "casemate.request",
    }
    assert [line.id for line in operator.logs.search("", limit=500).lines] == ["r-1"]
    assert operator.logs.sql("select count(*) from logs").rows == [[1]]
    assert operator.logs.stats("dataset", "").lines == 1
    ends = operator.logs.after().ends
    at.access.add_user("bob", [], PASSWORD)
    assert operator.logs.after(ends).lines == []
    assert auditor.logs.after(ends).lines
    with pytest.raises(AccessDenied):
        operator.logs.erase("asked")
    with pytest.raises(AccessDenied):
        auditor.logs.erase("asked")


def test_what_was_erased_does_not_come_back_and_is_recorded_without_its_words(own):
    at = casemate.open(own)
    at.access.add_user("zebra4711", ["auditor"], PASSWORD)
    writer = incoming.Writer(store_of(at).incoming, 10**9)
    at.logs.search("zebra4711")
    size = at.log.size()
    writer.append([b'{"torn": "zebra4711'[:-3]])
    assert at.logs.search("zebra4711").matched
    erased = at.logs.erase('resource:User::"zebra4711" OR user:zebra4711')
    assert erased.lines >= 1
    told = [e for e in at.log.entries(size) if e.action == "logs:erase"]
    assert [e.outcome for e in told] == ["allowed", "done"]
    assert told[-1].detail["lines"] == erased.lines
    assert "zebra4711" not in msgspec.json.encode([e.detail for e in told]).decode()
    assert incoming.waiting(store_of(at).incoming) == []
    for _ in range(2):
        assert casemate.open(own).logs.search('resource:User::"zebra4711"').lines == []
    with refused("CM-CONFIG", "what to erase"):
        at.logs.erase(" ")


def test_a_log_that_was_restored_and_went_on_otherwise_is_read_again_and_nothing_is_doubled(own):
    at = casemate.open(own)
    at.logs.search("")
    store, size = store_of(at), at.log.size()
    with store.writing():
        store.keep(msgspec.structs.replace(store.positions(), entry=at.log.size() - 1))
    before = at.logs.search("", limit=999).matched
    with store.writing():
        store.keep(msgspec.structs.replace(store.positions(), entry=at.log.size() + 1))
    for name in ("late", "later", "last"):
        at.access.add_user(name, [], PASSWORD)
    assert at.logs.search('resource:User::"late"').lines
    assert at.logs.search("", limit=999).matched == before + at.log.size() - size


def test_lines_of_days_that_are_over_are_forgotten_and_that_is_on_record(own, monkeypatch):
    at = casemate.open(own)
    at.logs.search("")
    started = ["another boot", 1.0]
    monkeypatch.setattr(clocks, "machine", lambda: tuple(started))
    later = traffic.opened(own, datetime.datetime.now(datetime.UTC).timestamp() + 200 * 86_400)
    later.logs.search("")
    assert not [e for e in later.log.entries() if e.action == "logs:drop"]
    started[1] += clocks.SURE  # the machine was off for long, and its clock says so still
    later.logs.search("")
    (dropped,) = [e for e in later.log.entries() if e.action == "logs:drop"]
    assert dropped.detail["days"] == [datetime.datetime.now(datetime.UTC).date().isoformat()]
    assert "90 days" in dropped.detail["reason"]
    assert later.logs.search("action:logs:drop").lines


def test_a_clock_that_leaps_ahead_makes_no_day_old_and_nothing_late(own):
    at = casemate.open(own)
    before = at.logs.search("", limit=999).matched
    ahead = traffic.opened(own, datetime.datetime.now(datetime.UTC).timestamp() + 9e8)
    ahead.access.add_user("early", [], PASSWORD)
    assert ahead.logs.search('resource:User::"early"').lines[0].time > "2050"
    assert ahead.logs.search("action:run:train").lines
    now = casemate.open(own)
    now.access.add_user("late", [], PASSWORD)
    assert now.logs.search('resource:User::"late"').lines
    assert now.logs.stats("day").lines == now.log.size() >= before
    assert not [e for e in now.log.entries() if e.action == "logs:drop"]


def test_a_clock_that_is_wrong_when_the_machine_starts_and_then_put_right_loses_nothing(
    own, monkeypatch
):
    at = casemate.open(own)
    at.logs.search("")
    started = ["another boot", 1.0]
    monkeypatch.setattr(clocks, "machine", lambda: tuple(started))
    traffic.opened(own, datetime.datetime.now(datetime.UTC).timestamp() + 9e8).logs.search("")
    started[1] += 60
    now = casemate.open(own)
    now.access.add_user("late", [], PASSWORD)
    assert now.logs.search('resource:User::"late"').lines
    assert not [e for e in now.log.entries() if e.action == "logs:drop"]


def test_each_look_of_the_watcher_takes_lines_and_its_alarms_are_there_at_once(own, monkeypatch):
    cause = Cause(name="odd", labels={}, severity="page", text="something is odd")
    monkeypatch.setattr("casemate.operations.watching.trends.unusual", lambda *_: [cause])
    at = casemate.open(own)
    at.watch.once()
    monkeypatch.setattr("casemate.operations.logs.verbs.ingest", lambda *_: None)
    (alert,) = at.logs.search("dataset:casemate.alarm").lines
    assert (alert.kind, alert.rule, alert.action) == ("alert", "odd", "watch:alarm")


def test_a_store_that_cannot_be_written_is_an_alarm_and_the_look_goes_on(own):
    at = casemate.open(own)
    at.logs.search("")
    (day,) = store_of(at).days()
    (store_of(at).folder / "days" / day / "index" / "meta.json").write_text("{")
    at.access.add_user("late", [], PASSWORD)
    seen = casemate.open(own).watch.once()
    (alarm,) = [one for one in seen.alarms if one.cause.name == "logs-unwritten"]
    assert alarm.cause.severity == "page"
    shutil.rmtree(store_of(at).folder)
    assert casemate.open(own).logs.search("logs-unwritten").lines


def test_what_is_there_is_found_when_nothing_can_be_added_and_that_is_said(own, cli, monkeypatch):
    casemate.open(own).logs.search("")

    def full(*_):
        raise BackendError("no space left on the disk")

    monkeypatch.setattr("casemate.operations.logs.verbs.ingest", full)
    answer = cli("--config", own, "logs", "search", "action:run:train")
    assert "run:train" in answer.out
    assert "no space left on the disk" in answer.err
    with refused("CM-BACKEND", "no space"):
        casemate.open(own).logs.stats("level")


def test_batches_can_be_given_to_others_before_they_are_kept(own):
    at = casemate.open(own)
    store = store_of(at)
    given = [line for batch in new_lines(at, store) for line in batch.lines]
    assert [line.id for line in given] == [
        line.id for batch in new_lines(at, store) for line in batch.lines
    ]
    with store.writing():
        assert ingest(at, store).lines == len(given)
    assert list(new_lines(at, store)) == []


def test_requests_to_a_gateway_are_found_with_their_trace_and_without_their_rows(own):
    trace = "0af7651916cd43dd8448eb211c80319c"
    with serving(own) as gateway:
        context = ssl.create_default_context(cafile=str(gateway.ca))
        asked = urllib.request.Request(
            f"{gateway.url}/v2/models/{CANARY}x\x1b/infer".replace("\x1b", "%1b"),
            data=json.dumps({"inputs": [CANARY]}).encode(),
            headers={"traceparent": f"00-{trace}-b7ad6b7169203331-01"},
        )
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(asked, context=context)
        at = casemate.open(own)
        (line,) = wait_for(lambda: at.logs.search(f"trace:{trace}").lines)
        assert line.dataset == "casemate.request"
        assert line.status >= 400
        assert line.message.isprintable()
    folder = own / ".casemate" / "logs" / "incoming"
    assert all(path.stat().st_mode & 0o077 == 0 for path in folder.iterdir())
    assert os.stat(folder).st_mode & 0o077 == 0


def test_a_gateway_told_so_writes_no_request(own):
    text = (own / "casemate.toml").read_text()
    (own / "casemate.toml").write_text(text + "\n[logs]\nrequests = false\n")
    with serving(own) as gateway:
        context = ssl.create_default_context(cafile=str(gateway.ca))
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(f"{gateway.url}/nowhere", context=context)
    assert not (own / ".casemate" / "logs" / "incoming").exists()


def test_what_lines_say_drives_no_terminal(own, cli):
    at = casemate.open(own)
    now = datetime.datetime.now(datetime.UTC).isoformat()
    hostile = {
        "@timestamp": now,
        "log.level": "error",
        "message": "\x1b[2Jgone\u202e " + "x" * 1_000_000,
        "event.id": "h-1",
        "event.dataset": "casemate.request",
        "error.code": "\x1b]0;t\x07CM",
    }
    incoming.Writer(store_of(at).incoming, 10**9).append([json.dumps(hostile).encode()])
    for words in (
        ("logs", "search", "level:error"),
        ("logs", "search", "level:error", "--format", "json"),
        ("logs", "tail", "level:error"),
        ("logs", "stats", "--by", "code"),
        ("logs", "sql", "select message, code from logs where level = 'error'"),
    ):
        answer = cli("--config", own, *words)
        assert answer.code == 0, answer
        assert "\x1b" not in answer.out
        assert "\\u001b" not in answer.out
        assert "\u202e" not in answer.out
    assert "(cut)" in cli("--config", own, "logs", "search", "level:error").out


def test_following_shows_what_comes(own):
    at = casemate.open(own)
    writer = incoming.Writer(store_of(at).incoming, 10**9)
    with subprocess.Popen(
        [*command(), "logs", "tail", "-f", "code:CM-NEW"],
        cwd=own,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            # not before it has read what was there
            wait_for(lambda: store_of(at).days())
            for number in range(2):
                told = {
                    "@timestamp": datetime.datetime.now(datetime.UTC).isoformat(),
                    "log.level": "error",
                    "message": f"new {number}",
                    "event.id": f"n-{number}",
                    "event.dataset": "casemate.request",
                    "error.code": "CM-NEW",
                }
                writer.append([json.dumps(told).encode()])
                assert f"new {number}" in process.stdout.readline()
        finally:
            process.kill()


def test_nobody_shortens_how_long_lines_are_kept_by_a_word_on_the_command_line(own, cli):
    answer = cli("--config", own, "logs", "search", "-s", "logs.days=1")
    assert answer.code == 2
    assert "logs.days" in answer.err


def test_lines_of_a_clock_that_was_wrong_are_counted_and_not_taken(own):
    at = casemate.open(own)
    told = {
        "@timestamp": "1970-01-01T00:00:07Z",
        "log.level": "info",
        "message": "early",
        "event.id": "e-1",
        "event.dataset": "casemate.request",
    }
    incoming.Writer(store_of(at).incoming, 10**9).append([json.dumps(told).encode(), b"{}"])
    assert at.logs.search("early").lines == []
    found = store_of(at).positions()
    assert (found.old, found.garbage) == (1, 1)
