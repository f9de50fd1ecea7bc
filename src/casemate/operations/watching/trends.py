"""Series of a watcher, judged: what is unusual in them, and when they meet their limit."""

import datetime
from contextlib import suppress

from casemate.config import WatchTable
from casemate.core.errors import DataError
from casemate.core.types import Record
from casemate.operations.watching.alarms import Cause
from casemate.watch.anomalies import Detector, Judgement
from casemate.watch.budget import FalseAlarms
from casemate.watch.limits import exhaustion
from casemate.watch.series import evenly
from casemate.watch.telemetry import DAY, HOUR, Point, Series, Telemetry

STEP = 900
"""Seconds that are judged together: the length to which minutes are joined anyway."""
LATE = 300
"""Seconds after its end that a stretch waits for records that are still being written."""
MOST_SERIES = 100
"""That are judged; all of them share the budget of false alarms."""
JUDGED = ("casemate_answers", "casemate_refused", "casemate_guarded", "casemate_seconds")
"""Series whose course is judged."""
LIMITED = ("casemate_disk_free_bytes", "casemate_epsilon_left")
"""Series that run out at 0."""
PAST = 14 * DAY
"""Of a series that runs out: its rate is that of this time."""
FEWEST_HOURS = 48
"""Of a series that runs out: a rate of less is that of one night."""
LEVEL = 0.9
"""Share of forecast intervals that hold the moment."""
SOON = 0.25
"""Of the days before which a limit is told, from which somebody is woken."""


class State(Record, frozen=True, kw_only=True):
    """What is remembered of a judged series."""

    detector: bytes
    until: int
    """Beginning of the first stretch that is not judged yet, in seconds since 1970."""


def unusual(telemetry: Telemetry, now: datetime.datetime, table: WatchTable) -> list[Cause]:
    """What is unusual in the stretches that are over; within the caller's transaction.

    Args:
        telemetry: holds the series.
        now: the time.
        table: says how often it may be wrong.
    """
    series = [one for name in JUDGED for one in telemetry.series(name)][:MOST_SERIES]
    budget = FalseAlarms.parse(table.false_alarms, 1.0)
    # so many series share it
    text = f"{budget.count} per {budget.days * max(len(series), 1):.0f} days"
    end = int(now.timestamp() - LATE) // STEP * STEP
    causes = []
    for one in series:
        judged = _judged(telemetry, one, end, text)
        worst = max((each for each in judged if each.anomaly), key=_score, default=None)
        if worst is not None:
            causes.append(_cause(one, worst))
    return causes


def _score(judged: Judgement) -> float:
    return judged.score


def _judged(telemetry: Telemetry, series: Series, end: int, budget: str) -> list[Judgement]:
    place = f"detector/{series}"
    state = telemetry.kept(place, State)
    points = telemetry.points(series, 0 if state is None else state.until, end)
    if state is None:
        if not points:
            return []
        start = points[0].at // STEP * STEP
    else:
        start = state.until
    detector = _detector(budget, state)
    values = _values(points, series, start, end)
    judged = [detector.update(float(at), value) for at, value in values]
    telemetry.keep(place, State(detector=detector.state(), until=max(end, start)))
    return judged


def _detector(budget: str, state: State | None) -> Detector:
    if state is not None:
        with suppress(DataError):  # a release that looks otherwise: the series is begun anew
            return Detector(false_alarms=budget, is_counter=False, state=state.detector)
    return Detector(false_alarms=budget, is_counter=False)


def _values(
    points: list[Point], series: Series, start: int, end: int
) -> list[tuple[int, float | None]]:
    """One value a stretch; of a flow without a point 0, of a level none."""
    totals: dict[int, list[float]] = {}
    for point in points:
        sums = totals.setdefault(point.at // STEP * STEP, [0.0, 0.0])
        sums[0] += point.total
        sums[1] += point.count
    found: list[tuple[int, float | None]] = []
    for at in range(start, end, STEP):
        total, count = totals.get(at, (0.0, 0.0))
        if series.kind == "flow":
            found.append((at, total))
        else:
            found.append((at, total / count if count else None))
    return found


def _cause(series: Series, judged: Judgement) -> Cause:
    when = datetime.datetime.fromtimestamp(judged.time, datetime.UTC).isoformat(timespec="minutes")
    usual = (
        ""
        if judged.low is None or judged.high is None
        else f", usually {judged.low:.4g} to {judged.high:.4g}"
    )
    value = "" if judged.value is None else f" {judged.value:.4g}"
    labels = dict(series.labels)
    return Cause(
        name="anomaly",
        labels={"series": series.name, **labels},
        severity="note",
        text=f"{series} was{value} at {when}{usual}: {judged.note}",
        hint="casemate watch report shows its last days; the gateway's request log who asked",
    )


def running_out(telemetry: Telemetry, now: datetime.datetime, table: WatchTable) -> list[Cause]:
    """What meets its limit soon, at the rate of late.

    Args:
        telemetry: holds the series.
        now: the time.
        table: says how many days before somebody is told.
    """
    causes = []
    for name in LIMITED:
        for series in telemetry.series(name):
            hours = _hours(telemetry.points(series, now.timestamp() - PAST))
            if len(hours) < FEWEST_HOURS:
                continue
            try:
                even = evenly(list(hours), list(hours.values()))
                found = exhaustion(even, 0.0, LEVEL)
            except DataError:  # a clock that leapt left times that no series has
                continue
            if found.at is None or found.latest is None:
                continue  # perhaps never
            left = found.at - now.timestamp()
            if left < table.disk_days * DAY:
                causes.append(
                    Cause(
                        name="runs-out",
                        labels={"series": name, **dict(series.labels)},
                        severity="page" if left < SOON * table.disk_days * DAY else "note",
                        text=f"{series}: {found.text}",
                        hint="free disk space, or let the privacy officer decide on the budget",
                    )
                )
    return causes


def _hours(points: list[Point]) -> dict[float, float]:
    """The mean of each hour, by its beginning."""
    sums: dict[float, list[float]] = {}
    for point in points:
        one = sums.setdefault(float(point.at // HOUR * HOUR), [0.0, 0.0])
        one[0] += point.total
        one[1] += point.count
    return {at: total / count for at, (total, count) in sums.items()}
