"""Fairness over protected attributes: do groups get the good answer equally often, and are they equally often wronged.

Demographic parity difference and equalized odds difference (Hardt, Price, Srebro, Equality of Opportunity, NeurIPS 2016),
as fairlearn defines them, for binary targets; groups below `LEAST_ROWS` are not judged, and what is told of small ones is said
in `privacy.disclosure`.

Of quantities: the largest differences between two groups of the mean prediction, and of the mean absolute error (Agarwal, Dudík,
Wu, Fair Regression, ICML 2019, ask for the same of the whole distribution and of the loss), in deviations of the target.
"""

from typing import Any

import numpy as np

from casemate.controls.privacy.disclosure import FEWEST, enough, grouped
from casemate.core.types import Interval, Schema
from casemate.stages.assess.sample import Sample, interval, spread_of, values_of

LEAST_ROWS = 20
Array = np.ndarray[Any, Any]


class NoGroups(ValueError):
    """There is nothing to compare."""


def measure(
    found: tuple[Array, Array], holdout: Sample, schema: Schema, protected: list[str], most: int, seed: int, least: int = FEWEST
) -> tuple[dict[str, Interval], list[dict[str, Any]]]:
    """(figures, groups): the largest difference over the protected attributes, and every group's rates."""
    if not schema.regression and len(schema.classes) != 2:
        raise NoGroups("fairness is measured for binary targets, and quantities")
    unit = spread_of(holdout.target) if schema.regression else 1.0
    labels, truth = (found[1] / unit, holdout.target / unit) if schema.regression else (np.ravel(found[0]), holdout.target)
    wanted = OF_QUANTITIES if schema.regression else OF_CLASSES
    groups: list[dict[str, Any]] = []
    figures: dict[str, Interval] = {}
    for name in protected:
        values = values_of(holdout.frame[name], schema.column(name).type)
        _, places = np.unique(values, return_inverse=True)
        counts = np.bincount(places)
        told = grouped(values, max(least, LEAST_ROWS) if schema.regression else least)  # means of few rows tell their quantities
        for kind in np.unique(told):
            here = labels[told == kind], truth[told == kind]
            if len(here[0]) < least:
                continue
            groups += _quantities(name, str(kind), schema.targets, *here) if schema.regression else [_group(name, str(kind), *here, least)]
        judged = np.flatnonzero(counts >= LEAST_ROWS)
        if len(judged) < 2:
            continue
        keep = np.isin(places, judged)
        arrays = [places[keep], labels[keep], truth[keep]]
        for figure, statistic in wanted.items():
            value = interval(statistic, arrays, most, seed)
            if figure not in figures or value.value > figures[figure].value:
                figures[figure] = value
    if not figures:
        raise NoGroups("no protected attribute has two groups of at least 20 rows")
    return figures, groups


def demographic_parity(places: Array, labels: Array, _codes: Array) -> float:
    """Largest difference of the selection rate between two groups."""
    return _spread(places, labels == 1)


def equalized_odds(places: Array, labels: Array, codes: Array) -> float:
    """The larger of the differences of true and of false positive rates."""
    return max(_spread(places[codes == code], labels[codes == code] == 1) for code in (0, 1))


def mean_prediction(places: Array, found: Array, _truth: Array) -> float:
    """Largest difference of the mean prediction between two groups, over the quantities."""
    return max(_spread(places, quantity) for quantity in found.T)


def absolute_error(places: Array, found: Array, truth: Array) -> float:
    """Largest difference of the mean absolute error between two groups, over the quantities."""
    return max(_spread(places, error) for error in np.abs(found - truth).T)


OF_CLASSES = {"demographic_parity_difference": demographic_parity, "equalized_odds_difference": equalized_odds}
OF_QUANTITIES = {"mean_prediction_difference": mean_prediction, "absolute_error_difference": absolute_error}


def _spread(places: Array, chosen: Array) -> float:
    counts = np.bincount(places)
    rates = np.bincount(places, chosen.astype(float))[counts > 0] / counts[counts > 0]
    return float(rates.max() - rates.min()) if len(rates) else 0.0


def _quantities(name: str, value: str, targets: list[str], found: Array, truth: Array) -> list[dict[str, Any]]:
    """Per target, in its deviations; of few rows nothing, because their mean tells their quantities."""
    told = []
    for place, target in enumerate(targets):
        ours, theirs = found[:, place], truth[:, place]
        figures = {"mean_prediction": ours, "mean_observed": theirs, "mean_absolute_error": np.abs(ours - theirs)}
        shown = {key: float(values.mean()) if len(values) >= LEAST_ROWS else None for key, values in figures.items()}
        told.append({"column": name, "value": value, "rows": len(theirs), "target": target, **shown})
    return told


def _group(name: str, value: str, labels: Array, codes: Array, least: int) -> dict[str, Any]:
    # One of the two rates beside accuracy and selection rate would give the other one away.
    both = enough(least, int(np.sum(codes == 0)), int(np.sum(codes == 1)))

    def rate(code: int) -> float | None:
        return float(np.mean(labels[codes == code] == 1)) if both else None

    return {
        "column": name,
        "value": value,
        "rows": len(codes),
        "selection_rate": float(np.mean(labels == 1)),
        "accuracy": float(np.mean(labels == codes)),
        "true_positive_rate": rate(1),
        "false_positive_rate": rate(0),
    }
