"""95 % intervals of figures in closed form; where there is none, see `bootstrap`.

A gate keeps the bad end of an interval, so each end is to be wrong in 2.5 % of all tables. What
`bench/assurance/figures.py` finds for each figure stands in `explain`.
"""

import itertools
from collections.abc import Callable
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


def score(hits: int, count: int, level: float = LEVEL) -> Interval:
    """A share of rows with Wilson's interval (SciPy's): right on average, for sums of shares."""
    limits = stats.binomtest(hits, count).proportion_ci(level, method="wilson")
    return Interval(value=hits / count, low=float(limits.low), high=float(limits.high))


def unknown(value: float) -> Interval:
    """A figure of too few rows for any interval; what has no ends is inconclusive, see
    `work.finite`.
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
    # without skewness the formula is 0/0; its limit is Student's own interval
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
