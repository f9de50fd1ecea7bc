"""Membership inference by loss threshold: does the model's confidence tell training rows from fresh ones.

Source: Yeom, Giacomelli, Fredrikson, Jha, Privacy Risk in Machine Learning (CSF 2018). Shadow-model attacks such as
LiRA are stronger; a low figure here is a lower bound on leakage, not a proof of privacy.
"""

from typing import Any

import msgspec
import numpy as np
from sklearn.metrics import roc_curve

from casemate.config import AssessTable
from casemate.core.models import Model
from casemate.stages.assess.intervals import auc as area
from casemate.stages.assess.intervals import interval
from casemate.stages.assess.sample import Sample, checked, spread_of, sureness

LEAST_ROWS = 20
MAX_FALSE_POSITIVES = 0.01


class TooFewRows(ValueError):
    """There are not enough rows on one side."""


def measure(model: Model, members: Sample, holdout: Sample, options: AssessTable, seed: int) -> dict[str, Any]:
    """`auc` with interval, `tpr_at_1_fpr`, and the rows used on each side (equal numbers)."""
    count = min(len(members.target), len(holdout.target), options.membership_rows)
    if count < LEAST_ROWS:
        raise TooFewRows(f"{count} rows a side, at least {LEAST_ROWS} are needed")
    scores = []
    spread = spread_of(members.target)
    for sample in (members.take(count, seed), holdout.take(count, seed)):
        scores.append(sureness(checked(model.predict(sample.frame)[1]), sample.target, spread))
    confidence = np.concatenate(scores)
    member = np.r_[np.ones(count), np.zeros(count)]
    auc = interval(area, [member, confidence], options.bootstrap, seed)
    return {
        "attack": "loss-threshold",
        "auc": msgspec.to_builtins(auc),
        "tpr_at_1_fpr": rate_at(member, confidence),
        "rows_per_side": count,
    }


def rate_at(member: np.ndarray[Any, Any], score: np.ndarray[Any, Any], most: float = MAX_FALSE_POSITIVES) -> float:
    """Share of the members that are named when a share `most` of the others is, rows of equal score taken in random order.

    Many rows share their score where a model is sure of all that it knows: a threshold must then take all of them or none,
    an attacker need not. The straight line between two points of the ROC curve is what drawing among equals gives
    (Fawcett, An Introduction to ROC Analysis, Pattern Recognition Letters 27, 2006, section 6).
    """
    false, true, _ = roc_curve(member, score, drop_intermediate=False)
    last = int(np.flatnonzero(false <= most)[-1])
    if last == len(false) - 1:
        return float(true[last])
    step = (most - false[last]) / (false[last + 1] - false[last])
    return float(true[last] + step * (true[last + 1] - true[last]))
