"""Rows of made-up sites that grow trees together."""

import numpy as np
import pandas as pd

from casemate.ml.federated.encoding import Limits
from casemate.ml.federated.trees import Growth, Site

LIMITS = Limits(
    numbers={"a": (-4.0, 4.0), "b": (0.0, 50.0)}, categories={"c": ["x", "y", "z", "(missing)"]}
)


def site(
    rows: int = 240, classes: int = 2, seed: int = 0, *, growth: Growth, each: int | None = None
) -> Site:
    """With gaps, values beyond the limits, and a category that nobody declared.

    Args:
        rows: how many.
        classes: 0: a quantity.
        seed: of the rows.
        growth: of the trees.
        each: rows of a subject; None: rows stand for themselves.
    """
    chance = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "a": chance.normal(size=rows) * 2,
            "b": chance.integers(-5, 60, rows).astype(float),
            "c": chance.choice(["x", "y", "z", "(missing)", "new"], rows).astype(object),
        }
    )
    frame.loc[chance.random(rows) < 0.1, "a"] = np.nan
    score = np.abs(frame["a"].fillna(3.0)) + frame["b"] / 20 + (frame["c"] == "y")
    values = (score + chance.normal(0, 0.5, rows)).to_numpy()
    ends = np.quantile(values, np.arange(1, classes) / classes) if classes else []
    target = np.searchsorted(ends, values) if classes else values * 1e4 - 2e4
    owners = None if each is None else chance.permutation(rows) // each + 1000
    return Site(frame, target, LIMITS, classes, growth, owners=owners)
