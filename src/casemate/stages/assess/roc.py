"""The area under the ROC curve, with its interval."""

import numpy as np
from scipy import special, stats

from casemate.core.types import Interval
from casemate.stages.assess import subjects
from casemate.stages.assess.intervals import LEVEL, Array
from casemate.stages.assess.subjects import Groups


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
