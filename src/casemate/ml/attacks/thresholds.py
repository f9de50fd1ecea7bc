"""The attack that trees cannot hide from: it reads their thresholds and looks at every value that
makes a difference.

Along one input a sum of trees is constant between two thresholds, so one value for each reachable
interval stands for all of them; the best of all intervals of all inputs is taken, again and again,
from several starts (the coordinate descent of Zhang, Zhang, Hsieh, An Efficient Adversarial Attack
for Tree Ensembles, NeurIPS 2020, over inputs instead of leaves). What still stands goes through
branch and bound, which is exact for single trees and for what it finishes.

It works in the model's own inputs, behind preprocessing that maps every feature by itself and
monotonically. What it finds is put back into features and judged by the model itself.
"""

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

from casemate.ml.attacks.exact import SURE, Leaves, settle
from casemate.ml.attacks.interface import Array, Target, keep_better
from casemate.ml.attacks.leaves import Trees, read
from casemate.ml.attacks.parts import parts_of, through

CELLS = 4_000_000
"""Leaves times inputs that are held at once."""
MOVES = 60
"""Inputs that one descent moves at most."""
COMBINATIONS = 12
"""Combinations of chosen categories that are tried one by one; of more, the best one that
is known.
"""
PARTS_A_ROW = 150
"""Parts of its box that branch and bound looks at for one row."""
PARTS = 3_000
"""The same for all rows of one eps."""
BISECTIONS = 60


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


class Thresholds:
    """Reads trees; `proved` says which rows of the last call no change inside the ball can
    break.
    """

    name = "thresholds"

    def __init__(self, restarts: int = 2, parts: int = PARTS) -> None:
        """Restarts: random beginnings of the descent. Parts: of boxes that branch and bound looks
        at for each eps; 0: none.
        """
        self.restarts = restarts
        self.parts = parts
        self.proved: Array = np.zeros(0, dtype=bool)
        self.looked = 0
        """Points and parts of boxes that were compared in the model's trees, without asking the
        model.
        """
        self._trees: Trees | None = None
        self._before: Any = None

    def applies(self, target: Target) -> bool:
        """Whether the model is a sum of trees behind monotone preprocessing."""
        parts = parts_of(getattr(target.model, "estimator", None), set(target.names))
        self._trees = read(parts.final) if parts is not None and target.width else None
        if parts is None or self._trees is None:
            return False
        self._before = parts.before
        # A model whose answers are not this sum, or whose inputs mix features, is left to other
        # attacks.
        every, ends = (
            np.arange(len(target.codes)),
            [
                target.start.copy(),
                target.start.copy(),
                target.start,
            ],
        )
        for end, limit in zip(ends, target.ball(1.0), strict=False):
            end[:, : target.width] = limit
        alike = np.array_equal(self._margins(target) > 0, target.margin(target.start, every) > 0)
        return alike and self._box(target, every, ends) is not None

    def _margins(self, target: Target) -> Array:
        trees, every = self._known, np.arange(len(target.codes))
        rows = through(self._before, target.frame)
        row, leaf = trees.reached(trees.inputs(rows), trees.inputs(rows))
        found = target.judged(
            target.table_order(_total(row, trees.value[leaf], len(rows)) + trees.base), every
        )
        # A tie is right or wrong by the label that the model gives.
        return np.where(np.abs(found) <= SURE, target.margin(target.start, every), found)

    @property
    def _known(self) -> Trees:
        assert self._trees is not None  # noqa: S101 - `applies` was asked first
        return self._trees

    def improve(
        self, target: Target, best: Array, margins: Array, eps: float, steps: int, seed: int
    ) -> None:
        """See `Attack.improve`."""
        generator = np.random.default_rng(seed)
        self.proved = np.zeros(len(margins), dtype=bool)
        combinations = list(itertools.product(*target.allowed)) if target.choices else []
        if combinations and len(combinations) <= COMBINATIONS:
            proofs = []
            for chosen in [(), *combinations]:
                start = best.copy()
                start[:, target.width :] = chosen or target.start[:, target.width :]
                proofs.append(self._improve(target, best, margins, start, eps, generator))
            self.proved = np.all(proofs, axis=0)
        else:
            proof = self._improve(target, best, margins, best.copy(), eps, generator)
            self.proved = proof & (not target.choices)

    def _improve(
        self,
        target: Target,
        best: Array,
        margins: Array,
        start: Array,
        eps: float,
        generator: np.random.Generator,
    ) -> Array:
        """One combination of categories, as `start` has it; whether each row is proved to stand."""
        rows, parts = np.flatnonzero(margins > 0), self.parts
        proved = np.zeros(len(margins), dtype=bool)
        while len(rows):
            some, pairs, box = self._some(target, start, rows, eps)
            if box is None:
                return proved
            lines = Lines(self._known, target, some, pairs, box)
            points, sure, used = lines.search(self.restarts, parts, generator)
            self.looked += lines.looked
            parts -= used
            for point in points:
                self._judge(target, best, margins, start, (some, box, lines), point, eps)
            proved[some] = sure & (margins[some] > 0)
            rows = rows[len(some) :]
        return proved

    def _some(
        self, target: Target, start: Array, rows: Array, eps: float
    ) -> tuple[Array, tuple[Array, Array], Box | None]:
        """As many of the rows as fit, the (row, leaf) pairs that they reach, and their boxes."""
        lower, upper = target.ball(eps)
        ends = []
        for limit in (lower, upper):
            changed = start[rows].copy()
            changed[:, : target.width] = limit[rows]
            ends.append(changed)
        box = self._box(target, rows, [*ends, start[rows]])
        if box is None:
            return rows, (rows, rows), None
        trees = self._known
        row, leaf = trees.reached(trees.inputs(box.low), trees.inputs(box.high))
        total = np.cumsum(np.bincount(row, minlength=len(rows)) * max(1, len(box.columns)))
        count = max(1, int(np.searchsorted(total, CELLS)))
        here = row < count
        return rows[:count], (row[here], leaf[here]), box.first(count)

    def _box(self, target: Target, rows: Array, ends: list[Array]) -> Box | None:
        """The rows' boxes from (least, greatest, here); None where an input depends on two
        features, or a feature moves two inputs.
        """
        width, count = target.width, len(rows)
        variants = np.concatenate([*ends, *([ends[0]] * width)])
        for feature in range(width):
            variants[(3 + feature) * count : (4 + feature) * count, feature] = ends[1][:, feature]
        inputs = through(self._before, target.rows(variants, np.tile(rows, width + 3))).reshape(
            width + 3, count, -1
        )
        moves = np.any((inputs[3:] != inputs[0]) & ~np.isnan(inputs[0]), axis=1)
        if (
            np.any(moves.sum(axis=0) > 1)
            or np.any(moves.sum(axis=1) > 1)
            or np.any(inputs[1] < inputs[0])
        ):
            return None
        features, columns = np.nonzero(moves)
        return Box(
            inputs[0],
            inputs[1],
            inputs[2],
            (ends[0][:, features], ends[1][:, features]),
            columns,
            features,
        )

    def _judge(
        self,
        target: Target,
        best: Array,
        margins: Array,
        start: Array,
        where: tuple[Array, Box, "Lines"],
        point: Array,
        eps: float,
    ) -> None:
        """Put points in the model's inputs [n, m] back into features and let the model
        judge them.
        """
        rows, box, lines = where
        left = np.flatnonzero(margins[rows] > 0)
        if not len(left) or not len(box.columns):
            return
        lower, upper = (limit[rows[left]] for limit in target.ball(eps))
        changed = start[rows[left]].copy()
        changed[:, box.features] = self._values(target, rows[left], changed, box, left, point[left])
        same = point[left] == lines.here[left]
        changed[:, box.features] = np.where(
            same, start[rows[left]][:, box.features], changed[:, box.features]
        )
        target.legal(changed, lower, upper)
        keep_better(best, margins, changed, target.margin(changed, rows[left]), rows[left])

    def _values(
        self, target: Target, rows: Array, changed: Array, box: Box, at: Array, point: Array
    ) -> Array:
        """The features that give the inputs `point` of the box's rows `at`: [len(at), m]."""
        low, high = (limit[at] for limit in box.limits)
        spans, ends = high - low, [side[at][:, box.columns] for side in (box.low, box.high)]
        point = np.clip(point, *ends)  # a float32 may lie beyond by its rounding
        with np.errstate(invalid="ignore", divide="ignore"):
            share = np.where(ends[1] > ends[0], (point - ends[0]) / (ends[1] - ends[0]), 0.0)
        guess = low + np.clip(share, 0, 1) * spans
        scale = 1e-12 * (1 + np.abs(ends[0]) + np.abs(ends[1]))
        if np.all(~(np.abs(self._inputs(target, rows, changed, box, guess) - point) > scale)):
            return np.asarray(guess)  # straight lines, as of most preprocessing
        for _ in range(BISECTIONS):
            guess = low + (high - low) / 2
            below = self._inputs(target, rows, changed, box, guess) < point
            low, high = np.where(below, guess, low), np.where(below, high, guess)
        return np.asarray(high)

    def _inputs(
        self, target: Target, rows: Array, changed: Array, box: Box, values: Array
    ) -> Array:
        moved = changed.copy()
        moved[:, box.features] = values
        return through(self._before, target.rows(moved, rows))[:, box.columns]


def _total(at: Array, values: Array, count: int) -> Array:
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
            scores = _total(self.row[in_it], self.value[in_it], len(point)) + self.base
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
        first -= _total(line[begins & ~entered], self.value[pair[begins & ~entered]], len(first))
        first += _total(line[~begins & entered], self.value[pair[~begins & entered]], len(first))
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
