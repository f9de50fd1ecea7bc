"""What a coordinator makes of the sites' sums for boosted trees: bins first, then a level of a tree
a round.

It adds what the sites say of every open node, column and bin, and splits where that gains most:
Chen and Guestrin, XGBoost: A Scalable Tree Boosting System, KDD 2016, equations 5 and 7. The sums
of all sites are those of the pooled rows, so the trees are those of the pooled rows.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from casemate.core.errors import VerificationError
from casemate.ml.federated.bins import Bins, Counts, counts_size, cuts_of
from casemate.ml.federated.encoding import Limits
from casemate.ml.federated.exact import NotReached
from casemate.ml.federated.trees import (
    ABSENT,
    FIELDS,
    LEAF,
    OPEN,
    Asked,
    Forest,
    Growth,
    outputs_of,
)

Array = np.ndarray[Any, Any]
LEAST_BEND = 1e-3
"""Sum of second derivatives of a leaf, as in scikit-learn."""
ALIKE = 1e-9
"""Gains that differ by less of what they are made of are equal, and the first split is taken: so
rounding, of sums and of masks, decides nothing.
"""
NEAR = 0.01
"""Of a whole number, what masks have left of a count."""
SMALLEST = 1e-6
"""Mean size of a quantity: fixed point would round a smaller one away."""


def range_of(rows: float, classes: int) -> float:
    """Largest sum of a site under masks, where all have so many rows. A class's derivative is at
    most 1. A quantity's errors grow no larger in squares, so their sum is no larger than the root
    of rows times squares, and those begin no larger than the square of the sum of sizes.
    """
    return rows + 1.0 if classes else 4.0 * (rows + 1.0) ** 1.5


Ask = Callable[[Asked], Array]
"""The sums of all sites together."""


def begun(counts: Counts, growth: Growth, limits: Limits, classes: int) -> Forest:
    """Without a tree, from the counts of all sites together.

    Raises:
        NotReached: there is nothing to learn from them. VerificationError: no rows have them.
    """
    rows = max(counts.rows, 1.0)
    cells = _whole(counts.cells, rows)
    bins = Bins(limits=limits, cuts=cuts_of(cells, growth.bins, growth.least))
    if not classes:
        size = float(counts.target[1]) / rows
        if not size > SMALLEST:
            raise NotReached(
                f"the quantity's mean size is {size:.1e}, too small for sums of fixed point",
                hint="give it in smaller units",
            )
        return Forest(growth, bins, float(counts.target[0]) / rows, size, np.zeros(1), [])
    shares = _whole(counts.target[None], rows)[0] / rows
    if np.count_nonzero(shares) < 2:
        raise NotReached("the sites have rows of one class alone", hint="there is nothing to learn")
    logs = np.log(np.maximum(shares, 1e-15))
    base = logs[1:] - logs[:1] if classes == 2 else logs - logs.mean()
    return Forest(growth, bins, 0.0, 1.0, base, [])


def require_sums(vector: Array, bins: Bins, classes: int, *, counts: bool) -> None:
    """Nothing; `classes`: of the target, 0 of a quantity; `counts`: of the first round, else of
    open nodes.

    Raises:
        VerificationError: neither one site's rows nor those of several have such sums.
    """
    if counts:
        found = Counts.from_flat(vector, bins.limits)
        _whole(found.cells, found.rows)
        if classes:
            _whole(found.target[None], found.rows)
        elif abs(found.target[0]) > found.target[1] * (1 + ALIKE) + NEAR:
            raise VerificationError("the sums of the sites are those of no rows: of no such sizes")
        return
    for sums in vector.reshape(3, -1, bins.cells).transpose(1, 0, 2):
        _spread(sums, bins)


def grow(
    growth: Growth,
    limits: Limits,
    classes: int,
    ask: Ask,
    heard: Callable[[Forest], None] = lambda _: None,
) -> Forest:
    """The trees that the sites' sums lead to.

    Args:
        growth: how.
        limits: of the features.
        classes: how many; 0 of a quantity.
        ask: one question, to all sites.
        heard: hears of each round of boosting that is done.

    Raises:
        NotReached: there is nothing to learn. VerificationError: no rows have such sums.
    """
    vector = ask(Asked(np.zeros(0), [], counts_size(limits, classes), None))
    counts = Counts.from_flat(vector, limits)
    forest = begun(counts, growth, limits, classes)
    most = range_of(counts.rows, classes)
    for _ in range(growth.trees):
        stage = np.zeros((outputs_of(classes), growth.slots, FIELDS))
        stage[..., 0], stage[:, 0, 0] = ABSENT, OPEN
        forest.trees.append(stage)
        while forest.open:
            found = ask(Asked(forest.flat(), forest.bins.cuts, forest.asked, most))
            sums = found.reshape(3, len(forest.open), forest.bins.cells)
            for place, (output, at) in enumerate(forest.open):
                _decide(forest, stage[output], at, sums[:, place])
        if (stage[:, 0, 0] == LEAF).all():  # no split gains anything, so none will
            forest.trees.pop()
            break
        heard(forest)
    if not forest.trees:
        raise NotReached(
            f"no split of all rows gains anything and leaves {growth.least} rows on each side",
            hint="a smaller min_samples_leaf, more rows, or other features",
        )
    return forest


def _decide(forest: Forest, tree: Array, at: int, sums: Array) -> None:
    """Make an open node a leaf, or an inner one with two nodes below; `sums` [3, cells]."""
    growth = forest.growth
    spread = _spread(sums, forest.bins)
    if at == 0:
        tree[at, 3] = _value(growth, *spread[:2].sum(axis=2)[:, 0])
    split = _split(spread, forest)
    if split is None:
        tree[at, 0] = LEAF
        return
    column, cut, missing_left, halves = split
    tree[at] = column, cut, missing_left, 0.0
    for child, (slope, bend, count) in zip((2 * at + 1, 2 * at + 2), halves, strict=True):
        deep = child >= growth.slots // 2
        tree[child] = (
            LEAF if deep or count < 2 * growth.least else OPEN,
            0.0,
            0.0,
            _value(growth, slope, bend),
        )


def _value(growth: Growth, slope: float, bend: float) -> float:
    """Equation 5, times the rate; where all scores are sure of themselves nothing bends."""
    return float(-growth.rate * slope / max(bend + growth.l2, LEAST_BEND))


def _spread(sums: Array, bins: Bins) -> Array:
    """Sums [3, cells] as [3, columns, bins + 1]; what is missing or unknown is last in each.

    Raises:
        VerificationError: no rows have such sums.
    """
    widths, deepest = bins.widths, max(bins.widths)
    found = np.zeros((3, len(widths), deepest + 1))
    begin = 0
    for column, width in enumerate(widths):
        found[:, column, :width] = sums[:, begin : begin + width]
        found[:, column, deepest] = sums[:, begin + width]
        begin += width + 1
    found[2] = _whole(found[2])
    if found[1].min() < -NEAR:
        raise VerificationError("the sums of the sites are those of no rows: they bend downwards")
    return found


def _whole(counts: Array, rows: float | None = None) -> Array:
    """Counts [columns, bins] of the same rows in each column, rounded.

    Raises:
        VerificationError: they are none.
    """
    found = np.rint(counts)
    sums = found.sum(axis=1)
    alike = bool((sums == (sums[:1] if rows is None else np.rint(rows))).all())
    if not alike or np.abs(found - counts).max(initial=0.0) > NEAR or found.min(initial=0.0) < 0:
        raise VerificationError(
            "the sums of the sites are those of no rows: columns count other rows",
            hint="a site breaks the protocol; casemate federate rounds says whose sums they are",
        )
    return found


def _split(spread: Array, forest: Forest) -> tuple[int, int, bool, tuple[Array, Array]] | None:
    """(column, bin, whether what is missing goes left, sums of both sides), or None: no split is
    better than none.
    """
    growth, bins = forest.growth, forest.bins
    whole, missing = spread.sum(axis=2)[:, 0], spread[:, :, -1]
    known = spread[:, :, :-1]
    numbers = (np.arange(len(bins.widths)) < bins.numbers)[:, None]
    # a category's value goes right, all else left
    left = np.where(numbers, known.cumsum(axis=2), whole[:, None, None] - known)
    ways = np.stack([left, left + missing[:, :, None]])
    possible = np.stack([left[2] >= 0, np.broadcast_to(numbers, left[2].shape)])
    possible &= np.arange(left.shape[2]) < np.array(bins.widths)[:, None]
    other = whole[:, None, None] - ways
    for side in (ways, other):
        possible &= (side[:, 2] >= growth.least) & (side[:, 1] >= LEAST_BEND)
    if not possible.any():
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        gains = _score(ways, growth) + _score(other, growth)
    before = float(whole[0] ** 2 / (whole[1] + growth.l2))
    gains = np.where(possible, gains, -np.inf) - before
    best = float(gains.max())
    near = ALIKE * (abs(best) + before)
    if not best > near:
        return None
    way, column, cut = np.unravel_index(int(np.argmax(gains >= best - near)), gains.shape)
    halves = ways[way, :, column, cut], other[way, :, column, cut]
    missing_left = bool(way == 1)
    if not missing[2, column]:  # nothing says where: to where more rows are
        missing_left = bool(halves[0][2] > halves[1][2])
    return int(column), int(cut), missing_left, halves


def _score(sums: Array, growth: Growth) -> Array:
    """A side's part of equation 7, [2, columns, bins] of [2, 3, columns, bins]."""
    return np.asarray(sums[:, 0] ** 2 / (sums[:, 1] + growth.l2))
