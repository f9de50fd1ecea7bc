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
from casemate.stages.assess.sample import Sample, checked, interval, spread_of, sureness
from casemate.stages.assess.sample import auc as area

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
    false, true, _ = roc_curve(member, confidence)
    return {
        "attack": "loss-threshold",
        "auc": msgspec.to_builtins(auc),
        "tpr_at_1_fpr": float(true[false <= MAX_FALSE_POSITIVES].max()),
        "rows_per_side": count,
    }
