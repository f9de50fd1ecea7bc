"""What a column is like in a window, beside its baseline, coarse enough to be shown."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from casemate.controls.privacy.disclosure import FEWEST
from casemate.core.types import Baseline, ColumnSketch, Record
from casemate.watch.tables import Array, categories, numbers

MOST_BINS = 12
"""More are no plainer to look at."""
MOST_CATEGORIES = 8
MOST_COLUMNS = 40
"""That are shown of a model."""
OTHERS, MISSING = "(others)", "(missing)"


class Shape(Record, frozen=True, kw_only=True):
    """One column of a window: shares of rows."""

    feature: str
    labels: list[str]
    """What each bar stands for."""
    before: list[float]
    """Share of rows in the baseline."""
    now: list[float]
    """Share of rows in the window; counts below the least group are rounded away."""


def shapes(baseline: Baseline, frame: pd.DataFrame, answers: str, first: list[str]) -> list[Shape]:
    """Columns of a window beside their baseline.

    Args:
        baseline: of the model.
        frame: the window's rows, or its answers alone.
        answers: column of the answers.
        first: features that are shown whatever the number.
    """
    order = [one for name in first for one in baseline.features if one.name == name]
    order += [one for one in baseline.features if one.name not in first]
    columns = [(answers, baseline.answers), *((one.name, one) for one in order[:MOST_COLUMNS])]
    return [
        _shape(name, sketch, frame[name])
        for name, sketch in columns
        if name in frame and sketch.rows
    ]


def _shape(name: str, sketch: ColumnSketch, column: pd.Series) -> Shape:
    if sketch.bins:
        labels, before, now = _numbers(sketch, column)
    else:
        labels, before, now = _categories(sketch, column)
    return Shape(
        feature=name,
        labels=[*labels, MISSING],
        before=_shares([*before, sketch.missing]),
        now=_shares(_bounded(now)),
    )


def _numbers(sketch: ColumnSketch, column: pd.Series) -> tuple[list[str], list[int], list[int]]:
    values, _ = numbers(column)
    held = values[np.isfinite(values)]
    groups = np.array_split(np.arange(len(sketch.bins)), min(MOST_BINS, len(sketch.bins)))
    ends = np.array([sketch.bins[group[-1]].high for group in groups])
    places = np.searchsorted(ends[:-1], held, side="left")
    counts = np.bincount(places, minlength=len(groups)).tolist()
    labels = [f"{sketch.bins[g[0]].low:.4g} to {sketch.bins[g[-1]].high:.4g}" for g in groups]
    before = [sum(sketch.bins[at].rows for at in group) for group in groups]
    return labels, before, [*counts, len(values) - len(held)]


def _categories(sketch: ColumnSketch, column: pd.Series) -> tuple[list[str], list[int], list[int]]:
    cells = categories(column)
    counts: dict[str, int] = {}
    missing = 0
    for cell in cells:
        if cell is None:
            missing += 1
        else:
            counts[cell] = counts.get(cell, 0) + 1
    names = list(sketch.categories)[:MOST_CATEGORIES]
    rest = sum(sketch.categories.values()) - sum(sketch.categories[name] for name in names)
    now = [counts.pop(name, 0) for name in names]
    before = [*(sketch.categories[name] for name in names), rest + sketch.others]
    return [*names, OTHERS], before, [*now, sum(counts.values()), missing]


def _bounded(counts: Iterable[int]) -> list[int]:
    """What stands for too few rows to be told stands for none."""
    return [count if count >= FEWEST else 0 for count in counts]


def _shares(counts: list[int]) -> list[float]:
    total = sum(counts)
    shares: Array = np.asarray(counts, float) / (total or 1)
    return [round(float(one), 4) for one in shares]
