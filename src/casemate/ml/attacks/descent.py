"""Descent over the intervals between thresholds, for some rows at once."""

from dataclasses import dataclass

import numpy as np

from casemate.ml.attacks.exact import SURE, Leaves, settle
from casemate.ml.attacks.interface import Array, Target
from casemate.ml.attacks.leaves import Trees

MOVES = 60
"""Inputs that one descent moves at most."""
PARTS_A_ROW = 150
"""Parts of its box that branch and bound looks at for one row."""


@dataclass(frozen=True)
class Box:
    """Some rows' boxes in the model's inputs."""

    low: Array
    """All inputs of the rows with the features at their least, [n, d]."""
    high: Array
    """With the features at their greatest, [n, d]."""
    here: Array
    """With the features where the search begins, [n, d]."""
    limits: tuple[Array, Array]
    """Least and greatest of the features that move, in their own units, [n, m] each."""
    columns: Array
    """Which inputs move, [m]."""
    features: Array
    """Which feature moves each, [m]."""

    def first(self, count: int) -> "Box":
        """Of the first rows only."""
        limits = self.limits[0][:count], self.limits[1][:count]
        return Box(
            self.low[:count],
            self.high[:count],
            self.here[:count],
            limits,
            self.columns,
            self.features,
        )


def sums(at: Array, values: Array, count: int) -> Array:
    """`values` [., k] added up by number, [count, k]."""
    return np.stack(
        [np.bincount(at, weights=column, minlength=count) for column in values.T], axis=1
    )


class Lines:
    """The search itself, for some rows at once: P pairs of a row and a leaf that its box reaches, m
    inputs that move.
    """

    def __init__(
        self, trees: Trees, target: Target, rows: Array, pairs: tuple[Array, Array], box: Box
    ) -> None:
        self.trees, self.target, self.rows, self.box = trees, target, rows, box
        self.row, leaf = pairs
        self.tree = trees.tree[leaf]
        self.low, self.high = trees.boxes(leaf, box.columns)
        self.least, self.most, self.here = (
            trees.inputs(side[:, box.columns]) for side in (box.low, box.high, box.here)
        )
        missing = np.isnan(self.least)
        self.least, self.most, self.here = (
            np.where(missing, 0.0, side) for side in (self.least, self.most, self.here)
        )
        gone = missing[self.row]  # every leaf that is reached takes the missing value
        self.low[gone], self.high[gone] = -np.inf, np.inf
        self.value, self.base = (
            target.table_order(trees.value[leaf]),
            target.table_order(trees.base[None])[0],
        )
        self.whole = target.integer[box.features]
        self.looked = 0
        """Points and parts that were compared."""

    def search(
        self, restarts: int, parts: int, generator: np.random.Generator
    ) -> tuple[list[Array], Array, int]:
        """(Points [n, m] to be judged, whether each row is proved to stand, parts of boxes that
        were looked at, of `parts`).
        """
        points, standing, used = [], np.ones(len(self.rows), dtype=bool), 0
        for number in range(
            1 + restarts if len(self.trees.roots) > 1 and len(self.box.columns) else 0
        ):
            begin = self.here
            if number:
                begin = self._whole(
                    self.least + generator.random(self.least.shape) * (self.most - self.least)
                )
            point, margins = self._descend(begin.copy(), standing)
            points.append(point)
            standing &= ~(margins < -SURE)
        proved = np.zeros(len(self.rows), dtype=bool)
        point = self.here.copy()
        ends = np.searchsorted(self.row, np.arange(len(self.rows) + 1))
        for number in np.flatnonzero(standing).tolist() if parts else []:
            found, proved[number], looked = self._settle(
                number, slice(ends[number], ends[number + 1]), min(PARTS_A_ROW, parts - used)
            )
            used += looked
            if found is not None:
                point[number] = found
        self.looked += used
        return [*points, point], proved, used

    def _settle(self, number: int, pairs: slice, most: int) -> tuple[Array | None, bool, int]:
        used, proved, point = 0, True, None
        for weights, offset, tie in self.target.against(int(self.rows[number]), len(self.base)):
            leaves = Leaves(
                self.low[pairs], self.high[pairs], self.value[pairs] @ weights, self.tree[pairs]
            )
            least = -SURE if tie and self.trees.exact else SURE
            found = settle(
                leaves,
                float(self.base @ weights + offset),
                self.least[number],
                self.most[number],
                max(1, most - used),
                least,
            )
            used += found.parts
            proved &= found.proved
            point = found.point if found.point is not None else point
        return point, proved, used

    def _descend(self, point: Array, wanted: Array) -> tuple[Array, Array]:
        """Move the best input of every wanted row to its best interval until none helps: (points
        [n, m], margins [n], nan where not wanted).
        """
        going, margins = wanted.copy(), np.full(len(point), np.nan)
        outside = ~((self.low < point[self.row]) & (point[self.row] <= self.high))
        count = outside.sum(axis=1)
        for _ in range(MOVES):
            if not going.any():
                break
            near = np.flatnonzero((count <= 1) & going[self.row])
            in_it, beside = near[count[near] == 0], near[count[near] == 1]
            scores = sums(self.row[in_it], self.value[in_it], len(point)) + self.base
            now = self.target.judged(scores, self.rows)
            margins[going] = now[going]
            row, column, value, found = self._best_moves(scores, in_it, beside, outside)
            better = (found < now[row] - SURE) & ~(now[row] < -SURE)
            row, column, value = row[better], column[better], value[better]
            going[:] = False
            going[row] = True
            if not len(row):
                break
            point[row, column] = value
            moved = np.full(len(point), -1)
            moved[row] = column
            pairs = np.flatnonzero(going[self.row])
            at = moved[self.row[pairs]]
            new = ~(
                (self.low[pairs, at] < point[self.row[pairs], at])
                & (point[self.row[pairs], at] <= self.high[pairs, at])
            )
            count[pairs] += new.astype(count.dtype) - outside[pairs, at]
            outside[pairs, at] = new
        return point, margins

    def _best_moves(
        self, scores: Array, in_it: Array, beside: Array, outside: Array
    ) -> tuple[Array, Array, Array, Array]:
        """(row, input, value, margin) of the best single move of each row: the scores along every
        input, interval by interval.

        Args:
            scores: where the rows are, [n, k].
            in_it: pairs whose leaf a row is in.
            beside: pairs whose leaf it would be in if one input moved.
            outside: which inputs are outside of the leaf, bool [P, m].
        """
        width = self.low.shape[1]
        pair = np.concatenate([np.repeat(in_it, width), beside])
        column = np.concatenate(
            [np.tile(np.arange(width), len(in_it)), outside[beside].argmax(axis=1)]
        )
        row = self.row[pair]
        line = row * width + column
        low, high = self.low[pair, column], self.high[pair, column]
        begins, ends = ~(low < self.least[row, column]), high < self.most[row, column]
        # The scores at the least value: those of here, without leaves that begin later, with others
        # that reach it.
        first = np.repeat(scores, width, axis=0)
        entered = np.arange(len(pair)) >= len(in_it) * width
        first -= sums(line[begins & ~entered], self.value[pair[begins & ~entered]], len(first))
        first += sums(line[~begins & entered], self.value[pair[~begins & entered]], len(first))
        lines = np.unique(line[begins | ends])
        at = np.concatenate([lines, line[begins], line[ends]])
        place = np.concatenate([np.full(len(lines), -np.inf), low[begins], high[ends]])
        step = np.concatenate(
            [
                np.zeros((len(lines), scores.shape[1])),
                self.value[pair[begins]],
                -self.value[pair[ends]],
            ]
        )
        order = np.lexsort((place, at))
        at, place, total = at[order], place[order], np.cumsum(step[order], axis=0)
        opening = np.flatnonzero(np.r_[True, at[1:] != at[:-1]])[: len(lines)]
        total -= np.repeat(total[opening], np.diff(np.r_[opening, len(at)]), axis=0)
        row, column = at // width, at % width
        last = np.r_[at[1:] != at[:-1], True][: len(at)]
        until = np.where(last, self.most[row, column], np.r_[place[1:], 0.0][: len(at)])
        lowest = self.least[row, column]
        since = np.maximum(place, lowest)
        value = np.where(place < lowest, lowest, np.where(last, until, since + (until - since) / 2))
        value = self._whole(value, row, column)
        self.looked += len(value)
        margins = self.target.judged(first[at] + total, self.rows[row])
        margins = np.where((place < value) & (value <= until), margins, np.inf)
        order = np.lexsort((margins, row))
        best = order[np.flatnonzero(np.r_[True, np.diff(row[order]) > 0][: len(order)])]
        return row[best], column[best], value[best], margins[best]

    def _whole(self, value: Array, row: Array | None = None, column: Array | None = None) -> Array:
        """Inputs as the model compares them, at whole numbers where a feature must be one."""
        if self.whole.any():
            at = (slice(None), slice(None)) if row is None else (row, column)
            least, most, low, high = (
                side[at] for side in (self.least, self.most, *self.box.limits)
            )
            with np.errstate(invalid="ignore", divide="ignore"):
                slope = np.where(most > least, (high - low) / (most - least), 0.0)
                whole = np.round(low + (value - least) * slope)
                snapped = np.where(slope > 0, least + (whole - low) / slope, least)
            value = np.where(
                self.whole if column is None else self.whole[column],
                np.clip(snapped, least, most),
                value,
            )
        return self.trees.inputs(value)
