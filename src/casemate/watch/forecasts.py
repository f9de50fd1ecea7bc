"""How a series goes on, with intervals that hold, and when it meets a limit.

Simple forecasts (levels that follow faster or slower, the same time on earlier days and weeks, a
trend) are made at many points of the past, as they would have been made then. The errors at each
distance are the law of the next ones: an interval is the forecast and quantiles of these errors
(split conformal prediction; Vovk and others, 2005). The forecasts that lost least at a distance are
averaged there.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from scipy import signal

from casemate.core.errors import ConfigError, DataError
from casemate.core.types import Record
from casemate.watch.limits import Exhaustion, exhaustion
from casemate.watch.seasons import DAY
from casemate.watch.series import evenly

Array = np.ndarray[Any, Any]
FOLLOWING = (1.0, 0.3, 0.1, 0.03, 0.01, 0.002)
"""Weights of a newest point in a level: from the last point to the mean of some hundred."""
DAYS = (1, 3, 7)
"""Earlier days or weeks of which the same time is averaged."""
ORIGINS = 160
"""Points of the past at which forecasts are made: the 5 % quantile of fewer errors would rest on
less than eight."""
FEWEST = 40
"""Points of a series that is forecast: below, errors are too few for an interval."""
HALF = 80
"""Origins after which an error counts half."""
FEW = 4.0
"""Of n stretches of the past that do not overlap, intervals leave out n / (n + 4) of what they
were asked to: few errors show too little of a tail. Looked at on NAB's series, where without it
90 % intervals hold 86 % of points, with it 89 %.
"""
BEST = 3
"""Forecasts that are averaged at a distance: averaging quantiles of a few good ones loses less
than the best one of the past."""
STEPS = 20_000
"""Of a horizon: two weeks of minutes."""
LEVELS = (0.5, 0.99)
"""Of intervals: beyond, a hundred and sixty errors say nothing."""
RECENT = 20_000
"""Points of the past that are looked at."""


class Step(Record, frozen=True, kw_only=True):
    """One point to come."""

    time: float
    """Seconds since 1970, UTC."""
    expected: float
    low: float
    high: float


class Forecast(Record, frozen=True, kw_only=True):
    """How a series goes on."""

    points: int
    """Of the past, that were used."""
    filled: int
    """Points that were missing and were taken to lie between their neighbours."""
    left_out: int
    """Rows without a time or a number, or of a time that was there already."""
    every: float
    """Seconds between points."""
    level: float
    """Share of points that the intervals hold."""
    steps: list[Step]
    exhaustion: Exhaustion | None = None


def forecast(
    times: Sequence[float],
    values: Sequence[float | None],
    *,
    horizon: float,
    level: float = 0.9,
    limit: float | None = None,
) -> Forecast:
    """Continue a series.

    Args:
        times: seconds since 1970, in any order.
        values: None and what is not finite is missing.
        horizon: seconds to look ahead.
        level: share of points to come that the intervals shall hold.
        limit: what must not be met; see `limits.exhaustion`.

    Raises:
        ConfigError: a horizon without a point or with too many, a level or limit that cannot be.
        DataError: fewer than `FEWEST` points.
    """
    if not LEVELS[0] <= level <= LEVELS[1]:
        raise ConfigError(
            f"intervals cannot hold {level:g} of points",
            hint=f"give --level between {LEVELS[0]} and {LEVELS[1]}",
        )
    even = evenly(times, values)
    if len(even.values) < FEWEST:
        raise DataError(
            f"the series has {len(even.values)} points, too few to tell how wrong a forecast is",
            hint=f"give at least {FEWEST}",
        )
    steps = int(min(horizon / even.every, STEPS + 1.0)) if horizon > 0 else 0
    if not 1 <= steps <= STEPS:
        raise ConfigError(
            f"a horizon of {horizon:g} seconds is {steps or 'no'} points ahead",
            hint=f"give 1 to {STEPS} times the {even.every:g} seconds between points",
        )
    period = max(round(DAY / even.every), 1)
    shares = ((1 - level) / 2, 0.5, (1 + level) / 2)
    low, middle, high = quantiles(even.values, steps, period, shares)
    return Forecast(
        points=len(even.values) - even.filled,
        filled=even.filled,
        left_out=even.left_out,
        every=even.every,
        level=level,
        steps=[
            Step(
                time=even.end + even.every * (at + 1),
                expected=float(middle[at]),
                low=float(low[at]),
                high=float(high[at]),
            )
            for at in range(steps)
        ],
        exhaustion=None if limit is None else exhaustion(even, limit, level),
    )


def quantiles(values: Array, steps: int, period: int, shares: Sequence[float]) -> Array:
    """Quantiles of the next values of an evenly spaced series, [shares, steps].

    Args:
        values: finite, at least `FEWEST`, the newest last.
        steps: how many.
        period: points a day.
        shares: of the quantiles, rising.
    """
    values = values[-RECENT:]
    reach = min(steps, len(values) // 2)
    first = min(max(2 * period, len(values) // 4), len(values) // 2)
    origins = np.unique(np.linspace(first, len(values) - 1, ORIGINS + 1).astype(int))
    # distances that the past never showed are judged by the farthest that it did
    ahead = np.arange(1, steps + 1)
    forecasts = _forecasts(values, origins, ahead, period)
    known = origins[:-1, None] + ahead[:reach]
    actual = np.where(known < len(values), values[np.minimum(known, len(values) - 1)], np.nan)
    weights = 0.5 ** (np.arange(len(origins) - 1)[::-1] / HALF)
    edges = np.unique(np.geomspace(1, reach + 1, 14).astype(int)) - 1
    centres, shapes = [], []
    for start, end in pairwise(edges):
        errors = actual[None, :, start:end] - forecasts[:, :-1, start:end]
        centres.append((start + end - 1) / 2)
        apart = (len(values) - first) / end
        wide = [_outward(share, apart / (apart + FEW)) for share in shares]
        shapes.append(_best(errors, weights, wide))
    at = np.arange(steps)
    found = np.zeros((len(shares), steps))
    for candidate in range(len(forecasts)):
        share = np.interp(at, centres, [one[0][candidate] for one in shapes])
        for number in range(len(shares)):
            moved = np.interp(at, centres, [one[1][candidate, number] for one in shapes])
            found[number] += share * forecasts[candidate, -1] + moved
    return np.sort(found, axis=0)


def _outward(share: float, kept: float) -> float:
    """A quantile's share with only so much of what lies outside of it left there."""
    if share == 0.5:
        return share
    return share * kept if share < 0.5 else 1 - (1 - share) * kept


def _best(errors: Array, weights: Array, shares: Sequence[float]) -> tuple[Array, Array]:
    """(weight of each forecast [candidates], its weighted quantiles of errors [candidates,
    shares]).
    """
    count = len(errors)
    flat = errors.reshape(count, -1)
    heavy = np.repeat(weights, errors.shape[2])
    usable = np.isfinite(flat).all(axis=0)
    flat, heavy = flat[:, usable], heavy[usable]
    spread = np.broadcast_to(heavy, flat.shape)
    found = [
        np.quantile(flat, one, axis=1, weights=spread, method="inverted_cdf") for one in shares
    ]
    moved = np.stack(found, axis=1)
    gap = flat[:, None, :] - moved[:, :, None]
    level = np.array(shares)[None, :, None]
    loss = (np.maximum(level * gap, (level - 1) * gap) * heavy).sum(axis=(1, 2))
    best = np.argsort(loss, kind="stable")[:BEST]
    share = np.zeros(count)
    share[best] = 1 / len(best)
    return share, moved * share[:, None]


def _forecasts(values: Array, origins: Array, ahead: Array, period: int) -> Array:
    """What each way forecasts, [ways, origins, steps]."""
    flat = np.ones(len(ahead))
    found = [_level(values, weight)[origins][:, None] * flat for weight in FOLLOWING]
    for season in (period, 7 * period):
        if season < 2 or len(values) < 3 * season:
            continue
        back = ahead - season * np.ceil(ahead / season).astype(int)
        for count in DAYS:
            rounds = season * np.arange(count)
            where = origins[:, None, None] + back[None, :, None] - rounds
            usual = _mean(values, where)
            here = np.arange(len(values))[:, None] - season - rounds
            rest = values - _mean(values, here)
            rest[~np.isfinite(rest)] = 0.0
            if np.isfinite(usual).all():
                found.append(usual)
                found.append(usual + _level(rest, 1 / season)[origins][:, None])
                fading = np.exp(-ahead / (season / 8))
                found.append(usual + _level(rest, 0.2)[origins][:, None] * fading)
    return np.stack(found)


def _mean(values: Array, where: Array) -> Array:
    """The mean of the values at indices, over the last axis, of those that exist."""
    exists = where >= 0
    total = np.where(exists, values[np.maximum(where, 0)], 0.0).sum(axis=-1)
    count = exists.sum(axis=-1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _level(values: Array, weight: float) -> Array:
    """The mean that follows a series, after each point."""
    start = values[: min(len(values), 10)].mean()
    found, _ = signal.lfilter([weight], [1, weight - 1], values, zi=[(1 - weight) * start])
    return np.asarray(found)
