"""Membership inference by loss threshold: does the model's confidence tell training rows from fresh
ones.

Source: Yeom, Giacomelli, Fredrikson, Jha, Privacy Risk in Machine Learning (CSF 2018). Shadow-model
attacks such as LiRA are stronger; a low figure here is a lower bound on leakage, not a proof of
privacy.
"""

from typing import Any

import msgspec
import numpy as np

from casemate.config import AssessTable
from casemate.ml.models import Model
from casemate.stages.assess.leakage.rates import caught, told_apart
from casemate.stages.assess.sample import Sample, checked, spread_of, sureness

LEAST_ROWS = 20
"""Rows a side below which an AUC's interval is wider than .35 and decides nothing; the figure is
unmeasured then.
"""


class TooFewRows(ValueError):
    """There are not enough rows on one side."""


def measure(
    model: Model, members: Sample, holdout: Sample, options: AssessTable, seed: int
) -> dict[str, Any]:
    """`auc` with interval, `tpr_at_1_fpr` with its ends, and the rows used on each side (equal
    numbers).
    """
    count = min(len(members.target), len(holdout.target), options.membership_rows)
    if count < LEAST_ROWS:
        raise TooFewRows(f"{count} rows a side, at least {LEAST_ROWS} are needed")
    spread = spread_of(members.target)
    rows = members.take(count, seed).joined(holdout.take(count, seed))
    confidence = sureness(checked(model.predict(rows.frame)[1]), rows.target, spread)
    member = np.r_[np.ones(count), np.zeros(count)]
    auc = told_apart(member, confidence, rows.groups, options.bootstrap, seed)
    named = caught(member, confidence, rows.groups, seed)
    return {
        "attack": "loss-threshold",
        "auc": msgspec.to_builtins(auc),
        "tpr_at_1_fpr": named.value,
        "tpr_at_1_fpr_interval": msgspec.to_builtins(named),
        "rows_per_side": count,
    }
