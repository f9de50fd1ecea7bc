"""Attribute inference: does the model give away a sensitive value of somebody whose other values
are known.

The attacker knows a row but for one column, its label, and may ask the model: he picks the value
under which the model is surest of the label (Fredrikson et al., Privacy in Pharmacogenetics, USENIX
Security 2014). What counts is how much better that works on training rows than on other rows (Yeom
et al., CSF 2018): the rest is what the population tells anyway.
"""

from typing import Any

import msgspec
import numpy as np
import pandas as pd
from msgspec import structs

from casemate.config import AssessTable
from casemate.core.types import MISSING_CATEGORY, Interval, Schema
from casemate.ml.models import Model
from casemate.stages.assess import intervals
from casemate.stages.assess.leakage.membership import LEAST_ROWS, TooFewRows
from casemate.stages.assess.sample import MOST_VALUES, Sample, checked, sureness
from casemate.stages.assess.subjects import Groups, repeated

Array = np.ndarray[Any, Any]


class NothingToInfer(ValueError):
    """No column that could be inferred."""


def columns(schema: Schema, frame: pd.DataFrame, protected: list[str]) -> list[str]:
    """The features with few values that are sensitive or protected; where there are none, all with
    few values.
    """
    few = [
        column for column in schema.features if 2 <= len(_values(frame, column.name)) <= MOST_VALUES
    ]
    sensitive = [
        column.name
        for column in few
        if column.column_class == "sensitive" or column.name in protected
    ]
    return sensitive or [column.name for column in few]


def measure(
    model: Model,
    schema: Schema,
    members: Sample,
    holdout: Sample,
    options: AssessTable,
    protected: list[str],
    seed: int,
) -> dict[str, Any]:
    """`advantage` with interval: the largest difference of the attack's accuracy on members and on
    other rows; `columns` in full.
    """
    count = min(len(members.target), len(holdout.target), options.attribute_rows)
    if count < LEAST_ROWS:
        raise TooFewRows(f"{count} rows a side, at least {LEAST_ROWS} are needed")
    names = columns(schema, members.frame, protected)
    if not names:
        raise NothingToInfer(f"no feature with at most {MOST_VALUES} values")
    sides = [members.take(count, seed), holdout.take(count, seed)]
    found: list[dict[str, Any]] = []
    hits: list[list[tuple[Array, Groups]]] = []
    for name in names:
        values = _values(members.frame, name)
        right = [_guessed(model, side, name, values) for side in sides]
        hits.append([(one, side.groups) for one, side in zip(right, sides, strict=True)])
        gap = _advantage(hits[-1], intervals.LEVEL)
        found.append(
            {
                "column": name,
                "members": float(right[0].mean()),
                "others": float(right[1].mean()),
                "advantage": msgspec.to_builtins(gap),
            }
        )
    worst = intervals.greatest(lambda level: [_advantage(both, level) for both in hits])
    return {
        "attack": "model-inversion",
        "advantage": msgspec.to_builtins(worst),
        "columns": found,
        "rows_per_side": count,
    }


def _values(frame: pd.DataFrame, name: str) -> Array:
    """The values that an attacker tries: those that occur, whether they are numbers or names."""
    values = frame[name].dropna().unique()
    return np.asarray(values[values != MISSING_CATEGORY])


def _advantage(hits: list[tuple[Array, Groups]], level: float) -> Interval:
    gap = intervals.total([_share(*side, level) for side in hits], [1.0, -1.0])
    return structs.replace(gap, value=float(hits[0][0].mean() - hits[1][0].mean()))


def _share(hits: Array, groups: Groups, level: float) -> Interval:
    if repeated(groups) is not None:
        return intervals.score_of(hits, groups, level)
    return intervals.score(round(float(hits.sum())), len(hits), level)


def _guessed(model: Model, side: Sample, name: str, values: Array) -> Array:
    """Whether the value that makes the model surest of the true label is the true one, float [n];
    ties count by chance.
    """
    sure = []
    for value in values:
        frame = side.frame.copy()
        frame[name] = pd.Series(value, index=frame.index, dtype=frame[name].dtype)
        sure.append(sureness(checked(model.predict(frame)[1]), side.target))
    surest = np.array(sure) >= np.max(sure, axis=0)
    true = values[:, None] == side.frame[name].to_numpy()[None, :]
    return np.asarray((surest & true).any(axis=0) / surest.sum(axis=0), dtype=np.float64)
