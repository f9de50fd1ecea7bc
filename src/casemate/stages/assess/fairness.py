"""Fairness over protected attributes: do groups get the good answer equally often, and are they
equally often wronged.

Demographic parity difference and equalized odds difference (Hardt, Price, Srebro, Equality of
Opportunity, NeurIPS 2016), as fairlearn defines them, for binary targets. Every distinct value is a
group (`sample.values_of`); groups below `LEAST_ROWS` are judged together. A figure is given only if
every protected attribute was compared, and equalized odds only if every group has `LEAST_ROWS` rows
of each class: what nobody measured must not pass. What is told of small groups is said in
`privacy.disclosure`.

Of quantities: the largest differences between two groups of the mean prediction, and of the mean
absolute error (Agarwal, Dudík, Wu, Fair Regression, ICML 2019, ask for the same of the whole
distribution and of the loss), in deviations of the target.

Intervals: `intervals.largest_difference`.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from casemate.controls.privacy.disclosure import FEWEST, enough, grouped
from casemate.core.types import Interval, Schema
from casemate.stages.assess import intervals
from casemate.stages.assess.sample import Sample, pooled, spread_of, told_mean, values_of
from casemate.stages.assess.subjects import Groups, of

LEAST_ROWS = 20
"""A rate of fewer rows is known to within .2 at best, as much as any difference that matters."""
Array = np.ndarray[Any, Any]
Cell = tuple[Array, Groups, Array | None]
"""Values of a group's rows, whose each row is, and what it weighs."""
Family = Callable[[float], list[Interval]]
"""The same rate or mean of every group, with intervals of the level that is asked for."""


class NoGroups(ValueError):
    """There is nothing to compare."""


def measure(
    found: tuple[Array, Array],
    holdout: Sample,
    schema: Schema,
    protected: list[str],
    least: int = FEWEST,
) -> tuple[dict[str, Interval], list[dict[str, Any]], list[str]]:
    """The largest differences between groups, every group's rates, and why a figure is missing.

    Args:
        found: the model's classes [n] and probabilities, or in the second place quantities [n, m].
        holdout: the rows.
        schema: of the table.
        protected: names of protected columns.
        least: fewest rows that a told figure may be about.

    Raises:
        NoGroups: several classes are no matter of these figures.
    """
    if not schema.regression and len(schema.classes) != 2:
        raise NoGroups("fairness is measured for binary targets, and quantities")
    unit = spread_of(holdout.target) if schema.regression else 1.0
    labels, truth = (
        (found[1] / unit, holdout.target / unit)
        if schema.regression
        else (np.ravel(found[0]), holdout.target)
    )
    families: dict[str, list[Family]] = {
        name: [] for name in (OF_QUANTITIES if schema.regression else OF_CLASSES)
    }
    groups: list[dict[str, Any]] = []
    missing: dict[str, list[str]] = {name: [] for name in families}
    for name in protected:
        if name not in holdout.frame:
            for why in missing.values():
                why.append(f"{name!r} is protected and no feature, so these rows do not hold it")
            continue
        values = values_of(holdout.frame[name], schema.column(name).type)
        # means of few rows tell their quantities
        told = grouped(values, max(least, LEAST_ROWS) if schema.regression else least)
        for kind in np.unique(told):
            here = labels[told == kind], truth[told == kind], of(holdout.weights, told == kind)
            if len(here[0]) < least:
                continue
            groups += (
                _quantities(name, str(kind), schema.targets, *here)
                if schema.regression
                else [_group(name, str(kind), *here, least=least)]
            )
        judged = pooled(values, LEAST_ROWS)
        kinds, counts = np.unique(judged, return_counts=True)
        if len(kinds) < 2 or counts.min() < LEAST_ROWS:
            for why in missing.values():
                why.append(f"{name!r} has no two groups of at least {LEAST_ROWS} rows")
            continue
        rows = [np.flatnonzero(judged == kind) for kind in kinds]
        for figure in families:
            if schema.regression:
                families[figure] += _means(
                    figure, rows, labels, truth, (holdout.groups, holdout.weights)
                )
                continue
            made, why_not = _rates(
                figure, name, kinds, rows, (labels, truth, holdout.groups, holdout.weights)
            )
            families[figure] += made
            missing[figure] += [f"{why} of class {schema.classes[code]!r}" for code, why in why_not]
    if not protected:
        raise NoGroups("no column is declared as protected")
    figures = _largest(families, missing)
    return (
        figures,
        groups,
        [f"{name} is inconclusive: {'; '.join(why)}" for name, why in missing.items() if why],
    )


def _largest(
    families: dict[str, list[Family]], missing: dict[str, list[str]]
) -> dict[str, Interval]:
    figures = {
        name: intervals.largest_difference(made)
        for name, made in families.items()
        if not missing[name]
    }
    for name in [
        name for name, one in figures.items() if not np.isfinite([one.low, one.high]).all()
    ]:
        missing[name].append("a group is of one subject only")
        del figures[name]
    return figures


OF_CLASSES = ("demographic_parity_difference", "equalized_odds_difference")
"""Largest difference between two groups of the selection rate; the larger one of those of true and
of false positive rates.
"""
OF_QUANTITIES = ("mean_prediction_difference", "absolute_error_difference")
"""Largest difference between two groups of the mean prediction; of the mean absolute error."""


def _rates(
    figure: str,
    column: str,
    kinds: Array,
    rows: list[Array],
    found: tuple[Array, Array, Groups, Array | None],
) -> tuple[list[Family], list[tuple[int, str]]]:
    """(a family for all rows or one a class, class numbers that a group has too few rows of with
    which group).
    """
    labels, codes, *whose = found
    if figure == "demographic_parity_difference":
        return [_shares([(labels[at] == 1, *(of(one, at) for one in whose)) for at in rows])], []
    made, missing = [], []
    for code in (0, 1):
        cells = [at[codes[at] == code] for at in rows]
        for kind, at in zip(kinds, cells, strict=True):
            if len(at) < LEAST_ROWS:
                missing.append(
                    (code, f"group {str(kind)!r} of {column!r} has fewer than {LEAST_ROWS} rows")
                )
        if not missing:
            made.append(
                _shares([(labels[at] == 1, *(of(one, at) for one in whose)) for at in cells])
            )
    return made, missing


def _shares(cells: list[Cell]) -> Family:
    return lambda level: [
        intervals.score_of(hit, groups, level, weights) for hit, groups, weights in cells
    ]


def _means(
    figure: str, rows: list[Array], found: Array, truth: Array, whose: tuple[Groups, Array | None]
) -> list[Family]:
    """A family per quantity."""
    values = found if figure == "mean_prediction_difference" else np.abs(found - truth)
    groups, weights = whose
    return [
        _averages(
            [(quantity[at], of(groups, at), of(weights, at)) for at in rows],
            (float(quantity.min()), float(quantity.max())),
        )
        for quantity in values.T
    ]


def _averages(cells: list[Cell], limits: tuple[float, float]) -> Family:
    return lambda level: [
        intervals.mean(cell, level, groups, weights, limits) for cell, groups, weights in cells
    ]


def _quantities(
    name: str, value: str, targets: list[str], found: Array, truth: Array, weights: Array | None
) -> list[dict[str, Any]]:
    """Per target, in its deviations; of few rows nothing, because their mean tells their
    quantities.
    """
    told = []
    for place, target in enumerate(targets):
        ours, theirs = found[:, place], truth[:, place]
        figures = {
            "mean_prediction": ours,
            "mean_observed": theirs,
            "mean_absolute_error": np.abs(ours - theirs),
        }
        shown = {
            key: told_mean(values, weights) if len(values) >= LEAST_ROWS else None
            for key, values in figures.items()
        }
        told.append(
            {"column": name, "value": value, "rows": len(theirs), "target": target, **shown}
        )
    return told


def _group(
    name: str, value: str, labels: Array, codes: Array, weights: Array | None = None, *, least: int
) -> dict[str, Any]:
    # One of the two rates beside accuracy and selection rate would give the other one away.
    both = enough(least, int(np.sum(codes == 0)), int(np.sum(codes == 1)))

    def rate(code: int) -> float | None:
        return told_mean(labels[codes == code] == 1, of(weights, codes == code)) if both else None

    return {
        "column": name,
        "value": value,
        "rows": len(codes),
        "selection_rate": told_mean(labels == 1, weights),
        "accuracy": told_mean(labels == codes, weights),
        "true_positive_rate": rate(1),
        "false_positive_rate": rate(0),
    }
