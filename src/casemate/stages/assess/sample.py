"""Rows with their classes, and the bootstrap that every interval uses."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from casemate.controls.privacy.disclosure import OTHERS, grouped
from casemate.core.frame import drawn, range_names, range_of
from casemate.core.types import MISSING_CATEGORY, Interval, Schema

WORK = 2_000_000
LEAST = 30
MAX_SLICE_VALUES = 12
LEAST_SLICE_ROWS = 20


@dataclass(frozen=True)
class Sample:
    """Feature frame [n], and what is to be predicted: class numbers int64 [n], or quantities float64 [n, m]."""

    frame: pd.DataFrame
    target: np.ndarray[Any, Any]

    def take(self, count: int, seed: int) -> "Sample":
        """At most `count` rows, stratified by nothing, drawn without replacement."""
        if len(self.target) <= count:
            return self
        rows = drawn(len(self.target), count, seed)
        return Sample(self.frame.iloc[rows], self.target[rows])


@dataclass(frozen=True)
class Slice:
    """Rows with the same value in a column."""

    column: str
    value: str
    rows: np.ndarray[Any, Any]
    """Row numbers."""
    told: bool
    """Whether figures of it may be told; a gate may look at it all the same."""
    real: bool = True
    """False of the group of all that are too small."""


def values_of(column: pd.Series, kind: str) -> np.ndarray[Any, Any]:
    """A column as groups, text [n]: categories as they are, numbers as the ranges between their quartiles, with open ends."""
    if kind != "number":
        return np.asarray(column.astype(str), dtype=object)
    values = column.to_numpy(dtype=np.float64)
    present = values[~np.isnan(values)]
    if not len(present):
        return np.full(len(values), MISSING_CATEGORY, dtype=object)
    edges = np.unique(np.quantile(present, [0.25, 0.5, 0.75]))
    edges = edges[edges < present.max()]
    names = np.array([*range_names(edges), MISSING_CATEGORY], dtype=object)
    return np.asarray(names[np.where(np.isnan(values), len(names) - 1, range_of(edges, values))])


def sliced(schema: Schema, holdout: Sample, wanted: list[str], least: int) -> Iterator[Slice]:
    """Every slice, and what is told of the small ones in their place. Default: categories with few values."""
    for name in wanted or [c.name for c in schema.categories if len(c.categories or []) <= MAX_SLICE_VALUES]:
        values = values_of(holdout.frame[name], schema.column(name).type)
        labels = grouped(values, least)
        for value in np.unique(values):
            rows = np.flatnonzero(values == value)
            yield Slice(name, str(value), rows, told=bool(labels[rows[0]] == value))
        others = np.flatnonzero(labels == OTHERS)
        if least <= len(others) < len(values):
            yield Slice(name, OTHERS, others, told=True, real=False)


class NotANumber(ValueError):
    """The model gives probabilities that are no numbers, so no figure means anything."""


class OfClasses(ValueError):
    """This is measured of classifiers only."""


def checked(probabilities: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The probabilities or quantities, if all are finite."""
    if not np.isfinite(probabilities).all():
        raise NotANumber("the model gives probabilities that are no numbers; it may not take missing values")
    return probabilities


def spread_of(target: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Standard deviation of each quantity, [m]; 1 where all rows are alike."""
    deviation = np.std(target, axis=0)
    return np.where(deviation > 0, deviation, 1.0)


def sureness(found: np.ndarray[Any, Any], target: np.ndarray[Any, Any], spread: np.ndarray[Any, Any] | None = None) -> np.ndarray[Any, Any]:
    """How well each row is told, larger is better, [n].

    Args:
        found: probabilities [n, k], or quantities [n, m].
        target: class numbers [n], or quantities [n, m].
        spread: unit of each quantity [m]; default: the deviation of `target`.

    Returns:
        The probability of the true class, or the squared error in those units, averaged over the quantities, negative.
    """
    if target.ndim == 1:
        return np.asarray(found[np.arange(len(target)), target])
    unit = spread_of(target) if spread is None else spread
    return -np.asarray((((found - target) / unit) ** 2).mean(axis=1))


def auc(positive: np.ndarray[Any, Any], score: np.ndarray[Any, Any]) -> float:
    """Area under the ROC curve as the Mann-Whitney statistic over SciPy's ranks: what scikit-learn gives, in a tenth of the time.

    Raises:
        ValueError: there is one class only.
    """
    from scipy.stats import rankdata

    count = int(np.sum(positive == 1))
    others = len(positive) - count
    if not count or not others:
        raise ValueError("there is one class only")
    return float((rankdata(score)[positive == 1].sum() - count * (count + 1) / 2) / (count * others))


def share(hits: int, count: int) -> Interval:
    """A share of rows with its 95 % Clopper-Pearson interval (SciPy's)."""
    from scipy.stats import binomtest

    if count == 0:
        return Interval(value=0.0, low=0.0, high=1.0)
    limits = binomtest(hits, count).proportion_ci(0.95, method="exact")
    return Interval(value=hits / count, low=float(limits.low), high=float(limits.high))


def interval(statistic: Callable[..., float], arrays: list[np.ndarray[Any, Any]], most: int, seed: int) -> Interval:
    """`statistic(*arrays)` with its 95 % percentile interval over paired resamples of the rows.

    The number of resamples falls with the number of rows (about `WORK` / n, at least `LEAST`), because the interval of
    a large sample is narrow anyway. Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), ch. 13.
    """
    count = len(arrays[0])
    generator = np.random.default_rng(seed)
    resamples = int(np.clip(WORK // max(count, 1), min(LEAST, most), most))
    drawn = []
    for _ in range(resamples):
        rows = generator.integers(0, count, count)
        try:
            drawn.append(statistic(*(array[rows] for array in arrays)))
        except ValueError:
            continue  # a resample of a rare class may hold one class only
    values = np.asarray(drawn)[np.isfinite(drawn)] if drawn else np.asarray([])
    value = float(statistic(*arrays))
    if len(values) < LEAST // 2:
        return Interval.exact(value)
    low, high = np.percentile(values, [2.5, 97.5])
    return Interval(value=value, low=float(low), high=float(high))
