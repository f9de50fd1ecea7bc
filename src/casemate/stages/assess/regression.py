"""Quality of a regressor on the hold-out: errors with intervals, what was observed where what was predicted, and slices."""

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from casemate.config import AssessTable
from casemate.controls.privacy.disclosure import FEWEST
from casemate.core.types import Schema
from casemate.stages.assess.sample import LEAST_SLICE_ROWS, Sample, interval, sliced, spread_of

BINS = 10
Array = np.ndarray[Any, Any]


def statistics() -> dict[str, Callable[..., float]]:
    """Every figure of quality as a function of (target [n, m], found [n, m]) in the units that `scaled` gives; of several quantities the mean."""
    return {
        "r2": lambda y, f: float(np.mean(_r2(y, f))),
        "rmse": lambda y, f: float(np.mean(np.sqrt(np.mean((y - f) ** 2, axis=0)))),
        "mae": _mae,
        "median_absolute_error": lambda y, f: float(np.mean(np.median(np.abs(y - f), axis=0))),
        "worst_target_r2": lambda y, f: float(np.min(_r2(y, f))),
    }


def scaled(target: Array, *found: Array) -> list[Array]:
    """One quantity as it is; several in deviations of the hold-out's, so that their errors can be averaged."""
    unit = spread_of(target) if target.shape[1] > 1 else np.ones(1)
    return [values / unit for values in (target, *found)]


def measure(schema: Schema, holdout: Sample, found: Array, options: AssessTable, seed: int, least: int = FEWEST) -> dict[str, Any]:
    """`metrics`, `calibration` (of one quantity), `roc` (none) and `slices` for quantities `found` [n, m] on the hold-out."""
    target, found = scaled(holdout.target, found)
    metrics = {name: interval(statistic, [target, found], options.bootstrap, seed) for name, statistic in statistics().items()}
    slices: list[dict[str, Any]] = []
    rated: list[dict[str, Any]] = []
    for part in sliced(schema, holdout, options.slices, max(least, LEAST_SLICE_ROWS)):  # the error of a few rows tells their quantities
        if len(part.rows) < LEAST_SLICE_ROWS:
            continue
        mae = interval(_mae, [target[part.rows], found[part.rows]], options.bootstrap, seed)
        told = {"column": part.column, "value": part.value, "rows": len(part.rows), "mae": mae.value, "low": mae.low, "high": mae.high}
        slices += [told] if part.told else []
        rated += [told] if part.real else []
    built = {name: msgspec.to_builtins(value) for name, value in metrics.items()}
    if rated:
        worst = max(rated, key=lambda part: part["mae"])
        built["worst_slice_mae"] = {"value": worst["mae"], "low": worst["low"], "high": worst["high"]}
    return {"metrics": built, "calibration": _observed(target[:, 0], found[:, 0]) if target.shape[1] == 1 else {}, "roc": {}, "slices": slices}


def _r2(target: Array, found: Array) -> Array:
    """Coefficient of determination of each quantity, [m]; no number where all rows are alike."""
    total = np.sum((target - target.mean(axis=0)) ** 2, axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(total > 0, 1.0 - np.sum((target - found) ** 2, axis=0) / total, np.nan)


def _mae(target: Array, found: Array) -> float:
    return float(np.mean(np.abs(target - found)))


def _observed(target: Array, found: Array) -> dict[str, list[float]]:
    """Mean predicted and mean observed quantity in up to ten parts of the rows by what was predicted; nothing where a part would be few rows."""
    bins = min(BINS, len(found) // LEAST_SLICE_ROWS)
    if bins < 2:
        return {}
    parts = np.array_split(np.argsort(found, kind="stable"), bins)
    return {
        "predicted": [float(found[part].mean()) for part in parts],
        "observed": [float(target[part].mean()) for part in parts],
        "rows": [float(len(part)) for part in parts],
    }
