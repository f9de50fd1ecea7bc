"""Quality of a regressor on the hold-out: errors with intervals, what was observed where what was predicted, and slices."""

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from casemate.config import AssessTable
from casemate.core.types import Schema
from casemate.stages.assess.sample import LEAST_SLICE_ROWS, Sample, interval, sliced

BINS = 10
Array = np.ndarray[Any, Any]


def statistics() -> dict[str, Callable[..., float]]:
    """Every figure of quality as a function of (target [n, m], found [n, m]); of several quantities the mean, each in its own unit."""
    return {
        "r2": lambda y, f: float(np.mean(_r2(y, f))),
        "rmse": lambda y, f: float(np.mean(np.sqrt(np.mean((y - f) ** 2, axis=0)))),
        "mae": _mae,
        "median_absolute_error": lambda y, f: float(np.mean(np.median(np.abs(y - f), axis=0))),
        "worst_target_r2": lambda y, f: float(np.min(_r2(y, f))),
    }


def measure(schema: Schema, holdout: Sample, found: Array, options: AssessTable, seed: int) -> dict[str, Any]:
    """`metrics`, `calibration` (of one quantity), `roc` (none) and `slices` for quantities `found` [n, m] on the hold-out."""
    target = holdout.target
    metrics = {name: interval(statistic, [target, found], options.bootstrap, seed) for name, statistic in statistics().items()}
    slices: list[dict[str, Any]] = []
    for column, value, at in sliced(schema, holdout, options.slices):
        mae = interval(_mae, [target[at], found[at]], options.bootstrap, seed)
        slices.append({"column": column, "value": value, "rows": len(at), "mae": mae.value, "low": mae.low, "high": mae.high})
    built = {name: msgspec.to_builtins(value) for name, value in metrics.items()}
    rated = [part for part in slices if part["rows"] >= LEAST_SLICE_ROWS]
    if rated:
        worst = max(rated, key=lambda part: part["mae"])
        built["worst_slice_mae"] = {"value": worst["mae"], "low": worst["low"], "high": worst["high"]}
    return {"metrics": built, "calibration": _observed(target[:, 0], found[:, 0]) if target.shape[1] == 1 else {}, "roc": {}, "slices": slices}


def _r2(target: Array, found: Array) -> Array:
    """Coefficient of determination of each quantity, [m]; ValueError where all rows are alike."""
    total = np.sum((target - target.mean(axis=0)) ** 2, axis=0)
    if not total.all():
        raise ValueError("a target has one value only")
    return np.asarray(1.0 - np.sum((target - found) ** 2, axis=0) / total)


def _mae(target: Array, found: Array) -> float:
    return float(np.mean(np.abs(target - found)))


def _observed(target: Array, found: Array) -> dict[str, list[float]]:
    """Mean predicted and mean observed quantity in tenths of the rows by what was predicted."""
    parts = [part for part in np.array_split(np.argsort(found, kind="stable"), BINS) if len(part)]
    return {
        "predicted": [float(found[part].mean()) for part in parts],
        "observed": [float(target[part].mean()) for part in parts],
        "rows": [float(len(part)) for part in parts],
    }
