"""How well features tell the classes apart: areas under the ROC curve, by a quick look or
cross-validated.
"""

from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import rankdata
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, cross_val_predict
from sklearn.tree import DecisionTreeClassifier

from casemate.core.threads import fitting

BINS = 32
"""Bins of the quick look, by quantiles. Chosen: fine enough for a cut to show, few enough to hold
rows.
"""
FOLDS = 3
"""Of the cross-validation; a class with fewer rows, or subjects, is not looked at. Chosen: the
least number that leaves most rows to learn from.
"""
Array = np.ndarray[Any, Any]


def shallow_tree(rows: int) -> DecisionTreeClassifier:
    """A tree of few leaves."""
    return DecisionTreeClassifier(max_depth=4, min_samples_leaf=max(5, rows // 400), random_state=0)


def quick_auc(values: Array, codes: Array) -> float:
    """AUC that a feature's bins have on the very rows they were made from: a little too good, and
    quick; the best class counts.
    """
    edges = (
        np.unique(np.nanquantile(values, np.linspace(0, 1, BINS + 1)[1:-1]))
        if not np.isnan(values).all()
        else np.array([])
    )
    places = np.where(
        np.isnan(values), len(edges) + 1, np.searchsorted(edges, values, side="right")
    )
    counts = np.maximum(np.bincount(places), 1)
    best = 0.5
    for code in np.unique(codes):
        positive = codes == code
        score = (np.bincount(places, positive, len(counts)) / counts)[places]
        size = int(positive.sum())
        best = max(
            best,
            float(
                (rankdata(score)[positive].sum() - size * (size + 1) / 2)
                / (size * (len(codes) - size))
            ),
        )
    return best


def probabilities(model: Any, frame: pd.DataFrame, codes: Array, whose: Array) -> Array:
    """Probabilities of the classes, cross-validated with each subject (`whose` [n]) on one side,
    [n, classes].
    """
    with fitting(frame.size):
        folds = _folds(codes.tobytes(), np.ascontiguousarray(whose, dtype=np.int64).tobytes())
        return np.asarray(cross_val_predict(model, frame, codes, cv=folds, method="predict_proba"))


def reached(honest: pd.DataFrame, codes: Array, whose: Array) -> float:
    """The AUC that the other features reach together; 0.5 where there are none."""
    if not honest.shape[1]:
        return 0.5
    model = HistGradientBoostingClassifier(max_iter=30, random_state=0)
    return auc(codes, probabilities(model, honest, codes, whose))


@lru_cache(maxsize=1)
def _folds(codes: bytes, whose: bytes) -> list[tuple[Array, Array]]:
    """The same for every feature."""
    classes, groups = np.frombuffer(codes, dtype=np.int64), np.frombuffer(whose, dtype=np.int64)
    repeated = len(np.unique(groups)) < len(groups)
    kind = StratifiedGroupKFold if repeated else StratifiedKFold
    folds = kind(FOLDS, shuffle=True, random_state=0)
    return list(folds.split(classes, classes, groups if repeated else None))


def auc(codes: Array, found: Array) -> float:
    """The area; of several classes the mean of each against the rest."""
    if found.shape[1] == 2:
        return float(max(roc_auc_score(codes, found[:, 1]), 0.5))
    return float(max(roc_auc_score(codes, found, multi_class="ovr"), 0.5))
