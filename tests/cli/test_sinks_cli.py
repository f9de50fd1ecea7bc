"""`casemate sinks`, and the watcher that sends at each look."""

import json
import time

import pytest
from bench.watch.traffic import opened
from tests.contract.sink_servers import POISON, Receiver
from tests.ports import free_port
from tests.unit.watch.test_spool import line, lines

import casemate
from casemate.core.errors import ConfigError
from casemate.operations import sinks
from casemate.watch.levels import read


@pytest.fixture
def receiver():
    found = Receiver("elasticsearch")
    yield found
    found.close()


@pytest.fixture
def root(tiny_project, receiver, monkeypatch):
    """A project with a sink that is there, one that is not, and a file."""
    nobody = f"http://127.0.0.1:{free_port()}"
    with (tiny_project / "casemate.toml").open("a") as file:
        file.write(
            f"\n[spool]\nmax_megabytes = 1\ntimeout = 5\n"
            f'[sinks.search]\nkind = "elasticsearch"\nto = "{receiver.url}"\nsecret = "env:ES_KEY"\n'
            f'[sinks.gone]\nkind = "otlp"\nto = "{nobody}"\n'
            f'[sinks.lines]\nkind = "file"\nto = "logs/casemate.jsonl"\nwhat = ["alarm"]\n'
        )
    monkeypatch.chdir(tiny_project)
    monkeypatch.setenv("ES_KEY", "s3cret-key")
    return tiny_project


def appended(root, entries):
    sinks.spool_of(casemate.open(root)).append(entries)


def came(receiver):
    """Lines of this test; a look brings entries of the log, too."""
    return [name for name in receiver.lines if name.isdigit() and len(name) == 6]


def statuses(cli):
    return {one["sink"]: one for one in cli("sinks", "status", "--format", "json").value}


def test_lines_go_to_every_sink_and_status_says_what_waits_where(root, cli, receiver):
    appended(root, [*lines(0, 20), line(20, dataset="casemate.alarm"), line(21, message=POISON)])
    sent = cli("sinks", "send")
    assert sent.code == 5
    assert "search: 21 accepted, 1 refused, 0 put aside" in sent.out
    assert "lines: 1 accepted" in sent.out
    assert "was not reached" in sent.out
    found = statuses(cli)
    assert (found["search"]["waiting"], found["search"]["refused"]) == (0, 1)
    assert (found["gone"]["waiting"], found["gone"]["oldest"]) == (22, "2026-11-29T08:00:00.000Z")
    assert found["gone"]["failures"] == 1
    assert found["gone"]["due"] is not None
    assert "CM-SINK-AWAY" in found["gone"]["error"]
    assert "CM-SINK-AWAY" in cli("sinks", "status").out
    assert len(receiver.lines) == 21
    assert receiver.headers["authorization"] == "ApiKey s3cret-key"
    (row,) = (root / "logs" / "casemate.jsonl").read_text().splitlines()
    assert json.loads(row)["event.id"] == "000020"
    texts = [path.read_bytes() for path in (root / ".casemate" / "logs").rglob("*.json*")]
    assert not [text for text in texts if b"s3cret-key" in text]
    entry = list(casemate.open(root).log.entries())[-1]
    assert (entry.action, entry.outcome, entry.detail) == ("sinks:send", "done", {"lines": 22})


def test_a_test_line_says_which_sink_is_set_up_right(root, cli, receiver):
    tried = cli("sinks", "check")
    assert tried.code == 5
    assert "search: taken" in tried.out and "lines: taken" in tried.out
    assert "gone: 127.0.0.1" in tried.out
    assert cli("sinks", "check", "search").code == 0
    assert len(receiver.lines) == 2
    unknown = cli("sinks", "check", "serach")
    assert (unknown.code, "no sink 'serach'" in unknown.err) == (2, True)
    assert statuses(cli)["search"]["accepted"] == 0  # past the spool


def test_a_project_without_sinks_says_how_to_make_one(tiny_project, cli, monkeypatch):
    monkeypatch.chdir(tiny_project)
    assert cli("sinks", "send").code == 2
    assert "[sinks.NAME]" in cli("sinks", "send").err
    assert cli("sinks", "status").out == "no sink is configured\n"
    assert casemate.open(tiny_project).watch.once().time
    assert not (tiny_project / ".casemate" / "logs" / "spool").exists()


def gauges(root):
    return {
        (gauge.name, gauge.labels["sink"]): gauge.value
        for gauge in read(root / ".casemate")
        if "sink" in gauge.labels
    }


def test_the_watcher_sends_at_each_look_and_one_that_is_away_is_an_alarm_and_fails_no_look(
    root, receiver
):
    appended(root, lines(0, 5))
    seen = casemate.open(root).watch.once()
    assert len(came(receiver)) == 5
    alarms = {
        (alarm.cause.name, alarm.cause.labels["sink"]): alarm.cause
        for alarm in seen.alarms
        if "sink" in alarm.cause.labels
    }
    assert list(alarms) == [("sink-away", "gone")]
    assert "lines wait for the sink gone" in alarms["sink-away", "gone"].text
    assert gauges(root)["casemate_sink_waiting", "gone"] >= 5
    assert gauges(root)["casemate_sink_waiting", "search"] == 0


def test_the_watcher_hands_its_gauges_on_with_the_lines(root, tmp_path):
    from tests.interop import receivers

    with receivers.rotel(tmp_path) as (url, told):
        with (root / "casemate.toml").open("a") as file:
            file.write(f'[sinks.collector]\nkind = "otlp"\nto = "{url}"\n')
        appended(root, lines(0, 5))
        casemate.open(root).watch.once()
        receivers.wait_for(lambda: "casemate_disk_free_bytes" in told())
        assert "Body: Str(line 4)" in told()
        assert "service.namespace: Str(" in told()


def test_what_a_full_spool_dropped_is_told_loudly(root, receiver):
    spool = sinks.spool_of(casemate.open(root))
    for start in range(0, 8000, 1000):
        spool.append(lines(start, start + 1000, message="m" * 300))
    seen = casemate.open(root).watch.once()
    dropped = [one.cause for one in seen.alarms if one.cause.name == "sink-dropped"]
    assert {cause.labels["sink"] for cause in dropped} == {"search", "gone", "lines"}
    assert {cause.severity for cause in dropped} == {"page"}
    lost = gauges(root)["casemate_sink_dropped", "search"]
    assert lost > 0
    assert len(came(receiver)) == 8000 - lost
    tomorrow = opened(root, time.time() + 2 * 86_400).watch.once()
    assert not [one for one in tomorrow.alarms if one.cause.name == "sink-dropped"]


def test_a_disk_that_cannot_hold_the_spool_fails_no_look(root):
    (root / ".casemate" / "logs").write_text("in the way")
    seen = casemate.open(root).watch.once()
    unseen = [one.cause for one in seen.alarms if one.cause.name == "unseen"]
    assert [cause.labels for cause in unseen] == [{"what": "sinks"}]
    with pytest.raises(ConfigError, match="no sink 'x'"):
        casemate.open(root).sinks.check(["x"])


def test_a_sink_whose_authority_is_missing_is_told_and_holds_no_other_one_up(root, cli, receiver):
    with (root / "casemate.toml").open("a") as file:
        file.write('[sinks.wrong]\nkind = "syslog"\nto = "tls://127.0.0.1:9"\nca = "no.pem"\n')
    appended(root, lines(0, 5))
    casemate.open(root).watch.once()
    assert len(came(receiver)) == 5
    found = statuses(cli)["wrong"]
    assert "CM-CONFIG" in found["error"] and "no.pem holds no certificates" in found["error"]
    assert found["failures"] == 1
    assert found["waiting"] > 5  # with the gauges of the look, which it will pass over


def test_doctor_says_how_each_sink_is_reached_and_a_backup_leaves_the_spool_out(
    root, cli, tmp_path
):
    said = cli("doctor").out
    assert "sink gone" in said and "without TLS" in said
    assert "logs/casemate.jsonl, readable by its group" in said
    appended(root, lines(0, 5))
    from casemate.operations.backup.creation import _files

    names = [name for name, _ in _files(casemate.open(root))]
    assert names and not [name for name in names if "spool" in name]
