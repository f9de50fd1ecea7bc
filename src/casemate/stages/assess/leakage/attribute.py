"""Attribute inference: does the model give away a sensitive value of somebody whose other values are known.

The attacker knows a row but for one column, its label, and may ask the model: he picks the value under which the model is
surest of the label (Fredrikson et al., Privacy in Pharmacogenetics, USENIX Security 2014). What counts is how much better
that works on training rows than on other rows (Yeom et al., CSF 2018): the rest is what the population tells anyway.
"""

from typing import Any

import msgspec
import numpy as np

from casemate.config import AssessTable
from casemate.core.models import Model
from casemate.core.types import Schema
from casemate.stages.assess.leakage.membership import LEAST_ROWS, TooFewRows
from casemate.stages.assess.sample import Sample, checked, interval, sureness

MOST_VALUES = 12


class NothingToInfer(ValueError):
    """No column that could be inferred."""


def columns(schema: Schema, protected: list[str]) -> list[str]:
    """The categories with few values that are sensitive or protected; where there are none, all with few values."""
    few = [column for column in schema.categories if 2 <= len(column.categories or []) <= MOST_VALUES]
    sensitive = [column.name for column in few if column.column_class == "sensitive" or column.name in protected]
    return sensitive or [column.name for column in few]


def measure(model: Model, schema: Schema, members: Sample, holdout: Sample, options: AssessTable, protected: list[str], seed: int) -> dict[str, Any]:
    """`advantage` with interval: the largest difference of the attack's accuracy on members and on other rows; `columns` in full."""
    names = columns(schema, protected)
    if not names:
        raise NothingToInfer("no category with at most 12 values")
    count = min(len(members.target), len(holdout.target), options.attribute_rows)
    if count < LEAST_ROWS:
        raise TooFewRows(f"{count} rows a side, at least {LEAST_ROWS} are needed")
    sides = [members.take(count, seed), holdout.take(count, seed)]
    found = []
    for name in names:
        values = list(schema.column(name).categories or [])
        hits = [_guessed(model, side, name, values) for side in sides]
        gap = interval(lambda a, b: float(a.mean() - b.mean()), hits, options.bootstrap, seed)
        found.append({"column": name, "members": float(hits[0].mean()), "others": float(hits[1].mean()), "advantage": msgspec.to_builtins(gap)})
    worst = max(found, key=lambda one: one["advantage"]["value"])
    return {"attack": "model-inversion", "advantage": worst["advantage"], "columns": found, "rows_per_side": count}


def _guessed(model: Model, side: Sample, name: str, values: list[str]) -> np.ndarray[Any, Any]:
    """Whether the value that makes the model surest of the true label is the true one, float [n]."""
    sure = []
    for value in values:
        frame = side.frame.copy()
        frame[name] = np.array([value] * len(frame), dtype=object)
        sure.append(sureness(checked(model.predict(frame)[1]), side.target))
    guess = np.array(values, dtype=object)[np.argmax(np.array(sure), axis=0)]
    return np.asarray(guess == side.frame[name].to_numpy(), dtype=np.float64)
