"""Figures of a classifier from the chance of each row to be positive, without any outcome, and
from outcomes, which are chances of 0 and 1.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import stats

from casemate.core.types import Interval

Array = np.ndarray[Any, Any]


class Rows:
    """Scores and answers of one chunk, sorted once for however many outcomes are thought of."""

    def __init__(self, scores: Array, answers: Array) -> None:
        """Sort.

        Args:
            scores: larger is more positive, [n].
            answers: 1 where the model said positive, else 0, [n].
        """
        self.order = np.argsort(scores, kind="stable")
        ordered = scores[self.order]
        self.starts = np.flatnonzero(np.r_[True, ordered[1:] > ordered[:-1]])
        self.answers = answers

    def figures(self, chances: Array) -> dict[str, float]:
        """Every figure by its name; NaN where nothing defines it.

        Args:
            chances: of each row to be positive, [n]; rows are independent given these.
        """
        said = self.answers == 1
        hits, missed = chances[said].sum(), chances[~said].sum()
        false_alarms, passed = (1 - chances)[said].sum(), (1 - chances)[~said].sum()
        return {
            "roc_auc": self.area(chances),
            "accuracy": float((hits + passed) / len(chances)),
            "precision": _ratio(hits, hits + false_alarms),
            "recall": _ratio(hits, hits + missed),
            "specificity": _ratio(passed, passed + false_alarms),
            "f1": _ratio(2 * hits, 2 * hits + false_alarms + missed),
        }

    def area(self, chances: Array) -> float:
        """The area under the ROC curve: of all pairs of different rows that are expected to be a
        positive and another, the share in which the positive scores higher, ties by half.
        """
        ordered = chances[self.order]
        positive = np.add.reduceat(ordered, self.starts)
        other = np.add.reduceat(1 - ordered, self.starts)
        lower = np.cumsum(other) - other
        itself = float(np.sum(ordered * (1 - ordered)))
        right = float(positive @ (lower + 0.5 * other)) - 0.5 * itself
        return _ratio(right, float(positive.sum() * other.sum()) - itself)


FIGURES = ("roc_auc", "accuracy", "precision", "recall", "specificity", "f1")
"""In the order in which they are told."""
DRAWS = 200
"""Of outcomes per chunk: their spread is then known to 5 %."""
Draw = Callable[[np.random.Generator], Array]
"""Draws chances that may be the true ones, [n]."""


def realisations(rows: Rows, draw: Draw, generator: np.random.Generator) -> Array:
    """What the figures of one chunk may turn out to be, [DRAWS, figures]: the chances are as unsure
    as `draw` says, and outcomes are then thrown by them.
    """
    drawn = []
    for _ in range(DRAWS):
        chances = draw(generator)
        found = rows.figures((generator.random(len(chances)) < chances).astype(float))
        drawn.append([found[name] for name in FIGURES])
    return np.array(drawn)


def interval(value: float, drawn: Array, level: float) -> Interval:
    """Normal on the scale of the arcsine of the root, whose tails reach further than draws can tell
    and on which shares near 0 and 1 differ as much as others (Anscombe, Biometrika 35, 1948).
    """
    held = drawn[np.isfinite(drawn)]
    if not np.isfinite(value) or len(held) < DRAWS / 2:
        return Interval(value=value, low=0.0, high=1.0)
    half = float(stats.norm.isf((1 - level) / 2) * np.std(np.arcsin(np.sqrt(held)), ddof=1))
    middle = float(np.arcsin(np.sqrt(np.clip(value, 0, 1))))
    low, high = np.sin(np.clip([middle - half, middle + half], 0, np.pi / 2)) ** 2
    return Interval(value=value, low=min(float(low), value), high=max(float(high), value))


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole > 1e-9 else float("nan")
