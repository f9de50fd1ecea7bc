"""Every figure that a gate may name."""

import math
from typing import Protocol, TypeVar

_SHARE: tuple[float, float | None] = (0.0, 1.0)
CLASSIFICATION: dict[str, tuple[float, float | None]] = {
    "accuracy": _SHARE,
    "balanced_accuracy": _SHARE,
    "f1": _SHARE,
    "roc_auc": _SHARE,
    "average_precision": _SHARE,
    "log_loss": (0.0, None),
    "brier": (0.0, 2.0),
    "calibration_error": _SHARE,
    "cost": (0.0, None),
    "quadratic_kappa": (-1.0, 1.0),
    "rank_error": (0.0, None),
    "worst_slice_accuracy": _SHARE,
}
LABELS: dict[str, tuple[float, float | None]] = {
    "hamming_loss": _SHARE,
    "subset_accuracy": _SHARE,
    "micro_f1": _SHARE,
    "macro_f1": _SHARE,
}
"""Figures of all labels of a row together."""
REGRESSION: dict[str, tuple[float, float | None]] = {
    "r2": (-math.inf, 1.0),
    "rmse": (0.0, None),
    "mae": (0.0, None),
    "median_absolute_error": (0.0, None),
    "pinball_loss": (0.0, None),
    "quantile_coverage": _SHARE,
    "worst_target_r2": (-math.inf, 1.0),
    "worst_slice_mae": (0.0, None),
}
WISHES = ("cost", "quadratic_kappa", "rank_error", "pinball_loss", "quantile_coverage")
"""Figures of quality that there are only where casemate.toml says what they go by."""
QUALITY = CLASSIFICATION | LABELS | REGRESSION
"""Figures of quality with their possible range; `TABLE.FIGURE` names them on one of `[assess]
tables`.
"""
LESS_IS_BETTER = {
    "log_loss",
    "brier",
    "cost",
    "rank_error",
    "pinball_loss",
    "calibration_error",
    "hamming_loss",
    "rmse",
    "mae",
    "median_absolute_error",
    "worst_slice_mae",
}
"""Figures of quality that should be small."""
AT_EPS = {"robust_accuracy", "certified_accuracy"}
"""Figures that belong to an attack size."""
MORE_IS_BETTER = {*QUALITY} - LESS_IS_BETTER | AT_EPS
"""Figures that should be large; of all others, which say what leaks, differs or is odd, less is
better.
"""


class Ends(Protocol):
    """A figure with its interval."""

    @property
    def low(self) -> float:
        """Lower end."""

    @property
    def high(self) -> float:
        """Upper end."""


Figure = TypeVar("Figure", bound=Ends)


def worst(name: str, found: list[Figure]) -> Figure:
    """Of one figure of several labels the one whose bad end is the worst; `name` as gates call it,
    with `@EPS` and the table's name.
    """
    plain = name.partition("@")[0].rpartition(".")[2]
    if plain in MORE_IS_BETTER:
        return min(found, key=lambda figure: figure.low)
    return max(found, key=lambda figure: figure.high)


SCAN = "scan"
"""What a gate is called that goes by findings of `casemate scan` and by no figure."""
FIGURES: dict[str, tuple[float, float | None]] = QUALITY | {
    "robust_accuracy": _SHARE,
    "certified_accuracy": _SHARE,
    "membership_auc": _SHARE,
    "membership_tpr_at_1_fpr": _SHARE,
    "label_only_auc": _SHARE,
    "lira_auc": _SHARE,
    "lira_tpr_at_1_fpr": _SHARE,
    "attribute_advantage": (-1.0, 1.0),
    "inversion_correlation": (-1.0, 1.0),
    "memorised_share": _SHARE,
    "epsilon": (0.0, None),
    "demographic_parity_difference": _SHARE,
    "equalized_odds_difference": _SHARE,
    "mean_prediction_difference": (0.0, None),
    "absolute_error_difference": (0.0, None),
    "cv_gap": (-math.inf, None),
    "nested_cv": (-math.inf, None),
    "shift_auc": _SHARE,
    "behaviour_failures": (0.0, None),
    "rule_violations": (0.0, None),
    "drift": (0.0, None),
    "contamination": _SHARE,
    "leakage_auc": _SHARE,
    "minority_share": _SHARE,
    "suspicious_share": _SHARE,
    "influence": (-1.0, 1.0),
}
"""Every figure that a gate may name, with its possible range."""
OF_CLASSES = {
    *CLASSIFICATION, *LABELS, "certified_accuracy", "label_only_auc",
    "demographic_parity_difference", "equalized_odds_difference", "inversion_correlation",
    "memorised_share", "epsilon",
    "minority_share",
}  # fmt: skip
"""Figures that no regressor has."""
ON_TRAINING_ROWS = {
    "membership_auc", "membership_tpr_at_1_fpr", "label_only_auc", "lira_auc", "lira_tpr_at_1_fpr",
    "attribute_advantage", "inversion_correlation", "memorised_share", "cv_gap", "nested_cv",
    "shift_auc", "rule_violations", "drift", "contamination", "leakage_auc", "minority_share",
    "suspicious_share", "influence",
}  # fmt: skip
"""Figures that training rows decide: private training may neither tell them nor refuse a model by
them.
"""
OF_QUANTITIES = {*REGRESSION, "mean_prediction_difference", "absolute_error_difference"}
"""Figures that no classifier has."""
