"""Whether probabilities are right on rows that training did not see, and what a slope and a shift
of the scores would make better.

Of two classes Platt's curve (Probabilistic Outputs for Support Vector Machines, 1999), of more a
temperature (Guo, Pleiss, Sun, Weinberger, On Calibration of Modern Neural Networks, ICML 2017),
fitted to out-of-fold scores. What it gains is measured on folds that it was not fitted to, and it
is kept where log loss falls by more than a standard error; else probabilities stay as they are.
Steps (isotonic regression) would need more rows, and tie what was ordered.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import optimize, special
from sklearn.linear_model import LogisticRegression

LEAST_ROWS = 100
"""Fewer do not tell a slope from chance."""
SLOPES = (0.1, 10.0)
"""Bounds of a calibration's slope. A judgement: a curve ten times as flat or as steep does not
correct a model, it follows few rows.
"""
Array = np.ndarray[Any, Any]


class Fold(NamedTuple):
    """What a model says of rows that it was not trained on."""

    rows: Array
    """Their numbers, [m]."""
    scores: Array
    """Log-odds [m], or one score a class [m, k]."""


class Calibration(NamedTuple):
    """What was measured out of fold."""

    slope: float
    shift: float
    before: float
    """Log loss of the probabilities as they are."""
    after: float
    """Of the calibrated ones, on folds that the calibration was not fitted to."""
    error: float
    """Standard error of the difference."""

    @property
    def helps(self) -> bool:
        """Whether log loss falls by more than chance explains."""
        return self.before - self.after > self.error


def measured(
    codes: Array, folds: Sequence[Fold], weights: Array | None = None, groups: Array | None = None
) -> Calibration | None:
    """Slope and shift for all folds, and what they are worth; None where there are too few rows.

    Args:
        codes: true class numbers of all rows, [n].
        folds: out-of-fold scores; rows of several are none.
        weights: [n]; None: all weigh alike.
        groups: whose each row is, [n]; None: every row is somebody else's.
    """
    rows = np.concatenate([fold.rows for fold in folds]) if folds else np.empty(0, int)
    if len(rows) < LEAST_ROWS or len(folds) < 2:
        return None
    each = np.ones(len(codes)) if weights is None else weights / weights.mean()
    gained, before = [], []
    for number, fold in enumerate(folds):
        others = [other for place, other in enumerate(folds) if place != number]
        learnt = np.concatenate([other.rows for other in others])
        slope, shift = _fitted(
            codes[learnt], np.concatenate([other.scores for other in others]), each[learnt]
        )
        plain = losses(codes[fold.rows], fold.scores)
        gained.append(
            each[fold.rows] * (plain - losses(codes[fold.rows], fold.scores * slope + shift))
        )
        before.append(each[fold.rows] * plain)
    total, gain = float(each[rows].sum()), np.concatenate(gained)
    apart = gain - gain.sum() / total * each[rows]
    sums = (
        apart
        if groups is None
        else np.bincount(np.unique(groups[rows], return_inverse=True)[1], apart)
    )
    error = float(np.sum(sums**2)) ** 0.5 / total
    loss = float(np.concatenate(before).sum()) / total
    slope, shift = _fitted(codes[rows], np.concatenate([fold.scores for fold in folds]), each[rows])
    return Calibration(slope, shift, loss, loss - float(gain.sum()) / total, error)


def losses(codes: Array, scores: Array) -> Array:
    """Each row's logarithmic loss under scores [m] or [m, k], [m]."""
    if scores.ndim == 1:
        return np.asarray(-special.log_expit(np.where(codes == 1, scores, -scores)))
    return np.asarray(-special.log_softmax(scores, axis=1)[np.arange(len(codes)), codes])


def _fitted(codes: Array, scores: Array, weights: Array) -> tuple[float, float]:
    """(slope, shift) of the least log loss."""
    if scores.ndim == 1:
        curve = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000).fit(
            scores[:, None], codes, sample_weight=weights
        )
        slope = float(np.clip(curve.coef_[0, 0], *SLOPES))
        return slope, float(curve.intercept_[0]) if slope == curve.coef_[0, 0] else 0.0
    found = optimize.minimize_scalar(
        lambda power: float(np.average(losses(codes, scores * np.exp(power)), weights=weights)),
        bounds=tuple(np.log(SLOPES)),
        method="bounded",
    )
    return float(np.exp(found.x)), 0.0
