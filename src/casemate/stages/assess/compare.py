"""This model against the one that passed last, on the same rows, which neither saw: paired intervals and McNemar's test.

Sources: paired bootstrap as in Efron and Tibshirani (1993); McNemar, Psychometrika 12 (1947), exact binomial form.
"""

from typing import Any

import numpy as np
from scipy.stats import binomtest

from casemate.config import AssessTable
from casemate.core.models import Model
from casemate.core.types import Interval, Schema
from casemate.stages.assess import regression
from casemate.stages.assess.intervals import interval
from casemate.stages.assess.quality import statistics
from casemate.stages.assess.sample import Sample, checked

LEAST = 50
"""Rows below which a bootstrap of differences says nothing: its intervals are far too narrow."""


class OtherShape(ValueError):
    """The models do not take the same features or give the same classes."""


class SeenBefore(ValueError):
    """Too few rows of the hold-out are new to the other model."""


def unseen(holdout: Sample, which: np.ndarray[Any, Any] | None, reference: str) -> Sample:
    """The rows to compare on.

    Args:
        holdout: rows that this model never saw.
        which: those that the other one was not trained on, bool [h]; None: every one.
        reference: the other one's.

    Raises:
        SeenBefore: they are too few, or of one class only; the message says how many are missing.
    """
    fair = holdout if which is None else holdout.of(np.flatnonzero(which))
    count, classes = len(fair.target), len(np.unique(holdout.target)) if holdout.target.ndim == 1 else 0
    if count < LEAST:
        raise SeenBefore(f"{count} of {len(holdout.target)} hold-out rows are new to {reference}; {LEAST - count} more are needed")
    if classes and len(np.unique(fair.target)) < classes:
        raise SeenBefore(f"the {count} hold-out rows that are new to {reference} miss a class")
    return fair


def measure(
    model: Model, previous: Model, shapes: tuple[Schema, Schema], holdout: Sample, options: AssessTable, seed: int
) -> tuple[dict[str, Interval], dict[str, Any]]:
    """(per figure this model's less the other's with paired interval, McNemar's counts and p-value; no counts of regressors)."""
    ours, theirs = ([(column.name, column.type) for column in schema.features] for schema in shapes)
    if shapes[0].classes != shapes[1].classes or shapes[0].targets != shapes[1].targets or ours != theirs:
        raise OtherShape("its features or classes are others")
    labels, probabilities = model.predict(holdout.frame)
    others, other = previous.predict(holdout.frame)
    checked(probabilities), checked(other)
    if shapes[0].regression:
        target, *both = regression.scaled(holdout.target, probabilities, other)
        figures = regression.statistics()
    else:
        target, both = holdout.target, [labels.ravel(), probabilities, others.ravel(), other]
        figures = statistics(len(shapes[0].classes))
    half = len(both) // 2
    found = {
        name: interval(lambda y, *seen, of=statistic: of(y, *seen[:half]) - of(y, *seen[half:]), [target, *both], options.bootstrap, seed)
        for name, statistic in figures.items()
    }
    if shapes[0].regression:
        return found, {}
    right, before = labels.ravel() == holdout.target, others.ravel() == holdout.target
    gained, lost = int((right & ~before).sum()), int((~right & before).sum())
    p = float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
    return found, {"gained": gained, "lost": lost, "p": p}
