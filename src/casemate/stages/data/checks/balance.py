"""Class balance, columns that say nothing, and attributes that the law protects."""

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from casemate.core.text import listed
from casemate.stages.data.checks.interface import Answer, CheckedTable
from casemate.stages.data.checks.split import time_of

RARE = 0.05
"""Share of the rarest class below which accuracy misleads: who never says it is right in more than
95 % of the rows. Chosen; it advises only.
"""
PROTECTED = re.compile(
    r"(^|[\W_])(sex|gender|race|ethnic\w*|relig\w*|nationality|native[-_"
    r" ]country|disab\w*|marital\w*|pregnan\w*|age|orientation)($|[\W_])",
    re.IGNORECASE,
)


def check(checked: CheckedTable) -> Answer:
    """Findings, and `minority_share`: the share of the rarest class."""
    answer = Answer()
    if checked.config.data.task == "classification":
        shares = [_rarest(view, answer) for view in checked.views]
        answer.figures["minority_share"] = min(shares)
    empty, constant = [], []
    for column in checked.schema.features:
        values = checked.table[column.name]
        if values.null_count == len(values):
            empty.append(column.name)
        elif values.null_count == 0 and pc.count_distinct(values).as_py() == 1:
            constant.append(column.name)
    for id_, severity, names, text in (
        ("data.empty-column", "medium", empty, "without any value"),
        ("data.constant-column", "low", constant, "with one value only"),
    ):
        if names:
            answer.say(
                id_,
                severity,
                f"{len(names)} features {text}: {listed([*map(repr, names)], 5)}",
                ", ".join(names[:5]),
            )
    told = {
        column.name
        for column in checked.schema.features
        if checked.config.data.column(column.name).protected
    }
    named = [
        column.name
        for column in checked.schema.features
        if PROTECTED.search(column.name) and column.name not in told
    ]
    if named:
        text = (
            f"{', '.join(map(repr, named[:8]))} may be protected attributes: say so (protected ="
            " true), and fairness is measured by them"
            if len(named) > 1
            else f"{named[0]!r} may be a protected attribute: say so (protected = true), and"
            " fairness is measured by it"
        )
        answer.say("data.protected", "low", text, ", ".join(named[:8]), "medium")
    _time(checked, answer)
    return answer


def _rarest(checked: CheckedTable, answer: Answer) -> float:
    """Share of the rarest class of one target, told where it is small."""
    counts = np.bincount(checked.codes, minlength=len(checked.schema.classes))
    share = float(counts.min() / counts.sum())
    if share < RARE:
        rare = checked.schema.classes[int(counts.argmin())]
        of = f" of {checked.schema.target!r}" if checked.config.data.several_labels else ""
        text = (
            f"class {rare!r}{of} has {share:.2%} of the rows: accuracy misleads, gate"
            " average_precision, balanced_accuracy or roc_auc"
        )
        answer.say("data.imbalance", "low", text)
    return share


def _time(checked: CheckedTable, answer: Answer) -> None:
    name = checked.config.data.time
    if name is None:
        return
    order = time_of(checked.table, name)
    backwards = int(np.sum(np.diff(order) < 0))
    if backwards:
        answer.say(
            "data.time-order",
            "low",
            f"{backwards} rows are older than the row before them in {name!r}; they are sorted for"
            " the split",
            name,
        )
    values = checked.table[name]
    if pa.types.is_temporal(values.type):
        now = pa.scalar(checked.now.replace(tzinfo=None), pa.timestamp("us"))
        ahead = int(pc.sum(pc.greater(pc.cast(values, pa.timestamp("us")), now)).as_py() or 0)
        if ahead:
            answer.say(
                "data.time-future", "medium", f"{ahead} rows lie in the future by {name!r}", name
            )
