"""A signed model's baseline as a reference to judge windows by: the rows that its sketches stand
for, made up again column by column.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from casemate.core.errors import DataError
from casemate.core.types import Baseline, Bin, ColumnSketch
from casemate.watch.budget import FalseAlarms
from casemate.watch.drift import Reference
from casemate.watch.estimate import Judge
from casemate.watch.profiles import Categories, Numbers, Profile
from casemate.watch.tables import Array

ANSWER, SCORE, OUTCOME = "(answers)", "(score)", "(outcome)"
"""Columns of windows beside the features; no column of a table can be called so by `init`."""


def reference(
    baseline: Baseline,
    *,
    alarms: FalseAlarms,
    importance: Mapping[str, float] | None = None,
    features: bool = True,
) -> Reference:
    """What windows of a served model are judged by.

    Args:
        baseline: of the model.
        alarms: how often it may be wrong.
        importance: of features, 0 or more; None: all alike.
        features: off: only answers are looked at.
    """
    profiles = {one.name: profile(one) for one in (baseline.features if features else ())}
    profiles[ANSWER] = profile(baseline.answers)
    if not features:
        importance = None
    return Reference.sketched(
        profiles, alarms=alarms, importance=importance, score=ANSWER, judge=judge(baseline)
    )


def judge(baseline: Baseline) -> Judge | None:
    """What estimates quality; None where the baseline has no scores with outcomes, or too few."""
    if not baseline.scores:
        return None
    scores = np.concatenate([_spread(one) for one in baseline.scores])
    outcomes = np.concatenate([_interleaved(one) for one in baseline.scores])
    rows = pd.DataFrame({SCORE: scores, OUTCOME: outcomes})
    try:
        return Judge(rows, target=OUTCOME, score=SCORE, positive="1")
    except DataError:
        return None


def profile(sketch: ColumnSketch) -> Profile:
    """The profile of a column that only its sketch is left of."""
    gaps = sketch.missing
    if sketch.bins:
        values = np.concatenate([_spread(one) for one in sketch.bins])
        return Numbers(pd.Series(np.r_[values, np.full(gaps, np.nan)]))
    if not sketch.categories and not sketch.others:
        return Numbers(pd.Series(np.full(max(gaps, 1), np.nan)))
    cells = [name for name, rows in sketch.categories.items() for _ in range(rows)]
    # what was too rare to be told was met now and then, and will be
    cells += [f"(rare {place})" for place in range(sketch.others)]
    return Categories(pd.Series([*cells, *[None] * gaps], dtype=object))


def _spread(one: Bin) -> Array:
    return np.linspace(one.low, one.high, one.rows)


def _interleaved(one: Bin) -> Array:
    """Outcomes of a bin, the positive ones evenly among the others, [rows]."""
    steps = np.arange(one.rows + 1) * one.positive // one.rows
    return np.diff(steps)
