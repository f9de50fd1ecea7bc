"""Log lines at real receivers: noida-db (Elasticsearch's wire), rsyslogd over TLS, rotel."""

import json
import re
import subprocess
import urllib.request

import pytest
from tests.conftest import wait_for
from tests.interop import receivers
from tests.interop.receivers import certificates, item, items, line
from tests.ports import free_port

from casemate.config import parse
from casemate.core.clock import SystemClock
from casemate.deploy import rsyslog
from casemate.watch.levels import Gauge
from casemate.watch.sinks import elastic, file, otlp, syslog, wire
from casemate.watch.sinks.delivery import Manner, Route, deliver, send_all
from casemate.watch.sinks.interface import Levels, Sent, SinkAway
from casemate.watch.sinks.spool import EVERYTHING, Spool

STREAM = "logs-casemate-default"


@pytest.fixture(scope="module")
def search(tmp_path_factory):
    """The URL of a noida-db."""
    with receivers.noida(tmp_path_factory.mktemp("noida")) as url:
        yield url


def asked(url, path, body=None):
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{url}/{path}", content, {"content-type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return json.loads(answer.read())


def found(url, stream, query):
    """The ids of lines, after a refresh."""
    asked(url, f"{stream}/_refresh", {})
    hits = asked(url, f"{stream}/_search", {"size": 5000, "query": query})["hits"]["hits"]
    return sorted(hit["_id"] for hit in hits)


def to_elastic(url, stream):
    return elastic.Elastic(wire.Place(url, None, 30), stream, None, None, template=True)


def test_lines_are_found_in_elasticsearch_by_their_fields_and_once_however_often_they_are_sent(
    search,
):
    stream = "logs-casemate-once"
    batch = [*items(300), item(line(300, outcome="failure", level="error", code="CM-REQUEST"))]
    sends = to_elastic(search, stream)
    assert sends.send(batch) == Sent(accepted=301)
    assert to_elastic(search, stream).send(batch) == Sent(accepted=301)
    assert len(found(search, stream, {"match_all": {}})) == 301
    assert found(search, stream, {"term": {"event.outcome": "failure"}}) == ["event-000300"]
    assert found(search, stream, {"term": {"error.code": "CM-REQUEST"}}) == ["event-000300"]
    assert found(search, stream, {"match": {"message": "17"}}) == ["event-000017"]
    some = {"range": {"http.response.status_code": {"gte": 200, "lt": 300}}}
    assert len(found(search, stream, some)) == 301
    template = asked(search, f"_index_template/casemate-{stream}")
    (one,) = template["index_templates"]
    assert one["index_template"]["index_patterns"] == [stream]


def test_elasticsearch_refuses_one_line_and_takes_the_others(search):
    stream = "logs-casemate-refused"
    batch = items(10)
    raw = batch[4].raw.replace(
        b'"http.response.status_code":200', b'"http.response.status_code":"x"'
    )
    assert raw != batch[4].raw
    batch[4] = batch[4]._replace(raw=raw)
    sent = deliver(to_elastic(search, stream), batch)
    assert (sent.accepted, sent.left) == (9, 0)
    (refusal,) = sent.refused
    assert refusal.id == "event-000004"
    assert "document_parsing_exception" in refusal.reason
    assert len(found(search, stream, {"match_all": {}})) == 9


def test_elasticsearch_that_is_killed_between_two_batches_has_each_line_once_after_it_is_back(
    tmp_path,
):
    spool = Spool(tmp_path / "spool", 2**20, ["search"])
    manner = Manner(SystemClock(), now=True)

    def send(url):
        return send_all(spool, [Route("search", to_elastic(url, STREAM), EVERYTHING)], manner)[0]

    with receivers.noida(tmp_path) as url:
        spool.append([line(number) for number in range(100)])
        assert send(url).accepted == 100
        spool.append([line(number) for number in range(100, 200)])
    gone = send(url)
    assert (gone.accepted, "was not reached" in gone.error) == (0, True)
    with receivers.noida(tmp_path) as url:
        spool.append([line(number) for number in range(150, 250)])  # some of them once more
        assert send(url).accepted == 200
        assert len(found(url, STREAM, {"match_all": {}})) == 250


@pytest.mark.parametrize("driver", ["ossl", "gtls"])
def test_rsyslog_reads_every_message_over_tls_with_its_structured_data(tmp_path, driver):
    certificates(tmp_path)
    port = free_port()
    odd = line(
        1000,
        message='two\nlines, \x1b[31m and "quotes" für 患者',
        user='User::"a]b\\c"',
        level="error",
        dataset="casemate.audit",
    )
    to = wire.Place(f"tls://127.0.0.1:{port}", tmp_path / "ca.pem", 10)
    with receivers.rsyslogd(tmp_path, receivers.listening(tmp_path, port, driver=driver), port):
        sends = syslog.Syslog(to, "host.example.org")
        assert sends.send([*items(1000), item(odd)]) == Sent(accepted=1001)
        with pytest.raises(SinkAway, match="certificate verify failed"):
            syslog.Syslog(wire.Place(f"tls://127.0.0.1:{port}", None, 10), "h").send(items(1))
        got = tmp_path / "got.jsonl"
        wait_for(lambda: got.exists() and len(got.read_text().splitlines()) >= 1001)
    rows = [json.loads(row) for row in got.read_text().splitlines()]
    assert len(rows) == 1001
    ids = [re.search('event.id="([^"]*)"', row["structured-data"])[1] for row in rows]
    assert ids == [f"event-{number:06d}" for number in range(1001)]
    last = rows[-1]
    assert last["msg"].removeprefix("\ufeff") == 'two\\nlines, \\u001b[31m and "quotes" für 患者'
    assert 'user.name="User::\\"a\\]b\\\\c\\""' in last["structured-data"]
    assert (last["syslogfacility"], last["syslogseverity"]) == ("13", "3")
    assert (last["hostname"], last["app-name"], last["msgid"]) == (
        "host.example.org",
        "casemate",
        "casemate.audit",
    )
    assert last["timereported"] == "2026-11-29T08:00:00.000Z"


def test_an_opentelemetry_collector_gets_lines_as_records_and_gauges_as_metrics(tmp_path):
    gauge = Gauge(name="casemate_alarm", labels={"alarm": "disk-full"}, value=1.0)
    odd = Gauge(name="casemate_epsilon_left", labels={}, value=float("nan"))
    levels = Levels(gauges=[gauge, odd], time="2026-11-29T08:00:00.250Z")
    with receivers.rotel(tmp_path) as (url, told):
        sends = otlp.Otlp(wire.Place(url, None, 30), {"service.name": "casemate"}, None)
        assert sends.send(items(20)) == Sent(accepted=20)
        assert sends.send([item(levels)]) == Sent(accepted=1)
        wait_for(lambda: "casemate_alarm" in told() and "line 19 was" in told())
    seen = told()
    assert "log.record.uid: Str(event-000019)" in seen
    assert "http.response.status_code: Int(200)" in seen
    assert f"Trace ID       : {20:032x}" in seen
    assert "SEVERITY_NUMBER_INFO(9)" in seen
    assert "alarm: Str(disk-full)" in seen
    assert "Timestamp: 1795939200250000000" in seen
    assert "casemate_epsilon_left" not in seen  # JSON has no NaN


PROJECT = """
[project]
name = "demo"
id = "demo-1"
[data]
source = "t.csv"
target = "y"
[train]
entry = "train.py:build"
[sinks.lines]
kind = "file"
to = "logs/casemate.jsonl"
rotate_megabytes = 1
"""


def test_the_rendered_rsyslog_takes_the_lines_of_a_file_to_elasticsearch_once(search, tmp_path):
    stream = "logs-casemate-rsyslog"
    config = parse(
        PROJECT + f'[sinks.search]\nkind = "elasticsearch"\nto = "{search}"\nstream = "{stream}"\n'
    )
    work, logs = tmp_path / "work", tmp_path / "logs"
    work.mkdir()
    rendered = rsyslog.render(config, tmp_path, None, str(work))
    text = rendered["casemate.conf"].decode()
    assert rendered == rsyslog.render(config, tmp_path, None, str(work))
    (tmp_path / "casemate.conf").write_text(text)
    checked = subprocess.run(
        ["rsyslogd", "-N1", "-f", tmp_path / "casemate.conf"], capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stderr
    to_elastic(search, stream).send(items(5))  # puts the template; five lines are there already
    lines = file.File(logs / "casemate.jsonl", 150_000, 9)
    lines.send(items(500))
    port = free_port()
    configuration = (
        f'global(workDirectory="{work}")\nmodule(load="imtcp")\n'
        f'input(type="imtcp" port="{port}" address="127.0.0.1")\n{text}'
    )
    with receivers.rsyslogd(tmp_path, configuration, port):
        wait_for(lambda: len(found(search, stream, {"match_all": {}})) == 500)
        bad = items(1, 9000)
        lines.send([bad[0]._replace(raw=bad[0].raw.replace(b":200", b':"x"'))])
        for start in range(500, 1500, 100):  # the file is renamed meanwhile
            lines.send(items(100, start))
        wait_for(lambda: len(found(search, stream, {"match_all": {}})) == 1500)
        refused = work / "casemate-refused.log"
        wait_for(refused.exists)
    assert (logs / "casemate.jsonl.1").exists()
    assert "event-009000" in refused.read_text()
    assert "document_parsing_exception" in refused.read_text()
    assert len(refused.read_text().splitlines()) == 1
