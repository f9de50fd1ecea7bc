"""This model against the one that passed last, on the same rows: paired intervals and McNemar's test.

Sources: paired bootstrap as in Efron and Tibshirani (1993); McNemar, Psychometrika 12 (1947), exact binomial form.
"""

from typing import Any

from scipy.stats import binomtest

from casemate.config import AssessTable
from casemate.core.models import Model
from casemate.core.types import Interval, Schema
from casemate.stages.assess import regression
from casemate.stages.assess.quality import statistics
from casemate.stages.assess.sample import Sample, checked, interval


class OtherShape(ValueError):
    """The models do not take the same features or give the same classes."""


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
