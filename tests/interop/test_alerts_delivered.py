"""A real Prometheus scrapes a real gateway with the rendered configuration, its rules fire, and a
real Alertmanager delivers.
"""

import contextlib
import http.server
import json
import shutil
import subprocess
import threading
import urllib.error
import urllib.parse
import urllib.request

import pytest
from tests.attacks.test_gateway import Caller, new_token
from tests.conftest import command, serving, wait_for
from tests.interop.test_telemetry import listens
from tests.ports import free_port

import casemate

pytestmark = pytest.mark.skipif(
    shutil.which("prometheus") is None or shutil.which("prometheus-alertmanager") is None,
    reason="prometheus or prometheus-alertmanager is not installed",
)
ALERTMANAGER = (
    "prometheus-alertmanager",
    "--config.file=alertmanager.yml",
    "--storage.path=am",
    "--cluster.listen-address=",
)
PROMETHEUS = ("prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=db")
OPEN_METRICS = "application/openmetrics-text; version=2.0.0; charset=utf-8"


class Sink:
    """Hears what Alertmanager posts."""

    def __init__(self):
        self.alerts = []
        sink = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                sink.alerts += [(self.path, alert) for alert in body["alerts"]]
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def heard(self, name):
        return [(path, one) for path, one in self.alerts if one["labels"]["alertname"] == name]


@pytest.fixture
def sink():
    found = Sink()
    yield found
    found.server.shutdown()


def started(words, folder, port):
    log = (folder / f"{words[0]}.log").open("w")
    process = subprocess.Popen(words, cwd=folder, stdout=log, stderr=log)
    wait_for(lambda: listens(port) and is_ready(port))
    return process


def is_ready(port):
    """Whether it answers queries yet: its port is open before that."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready"):
            return True
    except urllib.error.URLError:
        return False


def quick(folder, sink, alertmanager):
    """The rendered files with intervals of seconds, and the ports of this test."""
    url = f"http://127.0.0.1:{sink.server.server_port}"
    changes = {
        "prometheus.yml": [("15s", "1s"), ("127.0.0.1:9093", f"127.0.0.1:{alertmanager}")],
        "casemate.rules.yml": [("for: 5m", "for: 1s")],
        "alertmanager.yml": [
            ("http://127.0.0.1:9098", url),
            ("group_wait: 10s", "group_wait: 1s"),
            ("group_wait: 30s", "group_wait: 1s"),
            ("group_interval: 5m", "group_interval: 1s"),
        ],
    }
    for name, pairs in changes.items():
        text = (folder / name).read_text()
        for before, after in pairs:
            assert before in text
            text = text.replace(before, after)
        (folder / name).write_text(text)


def test_an_alarm_of_the_watcher_and_a_gateway_that_dies_reach_whoever_is_woken(
    clinic, tmp_path, sink
):
    with (clinic / "casemate.toml").open("a") as file:
        file.write('\n[watch]\ncertificate_days = 366\n\n[slo.answers]\nkind = "availability"\n')
    project = casemate.open(clinic)
    with project.database.transaction() as tx:  # one that ends soon
        project.certificates.issue(tx, "server", ["localhost"], 30, "p256")
    with contextlib.ExitStack() as servers:
        with serving(clinic) as running:
            port, token = servers.enter_context(
                monitored(project, running, sink, tmp_path / "prom")
            )
            looked = subprocess.run(
                [*command(), "watch", "once"],
                cwd=clinic,
                capture_output=True,
                text=True,
                check=False,
            )
            assert looked.returncode == 1, looked.stderr
            wait_for(lambda: sink.heard("CasemateAlarm"))
            path, alert = sink.heard("CasemateAlarm")[0]
            assert path == "/pages"
            assert alert["labels"]["alarm"] == "certificate-ends"
            assert "casemate watch show" in alert["annotations"]["action"]
            board = json.loads((tmp_path / "prom" / "grafana" / "casemate.json").read_text())
            for panel in board["panels"]:
                asked(port, panel["targets"][0]["expr"])  # raises for one that it refuses
            assert value(port, "casemate_certificate_left_seconds") is not None
            pages = formats(running, token)
        wait_for(lambda: sink.heard("CasemateDown"))
        assert sink.heard("CasemateDown")[0][0] == "/pages"
        for page in pages:
            checked = subprocess.run(
                ["promtool", "check", "metrics"], input=page, capture_output=True, check=False
            )
            assert checked.returncode == 0, checked.stderr


@contextlib.contextmanager
def monitored(project, running, sink, folder):
    """(Prometheus' port, the token that it scrapes with) of a gateway that a Prometheus watches and
    an Alertmanager tells of, with the files that casemate renders.
    """
    ports = free_port(), free_port()
    address = f"127.0.0.1:{running.port}"
    run([*command(), "deploy", "prometheus", str(folder), "--address", address], project.root)
    token, _ = new_token(project, "prometheus", "monitor")
    (folder / "token").write_text(token)
    quick(folder, sink, ports[1])
    processes = []
    try:
        for at, words in (
            (ports[1], ALERTMANAGER),
            (ports[0], PROMETHEUS),
        ):
            listen = f"--web.listen-address=127.0.0.1:{at}"
            processes.append(started([*words, listen], folder, at))
        wait_for(lambda: value(ports[0], 'up{job="casemate"}') == 1)
        yield ports[0], token
    finally:
        for process in processes:
            process.terminate()
            process.wait(20)


def formats(running, token):
    """The page as text; and what it says of itself in both formats."""
    monitor = Caller(running, token)
    status, plain, headers = monitor("GET", "/metrics", None, accept="text/plain")
    assert status == 200
    assert headers["content-type"].startswith("text/plain; version=0.0.4")
    assert b"# EOF" not in plain
    status, page, headers = monitor("GET", "/metrics", None, accept=OPEN_METRICS)
    assert headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert page.endswith(b"# EOF\n")
    return [plain]


def run(words, folder):
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def asked(port, expression):
    query = urllib.parse.urlencode({"query": expression})
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/query?{query}") as reply:
        found = json.load(reply)
    assert found["status"] == "success", (expression, found)
    return found["data"]["result"]


def value(port, expression):
    found = asked(port, expression)
    return float(found[0]["value"][1]) if found else None
