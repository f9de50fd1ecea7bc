"""Quality of a regressor on the hold-out: errors with intervals, what was observed where what was
predicted, and slices.
"""

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
from msgspec import structs
from scipy import stats

from casemate.config import AssessTable
from casemate.controls.privacy.disclosure import FEWEST
from casemate.core.types import Interval, Schema
from casemate.stages.assess import bootstrap, intervals, weighted
from casemate.stages.assess.sample import LEAST_SLICE_ROWS, Sample, sliced, spread_of
from casemate.stages.assess.subjects import Groups, of, repeated, summed
from casemate.stages.assess.wishes import Wishes

BINS = 10
"""Parts of as many rows each of the calibration that the card draws, fewer where they would have
less than `LEAST_SLICE_ROWS`.
"""
Array = np.ndarray[Any, Any]


def statistics() -> dict[str, Callable[..., float]]:
    """Every figure of quality as a function of (target [n, m], found [n, m]) in the units that
    `scaled` gives; of several quantities the mean.
    """
    return {
        "r2": lambda y, f: float(np.mean(_r2(y, f))),
        "rmse": lambda y, f: float(np.mean(np.sqrt(np.mean((y - f) ** 2, axis=0)))),
        "mae": _mae,
        "median_absolute_error": lambda y, f: float(np.mean(np.median(np.abs(y - f), axis=0))),
        "worst_target_r2": lambda y, f: float(np.min(_r2(y, f))),
    }


def scaled(target: Array, *found: Array) -> list[Array]:
    """One quantity as it is; several in deviations of the hold-out's, so that their errors can be
    averaged.
    """
    unit = spread_of(target) if target.shape[1] > 1 else np.ones(1)
    return [values / unit for values in (target, *found)]


def measure(
    schema: Schema,
    holdout: Sample,
    found: Array,
    options: AssessTable,
    seed: int,
    least: int = FEWEST,
    wishes: Wishes | None = None,
) -> dict[str, Any]:
    """`metrics`, `calibration` (of one quantity), `roc` (none) and `slices` for quantities `found`
    [n, m] on the hold-out.
    """
    target, found = scaled(holdout.target, found)
    groups, weights = holdout.groups, holdout.weights
    if weights is None:
        metrics = figures(target, found, options.bootstrap, seed, groups)
    else:
        metrics = weighted.quantities(target, found, weights, groups, options.bootstrap, seed)
    metrics |= (
        {}
        if wishes is None
        else wishes.figures(target, found, (groups, weights), options.bootstrap, seed)
    )
    slices: list[dict[str, Any]] = []
    rated: list[tuple[Array, Groups, Array | None]] = []
    errors, limits = np.abs(target - found).mean(axis=1), (0.0, _range(target))
    # the error of a few rows tells their quantities
    for part in sliced(schema, holdout, options.slices, max(least, LEAST_SLICE_ROWS)):
        if len(part.rows) < LEAST_SLICE_ROWS:
            continue
        mae = intervals.mean(
            errors[part.rows],
            groups=of(groups, part.rows),
            weights=of(weights, part.rows),
            limits=limits,
        )
        told = {
            "column": part.column,
            "value": part.value,
            "rows": len(part.rows),
            "mae": mae.value,
            "low": mae.low,
            "high": mae.high,
        }
        # of one subject nothing is known
        slices += [told] if part.told and np.isfinite(mae.low) else []
        rated += (
            [(errors[part.rows], of(groups, part.rows), of(weights, part.rows))]
            if part.real
            else []
        )
    if rated:
        metrics["worst_slice_mae"] = intervals.greatest(
            lambda level: [
                intervals.mean(rows, level, whose, heavy, limits) for rows, whose, heavy in rated
            ]
        )
    built = {name: msgspec.to_builtins(value) for name, value in metrics.items()}
    return {
        "metrics": built,
        "calibration": (
            _observed(target[:, 0], found[:, 0], weights) if target.shape[1] == 1 else {}
        ),
        "roc": {},
        "slices": slices,
    }


def figures(
    target: Array, found: Array, most: int, seed: int, groups: Groups = None
) -> dict[str, Interval]:
    """Every figure of quality with its interval; what each stands on is said in `explain`.

    Args:
        target: the truth [n, m], as `scaled` gives it.
        found: the predictions [n, m].
        most: resamples at most, where a figure has no closed form.
        seed: of the resamples.
        groups: whose each row is, [n]; None: every row is somebody else's.
    """
    groups = repeated(groups)
    values = {name: statistic(target, found) for name, statistic in statistics().items()}
    errors = np.abs(target - found)
    squares = (target - found) ** 2
    roots = np.sqrt(squares.mean(axis=0))
    with np.errstate(invalid="ignore", divide="ignore"):
        bends = ((squares - roots**2) / (2 * roots)).mean(axis=1)
        made = {
            "r2": _r2_interval(target, squares, groups),
            "rmse": _rmse_interval(values["rmse"], bends, groups, _range(target)),
            "mae": intervals.mean(errors.mean(axis=1), groups=groups, limits=(0.0, _range(target))),
        }
    if target.shape[1] == 1:
        made["median_absolute_error"] = _median(errors[:, 0], groups)
        made["worst_target_r2"] = made["r2"]
    else:
        for name in ("median_absolute_error", "worst_target_r2"):
            made[name] = bootstrap.interval(statistics()[name], [target, found], most, seed, groups)
    return {name: structs.replace(made[name], value=value) for name, value in values.items()}


def _range(target: Array) -> float:
    """How far apart the quantities are: an error of a model whose answers stay among them is no
    larger.
    """
    return float(np.ptp(target, axis=0).mean())


def _rmse_interval(value: float, bends: Array, groups: Groups, largest: float) -> Interval:
    if value == 0.0:
        return Interval(
            value=0.0, low=0.0, high=largest * intervals.missed(len(bends), groups) ** 0.5
        )
    return intervals.smooth(
        value, bends, freedom=intervals.effective_freedom(summed(bends, groups)), groups=groups
    )


def _r2_interval(target: Array, squares: Array, groups: Groups) -> Interval:
    """Over log(1 - R²), which is about normal where R² near 1 is not; of several quantities over
    their mean R².

    Each row's, or subject's, influence is what leaving it out changes (Miller, Jackknifing
    variances, Annals of Mathematical Statistics 39, 1968): the derivative is too small for the few
    rows that carry a ratio of variances in heavy tails. Squares of such errors have a kurtosis of
    dozens, so that their variance has far fewer degrees of freedom than rows.
    """
    apart = target - target.mean(axis=0)
    around = apart**2
    errors, total = squares.sum(axis=0), around.sum(axis=0)
    rest = float((errors / total).mean())
    if not rest > 0:  # no error was met, or nothing was there
        most = float((np.ptp(target, axis=0) ** 2 / around.mean(axis=0)).mean()) * intervals.missed(
            len(target), groups
        )
        return Interval(value=1.0 - rest, low=1.0 - most, high=1.0 - rest)
    lost = around * (len(target) / (len(target) - 1))
    if groups is not None:
        sizes = np.bincount(groups)[:, None]
        squares, around, apart = (
            np.column_stack([np.bincount(groups, one) for one in each.T])
            for each in (squares, around, apart)
        )
        lost = around + apart**2 / (len(target) - sizes)  # the mean moves as well
    count = len(squares)
    left_out = np.log(((errors - squares) / (total - lost)).mean(axis=1))
    moves = (count - 1) * (left_out.mean() - left_out)
    if not np.isfinite(moves).all():  # one row is the only error, or the only one that differs
        moves = ((squares - around * (errors / total)) / total).mean(axis=1) * (count / rest)
    logs = intervals.smooth(float(np.log(rest)), moves, freedom=intervals.effective_freedom(moves))
    return Interval(
        value=1 - rest, low=float(1 - np.exp(logs.high)), high=float(1 - np.exp(logs.low))
    )


def _median(values: Array, groups: Groups) -> Interval:
    """The median [n] with its distribution-free interval from order statistics (SciPy's).

    Of subjects with several rows the quantiles between which half of the rows may lie below
    (Woodruff, JASA 47, 1952).
    """
    value = float(np.median(values))
    if groups is not None:
        below = intervals.bounded(0.5, (values <= value) - float(np.mean(values <= value)), groups)
        low, high = np.quantile(values, [below.low, below.high])
        return Interval(value=value, low=min(float(low), value), high=max(float(high), value))
    limits = stats.quantile_test(values, p=0.5).confidence_interval(intervals.LEVEL)
    low, high = (value if np.isnan(end) else float(end) for end in (limits.low, limits.high))
    return Interval(value=value, low=min(low, value), high=max(high, value))


def _r2(target: Array, found: Array) -> Array:
    """Coefficient of determination of each quantity, [m]; no number where all rows are alike."""
    total = np.sum((target - target.mean(axis=0)) ** 2, axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(total > 0, 1.0 - np.sum((target - found) ** 2, axis=0) / total, np.nan)


def _mae(target: Array, found: Array) -> float:
    return float(np.mean(np.abs(target - found)))


def _observed(target: Array, found: Array, weights: Array | None = None) -> dict[str, list[float]]:
    """Mean predicted and mean observed quantity in up to ten parts of the rows by what was
    predicted; nothing where a part would be few rows.
    """
    bins = min(BINS, len(found) // LEAST_SLICE_ROWS)
    if bins < 2:
        return {}
    parts = np.array_split(np.argsort(found, kind="stable"), bins)
    return {
        "predicted": [float(np.average(found[part], weights=of(weights, part))) for part in parts],
        "observed": [float(np.average(target[part], weights=of(weights, part))) for part in parts],
        "rows": [float(len(part)) for part in parts],
    }
