"""From schema and `[robustness]` to what an attacker can change."""

import numpy as np
import pandas as pd

from casemate.core.types import FeatureLimits, Schema
from casemate.ml.attacks.interface import Array, Quantity, Target
from casemate.ml.models import Scored


def attack_surface(
    model: Scored,
    schema: Schema,
    rows: tuple[pd.DataFrame, Array],
    members: pd.DataFrame,
    limits: FeatureLimits,
    tolerance: Array | None = None,
) -> Target:
    """The attack surface of some rows.

    Args:
        model: what is attacked.
        schema: names the features and their pinned ranges.
        rows: feature frame [n] and class numbers [n], or quantities [n, t].
        members: rows that deviations are measured on.
        limits: what an attacker can do.
        tolerance: of quantities, how far an answer may lie from the truth, [t].
    """
    frame, codes = rows
    rules = {column.name: limits.feature(column.name) for column in schema.features}
    names = [
        column.name
        for column in schema.features
        if column.type == "number" and rules[column.name].change != "none"
    ]
    choices = {
        column.name: list(rules[column.name].to or [])
        for column in schema.categories
        if rules[column.name].to
    }
    low, high = (
        np.array(
            [
                default if (value := getattr(schema.column(name), limit)) is None else value
                for name in names
            ],
            dtype=np.float64,
        )
        for limit, default in (("min", -np.inf), ("max", np.inf))
    )
    if limits.unit == "range":
        span = high - low
        spread = np.where(np.isfinite(span), span, 0.0)
    else:
        spread = (
            np.nan_to_num(members[names].std(ddof=0).to_numpy(dtype=np.float64))
            if names
            else np.zeros(0)
        )
    budgets = np.array(
        [np.inf if rules[name].budget is None else rules[name].budget for name in names],
        dtype=np.float64,
    )
    down, up = (
        np.where(
            np.array([rules[name].change == other for name in names], dtype=bool), 0.0, budgets
        )
        for other in ("up", "down")
    )
    integer = np.array([rules[name].integer for name in names], dtype=bool)
    seen = (model, frame, codes, names, spread, low, high, down, up, integer, choices)
    return Target(*seen) if tolerance is None else Quantity(*seen, tolerance)
