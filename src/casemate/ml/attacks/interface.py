"""What an attack gets and gives.

A row under attack is a vector: first the numbers that the attacker may move, then one position per
category that he may choose (an index into that category's `choices`).
"""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import pandas as pd

from casemate.ml.models import Scored

Array = np.ndarray[Any, Any]
TIE = float(np.finfo(np.float64).tiny)
"""Margin of a row that is right by a tie."""


@dataclass(frozen=True)
class Target:
    """A model seen through what an attacker can change of some rows: n rows, m movable numbers, c
    choosable categories.
    """

    model: Scored
    frame: pd.DataFrame
    codes: Array
    """Class numbers, [n]."""
    names: list[str]
    """Movable numeric features, [m]."""
    spread: Array
    """What eps 1 is, per number, [m]."""
    low: Array
    """Least pinned value, [m]."""
    high: Array
    """Greatest pinned value, [m]."""
    down: Array
    """Most that each number may fall, in its own unit, [m]."""
    up: Array
    """Most that it may rise, [m]."""
    integer: Array
    """Whether it is a whole number, bool [m]."""
    choices: dict[str, list[str]] = field(default_factory=dict)
    """Per choosable category, what it can be set to."""

    @cached_property
    def options(self) -> list[list[str]]:
        """Per choosable category every value that occurs or can be chosen."""
        return [sorted({*allowed, *self.frame[name]}) for name, allowed in self.choices.items()]

    @cached_property
    def allowed(self) -> list[Array]:
        """Per choosable category the positions that can be chosen."""
        return [
            np.array([known.index(value) for value in allowed])
            for known, allowed in zip(self.options, self.choices.values(), strict=True)
        ]

    @cached_property
    def start(self) -> Array:
        """The unattacked rows, float64 [n, m + c]."""
        numbers = np.asarray(self.frame[self.names], dtype=np.float64).reshape(
            len(self.frame), len(self.names)
        )
        positions = [
            self.frame[name]
            .map({value: i for i, value in enumerate(known)})
            .to_numpy(dtype=np.float64)
            for name, known in zip(self.choices, self.options, strict=True)
        ]
        return np.column_stack([numbers, *positions]) if positions else numbers

    @property
    def width(self) -> int:
        """How many numbers of a row can be moved, m."""
        return len(self.names)

    def rows(self, changed: Array, at: Array) -> pd.DataFrame:
        """The feature frame of the rows `at` with what was changed put in."""
        if self.names == list(self.frame.columns):
            return pd.DataFrame(changed, columns=self.frame.columns)
        numbers = dict(zip(self.names, changed.T, strict=False))
        for position, (name, known) in enumerate(zip(self.choices, self.options, strict=True)):
            numbers[name] = np.array(known, dtype=object)[
                changed[:, self.width + position].astype(int)
            ]
        same = {
            name: self.frame[name].to_numpy()[at]
            for name in self.frame.columns
            if name not in numbers
        }
        return pd.DataFrame(
            {name: numbers.get(name, same.get(name)) for name in self.frame.columns}, copy=False
        )

    def margin(self, changed: Array, at: Array) -> Array:
        """Score of the true class less the best other, for `changed` [len(at), m + c] in place of
        the rows `at`; negative is wrong.
        """
        return self.judged(self.model.scores(self.rows(changed, at)), at)

    def judged(self, scores: Array, at: Array) -> Array:
        """The margins of the rows `at` under scores [len(at), k]."""
        return margins_of(scores, self.codes[at])

    def against(self, row: int, outputs: int) -> list[tuple[Array, float, bool]]:
        """(weights [k], offset, whether zero will do) of every lead over another of k scores that
        the row's right answer must keep above zero.
        """
        one, right = np.eye(outputs), self.codes[row]
        places = np.arange(outputs) if self._own is None else self._own
        return [
            (one[right] - one[other], 0.0, bool(places[right] < places[other]))
            for other in range(outputs)
            if other != right
        ]

    @cached_property
    def _own(self) -> Array | None:
        """The estimator's own number of each of the table's classes, [k]; None: the same
        numbers.
        """
        order = getattr(self.model, "order", None)
        return None if order is None else np.argsort(order)

    def table_order(self, scores: Array) -> Array:
        """Scores [n, k] of the estimator's own classes in the order of the table's."""
        return scores if self._own is None else scores[:, self._own]

    @property
    def places(self) -> Array:
        """The estimator's own number of each row's class, [n]."""
        return self.codes if self._own is None else self._own[self.codes]

    def take(self, rows: Array) -> "Target":
        """The same attack surface of some of the rows."""
        return replace(
            self, frame=self.frame.iloc[rows].reset_index(drop=True), codes=self.codes[rows]
        )

    def wrong(self, changed: Array, at: Array) -> Array:
        """The same seen through labels only: bool [len(at)]."""
        labels, _ = self.model.predict(self.rows(changed, at))
        return np.asarray(np.asarray(labels).ravel() != self.codes[at])

    def ball(self, eps: float) -> tuple[Array, Array]:
        """Least and greatest allowed numbers, [n, m] each; a missing number cannot be moved."""
        start = self.start[:, : self.width]
        reach = eps * self.spread
        lower = np.maximum(start - np.minimum(reach, self.down), np.minimum(self.low, start))
        upper = np.minimum(start + np.minimum(reach, self.up), np.maximum(self.high, start))
        if self.integer.any():
            whole = self.integer
            lower[:, whole] = np.minimum(np.ceil(lower[:, whole]), start[:, whole])
            upper[:, whole] = np.maximum(np.floor(upper[:, whole]), start[:, whole])
        return lower, upper

    def legal(self, changed: Array, lower: Array, upper: Array) -> Array:
        """`changed` with its numbers inside their limits, whole where they must be."""
        numbers = changed[:, : self.width]
        if self.integer.any():
            numbers = np.where(self.integer, np.round(numbers), numbers)
        changed[:, : self.width] = np.clip(numbers, lower, upper)
        return changed


@dataclass(frozen=True)
class Quantity(Target):
    """A regressor seen so: an answer is right while every quantity lies within `tolerance` of the
    truth, `codes` float64 [n, t].
    """

    tolerance: Array = field(default_factory=lambda: np.ones(1))
    """Of each quantity, in its own unit, [t]."""

    def margin(self, changed: Array, at: Array) -> Array:
        """What is left of the tolerance, as a share of it; negative is wrong."""
        return self.judged(self.model.scores(self.rows(changed, at)), at)

    def judged(self, scores: Array, at: Array) -> Array:
        """See `Target.judged`."""
        return np.asarray(1.0 - (np.abs(scores - self.codes[at]) / self.tolerance).max(axis=1))

    def against(self, row: int, outputs: int) -> list[tuple[Array, float, bool]]:
        """See `Target.against`: one lead a side of every quantity."""
        sides = [
            (sign / self.tolerance[place], place)
            for place in range(outputs)
            for sign in (1.0, -1.0)
        ]
        return [
            (-side * np.eye(outputs)[place], 1.0 + side * float(self.codes[row, place]), False)
            for side, place in sides
        ]

    def wrong(self, changed: Array, at: Array) -> Array:
        """See `Target.wrong`."""
        return self.margin(changed, at) < 0


def margins_of(scores: Array, codes: Array) -> Array:
    """Score of the true class less the best other, [n]; in a tie the first class is the label, as
    everywhere: `TIE` if it is the true one.
    """
    scores = np.array(scores, dtype=np.float64)
    at = np.arange(len(codes))
    right = scores.argmax(axis=1) == codes
    true = scores[at, codes]
    scores[at, codes] = -np.inf
    margins = true - scores.max(axis=1)
    return np.asarray(np.where((margins == 0) & right, TIE, margins))


class Attack(Protocol):
    """Looks for changes inside the ball that make the model wrong."""

    name: str

    def applies(self, target: Target) -> bool:
        """Whether the model allows this attack."""

    def improve(
        self, target: Target, best: Array, margins: Array, eps: float, steps: int, seed: int
    ) -> None:
        """Put better changes into `best` [n, m + c] and their `margins` [n]; never worse ones."""


def keep_better(best: Array, margins: Array, candidate: Array, found: Array, rows: Array) -> None:
    """Put candidates into `best` where their margin is lower."""
    better = found < margins[rows]
    best[rows[better]] = candidate[better]
    margins[rows[better]] = found[better]
