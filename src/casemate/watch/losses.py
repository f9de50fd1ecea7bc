"""The loss of a model of quantities where no outcome is known yet: learnt from the reference."""

from typing import Any

import numpy as np
from scipy import stats

from casemate.core.types import Interval
from casemate.ml.frame import worth

Array = np.ndarray[Any, Any]
FOLDS = 5
"""So that no row is foretold by a model that has seen it; five are customary."""
FIGURES = ("mae", "rmse")
"""In the order in which they are told."""


class Losses:
    """Absolute and squared errors as functions of the row.

    Direct loss estimation, as NannyML calls it: a second model foretells the first one's loss. What
    that misses on average in rows that it has not seen, weighted to the new population, is added
    back; so the estimate is right when either the model of the loss or the weights are (Robins and
    Rotnitzky, Journal of the American Statistical Association 90, 1995).
    """

    def __init__(self, rows: Array, errors: Array) -> None:
        """Learn.

        Args:
            rows: features and prediction of the reference, [n, d].
            errors: outcome less prediction, [n].
        """
        self.losses = {"mae": np.abs(errors), "rmse": errors**2}
        folds = np.random.default_rng(0).permutation(len(rows)) % FOLDS
        self.models: dict[str, Any] = {}
        self.residuals: dict[str, Array] = {}
        for name, losses in self.losses.items():
            foretold = np.empty(len(rows))
            for fold in range(FOLDS):
                rest = folds != fold
                foretold[~rest] = _regressor().fit(rows[rest], losses[rest]).predict(rows[~rest])
            self.residuals[name] = losses - foretold
            self.models[name] = _regressor().fit(rows, losses)

    def reference(self) -> dict[str, float]:
        """What the figures are in the reference."""
        return {name: _told(name, float(losses.mean())) for name, losses in self.losses.items()}

    def estimate(self, rows: Array, weights: Array | None, level: float) -> dict[str, Interval]:
        """The figures of a chunk, with the interval for what will be realised.

        Args:
            rows: features and prediction, [m, d].
            weights: what each reference row is worth in the chunk, [n]; None: all alike.
            level: of the intervals.
        """
        weights = np.ones(len(self.residuals["mae"])) if weights is None else weights
        width = float(stats.norm.isf((1 - level) / 2))
        found = {}
        for name, model in self.models.items():
            residuals = self.residuals[name]
            missed = float(np.average(residuals, weights=weights))
            spread = float(np.average((residuals - missed) ** 2, weights=weights)) ** 0.5
            value = max(float(model.predict(rows).mean()) + missed, 0.0)
            half = width * spread * (1 / len(rows) + 1 / worth(weights)) ** 0.5
            low, high = max(value - half, 0.0), value + half
            found[name] = Interval(
                value=_told(name, value), low=_told(name, low), high=_told(name, high)
            )
        return found


def realised(errors: Array) -> dict[str, float]:
    """The figures of outcomes less predictions, [n]."""
    return {"mae": float(np.mean(np.abs(errors))), "rmse": float(np.mean(errors**2)) ** 0.5}


def _told(name: str, value: float) -> float:
    return value**0.5 if name == "rmse" else value


def _regressor() -> Any:
    from sklearn.ensemble import HistGradientBoostingRegressor

    return HistGradientBoostingRegressor(
        max_iter=60, max_leaf_nodes=15, early_stopping=False, random_state=0
    )
