"""Figures of quality where rows stand for different numbers of the population (`[data] weight`):
what they would be of all of it.

Every figure is that of the population, estimated by weights (Hájek); its interval takes the weights
as part of the design. Shares and means by linearisation (Särndal, Swensson, Wretman, Model Assisted
Survey Sampling, 1992, 5.7), shares with as many rows as theirs are worth (Korn and Graubard, Survey
Methodology 24, 1998), areas by the rows' weighted influences, the rest by the bootstrap of rows or
subjects with their weights.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from msgspec import structs
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    f1_score,
    median_absolute_error,
    r2_score,
    roc_auc_score,
)
from sklearn.preprocessing import label_binarize

from casemate.core.types import Interval
from casemate.stages.assess import bootstrap, calibration, intervals, roc, subjects
from casemate.stages.assess.subjects import Groups

Array = np.ndarray[Any, Any]


def of_classes(classes: int) -> dict[str, Callable[..., float]]:
    """Every figure as a function of (codes, labels, probabilities, weights)."""
    every = list(range(classes))

    def area(y: Array, p: Array, w: Array) -> float:
        return float(
            roc_auc_score(y, p[:, 1], sample_weight=w)
            if classes == 2
            else _over_classes(y, p, w, every)
        )

    def precision(y: Array, p: Array, w: Array) -> float:
        true, said = (y, p[:, 1]) if classes == 2 else (label_binarize(y, classes=every), p)
        return float(average_precision_score(true, said, sample_weight=w))

    average = "binary" if classes == 2 else "macro"
    return {
        "roc_auc": lambda y, _, p, w: area(y, p, w),
        "average_precision": lambda y, _, p, w: precision(y, p, w),
        "f1": lambda y, c, _, w: float(
            f1_score(y, c, sample_weight=w, average=average, zero_division=0.0)
        ),
        "brier": lambda y, _, p, w: float(np.average(squares(y, p), weights=w)),
        "accuracy": lambda y, c, _, w: float(np.average(y == c, weights=w)),
        "balanced_accuracy": lambda y, c, _, w: float(
            balanced_accuracy_score(y, c, sample_weight=w)
        ),
        "log_loss": lambda y, _, p, w: float(np.average(losses(y, p), weights=w)),
        "calibration_error": lambda y, c, p, w: calibration.error(
            *calibration.confidence(y, c, p), w
        ),
    }


def of_quantities() -> dict[str, Callable[..., float]]:
    """Every figure as a function of (target [n, m], found [n, m], weights), in the units that
    `regression.scaled` gives.
    """
    return {
        "r2": lambda y, f, w: float(np.mean(_r2(y, f, w))),
        "rmse": lambda y, f, w: float(
            np.mean(np.sqrt(np.average((y - f) ** 2, axis=0, weights=w)))
        ),
        "mae": lambda y, f, w: float(np.average(np.abs(y - f).mean(axis=1), weights=w)),
        "median_absolute_error": lambda y, f, w: float(
            np.mean(median_absolute_error(y, f, sample_weight=w, multioutput="raw_values"))
        ),
        "worst_target_r2": lambda y, f, w: float(np.min(_r2(y, f, w))),
    }


def classes(
    codes: Array,
    labels: Array,
    probabilities: Array,
    weights: Array,
    groups: Groups,
    most: int,
    seed: int,
) -> dict[str, Interval]:
    """`quality.figures` of weighted rows.

    Args:
        codes: true class numbers, [n].
        labels: the model's, [n].
        probabilities: [n, classes].
        weights: [n], above zero.
        groups: whose each row is, [n]; None: every row is somebody else's.
        most: resamples at most, where a figure has no closed form.
        seed: of the resamples.
    """
    arrays, groups = [codes, labels, probabilities, weights], subjects.repeated(groups)
    statistics = of_classes(probabilities.shape[1])
    values = {name: statistic(*arrays) for name, statistic in statistics.items()}
    said, happened = calibration.confidence(codes, labels, probabilities)
    found = {
        "accuracy": intervals.share_of(codes == labels, groups, weights=weights),
        "balanced_accuracy": intervals.bounded(
            values["balanced_accuracy"],
            recall_influence(codes, labels, weights),
            groups,
            weights=weights,
        ),
        "brier": intervals.mean(squares(codes, probabilities), groups=groups, weights=weights),
        "log_loss": intervals.mean(losses(codes, probabilities), groups=groups, weights=weights),
        "calibration_error": calibration.error_interval(said, happened, groups, weights),
    }
    if groups is not None:  # the noise that is taken off is that of subjects
        values["calibration_error"] = found["calibration_error"].value
    every = [1] if probabilities.shape[1] == 2 else list(range(probabilities.shape[1]))
    ranked = ("roc_auc", "average_precision", "f1")
    if any(subjects.count(groups, codes == code) < 2 or np.all(codes == code) for code in every):
        found |= {name: intervals.unknown(values[name]) for name in ranked}
    else:
        if len(every) == 1:  # a perfect order has no spread to draw again
            found["roc_auc"] = area(codes == 1, probabilities[:, 1], weights, groups)
            found["f1"] = f1_interval(codes == 1, labels == 1, groups, weights)
        found |= {
            name: bootstrap.interval(statistics[name], arrays, most, seed, groups)
            for name in ranked
            if name not in found
        }
    return {name: structs.replace(found[name], value=value) for name, value in values.items()}


def quantities(
    target: Array, found: Array, weights: Array, groups: Groups, most: int, seed: int
) -> dict[str, Interval]:
    """`regression.figures` of weighted rows."""
    arrays, groups = [target, found, weights], subjects.repeated(groups)
    made = {}
    for name, statistic in of_quantities().items():
        if name == "mae":
            errors = np.abs(target - found).mean(axis=1)
            mean = intervals.mean(errors, groups=groups, weights=weights)
            made[name] = structs.replace(mean, value=statistic(*arrays))
        else:
            made[name] = bootstrap.interval(statistic, arrays, most, seed, groups)
    return made


def area(positive: Array, score: Array, weights: Array, groups: Groups) -> Interval:
    """`roc.area` of weighted rows, by their influences: how large a share of the other side
    each row is on the right side of.
    """
    value, influence = area_influence(positive, score, weights)
    # a few rows that weigh much carry the variance
    freedom = intervals.effective_freedom(subjects.summed(influence, groups))
    return roc.clustered_area(
        value, influence, positive, subjects.numbered(groups, len(score)), freedom
    )


def area_influence(positive: Array, score: Array, weights: Array) -> tuple[float, Array]:
    """(weighted area under the ROC curve, each row's influence [n]), ties counted half."""
    kinds, places = np.unique(score, return_inverse=True)
    each = [
        np.bincount(places, np.where(side, weights, 0.0), len(kinds))
        for side in (positive, ~positive)
    ]
    # Of the other side: what weighs below a score, and half of what ties with it.
    below = [(np.cumsum(one) - one / 2)[places] / one.sum() for one in each]
    right = np.where(positive, below[1], 1 - below[0])
    value = float(np.average(right[positive], weights=weights[positive]))
    side = np.where(positive, weights[positive].sum(), weights[~positive].sum())
    return value, (right - value) * weights * (len(score) / side)


def recall_influence(codes: Array, labels: Array, weights: Array | None = None) -> Array:
    """Each row's influence on balanced accuracy, [n]."""
    influence, right = np.zeros(len(codes)), codes == labels
    each = np.ones(len(codes)) if weights is None else weights
    known = np.unique(codes)
    for code in known:
        here = codes == code
        gap = right[here] - np.average(right[here], weights=each[here])
        influence[here] = each[here] * gap * (len(codes) / each[here].sum() / len(known))
    return influence


def f1_interval(
    true: Array, found: Array, groups: Groups, weights: Array | None = None
) -> Interval:
    """Exact without weights: among rows that are positive or called so, hits are binomial, and F1
    rises with their share s as 2s / (1 + s).
    """
    either = true | found
    hits = intervals.share_of(
        (true & found)[either], subjects.of(groups, either), weights=subjects.of(weights, either)
    )
    low, value, high = (2 * end / (1 + end) for end in (hits.low, hits.value, hits.high))
    return Interval(value=value, low=low, high=high)


def _over_classes(codes: Array, probabilities: Array, weights: Array, every: list[int]) -> float:
    """Mean over the classes of each one's area against the others; ValueError where a class is
    missing.
    """
    if len(np.unique(codes)) < len(every):
        raise ValueError("a class is missing")
    return float(
        np.mean(
            [
                roc_auc_score(codes == code, probabilities[:, code], sample_weight=weights)
                for code in every
            ]
        )
    )


def _r2(target: Array, found: Array, weights: Array) -> Array:
    return np.asarray(
        r2_score(target, found, sample_weight=weights, multioutput="raw_values", force_finite=False)
    )


def squares(codes: Array, probabilities: Array) -> Array:
    """Each row's Brier score, [n]: of two classes the squared error of one, of more the sum."""
    if probabilities.shape[1] == 2:
        return np.asarray((probabilities[:, 1] - codes) ** 2)
    return np.asarray(np.sum((probabilities - np.eye(probabilities.shape[1])[codes]) ** 2, axis=1))


def losses(codes: Array, probabilities: Array) -> Array:
    """Each row's logarithmic loss, [n]."""
    tiny = np.finfo(probabilities.dtype).eps
    true = probabilities[np.arange(len(codes)), codes] / probabilities.sum(axis=1)
    return np.asarray(-np.log(np.clip(true, tiny, 1 - tiny)))
