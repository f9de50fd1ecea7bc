"""Quality on the hold-out: figures with intervals, reliability curve, ROC curve and slices."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import msgspec
import numpy as np
from msgspec import structs
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score, roc_curve
from sklearn.preprocessing import label_binarize

from casemate.config import AssessTable
from casemate.controls.privacy.disclosure import FEWEST
from casemate.core.types import Interval, Schema
from casemate.ml.models import Model
from casemate.stages.assess import calibration, intervals, regression, roc, weighted
from casemate.stages.assess.intervals import share_of
from casemate.stages.assess.roc import auc
from casemate.stages.assess.sample import (
    LEAST_SLICE_ROWS,
    Sample,
    Slice,
    as_told,
    checked,
    sliced,
    told_mean,
)
from casemate.stages.assess.subjects import Groups, count, of, repeated
from casemate.stages.assess.weighted import f1_interval, losses, recall_influence, squares
from casemate.stages.assess.wishes import Wishes

ROC_POINTS = 200
"""Of the curve that the card draws; figures use all of them."""
USUAL = Wishes()
Array = np.ndarray[Any, Any]


def measure(
    model: Model,
    schema: Schema,
    holdout: Sample,
    options: AssessTable,
    seed: int,
    least: int = FEWEST,
    wishes: Wishes = USUAL,
) -> dict[str, Any]:
    """`metrics`, `calibration`, `roc`, `slices` for the hold-out, with the figures of `wishes`."""
    labels, probabilities = model.predict(holdout.frame)
    checked(probabilities)
    if schema.regression:
        return regression.measure(schema, holdout, probabilities, options, seed, least, wishes)
    codes, classes = holdout.target, len(schema.classes)
    labels = np.ravel(labels)
    weights = holdout.weights
    if weights is None:
        metrics = figures(codes, labels, probabilities, holdout.groups)
    else:
        metrics = weighted.classes(
            codes, labels, probabilities, weights, holdout.groups, options.bootstrap, seed
        )
    metrics |= wishes.figures(codes, labels, (holdout.groups, weights), options.bootstrap, seed)
    parts = list(_slices(schema, holdout, labels, options.slices, least))
    slices = [told for part, told in parts if part.told]
    rated = [part.rows for part, _ in parts if part.real and len(part.rows) >= LEAST_SLICE_ROWS]
    if rated:
        right = [
            (labels[rows] == codes[rows], of(holdout.groups, rows), of(weights, rows))
            for rows in rated
        ]
        metrics["worst_slice_accuracy"] = intervals.least(
            lambda level: [share_of(hit, whose, level, weigh) for hit, whose, weigh in right]
        )
    built = {name: msgspec.to_builtins(value) for name, value in metrics.items()}
    return {
        "metrics": built,
        "calibration": calibration.reliability(
            *calibration.confidence(codes, labels, probabilities), least, weights
        ),
        "roc": _roc(codes, probabilities, weights) if classes == 2 else {},
        "slices": slices,
    }


def statistics(classes: int) -> dict[str, Callable[..., float]]:
    """Every figure of quality as a function of (codes, labels, probabilities); plain NumPy where a
    bootstrap would wait for checks.
    """
    every = list(range(classes))
    if classes == 2:
        ranked: dict[str, Callable[..., float]] = {
            "roc_auc": lambda y, _, p: auc(y, p[:, 1]),
            "average_precision": lambda y, _, p: average_precision_score(y, p[:, 1]),
            "f1": lambda y, c, _: _f1(y == 1, c == 1),
        }
    else:
        ranked = {
            "roc_auc": lambda y, _, p: roc_auc_score(y, p, multi_class="ovr", labels=every),
            "average_precision": lambda y, _, p: average_precision_score(
                label_binarize(y, classes=every), p
            ),
            "f1": lambda y, c, _: f1_score(y, c, average="macro", zero_division=0.0),
        }
    return {
        **ranked,
        "brier": lambda y, _, p: float(np.mean(squares(y, p))),
        "accuracy": lambda y, c, _: float(np.mean(y == c)),
        "balanced_accuracy": _balanced_accuracy,
        "log_loss": lambda y, _, p: float(np.mean(losses(y, p))),
        "calibration_error": lambda y, c, p: calibration.error(*calibration.confidence(y, c, p)),
    }


def figures(
    codes: Array, labels: Array, probabilities: Array, groups: Groups = None
) -> dict[str, Interval]:
    """The same figures with their intervals; what each stands on is said in `explain`.

    Args:
        codes: true class numbers, [n].
        labels: the model's, [n].
        probabilities: [n, classes].
        groups: whose each row is, [n]; None: every row is somebody else's.
    """
    groups = repeated(groups)
    values = {
        name: statistic(codes, labels, probabilities)
        for name, statistic in statistics(probabilities.shape[1]).items()
    }
    found = {
        **_ranked(codes, labels, probabilities, values, groups),
        "brier": intervals.mean(
            squares(codes, probabilities),
            groups=groups,
            limits=(0.0, 1.0 if probabilities.shape[1] == 2 else 2.0),
        ),
        "accuracy": share_of(codes == labels, groups),
        "balanced_accuracy": _recalled(codes, labels, values["balanced_accuracy"], groups),
        "log_loss": intervals.mean(
            losses(codes, probabilities),
            groups=groups,
            limits=(0.0, -float(np.log(np.finfo(probabilities.dtype).eps))),
        ),
        "calibration_error": calibration.error_interval(
            *calibration.confidence(codes, labels, probabilities), groups
        ),
    }
    if groups is not None:  # the noise that is taken off is that of subjects
        values["calibration_error"] = found["calibration_error"].value
    # The value is the statistic's to the last bit: what is compared must be what was reported.
    return {
        name: structs.replace(found[name], value=float(value)) for name, value in values.items()
    }


def _ranked(
    codes: Array, labels: Array, probabilities: Array, values: dict[str, float], groups: Groups
) -> dict[str, Interval]:
    """`roc_auc`, `average_precision`, `f1`: of the positive class, or averaged over all classes."""
    classes = probabilities.shape[1]
    each = [1] if classes == 2 else list(range(classes))
    if any(not 0 < np.sum(codes == code) < len(codes) for code in each):
        return {
            name: intervals.unknown(values[name]) for name in ("roc_auc", "average_precision", "f1")
        }
    found, curves, centers = {}, [], []
    for code in each:
        influence, center = precision_influence(codes == code, probabilities[:, code])
        curves.append(influence)
        centers.append(center)
    fewest = min(count(groups, codes == code) for code in each)
    if fewest < 2 and groups is not None:
        return {
            name: Interval(value=values[name], low=0.0, high=1.0)
            for name in ("roc_auc", "average_precision", "f1")
        }
    averaged = partial(intervals.smooth, scale="logit", freedom=fewest - 1, groups=groups)
    if classes == 2:
        found["roc_auc"] = roc.area(codes, probabilities[:, 1], groups)
        found["f1"] = f1_interval(codes == 1, labels == 1, groups)
    else:
        areas = [roc.area_influence(codes == code, probabilities[:, code])[1] for code in each]
        found["roc_auc"] = averaged(values["roc_auc"], np.mean(areas, axis=0))
        hits = [_f1_influence(codes == code, labels == code) for code in each]
        found["f1"] = averaged(values["f1"], np.mean(hits, axis=0))
    found["average_precision"] = averaged(
        values["average_precision"],
        np.mean(curves, axis=0),
        center=float(np.mean(centers)),
        skewed=False,
    )
    return found


def _recalled(codes: Array, labels: Array, value: float, groups: Groups) -> Interval:
    """Balanced accuracy; of subjects, whose rows may be of several classes, from the rows'
    influences.
    """
    classes, right = np.unique(codes), codes == labels
    if groups is None:
        recalls = [
            intervals.score(int(np.sum(right[codes == code])), int(np.sum(codes == code)))
            for code in classes
        ]
        return intervals.total(recalls, [1 / len(recalls)] * len(recalls))
    return intervals.bounded(value, recall_influence(codes, labels), groups)


def influences(codes: Array, labels: Array, probabilities: Array) -> dict[str, Array]:
    """How much each row moves each figure that is about a mean, [n] each; without those that a
    missing class leaves undefined.
    """
    classes = probabilities.shape[1]
    each = [1] if classes == 2 else list(range(classes))
    squared, lost = squares(codes, probabilities), losses(codes, probabilities)
    found = {
        "brier": squared - squared.mean(),
        "log_loss": lost - lost.mean(),
        "balanced_accuracy": recall_influence(codes, labels),
    }
    if all(0 < np.sum(codes == code) < len(codes) for code in each):
        columns = [(codes == code, probabilities[:, code], labels == code) for code in each]
        found["roc_auc"] = np.mean(
            [roc.area_influence(true, said)[1] for true, said, _ in columns], axis=0
        )
        found["average_precision"] = np.mean(
            [precision_influence(true, said)[0] for true, said, _ in columns], axis=0
        )
        found["f1"] = np.mean([_f1_influence(true, called) for true, _, called in columns], axis=0)
    return found


def precision_influence(positive: Array, score: Array) -> tuple[Array, float]:
    """(each row's influence on average precision [n], the figure less half its bias).

    A positive raises the precision at its own threshold, so few positives make the figure too
    large. Without itself (and one row of the average in its place) it comes out too small by about
    as much; the interval stands between the two.
    """
    order = np.argsort(-score, kind="stable")
    hit, count = positive[order].astype(np.float64), len(score)
    _, places, sizes = np.unique(-score[order], return_inverse=True, return_counts=True)
    last = np.cumsum(sizes)[places]  # rows at or above the threshold
    first = last - sizes[places]
    found = np.cumsum(hit)[last - 1]
    precision, total = found / last, hit.sum()
    value = float(precision[hit == 1].mean())
    gained = np.cumsum((hit / last)[::-1])[::-1][first]
    lost = np.cumsum((hit * found / last**2)[::-1])[::-1][first]
    influence = np.empty(count)
    influence[order] = (hit * (precision - value) + hit * gained - lost) * (count / total)
    without = float(((found - 1 + value) / last)[hit == 1].mean())
    return influence, (value + without) / 2


def _f1_influence(true: Array, found: Array) -> Array:
    both, either = (true & found).astype(float), true.astype(float) + found
    mean = either.mean()
    return np.asarray((2 * both - 2 * both.mean() / mean * either) / mean)


def _f1(true: Array, found: Array) -> float:
    both = np.sum(true & found)
    return float(2 * both / (true.sum() + found.sum())) if both else 0.0


def _balanced_accuracy(codes: Array, labels: Array, _: Array) -> float:
    counts = np.bincount(codes)
    hits = np.bincount(codes[codes == labels], minlength=len(counts))
    return float(np.mean(hits[counts > 0] / counts[counts > 0]))


def _roc(codes: Array, probabilities: Array, weights: Array | None) -> dict[str, list[float]]:
    false, true, _ = roc_curve(codes, probabilities[:, 1], sample_weight=weights)
    keep = np.unique(np.linspace(0, len(false) - 1, min(ROC_POINTS, len(false))).astype(int))
    return {"false_positive_rate": false[keep].tolist(), "true_positive_rate": true[keep].tolist()}


def _slices(
    schema: Schema, holdout: Sample, labels: Array, wanted: list[str], least: int
) -> Iterator[tuple[Slice, dict[str, Any]]]:
    for part in sliced(schema, holdout, wanted, least):
        at = part.rows
        weights = of(holdout.weights, at)
        right = share_of(labels[at] == holdout.target[at], of(holdout.groups, at), weights=weights)
        yield (
            part,
            {
                "column": part.column,
                "value": part.value,
                "rows": len(at),
                "accuracy": as_told(right.value, weights),
                "low": as_told(right.low, weights),
                "high": as_told(right.high, weights),
                "positive_rate": (
                    told_mean(labels[at] == 1, weights) if len(schema.classes) == 2 else None
                ),
            },
        )
