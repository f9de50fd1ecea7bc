"""What the rows under suspicion do to a model: the same model, trained with and without them, on
rows beyond suspicion.
"""

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold

from casemate.core.threads import fitting
from casemate.core.types import Quarantined
from casemate.stages.data.screen.interface import ScreenedRows

ROWS = 20_000
"""Rows that are looked at, a sample; chosen for time. The figure advises, and blocks only where
`[gates]` names it.
"""
FOLDS = 3
"""Of the cross-validation: each model is trained twice a fold. Chosen for time."""
LEAST = 5
"""Suspects in the sample below which their influence is noise. Chosen."""


def influence(rows: ScreenedRows, suspects: list[Quarantined]) -> float | None:
    """AUC gained by leaving them out, on unsuspicious rows of held-out folds; None where that
    cannot be measured.
    """
    at = rows.sample(ROWS)
    flagged = np.zeros(len(rows.codes), dtype=bool)
    flagged[[suspect.row for suspect in suspects]] = True
    flagged, codes, values = flagged[at], rows.codes[at], rows.coded.to_numpy()[at]
    clean = np.bincount(codes[~flagged], minlength=len(rows.schema.classes))
    if flagged.sum() < LEAST or clean.min() < 2 * FOLDS or values.shape[1] > 200:
        return None
    gains = []
    for train, test in StratifiedKFold(FOLDS, shuffle=True, random_state=rows.seed).split(
        values, codes
    ):
        clean_test = test[~flagged[test]]
        scores = []
        for part in (train, train[~flagged[train]]):
            with fitting(values[part].size):
                found = (
                    HistGradientBoostingClassifier(max_iter=50, random_state=rows.seed)
                    .fit(values[part], codes[part])
                    .predict_proba(values[clean_test])
                )
            true = codes[clean_test]
            scores.append(
                roc_auc_score(true, found[:, 1])
                if found.shape[1] == 2
                else roc_auc_score(true, found, multi_class="ovr")
            )
        gains.append(scores[1] - scores[0])
    return float(np.mean(gains))
