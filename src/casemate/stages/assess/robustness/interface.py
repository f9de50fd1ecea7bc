"""What an attack gets and gives."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd

from casemate.core.models import SkopsModel

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Target:
    """A model seen through the numbers of some rows: n rows, m numeric features."""

    model: SkopsModel
    frame: pd.DataFrame
    codes: Array
    names: list[str]
    spread: Array
    low: Array
    high: Array

    @property
    def start(self) -> Array:
        """The unattacked numbers, float64 [n, m]."""
        numbers: Array = np.asarray(self.frame[self.names], dtype=np.float64)
        return numbers

    def margin(self, numbers: Array, rows: Array) -> Array:
        """Score of the true class less the best other, for `numbers` [len(rows), m] put into `rows`; negative is wrong."""
        frame = self.frame.iloc[rows].copy()
        frame[self.names] = numbers
        scores = self.model.scores(frame)
        at = np.arange(len(rows))
        true = scores[at, self.codes[rows]]
        scores[at, self.codes[rows]] = -np.inf
        margins: Array = true - scores.max(axis=1)
        return margins

    def ball(self, eps: float) -> tuple[Array, Array]:
        """Least and greatest allowed numbers, [n, m] each; a missing number cannot be moved."""
        reach = eps * self.spread
        lower = np.maximum(self.start - reach, np.minimum(self.low, self.start))
        upper = np.minimum(self.start + reach, np.maximum(self.high, self.start))
        return lower, upper


class Attack(Protocol):
    """Looks for numbers inside the ball that make the model wrong."""

    name: str

    def applies(self, target: Target) -> bool:
        """Whether the model allows this attack."""

    def improve(self, target: Target, best: Array, margins: Array, eps: float, steps: int, seed: int) -> tuple[Array, Array]:
        """Better (numbers, margins) than the given ones, never worse."""


def keep_better(best: Array, margins: Array, candidate: Array, found: Array, rows: Array) -> None:
    """Put candidates into `best` where their margin is lower."""
    better = found < margins[rows]
    best[rows[better]] = candidate[better]
    margins[rows[better]] = found[better]
