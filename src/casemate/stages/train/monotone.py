"""Which way an effect may go: what `[data.columns]` declares is kept by the estimators that train,
and tried on the one that was trained.
"""

from typing import Any

import numpy as np
import pandas as pd

CONSTRAINED = ("monotonic_cst", "monotone_constraints")
"""Parameters of scikit-learn's, and of XGBoost's, LightGBM's and CatBoost's trees that take
constraints.
"""
ROWS, STEPS = 200, 20
"""Rows, and values of the column put into each of them, on which a wish is tried: 4000 answers a
column. It can find a breach and never proves there is none.
"""
SLACK = 1e-9
"""Of the answers' scale: sums of float64 in another order differ by less."""
Array = np.ndarray[Any, Any]


def constrained(estimator: Any) -> bool:
    """Whether the estimator was given constraints."""
    found = [
        value
        for name, value in estimator.get_params().items()
        if name.rpartition("__")[2] in CONSTRAINED
    ]
    return any(
        value is not None and np.any(np.asarray(list(_values(value)), dtype=object) != 0)
        for value in found
    )


def broken(model: Any, frame: pd.DataFrame, declared: dict[str, int]) -> str:
    """The first column with which an answer of `model` does not go the declared way; empty when
    there is none.

    Args:
        model: fitted; a regressor, or a classifier of two classes.
        frame: training rows, some of which are tried.
        declared: column -> 1 or -1, how the second class's probability, or every quantity, may go
            when the column rises.
    """
    few = frame.iloc[np.linspace(0, len(frame) - 1, min(ROWS, len(frame))).astype(int)].reset_index(
        drop=True
    )
    for name, sign in declared.items():
        known = frame[name].dropna().to_numpy(dtype=np.float64)
        if not len(known):
            continue
        steps = np.unique(np.quantile(known, np.linspace(0, 1, STEPS)))
        answers = np.stack([_answer(model, few.assign(**{name: step})) for step in steps])
        scale = max(1.0, float(np.abs(answers).max()))
        if (sign * np.diff(answers, axis=0) < -SLACK * scale).any():
            return name
    return ""


def _answer(model: Any, frame: pd.DataFrame) -> Array:
    if hasattr(model, "predict_proba"):
        return np.asarray(model.predict_proba(frame), dtype=np.float64)[:, 1:]
    return np.asarray(model.predict(frame), dtype=np.float64).reshape(len(frame), -1)


def _values(value: Any) -> Any:
    if isinstance(value, dict):
        return value.values()
    return (
        value.strip("()").replace("0", "").replace(",", "").split()
        if isinstance(value, str)
        else value
    )
