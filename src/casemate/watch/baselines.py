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
    """What estimates quality; None where the baseline has no answers with outcomes, or too few."""
    quantities = baseline.answers.bins
    try:
        if any(one.square > 0 for one in quantities):  # else an earlier version kept no errors
            return _judge_of_quantities(quantities)
        if baseline.scores:
            return _judge_of_classes(baseline)
    except DataError:
        pass
    return None


def _judge_of_classes(baseline: Baseline) -> Judge:
    rows = pd.DataFrame(
        {
            SCORE: np.concatenate([_spread(one) for one in baseline.scores]),
            OUTCOME: np.concatenate([_interleaved(one, one.positive) for one in baseline.scores]),
        }
    )
    if baseline.positive:
        return Judge(rows, target=OUTCOME, score=SCORE, positive="1")
    # more than two classes: what is positive is that the class was said rightly, and all were said
    return Judge(rows, target=OUTCOME, score=SCORE, positive="1", cut=0.0, only=("accuracy",))


def _judge_of_quantities(bins: list[Bin]) -> Judge:
    said = np.concatenate([_spread(one) for one in bins])
    errors = np.concatenate([_errors(one) for one in bins])
    rows = pd.DataFrame({ANSWER: said, OUTCOME: said + errors})
    return Judge(rows, target=OUTCOME, score=ANSWER, only=("mae",))


def _errors(one: Bin) -> Array:
    """Errors with the bin's mean and, nearly, its mean square: the same one in some rows and none
    in the others; the spread of squares is lost, so only the mean error can be estimated, [rows].
    """
    if one.square == 0:
        return np.zeros(one.rows)
    count = max(round(one.rows * min(one.error**2 / one.square, 1.0)), 1)
    return np.asarray(_interleaved(one, count) * (one.error * one.rows / count))


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


def _interleaved(one: Bin, count: int) -> Array:
    """1 in `count` rows of a bin, evenly among the others, which have 0, [rows]."""
    return np.diff(np.arange(one.rows + 1) * count // one.rows)
