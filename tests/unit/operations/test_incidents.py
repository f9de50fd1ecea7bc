"""Incidents of a project: one a cause, whatever comes in which order, and each line in the log."""

import datetime
import itertools
import json

import msgspec
import pytest
import sqlalchemy as sa
from msgspec import structs
from tests.unit.operations.test_operations import PASSWORD, secret_of

import casemate
from casemate.controls.audit.proof import verify_proof
from casemate.core.errors import (
    AccessDenied,
    ConfigError,
    RefusedError,
    UnexplainedRow,
    VerificationError,
)
from casemate.operations.incidents import own
from casemate.operations.incidents.intake import AGAIN, take
from casemate.operations.incidents.lineages import Lineages
from casemate.operations.watching.alarms import Alarm, Cause
from casemate.respond import tables
from casemate.respond.alerts import Alert, moment
from casemate.respond.causes import Origin
from casemate.respond.readers import Post

NOW = datetime.datetime(2027, 3, 1, 8, tzinfo=datetime.UTC)
MINUTE, HOUR = datetime.timedelta(minutes=1), datetime.timedelta(hours=1)


class Clock:
    """Shows what it is set to."""

    def __init__(self):
        self.time = NOW

    def now(self):
        return self.time


@pytest.fixture
def at(clinic):
    return opened(clinic)


def opened(root, *overrides):
    project = casemate.open(root, list(overrides))
    project.clock = Clock()
    return project


def said(name, minutes=0, ended=None, severity="page", is_moment=False, **labels):
    return Alert(
        source="test",
        name=name,
        severity=severity,
        labels=labels,
        text="it is so",
        began=moment(NOW + minutes * MINUTE),
        ended=None if ended is None else moment(NOW + ended * MINUTE),
        is_moment=is_moment,
    )


def hear(project, *alerts):
    return take(project, "test", Post(alerts=list(alerts)))


def roots(project, state="open"):
    return [(one.incident.root, one.incident.alerts) for one in project.incidents.list(state)]


def test_a_storm_of_equal_alerts_is_one_incident_and_no_message_is_lost(at):
    for start in range(0, 1000, 100):
        hear(at, *(said("Down", instance=f"host{n}") for n in range(start, start + 100)))
    assert roots(at) == [("name:Down", 1000)]
    size = at.log.size()
    for _ in range(10):
        assert hear(at, *(said("Down", instance=f"host{n}") for n in range(100))).new == 0
    assert at.log.size() == size, "a repetition is no entry"
    found = at.incidents.show(1)
    assert found.standing == 1000
    assert len(found.lines) < 30
    with at.database.reading() as tx:
        heard = tx.execute(sa.select(sa.func.sum(tables.ALERTS.c.heard))).scalar_one()
    assert heard == 2000


def test_any_order_and_repetition_of_messages_comes_to_the_same_alerts_and_one_incident(at):
    heard = [(0, None), (0, 5), (6, None), (6, None)]
    states = set()
    for number, order in enumerate(itertools.permutations([*heard, heard[0]])):
        name = f"p{number}"
        for began, ended in order:
            hear(at, said(name, began, ended))
        with at.database.reading() as tx:
            (row,) = tables.some_alerts(
                tx, tables.ALERTS.c.fingerprint == said(name).fingerprint, most=2
            ).values()
            belongs = tables.incident(tx, row.incident)
        states.add((row.alert.began, row.alert.ended, row.alert.stands, row.heard, belongs.alerts))
    assert states == {(said("", 6).began, said("", 6, 5).ended, True, 5, 1)}


def test_an_end_that_comes_before_its_beginning_opens_nothing(at):
    hear(at, said("x", 0, 5))
    hear(at, said("x", 0))
    assert roots(at, "all") == []
    assert [one.alert.stands for one in at.incidents.alerts(everything=True)] == [False]


def test_an_episode_that_is_told_again_long_after_its_end_goes_on(at):
    hear(at, said("x", 0))
    hear(at, said("x", 0, 5))
    hear(at, said("x", 0))  # late
    assert at.incidents.show(1).standing == 0
    at.clock.time += AGAIN + MINUTE
    hear(at, said("x", 0))
    assert at.incidents.show(1).standing == 1
    hear(at, said("x", 0))
    hear(at, said("x", 0, 12))
    assert at.incidents.show(1).standing == 0


def test_one_cause_is_one_incident_along_the_lineage_of_the_model(at):
    hear(at, said("quality-realised", model="wdbc@1"))
    assert roots(at) == [("model:wdbc@1", 1)]
    hear(at, said("model-withdrawn", model="wdbc@1", is_moment=True))
    hear(at, said("drift", 1, model="wdbc@1"))
    ((root, count),) = roots(at)
    assert (root.startswith("dataset:wdbc@"), count) == (True, 3)


def test_a_key_that_is_lost_explains_what_it_signed_and_one_that_is_overdue_does_not(at):
    hear(at, said("model-withdrawn", model="wdbc@1", is_moment=True))
    hear(at, said("key-overdue", 1, key="objects"))
    assert [root for root, _ in roots(at)] == ["key-care:objects", "endpoint:wdbc@1"]
    hear(at, said("signer-compromised", 2, is_moment=True))
    assert [root for root, _ in roots(at)] == ["key-care:objects", "key:signer"]
    assert at.incidents.show(1).incident.severity == "critical"


def test_incidents_that_nobody_took_up_become_part_of_the_cause_that_they_share(at):
    hear(at, said("x", model="wdbc@1"), said("y", dataset="wdbc"))
    assert len(roots(at)) == 1, "the model depends on the data set"
    hear(at, said("CasemateDown", 1))
    hear(at, said("model-withdrawn", 1, model="other@1"))
    at.incidents.acknowledge(3)
    hear(at, said("disk-full", 2))
    assert sorted(root for root, _ in roots(at)) == [
        "dataset:wdbc",
        "endpoint:other@1",
        "machine:machine",
    ]


@pytest.mark.parametrize("is_taken_up", [False, True])
def test_two_models_of_one_data_set_are_one_incident_once_that_is_the_cause(
    at, monkeypatch, is_taken_up
):
    def origin(_, model):
        return Origin(reference=model, run=model, dataset="d", version="1", source="s")

    monkeypatch.setattr(Lineages, "_read", origin)
    hear(at, said("quality-realised", model="a@1"))
    hear(at, said("quality-realised", 1, model="b@1"))
    assert [root for root, _ in roots(at)] == ["model:b@1", "model:a@1"]
    if is_taken_up:
        at.incidents.acknowledge(2)
    hear(at, said("drift", 2, model="a@1"))
    if is_taken_up:
        assert roots(at) == [("model:b@1", 1), ("dataset:d@1", 2)]
        return
    assert roots(at) == [("dataset:d@1", 3)]
    assert at.incidents.show(1).standing == 3
    assert at.incidents.show(2).incident.merged == 1


def test_notes_open_nothing_but_belong_to_the_incident_that_explains_them(at):
    hear(at, said("anomaly", severity="note", model="wdbc@1", series="s"))
    hear(at, said("budget-spent", severity="note", dataset="d"))
    assert roots(at) == []
    hear(at, said("drift", 1, model="wdbc@1"))
    ((_, count),) = roots(at)
    assert count == 2
    alone = [one.alert.name for one in at.incidents.alerts() if one.incident is None]
    assert alone == ["budget-spent"]


def test_notes_open_incidents_where_the_project_says_so(clinic):
    at = opened(clinic, 'incidents.opens="note"')
    hear(at, said("x", severity="note"))
    assert [one.incident.severity for one in at.incidents.list()] == ["low"]


def test_a_note_that_becomes_a_page_opens_an_incident(at):
    hear(at, said("x", severity="note"))
    hear(at, said("x", severity="page"))
    assert [one.incident.severity for one in at.incidents.list()] == ["medium"]


def test_an_incident_without_a_standing_alert_takes_others_only_within_the_window(at):
    hear(at, said("x", 0, instance="a"))
    hear(at, said("x", 24 * 60 + 1, instance="b"))
    assert roots(at) == [("name:x", 2)], "one stands"
    hear(at, said("y", 0, job="j"))
    hear(at, said("y", 0, 1, job="j"))
    hear(at, said("z", 23 * 60, job="j"))
    assert ("job:j", 2) in roots(at)
    hear(at, said("z", 23 * 60, 23 * 60 + 1, job="j"))
    hear(at, said("w", 48 * 60, job="j"))
    assert [found for found in roots(at) if found[0] == "job:j"] == [("job:j", 1), ("job:j", 2)]


def test_after_closing_a_new_episode_opens_an_incident_that_names_the_one_before(at):
    hear(at, said("x", 0))
    at.incidents.acknowledge(1)
    with pytest.raises(RefusedError, match="1 alerts of incident 1 still stand"):
        at.incidents.close(1)
    hear(at, said("x", 0, 5))
    at.incidents.close(1)
    hear(at, said("x", 6))
    assert at.incidents.show(2).incident.follows == 1
    at.incidents.acknowledge(2)
    assert at.incidents.close(2, despite="it is a test").state == "closed"
    hear(at, said("x", 6))
    assert roots(at) == [], "the same episode was closed already"


def test_alerts_in_maintenance_open_nothing_and_what_still_stands_is_judged_at_its_end(at):
    at.incidents.mute(NOW, NOW + HOUR, {"name": "x", "job": "j"}, "a new disk")
    hear(at, said("x", 0, job="j"), said("x", 1, job="other"), said("x", 0, job="j", part="2"))
    assert roots(at) == [("job:other", 1)]
    hear(at, said("x", 0, 10, job="j", part="2"))
    at.clock.time += HOUR - MINUTE
    hear(at)
    assert len(roots(at)) == 1
    at.clock.time += 2 * MINUTE
    own.look(at, [], at.log.size())
    assert sorted(roots(at)) == [("name:x", 2)]


def test_each_line_is_an_entry_that_can_be_proven_and_the_row_is_what_they_make(at, tmp_path):
    hear(at, said("x"))
    at.incidents.acknowledge(1)
    at.incidents.note(1, "we look")
    shown = at.incidents.show(1)
    assert [one.action.partition(":")[2] for one in shown.lines] == [
        "opened",
        "acknowledged",
        "noted",
    ]
    at.audit.prove(shown.lines[1].entry, tmp_path / "proof")
    vkeys = (at.state / "public" / "log.vkey").read_text()
    proven = verify_proof((tmp_path / "proof").read_bytes(), vkeys)
    assert proven.entry.resource == 'Incident::"1"'


@pytest.mark.parametrize(
    "change",
    [
        lambda row: msgspec.structs.replace(row, state="closed"),
        lambda row: msgspec.structs.replace(row, severity="low", is_graded=True),
    ],
)
def test_a_row_that_says_something_else_than_the_log_is_refused(at, change):
    hear(at, said("x"))
    with at.database.transaction() as tx:
        tables.put(tx, change(tables.incident(tx, 1)), is_new=False)
    with pytest.raises(VerificationError, match="something else of incident 1"):
        at.incidents.show(1)
    with pytest.raises(VerificationError):
        at.incidents.acknowledge(1)


def test_lines_that_were_taken_away_and_rows_that_contradict_themselves_are_refused(at):
    hear(at, said("x"))
    at.incidents.note(1, "we look")
    with at.database.transaction() as tx:
        tx.execute(tables.INCIDENTS.update().values(state="closed"))
    with pytest.raises(VerificationError, match="contradicts itself"):
        at.incidents.show(1)
    with at.database.transaction() as tx:
        tx.execute(tables.INCIDENTS.update().values(state="new"))
        newest = sa.select(sa.func.max(tables.LINES.c.entry)).scalar_subquery()
        tx.execute(tables.LINES.delete().where(tables.LINES.c.entry == newest))
    with pytest.raises(VerificationError):
        at.incidents.show(1)


@pytest.mark.parametrize("is_gone", [False, True])
def test_fsck_finds_incidents_that_are_gone_or_older_than_the_log(at, is_gone):
    hear(at, said("x"))
    with at.database.reading() as tx:
        old = tables.incident(tx, 1)
    at.incidents.acknowledge(1)
    assert [one for one in at.examine().damage if "incident" in one.subject] == []
    with at.database.transaction() as tx:
        if is_gone:
            tx.execute(tables.INCIDENTS.delete())
            tx.execute(tables.LINES.delete())
        else:
            tables.put(tx, old, is_new=False)
            newest = sa.select(sa.func.max(tables.LINES.c.entry)).scalar_subquery()
            tx.execute(tables.LINES.delete().where(tables.LINES.c.entry == newest))
            assert tables.incident(tx, 1) == old
    if not is_gone:
        assert at.incidents.show(1).incident == old, "only the whole log tells"
    (found,) = [one for one in at.examine().damage if "incident" in one.subject]
    assert "does not know entry" in found.state


def test_silence_that_nobody_asked_for_is_refused(at):
    with at.database.engine.begin() as tx:
        tx.execute(sa.text("INSERT INTO incident_mute VALUES (1, '2000', '3000', '{}')"))
    with pytest.raises(UnexplainedRow):
        hear(at, said("x"))


def test_who_may_not_is_refused_and_who_may_is_named(at):
    at.access.add_user("ana", ["auditor"], PASSWORD)
    hear(at, said("x"))
    ana = at.acting(secret_of(at, "ana"))
    assert ana.incidents.show(1).incident.owner is None
    with pytest.raises(AccessDenied):
        ana.incidents.acknowledge(1)
    assert at.incidents.acknowledge(1, "ana").owner == 'User::"ana"'
    with pytest.raises(ConfigError, match="no user 'zoe'"):
        at.incidents.assign(1, "zoe")


def test_merged_incidents_are_one_with_all_alerts(at):
    hear(at, said("x"), said("y"))
    at.incidents.merge(1, into=2)
    assert [one.incident.id for one in at.incidents.list()] == [2]
    assert (at.incidents.show(2).incident.alerts, at.incidents.show(2).standing) == (2, 2)
    with pytest.raises(RefusedError, match="part of incident 2"):
        at.incidents.reopen(1, "no")


def alarm(name, ended=None, severity="page", **labels):
    cause = Cause(name=name, labels=labels, severity=severity, text="t", hint="h")
    began = moment(NOW)
    return Alarm(fingerprint="f", cause=cause, began=began, seen=began, ended=ended)


def test_what_the_watcher_sees_is_heard_once_however_often_it_looks(at):
    for _ in range(3):
        own.look(at, [alarm("disk-full")], at.log.size())
    assert roots(at) == [("machine:machine", 1)]
    size = at.log.size()
    own.look(at, [alarm("disk-full")], size)
    assert at.log.size() == size
    own.look(at, [alarm("disk-full", ended=moment(NOW + MINUTE))], size)
    assert at.incidents.show(1).standing == 0


def test_whom_a_rule_over_log_lines_is_about_does_not_leave_the_watcher(at):
    own.look(at, [alarm("log-rule", rule="Guessing", **{"user.name": "mallory"})], at.log.size())
    own.look(at, [alarm("log-rule", rule="Guessing", **{"user.name": "eve"})], at.log.size())
    assert roots(at) == [("rule:Guessing", 2)]
    assert "mallory" not in str(at.incidents.show(1))


@pytest.mark.parametrize(
    ("action", "about", "outcome", "detail", "name"),
    [
        ("model:withdrawn", 'Model::"wdbc@1"', "failed", {"reason": "r"}, "model-withdrawn"),
        ("model:not-loaded", 'Model::"wdbc@1"', "failed", {"reason": "r"}, "model-not-loaded"),
        ("model:canary-failed", 'Model::"wdbc@1"', "failed", {}, "model-canary-failed"),
        ("audit:fork", 'Model::"log"', "failed", {"reason": "r"}, "log-forked"),
        ("signer:compromised", "Key", "done", {}, "signer-compromised"),
        ("access:break-glass", 'User::"a"', "done", {"grant": "g"}, "break-glass"),
        ("access:anomaly", "Project", "done", {"risk": 80, "kind": "k"}, "access-anomaly"),
        ("access:anomaly", "Project", "done", {"risk": 20, "kind": "k"}, None),
        ("access:break-glass", "Project", "allowed", {}, None),
        ("run:end", 'Run::"r"', "failed", {"error": "CM-VERIFY: x"}, "verification-failed"),
        (
            "run:end",
            'Run::"r"',
            "failed",
            {"error": "CM-TRAIN: died — refused by the sandbox: connect"},
            "sandbox-refused",
        ),
        ("run:end", 'Run::"r"', "failed", {"error": "CM-TRAIN: died"}, None),
        ("run:end", 'Run::"r"', "passed", {}, None),
    ],
)
def test_entries_that_mean_trouble_open_an_incident_once(at, action, about, outcome, detail, name):
    start = at.log.size()
    at.log.record('User::"mallory"', action, about, outcome, **detail)
    for _ in range(2):
        own.look(at, [], start)
    found = at.incidents.list()
    assert [one.incident.title.partition(":")[0] for one in found] == ([name] if name else [])
    assert "mallory" not in str(found)
    assert [one.standing for one in found] == [0] * len(found)


def test_clocks_that_run_out_are_told_once(clinic, tmp_path):
    with (clinic / "casemate.toml").open("a") as file:
        file.write(f'\n[notices.duty]\nkind = "folder"\nto = "{tmp_path}/out"\n')
        file.write('\n[incidents]\nlaws = ["gdpr", "cra"]\n')
    at = opened(clinic)
    hear(at, said("CasemateDown"))
    at.clock.time += 2 * HOUR
    for _ in range(2):
        own.overdue(at)
    at.incidents.acknowledge(1, personal_data=True, aware=NOW)
    at.clock.time += 80 * HOUR
    own.overdue(at)
    at.incidents.note(1, "the authority knows", served="gdpr-33")
    own.overdue(at)
    late = at.incidents.show(1).incident.overdue
    assert late == ("acknowledge", "contain", "gdpr-33", "cra-14-24h", "cra-14-72h")
    at.messages.deliver()
    events = [json.loads(path.read_text())["event"] for path in (tmp_path / "out").glob("*.json")]
    assert (events.count("incident:opened"), events.count("incident:overdue")) == (1, 5)
    done = {one.id: one.done for one in at.incidents.show(1).clocks}
    assert done["gdpr-33"]
    assert not done["contain"]


def test_what_is_known_before_an_incident_is_taken_up_stays_known(at):
    hear(at, said("x"))
    with pytest.raises(ConfigError, match="aware of it already"):
        at.incidents.note(1, "later", aware=NOW + HOUR)
    at.incidents.note(1, "names were in it", aware=NOW - HOUR, personal_data=True)
    at.incidents.acknowledge(1)
    found = at.incidents.show(1).incident
    assert (found.personal, found.aware) == (True, moment(NOW - HOUR))


def test_a_note_of_a_closed_incident_that_becomes_a_page_opens_the_next_one(at):
    hear(at, said("x"))
    hear(at, said("x", 0, 1))
    hear(at, said("x", 2, severity="note"))
    at.incidents.acknowledge(1)
    at.incidents.close(1, "nothing to see to")
    assert hear(at, said("x", 2)).opened == [2]


def test_a_clock_that_leapt_keeps_no_alarm_from_being_heard(at):
    begins = datetime.timedelta(days=3)
    ahead = structs.replace(alarm("drift", model="wdbc@1"), began=(NOW + begins).isoformat())
    turned = structs.replace(
        alarm("disk-full"), began=NOW.isoformat(), ended=(NOW - begins).isoformat()
    )
    own.look(at, [ahead, turned, alarm("run-failed")], at.log.size())
    heard = {one.alert.name for one in at.incidents.alerts(everything=True)}
    assert heard == {"drift", "disk-full", "run-failed"}
