"""Operators see every request: a line of JSON in a log, a span at a real OpenTelemetry collector;
neither holds rows, answers or secrets.
"""

import json
import os
import socket
import subprocess
from pathlib import Path

import pytest
from tests.attacks.test_gateway import Caller, new_token
from tests.attacks.test_predictions import configured
from tests.conftest import serving, wait_for
from tests.ports import free_port

import casemate
from casemate.core.errors import ConfigError
from casemate.serve.metrics import Metrics
from casemate.serve.telemetry import RequestLog, Seen, Traces

INFER = "/v2/models/wdbc/infer"
BODY = {"inputs": [{"name": "x", "shape": [1, 30], "datatype": "FP64", "data": [77.125] * 30}]}
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SEEN = Seen(1.5, "abc-1", "", "Service::x", "POST", "infer", "wdbc", 200, "", 10, 20)


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def collector(tmp_path):
    """(its URL, reads what it got) of a real collector."""
    rotel = pytest.importorskip("rotel", reason="rotel is a development requirement")
    ports, told = (free_port(), free_port()), tmp_path / "collector.log"
    words = [
        "start",
        "--exporter",
        "blackhole",
        "--debug-log",
        "traces",
        "--debug-log-verbosity",
        "detailed",
    ]
    words += [
        "--otlp-grpc-endpoint",
        f"127.0.0.1:{ports[0]}",
        "--otlp-http-endpoint",
        f"127.0.0.1:{ports[1]}",
    ]
    with told.open("w") as log:
        process = subprocess.Popen(
            [str(Path(rotel.__path__[0]) / "rotel-agent"), *words], stdout=log, stderr=log
        )
    wait_for(lambda: listens(ports[1]))
    yield f"http://127.0.0.1:{ports[1]}/v1/traces", told.read_text
    process.terminate()
    process.wait(10)


def test_every_request_is_a_line_of_json_and_a_span_below_its_callers(clinic, collector):
    url, told = collector
    configured(clinic, f'request_log = "requests.jsonl"\ntraces = "{url}"\n')
    project = casemate.open(clinic)
    token = new_token(project, "ward")[0]
    with serving(clinic) as running:
        caller = Caller(running, token)
        status, _, headers = caller("POST", INFER, BODY, traceparent=f"00-{TRACE}-{SPAN}-01")
        assert status == 200
        assert caller("POST", INFER, {"inputs": []})[0] == 400
        assert Caller(running, "cm_stranger")("GET", "/v2", None)[0] == 401
    lines = [json.loads(line) for line in (clinic / "requests.jsonl").read_text().splitlines()]
    assert [(line["status"], line["route"], line["model"], line["code"]) for line in lines] == [
        (200, "infer", "wdbc", ""),
        (400, "infer", "wdbc", "CM-REQUEST"),
        (401, "refused", "", "CM-TOKEN"),
    ]
    assert lines[0]["id"] == headers["x-request-id"]
    assert (lines[0]["principal"], lines[2]["principal"]) == ('Service::"ward"', "")
    assert TRACE in lines[0]["trace"]
    written = (clinic / "requests.jsonl").read_text()
    assert token[5:] not in written
    assert "77.125" not in written
    assert (clinic / "requests.jsonl").stat().st_mode & 0o777 == 0o600
    seen = told()
    assert TRACE in seen
    assert SPAN in seen
    assert "casemate.request_id" in seen
    assert headers["x-request-id"] in seen
    assert token[5:] not in seen


def test_a_log_that_is_moved_away_is_begun_anew_and_one_that_cannot_be_written_counts_what_it_lost(
    tmp_path,
):
    metrics = Metrics()
    log = RequestLog("requests.jsonl", tmp_path, metrics)
    log(SEEN)
    log.write()
    (tmp_path / "requests.jsonl").rename(tmp_path / "old.jsonl")
    log(SEEN)
    log.write()
    assert (tmp_path / "old.jsonl").read_text() == (tmp_path / "requests.jsonl").read_text() != ""
    os.remove(tmp_path / "requests.jsonl")
    (tmp_path / "requests.jsonl").mkdir()
    log(SEEN)
    log.write()
    assert metrics.counts[("casemate_untold", "log")] == 1


def test_a_log_in_a_folder_that_is_not_there_refuses_to_start(tmp_path):
    with pytest.raises(ConfigError, match="requests.jsonl.*No such file"):
        RequestLog("nowhere/requests.jsonl", tmp_path, Metrics())


def test_a_collector_that_is_not_there_costs_no_request_and_holds_up_no_end():
    traces = Traces(f"http://127.0.0.1:{free_port()}/v1/traces", 1.0)
    for _ in range(3000):
        traces(SEEN)
    traces.close()
