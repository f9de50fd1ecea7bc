"""Sketches of training rows and of a model's answers: what it is watched against once it is served.

They hold no row: neighbouring numbers are told together, in bins of at least `[privacy] min_group`
rows, and rare categories as one (the threshold rule of `controls.privacy.disclosure`). A value
stands there exactly only where so many rows share it.
"""

from typing import Any

import numpy as np

from casemate.controls.privacy import disclosure
from casemate.core.types import (
    MISSING_CATEGORY,
    Baseline,
    Bin,
    ColumnSchema,
    ColumnSketch,
    Schema,
)
from casemate.ml.models import Scored
from casemate.stages.assess.sample import Sample

Array = np.ndarray[Any, Any]
MOST_BINS = 200
"""Of a column: half a per cent of the rows each, less than a window of thousands differs by."""
MOST_CATEGORIES = 200
"""Of a column; the others are too rare to tell a window from."""
DIGITS = 4
"""Significant ones of a bin's ends, which are single rows' values."""
CLASSES = "(answers)"


def measure(
    model: Scored, schema: Schema, members: Sample, holdout: Sample, least: int
) -> Baseline | None:
    """The baseline of a model.

    Args:
        model: whose answers.
        schema: of its features.
        members: training rows.
        holdout: rows that training never saw.
        least: fewest rows that are told together; below it there is no baseline.
    """
    if min(len(members.target), len(holdout.target)) < least:
        return None
    features = [_column(members.frame[one.name], one, least) for one in schema.features]
    labels, outputs = model.predict(holdout.frame)
    if schema.regression:
        quantity = np.asarray(outputs[:, 0], float)
        answers = ColumnSketch(
            name=CLASSES,
            rows=len(quantity),
            missing=0,
            bins=_bins(quantity, least, errors=_first(holdout.target) - quantity),
        )
        return Baseline(rows=len(members.target), features=features, answers=answers)
    codes = np.asarray(labels, dtype=int)
    if schema.labels:
        codes = codes @ (1 << np.arange(len(schema.labels)))
    said = np.array([schema.answer(code) for code in np.ravel(codes).tolist()], dtype=object)
    scores, positive = [], ""
    if len(schema.classes) == 2:
        positive = schema.classes[1]
        scores = _bins(
            np.asarray(outputs[:, 1], float), least, np.asarray(holdout.target == 1).ravel()
        )
    elif not schema.labels:  # several labels of a row have no one probability
        said_with = np.asarray(outputs, float)[np.arange(len(codes)), codes]
        scores = _bins(said_with, least, codes == np.asarray(holdout.target).ravel())
    return Baseline(
        rows=len(members.target),
        features=features,
        answers=_counted(CLASSES, said, 0, least),
        scores=scores,
        positive=positive,
    )


def _column(column: Any, schema: ColumnSchema, least: int) -> ColumnSketch:
    if schema.type == "category":
        gaps = (column.isna() | (column == MISSING_CATEGORY)).to_numpy(bool)
        return _counted(schema.name, column.to_numpy(dtype=object)[~gaps], int(gaps.sum()), least)
    missing = int(column.isna().sum())
    values = column.to_numpy(dtype=float, na_value=np.nan)
    bins = _bins(values[np.isfinite(values)], least)
    if bins:
        low, high = disclosure.limits(schema.column_class, bins[0].low, bins[-1].high)
        bins[0] = Bin(low=float(low or 0.0), high=bins[0].high, rows=bins[0].rows)
        bins[-1] = Bin(low=bins[-1].low, high=float(high or 0.0), rows=bins[-1].rows)
    return ColumnSketch(name=schema.name, rows=len(values), missing=missing, bins=bins)


def _counted(name: str, values: Array, missing: int, least: int) -> ColumnSketch:
    """Categories by how many rows have them, the frequent ones first."""
    rows = len(values) + missing
    if not len(values):
        return ColumnSketch(name=name, rows=rows, missing=missing)
    names, counts = np.unique(disclosure.grouped(values, least).astype(str), return_counts=True)
    order = np.argsort(-counts, kind="stable").tolist()
    told = [place for place in order if names[place] != disclosure.OTHERS][:MOST_CATEGORIES]
    kept = {str(names[place]): int(counts[place]) for place in told}
    return ColumnSketch(
        name=name,
        rows=rows,
        missing=missing,
        categories=kept,
        others=len(values) - sum(kept.values()),
    )


def _first(target: Any) -> Array:
    quantities = np.asarray(target, float)
    return quantities if quantities.ndim == 1 else np.asarray(quantities[:, 0])


def _bins(
    values: Array, least: int, positive: Array | None = None, errors: Array | None = None
) -> list[Bin]:
    """Neighbouring values put together until each bin has enough rows; none when all are too few.

    Args:
        values: finite, [n].
        least: fewest rows of a bin.
        positive: bool [n], counted per bin.
        errors: [n], of which bins get the mean absolute and the mean squared one.
    """
    if len(values) < least:
        return []
    distinct, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    size = max(least, -(-len(values) // MOST_BINS))
    # first by rank, so that few are left to be put together one by one
    rough = (np.cumsum(counts) - counts) // size
    starts = np.flatnonzero(np.r_[True, np.diff(rough) > 0])
    rows = np.add.reduceat(counts, starts)

    def summed(each: Array | None) -> Array:
        if each is None:
            return np.zeros(len(starts))
        return np.asarray(np.add.reduceat(np.bincount(places, each, len(distinct)), starts))

    positives = summed(positive)
    missed = [summed(errors if errors is None else abs(errors) ** power) for power in (1, 2)]
    ends = np.r_[starts[1:], len(distinct)] - 1
    found = []
    for group in disclosure.merged(rows, least):
        low, high = distinct[starts[group[0]]], distinct[ends[group[-1]]]
        count = int(rows[group].sum())
        error, square = (_told(each[group].sum() / count, False) for each in missed)
        found.append(
            Bin(
                low=_told(low, low == high),
                high=_told(high, low == high),
                rows=count,
                positive=int(positives[group].sum()),
                error=error,
                square=square,
            )
        )
    return found


def _told(value: float, is_shared: bool) -> float:
    """A bin's end: exact where all its rows share the value."""
    return float(value) if is_shared else float(f"{value:.{DIGITS}g}")
