"""Intervals of figures without a closed form: rows are drawn again, or left out by blocks."""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
from scipy import stats

from casemate.core.types import Interval
from casemate.stages.assess import subjects
from casemate.stages.assess.intervals import LEVEL, Array, unknown
from casemate.stages.assess.subjects import Groups

WORK = 1_000_000
"""Rows that a bootstrap resamples at most: about as dear as the blocks that come after it."""
FEWEST_RESAMPLES = 100
"""Below so many, tails of 2.5 % are told by two resamples: blocks are left out instead."""
BLOCKS = 50
"""Student's t with 49 degrees of freedom is 2.5 % wider than the normal law: cheap enough."""


def interval(
    statistic: Callable[..., float],
    arrays: list[Array],
    most: int,
    seed: int,
    groups: Groups = None,
) -> Interval:
    """`statistic(*arrays)` with its 95 % interval, whatever it is: for figures without a closed
    form.

    Up to `WORK` resampled cells: bias-corrected and accelerated bootstrap of the rows (Efron, JASA
    82, 1987), with the acceleration from blocks, because SciPy's leaves out row by row. Beyond: one
    of `BLOCKS` random blocks is left out at a time, and Student's t (Shao and Wu, A general theory
    for jackknife variance estimation, Annals of Statistics 17, 1989), because few resamples make
    an interval too narrow.

    Args:
        statistic: takes the arrays; a ValueError leaves a resample out.
        arrays: with the rows first, paired.
        most: resamples at most.
        seed: of the draws.
        groups: whose each row is; subjects are drawn and left out as a whole.
    """
    count, groups = len(arrays[0]), subjects.repeated(groups)
    value = float(statistic(*arrays))
    if count < 2 or not np.isfinite(value):
        return unknown(value)
    generator = np.random.default_rng(seed)
    if groups is not None and not groups.max():  # one subject does not tell how subjects differ
        return Interval(value=value, low=-np.inf, high=np.inf)
    resamples = max(most, FEWEST_RESAMPLES)
    if resamples * count > WORK:
        return _blocks(statistic, arrays, value, generator, groups)
    values = _each(statistic, arrays, _drawn(count, resamples, generator, groups))
    if len(values) < resamples // 2:
        return unknown(value)
    blocks = _each(statistic, arrays, _without(count, generator, groups))
    return _accelerated(value, values, blocks)


def _drawn(
    count: int, resamples: int, generator: np.random.Generator, groups: Groups
) -> Iterator[Array]:
    """Row numbers of each resample: rows with replacement, or all rows of subjects with
    replacement.
    """
    if groups is None:
        yield from (generator.integers(0, count, count) for _ in range(resamples))
        return
    rows = subjects.members(groups)
    for _ in range(resamples):
        yield np.concatenate(
            [rows[number] for number in generator.integers(0, len(rows), len(rows))]
        )


def _without(count: int, generator: np.random.Generator, groups: Groups) -> Iterator[Array]:
    """Row numbers with one random block of rows, or of subjects, left out, block by block."""
    if groups is None:
        places = generator.permutation(count)
        for block in np.array_split(places, min(BLOCKS, count)):
            yield np.setdiff1d(places, block, assume_unique=True)
        return
    every = generator.permutation(int(groups.max()) + 1)
    for block in np.array_split(every, min(BLOCKS, len(every))):
        yield np.flatnonzero(~np.isin(groups, block))


def _each(statistic: Callable[..., float], arrays: list[Array], draws: Iterable[Array]) -> Array:
    """The statistic of every draw of rows; those where it is not defined are left out."""
    found = []
    for rows in draws:
        try:
            found.append(statistic(*(array[rows] for array in arrays)))
        except ValueError:  # a resample of a rare class may hold one class only
            continue
    values = np.asarray(found, dtype=np.float64)
    return np.asarray(values[np.isfinite(values)])


def _accelerated(value: float, values: Array, blocks: Array) -> Interval:
    """Bias-corrected and accelerated percentiles of resampled `values`."""
    moved = blocks.mean() - blocks
    size = float(np.sum(moved**2)) ** 1.5
    acceleration = float(np.sum(moved**3)) / (6 * size) if size > 0 else 0.0
    below = (np.sum(values < value) + 0.5 * np.sum(values == value)) / len(values)
    bias = float(stats.norm.ppf(np.clip(below, 1 / len(values), 1 - 1 / len(values))))
    tails = bias + stats.norm.ppf([(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    shares = stats.norm.cdf(bias + tails / (1 - acceleration * tails))
    low, high = np.quantile(values, shares, method="weibull")
    return Interval(value=value, low=min(float(low), value), high=max(float(high), value))


def _blocks(
    statistic: Callable[..., float],
    arrays: list[Array],
    value: float,
    generator: np.random.Generator,
    groups: Groups,
) -> Interval:
    values = _each(statistic, arrays, _without(len(arrays[0]), generator, groups))
    if len(values) < 2:
        return unknown(value)
    variance = (len(values) - 1) / len(values) * float(np.sum((values - values.mean()) ** 2))
    half = float(stats.t.ppf((1 + LEVEL) / 2, len(values) - 1)) * variance**0.5
    return Interval(value=value, low=value - half, high=value + half)
