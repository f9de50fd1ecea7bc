"""From what mistakes cost to the probability from which a row is called positive, on predictions of
rows that training did not see.

Of calibrated probabilities the best threshold follows from the costs alone (Elkan, The Foundations
of Cost-Sensitive Learning, IJCAI 2001). So out-of-fold probabilities are calibrated by Platt's
curve (Probabilistic Outputs for Support Vector Machines, 1999), and the threshold is where the
curve reaches that. To take the threshold that was cheapest out of fold would follow the few rows
that cost most.
"""

from typing import Any

import numpy as np
from scipy import special
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.utils.parallel import Parallel, delayed

from casemate.config import TrainTable
from casemate.core.threads import fitting
from casemate.ml.frame import wanted
from casemate.ml.learn.calibrate import adjustable, scores
from casemate.ml.learn.weights import fit_params
from casemate.stages.train.calibrate import Fold
from casemate.stages.train.folds import FEW, Rows, splits

TINY = 1e-9
"""Least distance of a probability from 0 and 1, so that its log-odds are finite."""
LEAST_SLOPE = 0.1
"""Of a curve as flat as this the probabilities hardly say anything: then the costs alone decide."""
DIGITS = 6
"""A threshold with more could tell something of a row."""
Array = np.ndarray[Any, Any]


def out_of_fold(estimator: Any, rows: Rows, options: TrainTable) -> list[Fold]:
    """What a model without each fold says of the fold's rows: scores as in `calibrate`, of other
    classifiers log-odds [m] of the second class.
    """
    folds = splits(rows, options, options.folds, options.seed)
    with fitting(FEW * rows.frame.size):
        found = Parallel(n_jobs=options.jobs)(
            delayed(_asked)(clone(estimator), rows.at(train), rows.at(test))
            for train, test in folds
        )
    return [Fold(test, said) for (_, test), said in zip(folds, found, strict=True)]


def _asked(estimator: Any, taught: Rows, asked: Rows) -> Array:
    fitted = estimator.fit(
        taught.frame, wanted(taught.target), **fit_params(estimator, taught.weights)
    )
    if adjustable(fitted):
        return scores(fitted, asked.frame)
    return np.asarray(
        special.logit(np.clip(fitted.predict_proba(asked.frame)[:, 1], TINY, 1 - TINY))
    )


def by_costs(costs: tuple[float, float]) -> float:
    """The threshold of calibrated probabilities: where both mistakes are as dear, given a wrong
    answer's cost for a row of each class.
    """
    return float(np.round(costs[0] / (costs[0] + costs[1]), DIGITS))


def cheapest(
    codes: Array, said: Array, costs: tuple[float, float], weights: Array | None = None
) -> float:
    """The probability at and above which the second class is said.

    Args:
        codes: true class numbers, [n].
        said: log-odds of the second class, out of fold, [n].
        costs: of a wrong answer for a row of the first and of the second class, above zero.
        weights: what each row weighs, [n]; None: all weigh alike.
    """
    usual = special.logit(by_costs(costs))
    curve = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000).fit(
        said[:, None], codes, sample_weight=weights
    )
    slope, start = float(curve.coef_[0, 0]), float(curve.intercept_[0])
    at = (usual - start) / slope if slope > LEAST_SLOPE else usual
    return float(np.clip(special.expit(at).round(DIGITS), 10.0**-DIGITS, 1 - 10.0**-DIGITS))
