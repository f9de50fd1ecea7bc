"""What models expect of labels that they have not seen: the ground of the label screen.

Five folds; a subject's rows are in one fold. Boosted trees of three sizes: one that joins no two
columns, so that it cannot learn away that one group's labels are noise; and small trees, which
follow noise least, or larger ones for what small ones cannot tell: the first fold says which. Which
of the two, or their mean, is believed is decided by log-loss on rows that they have not seen.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, cross_val_predict

from casemate.core.threads import fitting
from casemate.stages.data.screen.interface import Array, ScreenedRows

# Sizes of models; where one names no source it was chosen. None of them refuses anything by itself:
# `label_noise` judges what the models expect.
MAX_BINS = 255
"""HistGradientBoosting takes fewer categories than this natively; wider ones are ordered codes."""
WIDE = 200
"""From this many features on, randomised trees are as good and many times faster."""
MANY = 5
"""With more classes than this only the larger trees are grown: they grow one for every class."""
DEEP_ROWS = 2000
"""Rows below which only small trees are grown: larger ones follow noise there. Chosen."""
MOST_ROWS = 20_000
"""Rows that a model learns from at most. Of 200 000 x 30 rows with 5 % wrong labels, trees of
80 000 find 79 % of as many as are wrong, these 77 %, in half the time (`bench/trust.py`).
"""
TINY = 1e-6
"""Least probability: a label that no tree saw in a leaf is not impossible, and its logarithm must
be finite.
"""
SHALLOW: dict[str, Any] = {
    "max_iter": 60,
    "max_leaf_nodes": 6,
    "l2_regularization": 1.0,
    "interaction_cst": "no_interactions",
}
SMALL: dict[str, Any] = {"max_iter": 50, "max_leaf_nodes": 8, "l2_regularization": 1.0}
"""Trees that are too small to follow single labels; see above."""
DEEP: dict[str, Any] = {"max_iter": 60}
"""Trees of scikit-learn's own size (31 leaves), for what small ones cannot tell."""
Splits = list[tuple[Array, Array]]


@dataclass(frozen=True)
class Expectation:
    """Out-of-fold probabilities, float64 [n, k] each, in [`TINY`, 1]."""

    best: Array
    """Of the model, or the mean of models, with the smallest log-loss."""
    joint: Array
    """Of the best model that may join columns."""
    single: Array
    """Of the model that joins no columns; `joint` where none was trained."""


def expectation(rows: ScreenedRows, folds: int) -> Expectation:
    """What models that have not seen a row expect of its label."""
    kinds, splits = len(rows.schema.classes), _splits(rows, folds)
    if rows.frame.shape[1] > WIDE:
        trees = ExtraTreesClassifier(100, min_samples_leaf=2, random_state=rows.seed, n_jobs=-1)
        found = _predicted(rows, trees, np.nan_to_num(rows.coded.to_numpy(), nan=-1e6), splits)
        return Expectation(found, found, found)
    if kinds > MANY:
        found = _boosted(rows, DEEP, splits)
        return Expectation(found, found, found)
    single, joint = _boosted(rows, SHALLOW, splits), _boosted(rows, _size(rows, splits), splits)
    return Expectation(_better(rows, [joint, single, (joint + single) / 2]), joint, single)


def _better(rows: ScreenedRows, found: list[Array]) -> Array:
    return min(found, key=lambda probabilities: _loss(rows.codes, probabilities))


def _loss(codes: Array, probabilities: Array) -> float:
    return float(
        log_loss(
            codes,
            probabilities / probabilities.sum(axis=1, keepdims=True),
            labels=range(probabilities.shape[1]),
        )
    )


def _size(rows: ScreenedRows, splits: Splits) -> dict[str, Any]:
    """Small or larger trees: in a table that is large enough for larger ones, what is better on the
    first fold.
    """
    if len(rows.codes) < DEEP_ROWS:
        return SMALL
    train, test = splits[0]
    losses = []
    for size in (SMALL, DEEP):
        with fitting(rows.frame.size // 4):
            found = (
                _trees(rows, size)
                .fit(rows.coded.iloc[train], rows.codes[train])
                .predict_proba(rows.coded.iloc[test])
            )
        losses.append(_loss(rows.codes[test], np.clip(found, TINY, 1.0)))
    return SMALL if losses[0] <= losses[1] else DEEP


def _boosted(rows: ScreenedRows, size: dict[str, Any], splits: Splits) -> Array:
    return _predicted(rows, _trees(rows, size), rows.coded, splits)


def _trees(rows: ScreenedRows, size: dict[str, Any]) -> HistGradientBoostingClassifier:
    native = [
        column.name
        for column in rows.schema.categories
        if rows.frame[column.name].nunique() < MAX_BINS
    ]
    return HistGradientBoostingClassifier(
        categorical_features=native or None, random_state=rows.seed, **size
    )


def _splits(rows: ScreenedRows, folds: int) -> Splits:
    splitter = StratifiedKFold if rows.groups is None else StratifiedGroupKFold
    splits = splitter(folds, shuffle=True, random_state=rows.seed).split(
        rows.coded, rows.codes, rows.groups
    )
    random = np.random.default_rng(rows.seed)
    return [
        (random.choice(train, MOST_ROWS, replace=False) if len(train) > MOST_ROWS else train, test)
        for train, test in splits
    ]


def _predicted(rows: ScreenedRows, model: Any, values: Any, splits: Splits) -> Array:
    with fitting(rows.frame.size // 4):  # small trees are a quarter of the work
        found = np.asarray(
            cross_val_predict(model, values, rows.codes, cv=splits, method="predict_proba"),
            dtype=np.float64,
        )
    return np.clip(found, TINY, 1.0)
