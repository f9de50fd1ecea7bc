"""One alarm, followed from the traffic that caused it to everybody who hears of it: the watcher, the
log store, Prometheus and Alertmanager, rsyslog over TLS, Elasticsearch's wire, OpenTelemetry.
"""

import contextlib
import json
import shutil
import subprocess

import pandas as pd
import pytest
from tests.attacks.test_gateway import new_token
from tests.conftest import command, serving, wait_for
from tests.interop import receivers
from tests.interop.test_alerts_delivered import Sink, monitored
from tests.interop.test_sinks import found
from tests.ports import free_port

import casemate

pytestmark = pytest.mark.skipif(
    shutil.which("prometheus") is None or shutil.which("rsyslogd") is None,
    reason="prometheus or rsyslog is not installed",
)
STREAM = "logs-casemate-chain"
SINKS = """
[sinks.search]
kind = "elasticsearch"
to = "{search}"
stream = "{stream}"

[sinks.wire]
kind = "syslog"
to = "tls://127.0.0.1:{syslog}"
ca = "{folder}/ca.pem"

[sinks.otel]
kind = "otlp"
to = "{otel}"
"""


def said(folder, *words):
    done = subprocess.run(
        [*command(), *words, "--format", "json"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    return json.loads(done.stdout)


def test_one_alarm_is_found_once_at_everybody_who_hears_of_it(clinic, tmp_path):
    receivers.certificates(tmp_path)
    syslog, sink = free_port(), Sink()
    with contextlib.ExitStack() as servers:
        search = servers.enter_context(receivers.noida(tmp_path))
        otel, told = servers.enter_context(receivers.rotel(tmp_path))
        listening = receivers.listening(tmp_path, syslog)
        servers.enter_context(receivers.rsyslogd(tmp_path, listening, syslog))
        servers.callback(sink.server.shutdown)
        file = clinic / "casemate.toml"
        sinks = SINKS.format(
            search=search, stream=STREAM, syslog=syslog, folder=tmp_path, otel=otel
        )
        file.write_text(
            file.read_text().replace("[serve]\n", '[serve]\ninputs = "sealed"\n') + sinks
        )
        project = casemate.open(clinic)
        running = servers.enter_context(serving(clinic))
        servers.enter_context(monitored(project, running, sink, tmp_path / "prom"))
        assert said(clinic, "watch", "once")["alarms"] == []

        rows = pd.read_csv(clinic / "data" / "wdbc.csv")
        rows["mean_radius"] /= 10  # another unit
        rows.to_csv(tmp_path / "moved.csv", index=False)
        token, _ = new_token(project, "ward", "client")
        (tmp_path / "ward").write_text(token)
        url = f"https://127.0.0.1:{running.port}"
        subprocess.run(
            [
                *(*command(), "predict", tmp_path / "moved.csv", "--url", url),
                *("--token", f"file:{tmp_path / 'ward'}", "--out", tmp_path / "answers.csv"),
            ],
            cwd=clinic,
            check=True,
            capture_output=True,
        )
        alarms = said(clinic, "watch", "once", "--early")["alarms"]
        (drift,) = [one for one in alarms if one["cause"]["name"] == "drift"]
        assert drift["cause"]["text"].startswith("mean_radius")

        lines = said(clinic, "logs", "search", "kind:alert")["lines"]
        (line,) = [one for one in lines if "mean_radius" in one["message"]]
        identifier = line["event.id"]
        wait_for(lambda: sink.heard("CasemateAlarm"))
        delivered = {(one["labels"]["alarm"], one["labels"]["model"]) for _, one in sink.alerts}
        assert ("drift", drift["cause"]["labels"]["model"]) in delivered
        wait_for(lambda: found(search, STREAM, {"term": {"event.kind": "alert"}}))
        wait_for(lambda: identifier in (tmp_path / "got.jsonl").read_text())
        wait_for(lambda: f"log.record.uid: Str({identifier})" in told())
        wait_for(lambda: "casemate_alarm" in told())

        said(clinic, "watch", "once")
        assert found(search, STREAM, {"term": {"event.kind": "alert"}}).count(identifier) == 1
        rows = (tmp_path / "got.jsonl").read_text().splitlines()
        assert sum(identifier in row for row in rows) == 1
        assert told().count(f"log.record.uid: Str({identifier})") == 1
