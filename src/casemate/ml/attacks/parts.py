"""The preprocessing of a model and what decides behind it, where every feature goes its own
monotone way.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from casemate.ml.answers import chained, last_step
from casemate.ml.attacks.interface import Array

MONOTONE = {
    "StandardScaler",
    "MinMaxScaler",
    "MaxAbsScaler",
    "RobustScaler",
    "SimpleImputer",
    "QuantileTransformer",
    "PowerTransformer",
}
"""Transformers whose outputs each depend on one feature, monotonically."""
CATEGORIES = {"OneHotEncoder", "OrdinalEncoder"}
"""Encoders that are looked through for what does not move: between two values of a number lie
others, with codes of their own.
"""


@dataclass(frozen=True)
class Parts:
    """A fitted model in two parts."""

    before: Any
    """Preprocessing; None where there is none."""
    final: Any
    """What decides."""


def parts_of(estimator: Any, moved: set[str]) -> Parts | None:
    """The preprocessing and the final model, if all before it is monotone feature by feature."""
    if estimator is None:
        return None
    if not chained(estimator):
        return Parts(None, estimator)
    before = estimator[:-1]
    return (
        Parts(before if len(before.steps) else None, last_step(estimator))
        if _monotone(before, moved)
        else None
    )


def _monotone(step: Any, moved: set[str]) -> bool:
    """Whether a step maps feature by feature and monotonically, where the features `moved` are
    among its inputs.
    """
    name = type(step).__name__
    if step is None or isinstance(step, str):
        return step is None or step in {"passthrough", "drop"}
    if chained(step):
        return all(_monotone(inner, moved) for _, inner in step.steps)
    if hasattr(step, "transformers_"):
        return all(
            _monotone(inner, moved & _names(columns, step, moved))
            for _, inner, columns in step.transformers_
        )
    if name == "FunctionTransformer":
        return step.func is None
    if name in CATEGORIES:
        return not moved
    return name in MONOTONE and not getattr(step, "add_indicator", False)


def _names(columns: Any, step: Any, moved: set[str]) -> set[str]:
    """The names of a transformer's columns; where they are not given by name, all that move."""
    known = getattr(step, "feature_names_in_", None)
    if isinstance(columns, str):
        return {columns}
    if all(isinstance(column, str) for column in columns):
        return set(columns)
    return moved if known is None else {str(name) for name in np.asarray(known)[columns]}


def through(before: Any, frame: Any) -> Array:
    """A frame as the final part sees it, float64 [n, d]."""
    changed = frame if before is None else before.transform(frame)
    return np.asarray(
        changed.toarray() if hasattr(changed, "toarray") else changed, dtype=np.float64
    )
