"""A real Prometheus scrapes the pages that two versions of a gateway write: what a canary is judged
by on a cluster is what it counted.
"""

import shutil
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml
from tests.ports import free_port

from casemate.config import CanaryTable
from casemate.deploy.cluster.figures import Judge, Prometheus
from casemate.serve.metrics import Metrics

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="no prometheus"),
]
OLD, NEW = "gateway-0123456789", "gateway-abcdef0123"


class Page:
    """The page of one pod."""

    def __init__(self):
        self.metrics = metrics = Metrics()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                kind, body = metrics.render(self.headers.get("Accept", ""))
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True).start()

    def answered(self, count, label="0", seconds=0.01):
        for _ in range(count):
            self.metrics.count("casemate_answers", "wdbc", "1")
            self.metrics.count("casemate_rows", "wdbc", "1", "live")
            self.metrics.count("casemate_labels", "wdbc", "1", label)
            self.metrics.count("casemate_model_seconds", "wdbc", "1", by=seconds)

    def failed(self, count, code="CM-MODEL"):
        self.metrics.count("casemate_failed", "wdbc", "1", code, by=count)


@pytest.fixture
def scraped(tmp_path):
    pages = {OLD: Page(), NEW: Page()}
    targets = [
        {
            "targets": [f"127.0.0.1:{page.http.server_port}"],
            "labels": {"pod": f"{name}-7d9f8-x2x4z", "namespace": "clinic"},
        }
        for name, page in pages.items()
    ]
    port = free_port()
    config = {
        "global": {"scrape_interval": "1s"},
        "scrape_configs": [{"job_name": "gateway", "static_configs": targets}],
    }
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    words = [
        *("prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=db"),
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(words, cwd=tmp_path, stdout=log, stderr=log)
    try:
        yield pages, Judge(Prometheus(f"http://127.0.0.1:{port}"), CanaryTable(), "wdbc")
    finally:
        process.kill()
        process.wait()
        for page in pages.values():
            page.http.shutdown()


def until(look, wanted):
    """Look until Prometheus has scraped enough."""
    found = None
    for _ in range(120):
        found = look()
        if wanted in (found.outcome, found.reason[: len(wanted)]):
            return found
        time.sleep(0.25)
    raise AssertionError(found)


def test_a_canary_is_judged_by_what_prometheus_scraped_and_by_nothing_else(scraped):
    pages, judge = scraped
    began = time.monotonic()

    def look():
        return judge.look("clinic", [NEW], [OLD], time.monotonic() - began + 5)

    until(look, "Prometheus knows 0 answers of the new version")
    for page in pages.values():
        page.answered(1)
    until(look, "Prometheus knows 1 answers of the new version")
    for page in pages.values():
        page.answered(120)
        page.answered(120, "1")
    assert until(look, "passed").reason == ""
    other = judge.look("clinic", ["gateway-elsewhere"], [OLD], 60)
    assert (other.outcome, other.reason[:24]) == ("inconclusive", "Prometheus knows 0 answe")
    pages[NEW].failed(50, "CM-INPUT")
    pages[NEW].failed(1)
    assert "guards refuse" in until(look, "worse").reason
    pages[NEW].failed(20)
    assert until(look, "21 of").outcome == "worse"


def test_a_canary_that_answers_otherwise_is_named_with_the_class(scraped):
    pages, judge = scraped
    began = time.monotonic()
    for page in pages.values():
        page.answered(1)
        page.answered(1, "1")

    def look():
        return judge.look("clinic", [NEW], [OLD], time.monotonic() - began + 5)

    until(look, "Prometheus knows 2 answers of the new version")
    pages[OLD].answered(200)
    pages[NEW].answered(200, "1")
    assert until(look, "worse").reason.startswith(("it says class 0 to", "it says class 1 to"))
