"""Series of a watcher: an unusual stretch is told once, a quiet series never, and what runs out
says when.
"""

import datetime

import numpy as np
import pytest
from bench.watch.traffic import samples

from casemate.config import WatchTable
from casemate.operations.watching import trends
from casemate.watch.telemetry import DAY, Series, Telemetry

BEGAN = 1_790_035_200
"""A midnight, UTC."""
TABLE = WatchTable()


@pytest.fixture
def telemetry(tmp_path):
    with Telemetry(tmp_path / "t.db") as opened:
        yield opened


def moment(days: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(BEGAN + days * DAY, datetime.UTC)


def traffic(days: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Answers by quarters of an hour, fewer at night."""
    times = BEGAN + np.arange(0, days * DAY, trends.STEP)
    rate = 200 + 150 * np.sin(2 * np.pi * (times % DAY) / DAY)
    return times, np.random.default_rng(seed).poisson(rate).astype(float)


def looked(telemetry, days: float, table=TABLE):
    with telemetry.transaction():
        return trends.unusual(telemetry, moment(days), table)


def test_traffic_that_only_follows_the_day_is_never_unusual(telemetry):
    with telemetry.transaction():
        telemetry.add(samples(Series.flow("casemate_answers", model="m@1"), *traffic(28)))
    assert [looked(telemetry, day) for day in range(1, 29)] == [[]] * 28


def test_traffic_that_stops_is_told_with_the_series_and_what_is_usual(telemetry):
    times, values = traffic(15)
    series = Series.flow("casemate_answers", model="m@1")
    with telemetry.transaction():
        telemetry.add(samples(series, times[:-48], values[:-48]))  # none in the last 12 hours
    assert looked(telemetry, 14.4) == []
    (cause,) = looked(telemetry, 15.0)
    assert cause.labels == {"series": "casemate_answers", "model": "m@1"}
    assert cause.severity == "note"
    assert looked(telemetry, 15.1) == []  # it is the same incident


def test_a_look_judges_each_stretch_once_however_often_it_looks(telemetry):
    times, values = traffic(10)
    values[-10:] *= 20
    series = Series.flow("casemate_answers", model="m@1")
    with telemetry.transaction():
        telemetry.add(samples(series, times, values))
    found = [looked(telemetry, day) for day in np.arange(9, 10.0, 0.01)]
    assert sum(len(causes) for causes in found) == 1


def test_a_series_whose_state_is_of_another_release_is_begun_anew(telemetry):
    times, values = traffic(16)
    series = Series.flow("casemate_answers", model="m@1")
    with telemetry.transaction():
        telemetry.add(samples(series, times, values))
        old = trends.State(detector=b"another release", until=int(times[0]))
        telemetry.keep(f"detector/{series}", old)
    assert looked(telemetry, 15.0) == []
    assert telemetry.kept(f"detector/{series}", trends.State).until > times[-200]


def test_late_records_of_a_stretch_that_is_not_over_are_waited_for(telemetry):
    times, values = traffic(8)
    series = Series.flow("casemate_answers", model="m@1")
    with telemetry.transaction():
        telemetry.add(samples(series, times[:-1], values[:-1]))
    now = 8 - trends.STEP / DAY + 60 / DAY  # a minute into the next stretch
    assert looked(telemetry, now) == []
    with telemetry.transaction():
        telemetry.add(samples(series, times[-1:], values[-1:]))
    assert looked(telemetry, 8 + (trends.LATE + 1) / DAY) == []


def running_out(telemetry, values, days: float = 7.0, name: str = "casemate_disk_free_bytes"):
    times = BEGAN + np.arange(len(values)) * 3600
    with telemetry.transaction():
        telemetry.add(samples(Series.level(name), times, values))
    return trends.running_out(telemetry, moment(len(values) / 24), TABLE)


def test_a_disk_that_fills_says_when(telemetry):
    noise = np.random.default_rng(0).normal(0, 1e8, 240)
    (cause,) = running_out(telemetry, 2e11 * (1 - np.arange(240) / 300) + noise)
    assert cause.name == "runs-out"
    assert cause.severity == "note"
    assert "exhausted on" in cause.text


def test_a_disk_that_is_nearly_full_wakes_somebody(telemetry):
    (cause,) = running_out(telemetry, 2e11 * (1 - np.arange(240) / 250))
    assert cause.severity == "page"


@pytest.mark.parametrize(
    "values",
    [
        np.full(240, 2e11),
        2e11 + np.random.default_rng(1).normal(0, 1e9, 240),
        2e11 + np.arange(240) * 1e8,
        2e11 * (1 - np.arange(240) / 10_000),  # not within the days
        2e11 * (1 - np.arange(40) / 60),  # one night says no rate
    ],
)
def test_a_disk_that_does_not_run_out_soon_is_no_alarm(telemetry, values):
    assert running_out(telemetry, values) == []
