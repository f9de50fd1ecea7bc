"""Suspected wrong quantities: far from what a model expects that has not seen the row.

A quantity is suspicious where it lies far from what a gradient-boosted model, which has not seen
the row, expects: `FAR` robust deviations of all such distances (median absolute deviation, as
Iglewicz and Hoaglin, How to Detect and Handle Outliers, 1993), and at least `FLOOR` of the
quantity's own; positive quantities with a long tail are compared by their logarithms. Of several
quantities the farthest counts; those that the features barely tell (robust R2 below `WEAK_R2`) do
not. It cannot see a wrong quantity that is an ordinary one for other rows like it.
"""

from typing import Any

import numpy as np
from scipy.stats import skew
from sklearn.ensemble import ExtraTreesRegressor, HistGradientBoostingRegressor
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, cross_val_predict

from casemate.core.threads import fitting
from casemate.stages.data.screen.interface import Array, ScreenedRows
from casemate.stages.data.screen.out_of_fold import MAX_BINS, WIDE

WEAK_R2 = 0.1
"""Robust R2 below which features barely tell a quantity, and distances from what they expect say
nothing of errors. Chosen.
"""
FAR = 8.0
"""Robust deviations beyond which a quantity is named. Chosen, far above the 3.5 that Iglewicz and
Hoaglin take of normal data: a model's errors have longer tails.
"""
FLOOR = 0.02
"""Least spread of the distances, as a part of the quantity's own: a model that is nearly exact must
not make every rounding an outlier. Chosen.
"""
SKEWED = 1.0
"""Skewness of a positive quantity from which its logarithm is compared: a customary limit (Bulmer,
Principles of Statistics, 1979: beyond 1 it is highly skewed).
"""
MAD = 1.4826
"""Median absolute deviation -> standard deviation of a normal distribution."""


def distances(rows: ScreenedRows, quantities: Array, folds: int) -> tuple[Array, float]:
    """(robust deviations from the out-of-fold prediction, the greatest over the targets [n]; the
    best robust R2 of a target).
    """
    farthest, best = np.zeros(len(quantities)), -np.inf
    for quantity in quantities.T:
        values = np.log(quantity) if quantity.min() > 0 and skew(quantity) > SKEWED else quantity
        errors = values - _expected(rows, values, folds)
        usual = _spread(values)
        spread = max(_spread(errors), FLOOR * usual)
        # robust: one wild target must not hide itself
        r2 = 1.0 - (spread / usual) ** 2 if usual > 0 else 0.0
        best = max(best, r2)
        if r2 >= WEAK_R2 and spread > 0:
            farthest = np.maximum(farthest, np.abs(errors - np.median(errors)) / spread)
    return farthest, best


def _expected(rows: ScreenedRows, quantity: Array, folds: int) -> Array:
    """What a model that has not seen a row expects of its quantity, float64 [n]."""
    splitter = StratifiedKFold if rows.groups is None else StratifiedGroupKFold
    model: Any
    if rows.frame.shape[1] > WIDE:
        values: Any = np.nan_to_num(rows.coded.to_numpy(), nan=-1e6)
        model = ExtraTreesRegressor(100, min_samples_leaf=2, random_state=rows.seed, n_jobs=-1)
    else:
        values = rows.coded
        native = [
            column.name
            for column in rows.schema.categories
            if rows.frame[column.name].nunique() < MAX_BINS
        ]
        # A wild target must not pull its neighbours along; but where most are alike, their median
        # says nothing of the others.
        loss = "absolute_error" if _middling(quantity) > 0 else "squared_error"
        model = HistGradientBoostingRegressor(
            loss=loss, random_state=rows.seed, categorical_features=native or None
        )
    splits = list(
        splitter(folds, shuffle=True, random_state=rows.seed).split(values, rows.codes, rows.groups)
    )
    with fitting(rows.frame.size):
        return np.asarray(cross_val_predict(model, values, quantity, cv=splits))


def _middling(values: Array) -> float:
    """Median distance from the median; 0 where more than half of the values are alike."""
    return float(np.median(np.abs(values - np.median(values))))


def _spread(values: Array) -> float:
    """Robust standard deviation; where more than half of the values are alike, the plain one
    without the farthest hundredth.
    """
    apart = np.abs(values - np.median(values))
    return MAD * _middling(values) or float(np.std(values[apart <= np.quantile(apart, 0.99)]))
