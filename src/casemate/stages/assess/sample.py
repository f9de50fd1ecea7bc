"""Rows with their classes, and the groups that figures are given for."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from casemate.controls.privacy.disclosure import OTHERS, grouped
from casemate.core.types import MISSING_CATEGORY, Schema
from casemate.ml.frame import borders_of, parts_of, range_names, sample_rows
from casemate.stages.assess import subjects

MOST_VALUES = 20
"""Up to so many distinct values each is a group of its own, whatever its type; more are cut at
their quartiles (numbers), or are no slices unless somebody names the column (categories)."""
TOLD_DIGITS = 3
"""Of weighted means of few rows: 1 000 values tell which of 10 rows were right to one in 1 024 at
best, and not which they are.
"""
LEAST_SLICE_ROWS = 20
"""A share of fewer rows has an interval wider than .4, which decides nothing."""

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Sample:
    """Feature frame [n], and what is to be predicted: class numbers int64 [n], or quantities
    float64 [n, m].
    """

    frame: pd.DataFrame
    target: np.ndarray[Any, Any]
    groups: np.ndarray[Any, Any] | None = None
    """Whose each row is, as numbers without a meaning that samples of one table share, [n]; None:
    every row is somebody else's.
    """

    weights: np.ndarray[Any, Any] | None = None
    """What each row weighs, [n]; None: all weigh alike."""

    @property
    def subjects(self) -> int:
        """How many subjects the rows are of, where some have several; otherwise 0."""
        groups = subjects.repeated(self.groups)
        return 0 if groups is None else int(groups.max()) + 1

    def take(self, count: int, seed: int) -> "Sample":
        """At most `count` rows, stratified by nothing, drawn without replacement."""
        if len(self.target) <= count:
            return self
        rows = sample_rows(len(self.target), count, seed)
        return Sample(
            self.frame.iloc[rows],
            self.target[rows],
            subjects.of(self.groups, rows),
            subjects.of(self.weights, rows),
        )

    def of(self, rows: Array) -> "Sample":
        """The rows of these numbers, numbered anew."""
        frame = self.frame.iloc[rows].reset_index(drop=True)
        return Sample(
            frame,
            self.target[rows],
            subjects.of(self.groups, rows),
            subjects.of(self.weights, rows),
        )

    def joined(self, other: "Sample") -> "Sample":
        """These rows and then the other's, numbered anew."""
        frame = pd.concat([self.frame, other.frame], ignore_index=True)
        both = (
            None
            if self.groups is None or other.groups is None
            else np.concatenate([self.groups, other.groups])
        )
        weights = (
            None
            if self.weights is None or other.weights is None
            else np.concatenate([self.weights, other.weights])
        )
        return Sample(frame, np.concatenate([self.target, other.target]), both, weights)


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


def values_of(column: pd.Series, kind: str) -> Array:
    """A column as groups, text [n], which do not depend on how its values are coded.

    Categories, and numbers with at most `MOST_VALUES` distinct values: one group a value. Other
    numbers: four ranges with about as many rows each, with open ends; equal values stay together,
    and the mirrored column has the mirrored ranges. Missing values are a group.
    """
    if kind != "number":
        return np.asarray(column.astype(str), dtype=object)
    values = column.to_numpy(dtype=np.float64)
    there = ~np.isnan(values)
    groups = np.full(len(values), MISSING_CATEGORY, dtype=object)
    distinct, places = np.unique(values[there], return_inverse=True)
    if len(distinct) <= MOST_VALUES:
        groups[there] = np.array(
            [np.format_float_positional(value, trim="-") for value in distinct], dtype=object
        )[places]
        return groups
    parts = parts_of(values[there], 4)
    names = np.array(range_names(borders_of(values[there], parts)), dtype=object)
    groups[there] = names[np.unique(parts, return_inverse=True)[1]]
    return groups


def pooled(values: Array, least: int) -> Array:
    """`values` [n] with all groups below `least` rows put together as `OTHERS`.

    While those are too few themselves, the next smallest groups join them; groups of one size
    do so together, so that names decide nothing.
    """
    names, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    small = counts < least
    while small.any() and not small.all() and counts[small].sum() < least:
        small |= counts == counts[~small].min()
    labels = names.astype(object)
    labels[small] = OTHERS
    return np.asarray(labels[places], dtype=object)


def sliced(schema: Schema, holdout: Sample, wanted: list[str], least: int) -> Iterator[Slice]:
    """Every slice, and what is told of the small ones in their place.

    Default: the features with at most `MOST_VALUES` distinct values in these rows.
    """
    for name in wanted or [column.name for column in schema.features]:
        column = holdout.frame[name]
        if not wanted and column.nunique() > MOST_VALUES:
            continue
        values = values_of(column, schema.column(name).type)
        labels = grouped(values, least)
        for value in np.unique(values):
            rows = np.flatnonzero(values == value)
            yield Slice(name, str(value), rows, told=bool(labels[rows[0]] == value))
        others = np.flatnonzero(labels == OTHERS)
        if least <= len(others) < len(values):
            yield Slice(name, OTHERS, others, told=True, real=False)


def as_told(value: float, weights: Array | None) -> float:
    """What is told of a group; of weighted rows rounded, because who knows the weights could read
    every row off all its digits.
    """
    return value if weights is None else round(value, TOLD_DIGITS)


def told_mean(values: Array, weights: Array | None) -> float:
    """A group's mean as it is told."""
    mean = np.mean(values) if weights is None else np.average(values, weights=weights)
    return as_told(float(mean), weights)


class NotANumber(ValueError):
    """The model gives probabilities that are no numbers, so no figure means anything."""


class OfClasses(ValueError):
    """This is measured of classifiers only."""


def checked(probabilities: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The probabilities or quantities, if all are finite."""
    if not np.isfinite(probabilities).all():
        raise NotANumber(
            "the model gives probabilities that are no numbers; it may not take missing values"
        )
    return probabilities


def spread_of(target: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Standard deviation of each quantity, [m]; 1 where all rows are alike."""
    deviation = np.std(target, axis=0)
    return np.where(deviation > 0, deviation, 1.0)


def sureness(
    found: np.ndarray[Any, Any],
    target: np.ndarray[Any, Any],
    spread: np.ndarray[Any, Any] | None = None,
) -> np.ndarray[Any, Any]:
    """How well each row is told, larger is better, [n].

    Args:
        found: probabilities [n, k], or quantities [n, m].
        target: class numbers [n], or quantities [n, m].
        spread: unit of each quantity [m]; default: the deviation of `target`.

    Returns:
        The probability of the true class, or the squared error in those units, averaged over the
        quantities, negative.
    """
    if target.ndim == 1:
        return np.asarray(found[np.arange(len(target)), target])
    unit = spread_of(target) if spread is None else spread
    return -np.asarray((((found - target) / unit) ** 2).mean(axis=1))
