"""95 % intervals of figures, in closed form where there is one, by the bootstrap where not.

A gate keeps the bad end of an interval, so each end is to be wrong in 2.5 % of all tables. What
`bench/assurance/figures.py` finds for each figure stands in `explain`.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from scipy import special, stats

from casemate.core.types import Interval
from casemate.stages.assess import subjects
from casemate.stages.assess.subjects import Groups

Array = np.ndarray[Any, Any]
Weights = Array | None
"""What each row weighs, [n]; None: all weigh alike."""
LEVEL = 0.95
"""Of every interval that a gate looks at, the customary one: its bad end is wrong in one of forty
tables (ADR 0038).
"""
WORK = 1_000_000
"""Rows that a bootstrap resamples at most: about as dear as the blocks that come after it."""
FEWEST_RESAMPLES = 100
"""Below so many, tails of 2.5 % are told by two resamples: blocks are left out instead."""
BLOCKS = 50
"""Student's t with 49 degrees of freedom is 2.5 % wider than the normal law: cheap enough."""


def share(hits: int, count: int, level: float = LEVEL) -> Interval:
    """A share of rows with its Clopper-Pearson interval (SciPy's): exact, so never too narrow."""
    if count == 0:
        return Interval(value=0.0, low=0.0, high=1.0)
    limits = stats.binomtest(hits, count).proportion_ci(level, method="exact")
    return Interval(value=hits / count, low=float(limits.low), high=float(limits.high))


def averaged(values: Array, weights: Weights) -> tuple[float, Array]:
    """(the mean of `values` [n], each row's influence on it [n]); of weighted rows Hájek's mean and
    its linearisation.

    Source: Särndal, Swensson, Wretman, Model Assisted Survey Sampling (1992), 5.7.
    """
    if weights is None:
        value = float(np.mean(values))
        # without rounding
        return value, values - value if values.max() > values.min() else np.zeros(len(values))
    value = float(np.average(values, weights=weights))
    return value, weights / weights.mean() * (values - value)


def share_of(
    hit: Array, groups: Groups = None, level: float = LEVEL, weights: Weights = None
) -> Interval:
    """`share` of the rows that hit, bool [n]; of weighted rows, or subjects with several, with as
    many rows as theirs are worth.
    """
    groups = subjects.repeated(groups)
    if groups is None and weights is None:
        return share(int(np.sum(hit)), len(hit), level)
    return bounded(*averaged(hit, weights), groups, level, weights)


def score_of(
    hit: Array, groups: Groups = None, level: float = LEVEL, weights: Weights = None
) -> Interval:
    """`score` of the rows that hit, as in `share_of`."""
    groups = subjects.repeated(groups)
    if groups is None and weights is None:
        return score(int(np.sum(hit)), len(hit), level)
    value, influence = averaged(hit, weights)
    low, high = subjects.wilson(
        value,
        subjects.effective(value, influence, subjects.numbered(groups, len(hit)), level, weights),
        level,
    )
    return Interval(value=value, low=min(low, value), high=max(high, value))


def bounded(
    value: float, influence: Array, groups: Groups, level: float = LEVEL, weights: Weights = None
) -> Interval:
    """A figure in 0 to 1 that is about a mean: Clopper and Pearson's ends for as many rows as would
    tell a share as well.

    Source: Korn and Graubard, Confidence intervals for proportions with small expected number of
    positive counts estimated from survey data (Survey Methodology 24, 1998).
    """
    low, high = subjects.exact(
        value,
        subjects.effective(
            value, influence, subjects.numbered(groups, len(influence)), level, weights
        ),
        level,
    )
    return Interval(value=value, low=min(low, value), high=max(high, value))


def auc(positive: Array, score: Array) -> float:
    """Area under the ROC curve as the Mann-Whitney statistic over SciPy's ranks: what scikit-learn
    gives, in a tenth of the time.

    Raises:
        ValueError: there is one class only.
    """
    return _auc(positive, stats.rankdata(score))


def _auc(positive: Array, ranks: Array) -> float:
    """The same from the ranks of all scores."""
    count = int(np.sum(positive == 1))
    others = len(positive) - count
    if not count or not others:
        raise ValueError("there is one class only")
    return float((ranks[positive == 1].sum() - count * (count + 1) / 2) / (count * others))


def score(hits: int, count: int, level: float = LEVEL) -> Interval:
    """A share of rows with Wilson's interval (SciPy's): right on average, for sums of shares."""
    limits = stats.binomtest(hits, count).proportion_ci(level, method="wilson")
    return Interval(value=hits / count, low=float(limits.low), high=float(limits.high))


def unknown(value: float) -> Interval:
    """A figure of too few rows for any interval; what has no ends is inconclusive, see
    `worker.finite`.
    """
    return Interval(value=float(value), low=np.nan, high=np.nan)


def missed(rows: int, groups: Groups) -> float:
    """Share of rows that may be wrong where none of these is; see `alike`."""
    return alike(0.0, rows if groups is None else int(groups.max()) + 1, (0.0, 1.0)).high


def alike(value: float, count: int, limits: tuple[float, float], level: float = LEVEL) -> Interval:
    """The mean of `count` values that were all the same.

    They say nothing of how values differ, but of how seldom: were a share of 1 - tail^(1/count)
    others, none would have been met with that chance only (Clopper and Pearson's end without a hit,
    about 3.7 in `count`). Those may be anything within the limits.

    Args:
        value: the figure.
        count: rows, or subjects, or those of the rarest class.
        limits: the least and the greatest value that a row may have; infinite where there is none,
            and so is then the end.
        level: as in `smooth`.
    """
    missed = 1 - ((1 - level) / 2) ** (1 / max(count, 1))
    low, high = (value + missed * (end - value) if end != value else value for end in limits)
    return Interval(value=value, low=min(float(low), value), high=max(float(high), value))


def smooth(
    value: float,
    influence: Array,
    *,
    scale: str = "plain",
    center: float | None = None,
    freedom: float | None = None,
    skewed: bool = True,
    level: float = LEVEL,
    groups: Groups = None,
    limits: tuple[float, float] = (-np.inf, np.inf),
) -> Interval:
    """A figure that is about a mean of influences, with a skewness-corrected Student interval.

    Means of rare and large values are skewed, so Student's own interval misses on one side. Source:
    Hall, On the removal of skewness by transformation (J. R. Statist. Soc. B 54, 1992), eq. 2.2.

    Args:
        value: the figure.
        influence: how much each row moves it, [n], mean 0 (Hampel's influence function).
        scale: `plain`; `logit` for figures in 0 to 1; the interval is made there and taken back.
        center: where the interval stands, if the figure is biased in small samples.
        freedom: degrees of freedom; default: rows - 1.
        skewed: off where the scale takes the skewness away.
        level: share of tables whose interval is to hold the true figure.
        groups: whose each row is; see `subjects`.
        limits: the least and the greatest value of one row, for rows that are all the same; see
            `alike`.
    """
    value = float(value)
    rows, influence = len(influence), subjects.summed(influence, groups)
    if len(influence) < 2 <= rows:  # one subject does not tell how subjects differ
        return Interval(
            value=value,
            low=-np.inf if scale == "plain" else 0.0,
            high=np.inf if scale == "plain" else 1.0,
        )
    count, at = len(influence), value if center is None else float(center)
    if count < 2 or not np.isfinite(value):
        return unknown(value)
    logit = scale == "logit"
    spread = float(np.std(influence, ddof=1)) / count**0.5
    if spread == 0.0:
        return alike(
            value,
            count if freedom is None else round(freedom) + 1,
            (0.0, 1.0) if logit else limits,
            level,
        )
    if logit and not 0.0 < at < 1.0:
        return Interval(value=value, low=0.0, high=1.0)
    error = spread / (at * (1 - at) if logit else 1.0)
    skewness = float(stats.skew(influence)) / count**0.5
    ends = stats.t.ppf(
        [(1 + level) / 2, (1 - level) / 2], count - 1 if freedom is None else freedom
    )
    if skewed and abs(skewness) > 1e-9:
        ends = 3 / skewness * (np.cbrt(1 + skewness * (ends - skewness / 6)) - 1)
    low, high = (special.logit(at) if logit else at) - error * ends
    if logit:
        low, high = special.expit(low), special.expit(high)
    return Interval(value=value, low=min(float(low), value), high=max(float(high), value))


def effective_freedom(influence: Array) -> float:
    """Degrees of freedom [n] of a variance that is estimated from `influence`: rows - 1 where that
    is normal, fewer in heavy tails.

    The chi-square law with the variance's own mean and variance (Satterthwaite, Biometrics Bulletin
    2, 1946), which depends on the kurtosis (O'Neill, Some useful moment results in sampling
    problems, The American Statistician 68, 2014).
    """
    count = len(influence)
    kurtosis = float(stats.kurtosis(influence, fisher=False))
    least = (count - 3) / (count - 1)
    return (
        float(count - 1)
        if not kurtosis > least
        else float(np.clip(2 * count / (kurtosis - least), 1.0, count - 1))
    )


def mean(
    values: Array,
    level: float = LEVEL,
    groups: Groups = None,
    weights: Weights = None,
    limits: tuple[float, float] = (-np.inf, np.inf),
) -> Interval:
    """The mean of `values` [n] with its interval; see `smooth`."""
    value, influence = averaged(values, weights)
    # A few rows that weigh much carry the variance: it has fewer degrees of freedom than there are
    # rows.
    freedom = None if weights is None else effective_freedom(subjects.summed(influence, groups))
    return smooth(value, influence, freedom=freedom, level=level, groups=groups, limits=limits)


def total(parts: list[Interval], weights: list[float]) -> Interval:
    """A weighted sum of independent figures, the interval from theirs.

    Source: Zou and Donner, Construction of confidence limits about effect measures: a general
    approach (Statistics in Medicine 27, 2008); of two shares it is Newcombe's tenth method (1998).
    """
    value = sum(weight * part.value for part, weight in zip(parts, weights, strict=True))
    down, up = 0.0, 0.0
    for part, weight in zip(parts, weights, strict=True):
        below, above = weight * (part.value - part.low), weight * (part.high - part.value)
        down, up = down + max(below, -above) ** 2, up + max(above, -below) ** 2
    return Interval(value=value, low=value - down**0.5, high=value + up**0.5)


def largest_difference(families: list[Callable[[float], list[Interval]]]) -> Interval:
    """The largest difference between two members of a family, over the families.

    The largest of noisy differences is too large, the more the smaller the groups are. So the
    interval is none of that maximum's resamples: its low end is the largest difference that is
    sure when all pairs are looked at together (Bonferroni), its high end the largest that any one
    pair allows (Berger, Multiparameter hypothesis testing and acceptance sampling, Technometrics
    24, 1982): the pair that truly differs most is one of them, so no correction is due.

    Args:
        families: each gives independent figures with intervals of a level.
    """
    sizes = [len(family(LEVEL)) for family in families]
    pairs = sum(size * (size - 1) // 2 for size in sizes)
    value = low = high = 0.0
    for family in families:
        for one, other in itertools.permutations(family(LEVEL), 2):
            difference = total([one, other], [1.0, -1.0])
            value, high = max(value, difference.value), max(high, difference.high)
        for one, other in itertools.permutations(family(1 - (1 - LEVEL) / pairs), 2):
            low = max(low, total([one, other], [1.0, -1.0]).low)
    return Interval(value=value, low=min(low, value), high=max(high, value))


def least(parts: Callable[[float], list[Interval]]) -> Interval:
    """The least of several figures; its ends by the same argument as in `largest_difference`."""
    each = parts(LEVEL)
    sure = parts(1 - (1 - LEVEL) / len(each))
    value = min(part.value for part in each)
    low, high = min(part.low for part in each), min(part.high for part in sure)
    return Interval(value=value, low=low, high=max(high, value))


def greatest(parts: Callable[[float], list[Interval]]) -> Interval:
    """The greatest of several figures; see `least`."""
    found = least(lambda level: [_negative(part) for part in parts(level)])
    return _negative(found)


def _negative(part: Interval) -> Interval:
    return Interval(value=-part.value, low=-part.high, high=-part.low)


def area(positive: Array, score: Array, groups: Groups = None) -> Interval:
    """Area under the ROC curve: DeLong's variance, on the logit scale, Satterthwaite's degrees.

    A few positives that happen to lie well have next to no variance of their own, so each side
    counts one row more with the variance of evenly spread ranks, A(1 - A)/3 (as Agresti and Coull
    add rows to shares). Sources: DeLong, DeLong, Clarke-Pearson (Biometrics 44, 1988); Brunner and
    Munzel (Biometrical Journal 42, 2000) for the degrees of freedom.

    Args:
        positive: 1 or True for positives, [n].
        score: larger is more positive, [n].
        groups: whose each row is; a subject more takes the place of the row more.

    Raises:
        ValueError: there is one class only.
    """
    value, influence = area_influence(positive == 1, score)
    groups = subjects.repeated(groups)
    if groups is not None:
        return clustered_area(value, influence, positive == 1, groups)
    return logit_area(value, [influence[positive == 1], influence[positive != 1]])


def clustered_area(
    value: float, influence: Array, positive: Array, groups: Array, most: float = np.inf
) -> Interval:
    """`area` of subjects, whose rows may lie on both sides (Obuchowski, Biometrics 53, 1997);
    `most` degrees of freedom.
    """
    sides = [np.where(side, influence, 0.0) for side in (positive, ~positive)]
    sums, counts = [], []
    for side, of_side in zip(sides, (positive, ~positive), strict=True):
        sums.append(np.bincount(groups, side) / len(influence))
        counts.append(subjects.count(groups, of_side))
    if min(counts) < 2:
        return Interval(value=value, low=0.0, high=1.0)
    at = min(max(value, 0.5 / (min(counts) + 1)), 1 - 0.5 / (min(counts) + 1))
    wider = [m / (m - 1) for m in counts]
    added = [at * (1 - at) / 3 / m**2 for m in counts]
    variances = [
        float(np.sum(one**2)) * more + extra
        for one, more, extra in zip(sums, wider, added, strict=True)
    ]
    joint = 2 * float(np.sum(sums[0] * sums[1])) * max(wider)
    below = sum(one**2 / (m - 1) for one, m in zip(variances, counts, strict=True))
    return _around_logit(
        value,
        at,
        max(sum(variances) + joint, sum(added)),
        min(sum(variances) ** 2 / below, most),
        LEVEL,
    )


def logit_area(value: float, parts: list[Array], level: float = LEVEL) -> Interval:
    """`area` from the influences [m] of the rows of each side."""
    count = sum(map(len, parts))
    fewest = min(map(len, parts))  # a perfect order says no more than its rarer side
    at = min(max(value, 0.5 / (fewest + 1)), 1 - 0.5 / (fewest + 1))
    spread = [np.sum((part * len(part) / count) ** 2) + at * (1 - at) / 3 for part in parts]
    variances = [one / len(part) ** 2 for one, part in zip(spread, parts, strict=True)]
    below = sum(one**2 / max(len(part) - 1, 1) for one, part in zip(variances, parts, strict=True))
    return _around_logit(value, at, sum(variances), sum(variances) ** 2 / below, level)


def _around_logit(
    value: float, at: float, variance: float, freedom: float, level: float
) -> Interval:
    reach = float(stats.t.ppf((1 + level) / 2, max(freedom, 1.0)))
    half = reach * variance**0.5 / (at * (1 - at))
    low, high = (float(special.expit(special.logit(at) + end)) for end in (-half, half))
    return Interval(value=value, low=min(low, value), high=max(high, value))


def area_influence(positive: Array, score: Array) -> tuple[float, Array]:
    """(area under the ROC curve, each row's influence [n]), ties counted half."""
    ranks = stats.rankdata(score)
    value = _auc(positive, ranks)
    count, others = int(positive.sum()), int((~positive).sum())
    influence = np.empty(len(score))
    share_below = (ranks[positive] - stats.rankdata(score[positive])) / others
    share_above = 1 - (ranks[~positive] - stats.rankdata(score[~positive])) / count
    influence[positive] = (share_below - value) * (len(score) / count)
    influence[~positive] = (share_above - value) * (len(score) / others)
    return value, influence


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
