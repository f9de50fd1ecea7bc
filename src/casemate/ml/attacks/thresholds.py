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
from typing import Any

import numpy as np

from casemate.ml.attacks.descent import Box, Lines, sums
from casemate.ml.attacks.exact import SURE
from casemate.ml.attacks.interface import Array, Target, keep_better
from casemate.ml.attacks.leaves import Trees, read
from casemate.ml.attacks.parts import parts_of, through

CELLS = 4_000_000
"""Leaves times inputs that are held at once."""
COMBINATIONS = 12
"""Combinations of chosen categories that are tried one by one; of more, the best one that
is known.
"""
PARTS = 3_000
"""The same for all rows of one eps."""
BISECTIONS = 60
"""Halvings of an interval: float64 has fewer bits of significand, so nothing is left between."""


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
            target.table_order(sums(row, trees.value[leaf], len(rows)) + trees.base), every
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
