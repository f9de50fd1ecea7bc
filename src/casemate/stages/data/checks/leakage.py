"""Features that know the answer: alone they predict better than all the others together, or nearly perfectly.

One shallow tree a feature, cross-validated; missing values are a value of their own, because a field that is filled in only
after the outcome is the most common leak. Source of the idea: Kaufman, Rosset, Perlich, Leakage in Data Mining (KDD 2011).
"""

from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binomtest, rankdata
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.tree import DecisionTreeClassifier

from casemate.core.frame import numeric
from casemate.core.threads import fitting
from casemate.core.types import MISSING_CATEGORY
from casemate.stages.data.checks.interface import Answer, Subject

ROWS = 4_000
BINS = 32
TRIED = 3
"""Features, the best by a quick look, that are looked at closely."""
FOLDS = 3
SUSPICIOUS, CERTAIN, LEAD = 0.9, 0.995, 0.02
FILLED_LATER = 0.85
"""AUC of a feature's mere presence from which it is taken for filled in after the outcome."""
PURE, LEAST, SURE = 0.99, 20, 1e-6
Array = np.ndarray[Any, Any]


def check(subject: Subject) -> Answer:
    """Findings, and `leakage_auc`: the largest AUC of a single feature. Nothing where a class is smaller than the folds."""
    answer = Answer()
    at = subject.sample(ROWS)
    codes = subject.codes[at]
    counts = np.bincount(codes)
    kept = np.isin(codes, np.flatnonzero(counts >= FOLDS))
    codes = codes[kept]
    if len(np.unique(codes)) < 2:
        return answer
    frame = numeric(subject.frame.iloc[at[kept]], subject.schema)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    quick = {str(name): _quick(frame[name].to_numpy(), codes) for name in frame.columns}
    best = sorted(quick, key=lambda name: -quick[name])[:TRIED]
    alone = {name: _auc(_tree(len(codes)), frame[[name]], codes, folds) for name in best}
    answer.figures["leakage_auc"] = max(alone.values(), default=0.5)
    missing = _missing(subject.frame.iloc[at[kept]])
    for name, absent in missing.items():
        _presence(name, absent, codes, answer)
    for name, value in sorted(alone.items(), key=lambda item: -item[1]):
        if value < FILLED_LATER:
            continue
        others = frame.drop(columns=[name])
        rest = _auc(HistGradientBoostingClassifier(max_iter=30, random_state=0), others, codes, folds) if others.shape[1] else 0.5
        filled = _auc(_tree(len(codes)), pd.DataFrame({name: missing[name].astype(float)}), codes, folds)
        later = filled >= FILLED_LATER
        if not later and (value < SUSPICIOUS or (value <= rest + LEAD and value < CERTAIN)):
            continue
        severity = "high" if later or (value >= CERTAIN and rest < value - LEAD) else "low"
        text = f"{name!r} alone predicts the target with AUC {value:.3f}, all other features together with {rest:.3f}"
        text += f", and whether it is filled in with {filled:.3f}: it may be known only after the outcome" if later else ": it may know the answer"
        answer.say("data.leakage", severity, text, name, "medium")
    return answer


def _missing(frame: pd.DataFrame) -> dict[str, Array]:
    return {str(name): np.asarray(frame[name].isna() | (frame[name] == MISSING_CATEGORY)) for name in frame.columns}


def _presence(name: str, missing: Array, codes: Array, answer: Answer) -> None:
    """A feature that is there, or not there, for one class only."""
    for absent in (False, True):
        group = codes[missing == absent]
        if not LEAST <= len(group) <= len(codes) - LEAST:
            continue
        counts = np.bincount(group, minlength=int(codes.max()) + 1)
        usual = float(np.mean(codes == counts.argmax()))
        p = binomtest(int(counts.max()), len(group), min(max(usual, 1e-6), 1 - 1e-6), alternative="greater").pvalue
        if counts.max() >= PURE * len(group) and p < SURE:
            word = "missing" if absent else "filled in"
            text = f"where {name!r} is {word}, {counts.max() / len(group):.1%} of {len(group)} rows have one class (usual: {usual:.1%})"
            answer.say("data.leakage-presence", "medium", text, name, "medium")


def _tree(rows: int) -> DecisionTreeClassifier:
    return DecisionTreeClassifier(max_depth=4, min_samples_leaf=max(5, rows // 400), random_state=0)


def _quick(values: Array, codes: Array) -> float:
    """AUC that a feature's bins have on the very rows they were made from: a little too good, and quick; the best class counts."""
    edges = np.unique(np.nanquantile(values, np.linspace(0, 1, BINS + 1)[1:-1])) if not np.isnan(values).all() else np.array([])
    places = np.where(np.isnan(values), len(edges) + 1, np.searchsorted(edges, values, side="right"))
    counts = np.maximum(np.bincount(places), 1)
    best = 0.5
    for code in np.unique(codes):
        positive = codes == code
        score = (np.bincount(places, positive, len(counts)) / counts)[places]
        size = int(positive.sum())
        best = max(best, float((rankdata(score)[positive].sum() - size * (size + 1) / 2) / (size * (len(codes) - size))))
    return best


def _auc(model: Any, frame: pd.DataFrame, codes: Array, folds: Any) -> float:
    _, codes = np.unique(codes, return_inverse=True)
    with fitting(frame.size):
        found = cross_val_predict(model, frame, codes, cv=folds, method="predict_proba")
    if found.shape[1] == 2:
        return float(max(roc_auc_score(codes, found[:, 1]), 0.5))
    return float(max(roc_auc_score(codes, found, multi_class="ovr"), 0.5))
