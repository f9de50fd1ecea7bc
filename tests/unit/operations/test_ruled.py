"""Rules over log lines as alarms of the watcher: one for a rule and a group, told once when it
begins and once when it ends, and never fed by itself.
"""

import datetime

import pytest
from tests.unit.watch.rule_lines import correlation, denied, line, rule

import casemate
from casemate.operations import scaffold
from casemate.operations.watching import alarms, ruled
from casemate.operations.watching.alarms import Alarm
from casemate.watch.rules import Rules
from casemate.watch.telemetry import Telemetry

START = datetime.datetime(2026, 3, 2, 12, tzinfo=datetime.UTC)
DENIED = rule("{event.reason: denied}", title="denied", level="", more="name: denied\n")
THREE = correlation("event_count", ["denied"], "{gte: 3}", group="user.name", span="10m")
GRANTED = rule("{event.action: 'role:grant'}", title="granted", level="critical")


@pytest.fixture
def project(home, tmp_path):
    root = tmp_path / "p"
    root.mkdir()
    scaffold.create(root, scaffold.clinical())
    return casemate.open(root)


@pytest.fixture
def telemetry(tmp_path):
    with Telemetry(tmp_path / "telemetry.db") as opened:
        yield opened


def made(tmp_path, *texts) -> Rules:
    file = tmp_path / "rules.yml"
    file.write_text("---\n".join(texts))
    return Rules(file, starter=False)


def look(project, telemetry, rules, batch, seconds: float) -> list[Alarm]:
    """What a watcher does with a batch of new lines."""
    now = START + datetime.timedelta(seconds=seconds)
    with telemetry.transaction():
        causes = ruled.causes(rules.judge(batch), rules.faults)
        standing = alarms.update(telemetry, causes, ruled.LOOKED_AT, now)
    alarms.tell(project, telemetry, 0)
    return standing


def told(project) -> list[tuple[str, str]]:
    return [
        (entry.action, entry.detail["labels"].get("user.name", entry.detail["alarm"]))
        for entry in project.log.entries(0)
        if entry.action in (alarms.ALARM, alarms.WELL)
    ]


def test_a_rule_is_one_alarm_for_each_group_told_once_and_ended_after_a_quiet_time(
    project, telemetry, tmp_path
):
    rules = made(tmp_path, DENIED, THREE)
    both = [denied(one, user) for one in range(4) for user in ("ana", "bob")]
    standing = look(project, telemetry, rules, both, 0)
    assert sorted(one.cause.labels["user.name"] for one in standing) == ["ana", "bob"]
    assert {one.cause.severity for one in standing} == {"note"}
    for number in range(5, 9):
        look(project, telemetry, rules, [denied(number, "ana")], number * 60)
    assert sorted(told(project)) == [(alarms.ALARM, "ana"), (alarms.ALARM, "bob")]
    assert look(project, telemetry, rules, [], 480 + alarms.QUIET + 1) == []
    assert sorted(told(project)[2:]) == [(alarms.WELL, "ana"), (alarms.WELL, "bob")]


def test_what_is_told_of_an_alarm_does_not_raise_it_again(project, telemetry, tmp_path):
    rules = made(tmp_path, rule("{message|contains: a}", title="everything"))
    (standing,) = look(project, telemetry, rules, [line(message="a")], 0)
    about = [
        line(one.index, message="a", dataset="casemate.alarm", action=one.action, kind="alert")
        for one in project.log.entries(0)
        if one.action == alarms.ALARM
    ]
    assert len(about) == 1
    later = alarms.QUIET + 1
    assert look(project, telemetry, rules, about, later) == []
    assert look(project, telemetry, rules, about, 2 * later) == []
    assert [action for action, _ in told(project)] == [alarms.ALARM, alarms.WELL]
    assert standing.cause.labels == {"rule": "everything"}


@pytest.mark.parametrize(
    ("level", "severity"),
    [("critical", "page"), ("high", "page"), ("medium", "note"), ("low", "note")],
)
def test_how_bad_a_rule_is_says_whether_somebody_is_woken(tmp_path, level, severity):
    rules = made(tmp_path, rule("{event.action: x}", level=level))
    (cause,) = ruled.causes(rules.judge([line(action="x")]), [])
    assert cause.severity == severity


def test_a_group_by_model_is_an_alarm_about_the_model(project, telemetry, tmp_path):
    counted = correlation("event_count", ["denied"], "{gte: 1}", group="labels.model")
    rules = made(tmp_path, DENIED, counted)
    look(project, telemetry, rules, [denied(0, model="wdbc")], 0)
    (entry,) = [one for one in project.log.entries(0) if one.action == alarms.ALARM]
    assert entry.resource == 'Model::"wdbc"'


def test_a_rule_that_does_not_run_is_an_alarm_of_its_own_and_the_others_run(
    project, telemetry, tmp_path
):
    rules = made(tmp_path, rule("{event.acton: x, usr: y}", title="broken"), GRANTED)
    standing = look(project, telemetry, rules, [line(action="role:grant")], 0)
    assert [(one.cause.name, one.cause.severity) for one in standing] == [
        (ruled.MATCHED, "page"),
        (ruled.BROKEN, "page"),
    ]
    assert "event.acton" in standing[1].cause.text
    assert "usr" in standing[1].cause.text
    mended = made(tmp_path, GRANTED)
    assert look(project, telemetry, mended, [], alarms.QUIET + 1) == []


def test_an_alarm_says_which_lines_to_look_at_and_when_it_is_harmless(tmp_path):
    text = rule("{event.action: x}", more="falsepositives: [a rehearsal]\n")
    rules = made(tmp_path, text)
    (cause,) = ruled.causes(rules.judge([line(action="x", id="some-id")]), [])
    assert "some-id" in cause.hint
    assert "a rehearsal" in cause.hint
