"""How much each feature matters: what the model loses when the feature's values are shuffled on the
hold-out.

Source: Breiman, Random Forests (2001), through scikit-learn's permutation_importance; the score is
the negative log loss, or of a regressor the negative squared error in variances of the target.
"""

from typing import Any

import numpy as np
from sklearn.inspection import permutation_importance

from casemate.core.types import FeatureImportance
from casemate.ml.models import Model
from casemate.stages.assess.sample import Sample, sureness

ROWS = 1_000
"""Hold-out rows that are shuffled, a sample; chosen for time. Importance is told and gates
nothing.
"""
REPEATS = 3
"""Times that each feature is shuffled; chosen for time, the deviation over them is told."""
MOST_FEATURES = 200
"""Above so many they are not shuffled one by one, and importance is not measured. Chosen
for time.
"""
FLOOR = 1e-12
"""Least probability of a label: its logarithm must be finite."""


class TooMany(ValueError):
    """More features than can be shuffled one by one."""


class _Scorer:
    """The model as permutation_importance wants it."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def fit(self, *_: Any) -> "_Scorer":
        return self

    def __call__(self, _: Any, frame: Any, target: Any) -> float:
        found = np.asarray(self.model.predict(frame)[1], dtype=np.float64)
        if target.ndim == 2:
            return float(np.mean(sureness(found, target)))
        return float(np.mean(np.log(np.maximum(sureness(found, target), FLOOR))))


def measure(model: Model, holdout: Sample, seed: int) -> list[FeatureImportance]:
    """What each feature is worth, greatest loss first."""
    if holdout.frame.shape[1] > MOST_FEATURES:
        raise TooMany(
            f"{holdout.frame.shape[1]} features are not shuffled one by one (at most"
            f" {MOST_FEATURES})"
        )
    sample = holdout.take(ROWS, seed)
    scorer = _Scorer(model)
    found = permutation_importance(
        scorer, sample.frame, sample.target, scoring=scorer, n_repeats=REPEATS, random_state=seed
    )
    rows = zip(sample.frame.columns, found.importances_mean, found.importances_std, strict=True)
    return sorted(
        (
            FeatureImportance(feature=name, mean=float(mean), std=float(std))
            for name, mean, std in rows
        ),
        key=lambda row: -row.mean,
    )
