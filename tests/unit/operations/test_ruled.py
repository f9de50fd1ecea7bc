"""Rules over log lines as alarms of the watcher: one for a rule and a group, told once when it
begins and once when it ends, and never fed by itself.
"""

import datetime

import pytest
from tests.unit.watch.rule_lines import correlation, denied, line, rule

import casemate
from casemate.core.errors import BackendError
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


@pytest.fixture
def watched(project):
    """A project with own rules, after the look that judging begins behind."""
    folder = project.root / ruled.FOLDER
    folder.mkdir()
    (folder / "three.yml").write_text(f"{DENIED}---\n{THREE}")
    project.watch.once()
    return project


def refuse(project, times: int) -> None:
    for _ in range(times):
        project.log.record('User::"eve"', "run:start", 'Run::"x"', "denied")


def ruled_of(seen) -> list[tuple[str, str]]:
    return [
        (one.cause.labels["rule"], one.cause.labels["user.name"])
        for one in seen.alarms
        if one.cause.name == ruled.MATCHED
    ]


def test_what_is_denied_again_and_again_is_an_alarm_of_the_watcher_over_several_looks(watched):
    refuse(watched, 2)
    assert ruled_of(watched.watch.once()) == []
    refuse(watched, 1)
    seen = casemate.open(watched.root).watch.once()
    assert ruled_of(seen) == [("a correlation", 'User::"eve"')]
    for _ in range(3):
        assert ruled_of(watched.watch.once()) == [("a correlation", 'User::"eve"')]
    assert len([one for one in told(watched) if one[1] == 'User::"eve"']) == 1


def test_lines_of_a_look_that_died_are_judged_by_the_next_one_once(watched, monkeypatch):
    refuse(watched, 3)

    def dies(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(alarms, "update", dies)
        with pytest.raises(KeyboardInterrupt):
            watched.watch.once()
    (alarm,) = [one for one in watched.watch.once().alarms if one.cause.name == ruled.MATCHED]
    assert ": 3 since" in alarm.cause.text


def test_a_rule_that_was_written_wrongly_is_a_page_at_the_next_look_and_no_more_when_mended(
    watched,
):
    broken = watched.root / ruled.FOLDER / "broken.yml"
    broken.write_text(rule("{event.acton: x}", title="broken"))
    (alarm,) = watched.watch.once().alarms
    assert (alarm.cause.name, alarm.cause.severity) == (ruled.BROKEN, "page")
    assert alarm.cause.labels == {"file": "broken.yml", "rule": "broken"}


def test_lines_beyond_those_of_one_look_wait_for_the_next(watched, monkeypatch):
    monkeypatch.setattr(ruled, "MOST_JUDGED", 1)
    for _ in range(3):
        refuse(watched, 1)
        watched.logs.search("")
    found = [ruled_of(watched.watch.once()) for _ in range(6)]
    assert found[0] == []
    assert found[-1] == [("a correlation", 'User::"eve"')]


@pytest.mark.parametrize("between", range(5))
def test_lines_that_come_after_some_were_erased_are_judged(watched, between):
    for _ in range(4):  # a block each
        watched.log.record('User::"zoe"', "run:start", 'Run::"x"', "allowed")
        watched.logs.search("")
    watched.watch.once()
    watched.logs.erase("user:zoe")
    refuse(watched, 3)
    for _ in range(between):  # as many blocks as before
        watched.log.record('User::"ana"', "run:start", 'Run::"x"', "allowed")
        watched.logs.search("")
    assert ruled_of(watched.watch.once()) == [("a correlation", 'User::"eve"')]


def test_without_the_store_nothing_is_judged_and_no_alarm_ends(watched, monkeypatch):
    refuse(watched, 3)
    assert len(ruled_of(watched.watch.once())) == 1
    monkeypatch.setattr(ruled, "is_there", lambda: False)
    with Telemetry(watched.root / "t.db") as opened:
        assert ruled.judge(watched, opened) == ([], set())


def test_a_damaged_store_is_said_and_the_look_goes_on(watched, monkeypatch):
    def damaged(*_):
        raise BackendError("the store is damaged", hint="delete it")

    monkeypatch.setattr(ruled, "_newer", damaged)
    alarm = next(one for one in watched.watch.once().alarms if one.cause.name == ruled.BROKEN)
    assert alarm.cause.text == "the store is damaged"
