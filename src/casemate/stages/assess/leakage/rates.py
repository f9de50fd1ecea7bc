"""How many members an attack names at few false alarms, with the noise of the threshold as well as
that of the members.

A threshold that is chosen on the rows that judge it fits their chance: with 100 rows a side, 59 %
of the intervals of the members alone held the true rate. Rows of equal score are put in an order by
chance, see `rate_at`.
"""

import numpy as np
from scipy import special
from sklearn.metrics import roc_curve

from casemate.core.types import Interval
from casemate.stages.assess import bootstrap, roc, subjects
from casemate.stages.assess.intervals import share_of
from casemate.stages.assess.subjects import Array, Groups, of, repeated

MAX_FALSE_POSITIVES = 0.01
"""False alarms that an attacker is allowed, a share of those who were not there. Chosen as the rate
that a few hundred rows a side can tell; Carlini et al. (2022) ask for low rates, and .001 would
need thousands.
"""
TAIL = 0.025
"""Chance on either side of the threshold's own 95 % interval."""
LEVEL = 0.975
"""Of two intervals that are used together: one of forty tables is outside in either direction."""


def rate_at(member: Array, score: Array, most: float = MAX_FALSE_POSITIVES) -> float:
    """Share of the members that are named when a share `most` of the others is, rows of equal score
    taken in random order.

    Many rows share their score where a model is sure of all that it knows: a threshold must then
    take all of them or none, an attacker need not. The straight line between two points of the ROC
    curve is what drawing among equals gives (Fawcett, An Introduction to ROC Analysis, Pattern
    Recognition Letters 27, 2006, section 6).
    """
    false, true, _ = roc_curve(member, score, drop_intermediate=False)
    last = int(np.flatnonzero(false <= most)[-1])
    if last == len(false) - 1:
        return float(true[last])
    step = (most - false[last]) / (false[last + 1] - false[last])
    return float(true[last] + step * (true[last + 1] - true[last]))


def caught(member: Array, score: Array, groups: Groups, seed: int) -> Interval:
    """`rate_at` with its interval, from that of the threshold (between order statistics of the
    others) and that of the members.

    Source: Zou and Donner, as in `intervals.total`, of Clopper and Pearson's ends.

    Args:
        member: whether the model was trained on a row, [n].
        score: larger is more like a member, [n].
        groups: whose each row is, [n]; see `subjects`.
        seed: of the order of equals.
    """
    ranks, ours = _ordered(score, seed), member == 1
    others, value = np.sort(ranks[~ours])[::-1], rate_at(member, score)
    worth = _worth(ranks, ~ours, groups, len(others))
    counts = np.arange(1, len(others) + 1)
    # chance that the k-th largest of the others has more than the allowed false alarms, and that it
    # has fewer
    more = special.betaincc(counts * worth, (len(others) - counts) * worth + 1, MAX_FALSE_POSITIVES)
    fewer = special.betainc(counts * worth, (len(others) - counts) * worth + 1, MAX_FALSE_POSITIVES)
    strict, lax = int(np.sum(more <= TAIL)), np.flatnonzero(fewer <= TAIL)
    least = float(np.mean(ranks[ours] > others[strict - 1])) if strict else 0.0
    most = float(np.mean(ranks[ours] >= others[lax[0]])) if len(lax) else 1.0
    named = _nearest(ranks[ours], value, of(groups, np.flatnonzero(ours)))
    low = value - ((value - min(least, value)) ** 2 + (value - named.low) ** 2) ** 0.5
    high = value + ((max(most, value) - value) ** 2 + (named.high - value) ** 2) ** 0.5
    return Interval(value=value, low=max(low, 0.0), high=min(high, 1.0))


def above(member: Array, score: Array, groups: Groups, seed: int) -> tuple[Interval, Interval]:
    """(share of the members, share of the others) above a threshold that half of the others chose,
    who then do not count.

    The two intervals hold together in 95 % of all tables, so that an end of each is wrong in 2.5 %.
    """
    ranks, ours = _ordered(score, seed), member == 1
    rows = np.flatnonzero(~ours)
    whose = repeated(of(groups, rows))
    units = np.arange(len(rows)) if whose is None else whose
    count = int(units.max()) + 1
    chosen = np.isin(units, np.random.default_rng(seed).permutation(count)[: count // 2])
    choosing = np.sort(ranks[rows[chosen]])[::-1]
    cut = choosing[max(round(MAX_FALSE_POSITIVES * len(choosing)), 1) - 1]
    judging = np.zeros(len(ours), dtype=bool)
    judging[rows[~chosen]] = True
    return _share(ours, ranks, cut, groups), _share(judging, ranks, cut, groups)


def _nearest(ranks: Array, value: float, groups: Groups) -> Interval:
    """The interval of the members' rate by itself, where about that share of them is named."""
    hit = np.zeros(len(ranks), dtype=bool)
    hit[np.argsort(-ranks)[: round(value * len(ranks))]] = True
    found = share_of(hit, groups)
    return Interval(value=value, low=min(found.low, value), high=max(found.high, value))


def told_apart(member: Array, score: Array, groups: Groups, most: int, seed: int) -> Interval:
    """Area under the ROC curve of members against others; of subjects, who may be few, in closed
    form.

    Args:
        member: whether the model was trained on a row, [n].
        score: larger is more like a member, [n].
        groups: whose each row is, [n]; see `subjects`.
        most: resamples at most.
        seed: of the resamples.
    """
    found = (
        None
        if repeated(groups) is not None
        else bootstrap.interval(roc.auc, [member, score], most, seed)
    )
    # resamples of a perfect order, or of equal scores, do not differ
    if found is None or found.low == found.high:
        return roc.area(member, score, groups)
    return found


def _ordered(score: Array, seed: int) -> Array:
    """Scores as places, [n], equal ones in an order by chance."""
    places = np.empty(len(score))
    places[np.lexsort((np.random.default_rng(seed).random(len(score)), score))] = np.arange(
        len(score)
    )
    return places


def _share(side: Array, ranks: Array, cut: float, groups: Groups) -> Interval:
    return share_of(ranks[side] > cut, of(groups, np.flatnonzero(side)), LEVEL)


def _worth(ranks: Array, side: Array, groups: Groups, count: int) -> float:
    """How many independent rows one of the others is worth near the threshold."""
    whose = repeated(of(groups, np.flatnonzero(side)))
    if whose is None:
        return 1.0
    hit = ranks[side] >= np.sort(ranks[side])[::-1][max(round(MAX_FALSE_POSITIVES * count), 1) - 1]
    value = float(np.mean(hit))
    return subjects.effective(value, hit - value, whose, LEVEL) / count
