"""Quality on the hold-out: figures with intervals, reliability curve, ROC curve and slices."""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import numpy as np
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score, roc_curve
from sklearn.preprocessing import label_binarize

from casemate.config import AssessTable
from casemate.controls.privacy.disclosure import FEWEST, merged
from casemate.core.models import Model
from casemate.core.types import Schema
from casemate.stages.assess import regression
from casemate.stages.assess.sample import LEAST_SLICE_ROWS, Sample, Slice, auc, checked, interval, share, sliced

BINS = 10
ROC_POINTS = 200
Array = np.ndarray[Any, Any]


def measure(model: Model, schema: Schema, holdout: Sample, options: AssessTable, seed: int, least: int = FEWEST) -> dict[str, Any]:
    """`metrics`, `calibration`, `roc`, `slices` for the hold-out."""
    labels, probabilities = model.predict(holdout.frame)
    checked(probabilities)
    if schema.regression:
        return regression.measure(schema, holdout, probabilities, options, seed, least)
    codes, classes = holdout.target, len(schema.classes)
    metrics = {name: interval(statistic, [codes, labels, probabilities], options.bootstrap, seed) for name, statistic in statistics(classes).items()}
    parts = list(_slices(schema, holdout, labels, options.slices, least))
    slices = [told for part, told in parts if part.told]
    rated = [told for part, told in parts if part.real and told["rows"] >= LEAST_SLICE_ROWS]
    built = {name: msgspec.to_builtins(value) for name, value in metrics.items()}
    if rated:
        worst = min(rated, key=lambda part: part["accuracy"])
        built["worst_slice_accuracy"] = {"value": worst["accuracy"], "low": worst["low"], "high": worst["high"]}
    return {
        "metrics": built,
        "calibration": _reliability(codes, labels, probabilities, least),
        "roc": _roc(codes, probabilities) if classes == 2 else {},
        "slices": slices,
    }


def statistics(classes: int) -> dict[str, Callable[..., float]]:
    """Every figure of quality as a function of (codes, labels, probabilities); plain NumPy where a bootstrap would wait for checks."""
    every = list(range(classes))
    if classes == 2:
        ranked: dict[str, Callable[..., float]] = {
            "roc_auc": lambda y, _, p: auc(y, p[:, 1]),
            "average_precision": lambda y, _, p: average_precision_score(y, p[:, 1]),
            "brier": lambda y, _, p: float(np.mean((p[:, 1] - y) ** 2)),
            "f1": lambda y, c, _: _f1(y == 1, c == 1),
        }
    else:
        ranked = {
            "roc_auc": lambda y, _, p: roc_auc_score(y, p, multi_class="ovr", labels=every),
            "average_precision": lambda y, _, p: average_precision_score(label_binarize(y, classes=every), p),
            "brier": lambda y, _, p: float(np.mean(np.sum((p - label_binarize(y, classes=every)) ** 2, axis=1))),
            "f1": lambda y, c, _: f1_score(y, c, average="macro", zero_division=0.0),
        }
    return {
        **ranked,
        "accuracy": lambda y, c, _: float(np.mean(y == c)),
        "balanced_accuracy": _balanced_accuracy,
        "log_loss": _log_loss,
        "calibration_error": _calibration_error,
    }


def _f1(true: Array, found: Array) -> float:
    both = np.sum(true & found)
    return float(2 * both / (true.sum() + found.sum())) if both else 0.0


def _balanced_accuracy(codes: Array, labels: Array, _: Array) -> float:
    counts = np.bincount(codes)
    hits = np.bincount(codes[codes == labels], minlength=len(counts))
    return float(np.mean(hits[counts > 0] / counts[counts > 0]))


def _log_loss(codes: Array, _: Array, probabilities: Array) -> float:
    tiny = np.finfo(probabilities.dtype).eps
    true = probabilities[np.arange(len(codes)), codes] / probabilities.sum(axis=1)
    return float(-np.mean(np.log(np.clip(true, tiny, 1 - tiny))))


def _confidence(codes: Array, labels: Array, probabilities: Array) -> tuple[Array, Array]:
    if probabilities.shape[1] == 2:
        return probabilities[:, 1], (codes == 1).astype(float)
    return probabilities.max(axis=1), (codes == labels).astype(float)


def _bins(confidence: Array, hit: Array) -> tuple[Array, Array, Array]:
    """(count, mean confidence, observed frequency) of the bins that hold rows."""
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    count = np.bincount(place, minlength=BINS)
    used = count > 0
    return (
        count[used],
        np.bincount(place, confidence, BINS)[used] / count[used],
        np.bincount(place, hit, BINS)[used] / count[used],
    )


def _calibration_error(codes: Array, labels: Array, probabilities: Array) -> float:
    """Expected calibration error over 10 equal bins (Naeini, Cooper, Hauskrecht, AAAI 2015)."""
    count, expected, observed = _bins(*_confidence(codes, labels, probabilities))
    return float(np.sum(count * np.abs(expected - observed)) / np.sum(count))


def _reliability(codes: Array, labels: Array, probabilities: Array, least: int) -> dict[str, list[float]]:
    count, expected, observed = _bins(*_confidence(codes, labels, probabilities))
    told: dict[str, list[float]] = {"predicted": [], "observed": [], "rows": []}
    for part in merged(count, least):
        rows = count[part].sum()
        told["predicted"].append(float((expected[part] * count[part]).sum() / rows))
        told["observed"].append(float((observed[part] * count[part]).sum() / rows))
        told["rows"].append(float(rows))
    return told


def _roc(codes: Array, probabilities: Array) -> dict[str, list[float]]:
    false, true, _ = roc_curve(codes, probabilities[:, 1])
    keep = np.unique(np.linspace(0, len(false) - 1, min(ROC_POINTS, len(false))).astype(int))
    return {"false_positive_rate": false[keep].tolist(), "true_positive_rate": true[keep].tolist()}


def _slices(schema: Schema, holdout: Sample, labels: Array, wanted: list[str], least: int) -> Iterator[tuple[Slice, dict[str, Any]]]:
    for part in sliced(schema, holdout, wanted, least):
        at = part.rows
        right = share(int(np.sum(labels[at] == holdout.target[at])), len(at))
        yield (
            part,
            {
                "column": part.column,
                "value": part.value,
                "rows": len(at),
                "accuracy": right.value,
                "low": right.low,
                "high": right.high,
                "positive_rate": float(np.mean(labels[at] == 1)) if len(schema.classes) == 2 else None,
            },
        )
