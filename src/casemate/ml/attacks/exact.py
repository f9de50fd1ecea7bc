"""The worst point of a box for a sum of trees, by branch and bound: a point that breaks a row, or
proof that none does.

Each part of the box is bounded by the worst leaf that it reaches in every tree
(`leaves.Trees.bounds`). Where these leaves have a point in common, that point is the worst one;
where two exclude each other, their boundary cuts the part in two. Exact for one tree at once, for
small ensembles after some cuts; given up after so many. The problem is NP-complete (Kantchelian,
Tygar, Joseph, Evasion and Hardening of Tree Ensemble Classifiers, ICML 2016).
"""

import heapq
from dataclasses import dataclass

import numpy as np

from casemate.ml.attacks.interface import Array

SURE = 1e-9
"""Scores that differ by less may be a tie in the model's own arithmetic: neither broken nor
proved.
"""


@dataclass(frozen=True)
class Leaves:
    """The leaves of one row's box, by tree."""

    low: Array
    """What each input must be above, [leaves, m]."""
    high: Array
    """What it is at most, [leaves, m]."""
    gain: Array
    """What a leaf adds to the true answer's lead over the wrong one, [leaves]."""
    tree: Array
    """[leaves], in order."""


@dataclass(frozen=True)
class Verdict:
    """What the search of one box came to."""

    point: Array | None
    """The inputs [m] that break the row, or may by a tie, if some were found."""
    proved: bool
    """Whether nothing in the box does."""
    parts: int
    """Parts of the box that were looked at."""


def settle(
    leaves: Leaves, lead: float, low: Array, high: Array, most: int, least: float = SURE
) -> Verdict:
    """Look for inputs in the box [low, high] whose lead is not above zero.

    Args:
        leaves: those that the box reaches.
        lead: of the true answer before any tree.
        low: [m].
        high: [m].
        most: parts to look at before giving up.
        least: lead above which a row stands for sure.
    """
    whole = (np.nextafter(low, -np.inf), high, np.arange(len(leaves.tree)))
    bound, step = _step(leaves, lead, whole)
    queue, looked, tie = [(bound, 0, whole, step)], 1, None
    while queue and queue[0][0] <= least:
        _, _, (lower, upper, inside), (point, cut) = heapq.heappop(queue)
        there = np.all((leaves.low[inside] < point) & (point <= leaves.high[inside]), axis=1)
        found = lead + leaves.gain[inside[there]].sum()
        if found < -SURE or (cut is not None and looked >= most):
            return Verdict(point if found < -SURE else tie, proved=False, parts=looked)
        if cut is None:
            tie = point
            continue
        feature, limit = cut
        below, above = upper.copy(), lower.copy()
        below[feature] = above[feature] = limit
        left, right = (
            inside[leaves.low[inside, feature] < limit],
            inside[leaves.high[inside, feature] > limit],
        )
        for part in ((lower, below, left), (above, upper, right)):
            bound, step = _step(leaves, lead, part)
            heapq.heappush(queue, (bound, looked, part, step))
            looked += 1
    return Verdict(tie, proved=tie is None, parts=looked)


def _step(
    leaves: Leaves, lead: float, part: tuple[Array, Array, Array]
) -> tuple[float, tuple[Array, tuple[int, float] | None]]:
    """(Least lead that the part can have, a point of it that comes near, where to cut it: (input,
    limit) or None if the point has that lead).
    """
    least, upper, inside = part
    order = inside[np.lexsort((leaves.gain[inside], leaves.tree[inside]))]
    first = np.flatnonzero(np.r_[True, np.diff(leaves.tree[order]) > 0])
    worst, best = order[first], order[np.r_[first[1:], len(order)] - 1]
    bound = lead + leaves.gain[worst].sum()
    # the tree that can change most comes first
    worst = worst[np.argsort(leaves.gain[worst] - leaves.gain[best], kind="stable")]
    low = np.maximum.accumulate(np.vstack([least, leaves.low[worst]]))
    high = np.minimum.accumulate(np.vstack([upper, leaves.high[worst]]))
    apart = np.any(low >= high, axis=1)
    if not apart.any():
        return bound, (_middle(low[-1], high[-1]), None)
    at = int(np.argmax(apart))
    feature = int(np.argmax(low[at] >= high[at]))
    return bound, (_middle(low[at - 1], high[at - 1]), (feature, float(high[at, feature])))


def _middle(low: Array, high: Array) -> Array:
    middle = low + (high - low) / 2
    return np.asarray(np.where(middle > low, middle, high))
