"""Calibration that is folded into the model: its scores times a slope, plus a shift, by changing
its own coefficients or leaves.

The calibrated model is of the same class with the same number of parts, so it is stored, attacked
and converted as before, exactly.
"""

from typing import Any

import numpy as np

from casemate.ml.answers import chained, last_step

ADJUSTABLE = ("HistGradientBoostingClassifier", "LogisticRegression")
"""Their probabilities are the logistic function, or softmax, of scores that are sums."""
KEPT = "calibration_"
"""Where the estimator keeps (slope, shift)."""
Array = np.ndarray[Any, Any]


def adjustable(model: Any) -> bool:
    """Whether the model ends in an estimator whose scores can be changed in place."""
    return type(_last(model)).__name__ in ADJUSTABLE


def adjusted(model: Any) -> tuple[float, float] | None:
    """(slope, shift) of a model that was adjusted; None of any other."""
    found = getattr(_last(model), KEPT, None)
    return None if found is None else (float(found[0]), float(found[1]))


def adjust(model: Any, slope: float, shift: float = 0.0) -> None:
    """Make the fitted model's scores `slope` times what they were, plus `shift`, in place; a shift
    is for two classes only.
    """
    last = _last(model)
    if type(last).__name__ == "LogisticRegression":
        last.coef_ = last.coef_ * slope
        last.intercept_ = last.intercept_ * slope + shift
    else:
        last._baseline_prediction = last._baseline_prediction * slope + shift  # noqa: SLF001 - scikit-learn shows trees nowhere else
        for trees in last._predictors:  # noqa: SLF001 - same
            for tree in trees:
                tree.nodes["value"] *= slope
    setattr(last, KEPT, [float(slope), float(shift)])


def scores(model: Any, frame: Any) -> Array:
    """What is adjusted: log-odds [n] of two classes, or one score a class [n, k]."""
    return np.asarray(model.decision_function(frame), dtype=np.float64)


def _last(model: Any) -> Any:
    while chained(model) or type(model).__name__ == "FixedThresholdClassifier":
        model = (
            last_step(model) if chained(model) else getattr(model, "estimator_", model.estimator)
        )
    return model
