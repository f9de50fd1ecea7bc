"""Membership inference from labels alone: what a caller learns who sees no probabilities.

Source: Choquette-Choo, Tramèr, Carlini, Papernot, Label-Only Membership Inference Attacks (ICML
2021): a row that was trained on is right more often (the gap attack of Yeom et al., CSF 2018) and
lies further from the boundary, so that its label withstands more noise. Numbers are moved by shares
of their spread, of several sizes, categories now and then; how much right labels and each size of
noise say is learnt from rows whose side the attacker knows, others are judged.
"""

from typing import Any

import msgspec
import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, cross_val_predict

from casemate.config import AssessTable
from casemate.ml.models import Model
from casemate.stages.assess.leakage.membership import LEAST_ROWS, TooFewRows
from casemate.stages.assess.leakage.rates import told_apart
from casemate.stages.assess.roc import auc as area
from casemate.stages.assess.sample import OfClasses, Sample
from casemate.stages.assess.subjects import repeated

SIZES = (0.05, 0.1, 0.2, 0.4)
"""Deviations of the noise, as shares of each number's spread."""
COPIES = 6
"""Noisy copies of a row for each size."""
FLIPS = 0.5
"""Chance that a category becomes another row's, as a share of the size of the noise."""
FOLDS = 5
"""The attacker knows the side of four fifths of the rows, and is judged by the last fifth, five
times.
"""
ROWS = 400
"""Rows a side at most: each costs 25 queries."""


def measure(
    model: Model, members: Sample, holdout: Sample, options: AssessTable, seed: int
) -> dict[str, Any]:
    """`auc` of the stronger one with interval, `gap_auc` of the gap attack alone, `queries`,
    `rows_per_side`.

    Raises:
        OfClasses: quantities have no labels. TooFewRows: there are not enough rows on one side.
    """
    if members.target.ndim == 2:
        raise OfClasses("quantities have no labels")
    count = min(len(members.target), len(holdout.target), options.membership_rows, ROWS)
    if count < LEAST_ROWS:
        raise TooFewRows(f"{count} rows a side, at least {LEAST_ROWS} are needed")
    rows = members.take(count, seed).joined(holdout.take(count, seed))
    spread = members.frame.select_dtypes("number").std(ddof=0)
    generator = np.random.default_rng(seed)
    right = _right(model, rows.frame, rows.target)
    kept = [
        [
            _right(model, _noisy(rows.frame, spread, size, generator), rows.target)
            for _ in range(COPIES)
        ]
        for size in SIZES
    ]
    member = np.r_[np.ones(count), np.zeros(count)]
    seen = np.column_stack([right, *(right * np.mean(copies, axis=0) for copies in kept)])
    groups = repeated(rows.groups)
    folds = (StratifiedKFold if groups is None else StratifiedGroupKFold)(
        FOLDS, shuffle=True, random_state=seed
    )
    score = cross_val_predict(
        LogisticRegression(), seen, member, groups=groups, cv=folds, method="decision_function"
    )
    stronger = max(score, right, key=lambda tried: area(member, tried))
    return {
        "attack": "label-only",
        "auc": msgspec.to_builtins(
            told_apart(member, stronger, rows.groups, options.bootstrap, seed)
        ),
        "gap_auc": area(member, right),
        "queries": len(member) * (1 + len(SIZES) * COPIES),
        "rows_per_side": count,
    }


def _right(model: Model, frame: pd.DataFrame, codes: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Whether each label is right, float64 [n]."""
    return np.asarray(np.asarray(model.predict(frame)[0]).ravel() == codes, dtype=np.float64)


def _noisy(
    frame: pd.DataFrame, spread: pd.Series, size: float, generator: np.random.Generator
) -> pd.DataFrame:
    """The rows with noise of one size."""
    moved = {}
    for name in frame.columns:
        values = frame[name].to_numpy()
        if name in spread:
            moved[name] = values + size * spread[name] * generator.standard_normal(len(values))
        else:
            moved[name] = np.where(
                generator.random(len(values)) < FLIPS * size, generator.permutation(values), values
            )
    return pd.DataFrame(moved, copy=False)
