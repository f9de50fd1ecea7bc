"""Requests as lines for the log store: what is told of each, and that telling costs no request
anything.
"""

import msgspec
import pytest

from casemate.serve.logged import RequestLines, line
from casemate.serve.metrics import Metrics
from casemate.serve.telemetry import MOST_WAITING, Seen
from casemate.watch.logs import incoming
from casemate.watch.logs.line import LogLine

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SEEN = Seen(
    time=1_796_000_000.1234,
    id="ab12-7",
    trace=f"00-{TRACE}-00f067aa0ba902b7-01",
    principal='Service::"app"',
    method="POST",
    route="infer",
    model="wdbc",
    status=200,
    code="",
    micros=1_500,
    size=321,
)


def told(folder):
    return [
        one
        for path in incoming.waiting(folder)
        for some, *_ in incoming.read(path, 0)
        for one in some
    ]


@pytest.fixture
def metrics():
    return Counted()


class Counted(Metrics):
    """Remembers what was counted, instead of telling it."""

    def __init__(self):
        self.counted = {}

    def count(self, name, *labels, by=1):
        self.counted[name, *labels] = self.counted.get((name, *labels), 0) + by


def test_a_request_is_a_line_with_its_trace_its_caller_and_how_it_ended():
    assert line(SEEN, "node") == LogLine(
        time="2026-11-30T00:53:20.123Z",
        level="info",
        message='Service::"app" asked for infer of wdbc: 200',
        id="ab12-7",
        dataset="casemate.request",
        action="infer",
        outcome="success",
        reason="answered",
        duration=1_500_000,
        user='Service::"app"',
        node="node",
        trace=TRACE,
        request="ab12-7",
        method="POST",
        status=200,
        size=321,
        model="wdbc",
    )


@pytest.mark.parametrize(
    ("status", "level", "outcome"),
    [(399, "info", "success"), (403, "warning", "failure"), (500, "error", "failure")],
)
def test_what_was_refused_or_failed_stands_out(status, level, outcome):
    found = line(SEEN._replace(status=status, code="CM-X"), "")
    assert (found.level, found.outcome, found.code) == (level, outcome, "CM-X")
    assert found.message.endswith(f"{status} CM-X")


@pytest.mark.parametrize("trace", ["", "x", "00-zz-1-2", f"00-{TRACE[:-1]}Z-00f067aa0ba902b7-01"])
def test_what_is_no_trace_is_told_as_none(trace):
    assert line(SEEN._replace(trace=trace), "").trace == ""


def test_a_hostile_name_of_a_model_is_told_without_what_a_terminal_obeys(tmp_path, metrics):
    lines = RequestLines(tmp_path, 2048, "n", metrics)
    lines(SEEN._replace(model="\x1b[2J" + "m\u202e" * 5_000))
    lines.close()
    (found,) = told(tmp_path)
    assert found.message.isprintable()
    assert found.model.isprintable()
    assert len(found.model) <= 256


def test_lines_are_written_together_and_none_is_told_twice(tmp_path, metrics):
    lines = RequestLines(tmp_path, 2048, "n", metrics)
    for number in range(3):
        lines(SEEN._replace(id=f"ab12-{number}"))
    assert told(tmp_path) == []
    lines.write()
    lines.write()
    lines(SEEN)
    lines.close()
    assert [one.id for one in told(tmp_path)] == ["ab12-0", "ab12-1", "ab12-2", "ab12-7"]
    assert metrics.counted == {}


def test_what_cannot_be_written_is_counted_and_forgotten(tmp_path, metrics):
    (tmp_path / "taken").write_text("")
    lines = RequestLines(tmp_path / "taken", 2048, "n", metrics)
    lines(SEEN)
    lines.write()
    assert metrics.counted == {("casemate_untold", "lines"): 1}


def test_lines_beyond_those_that_may_wait_are_counted_and_forgotten(tmp_path, metrics, monkeypatch):
    monkeypatch.setattr("casemate.serve.telemetry.MOST_WAITING", 2)
    assert MOST_WAITING == 100_000
    lines = RequestLines(tmp_path, 2048, "n", metrics)
    for _ in range(5):
        lines(SEEN)
    lines.close()
    assert len(told(tmp_path)) == 2
    assert metrics.counted == {("casemate_untold", "lines"): 3}


def test_lines_that_nobody_took_from_the_folder_are_counted(tmp_path, metrics, monkeypatch):
    monkeypatch.setattr(incoming, "MOST_FILE", 400)
    lines = RequestLines(tmp_path, 0, "n", metrics)
    for number in range(4):
        lines(SEEN._replace(id=f"ab12-{number}"))
        lines.write()
    left = len(told(tmp_path))
    assert metrics.counted == {("casemate_untold", "lines"): 4 - left}
    assert left < 4
    msgspec.json.encode(told(tmp_path))
