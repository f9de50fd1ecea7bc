"""When a series meets a limit at the rate of late: a disk, a quota, a budget, a certificate."""

from datetime import UTC, datetime
from math import isfinite

import numpy as np
from scipy import stats

from casemate.core.errors import ConfigError
from casemate.core.types import Record
from casemate.watch.series import Even

PARTS = 8
"""Of the past whose means are compared: seven changes give a rate and how sure it is, whether
the series wanders or is noisy around a line."""
LATEST = 253_402_214_400.0
"""Seconds since 1970 of the last day that can be written."""


class Exhaustion(Record, frozen=True, kw_only=True):
    """When a limit is met."""

    limit: float
    rate: float
    """A day, in the series' unit."""
    at: float | None
    """Seconds since 1970; None: never at this rate."""
    earliest: float | None
    latest: float | None
    """None: perhaps never."""
    text: str


def exhaustion(even: Even, limit: float, level: float) -> Exhaustion:
    """Meet a limit at the rate of the whole past that is given.

    Args:
        even: the series.
        limit: above the last values for what grows, below for what runs out.
        level: share of such intervals that hold the moment.

    Raises:
        ConfigError: the limit is no finite number.
    """
    if not isfinite(limit):
        raise ConfigError(f"{limit} is no limit", hint="give a number")
    parts = np.array_split(even.values, PARTS)
    means = np.array([part.mean() for part in parts])
    changes = np.diff(means) / (len(even.values) / PARTS)
    rate = float(changes.mean())
    error = float(changes.std(ddof=1)) / (PARTS - 1) ** 0.5
    half = error * float(stats.t.ppf((1 + level) / 2, PARTS - 2))
    # a part's mean is that of its middle
    now = float(means[-1]) + rate * len(parts[-1]) / 2
    last = float(even.values[-1])
    sign = 1.0 if limit >= means[0] else -1.0
    away = sign * (limit - now)
    away = max(away, 0.0)
    is_met = sign * (limit - last) <= 0
    at, earliest, latest = (
        even.end if is_met else _met(even, away, sign * rate + side) for side in (0.0, half, -half)
    )
    per_day = 86400 / even.every
    return Exhaustion(
        limit=limit,
        rate=rate * per_day,
        at=at,
        earliest=earliest,
        latest=latest,
        text=_said(even.end, at, earliest, latest),
    )


def _met(even: Even, away: float, rate: float) -> float | None:
    """When, at a rate a step; None for never."""
    if rate <= 0:
        return None
    when = even.end + away / rate * even.every
    return when if when < LATEST else None


def _said(now: float, at: float | None, earliest: float | None, latest: float | None) -> str:
    if at is not None and at <= now:
        return "the limit is met already"
    if earliest is None:
        return "at this rate the limit is never met"
    between = f"between {_day(earliest)} and {'never' if latest is None else _day(latest)}"
    if at is None:
        return f"at this rate the limit is not met ({between})"
    return f"at this rate, exhausted on {_day(at)} ({between})"


def _day(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M")
