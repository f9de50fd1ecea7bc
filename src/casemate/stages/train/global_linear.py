"""A linear model that sites learnt together, as an estimator of scikit-learn's own steps: what
casemate imports, measures, signs and serves like any other.

Sites train on numbers less their mean over their deviation, within declared limits. The same
function is written as stock steps here: fill in the mean, clip and scale by the limits, one column
a declared value, and coefficients for that scale.
"""

from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder

from casemate.core.types import Schema
from casemate.ml.federated.encoding import Limits, Scale
from casemate.ml.models import dump_skops

Array = np.ndarray[Any, Any]


def skops_file(
    weights: Array, scale: Scale, limits: Limits, columns: Schema, settings: dict[str, float]
) -> bytes:
    """The model as a skops file, the same bytes for equal models.

    Args:
        weights: flat [p], as `LinearLearner.split` takes them apart; of a quantity its coefficients
            [d] and the intercept.
        scale: of the numbers.
        limits: of the features.
        columns: features and target of the charter.
        settings: `C` of a classifier, `alpha` of a regression.
    """
    return dump_skops(estimator_of(weights, scale, limits, columns, settings))


def estimator_of(
    weights: Array, scale: Scale, limits: Limits, columns: Schema, settings: dict[str, float]
) -> Pipeline:
    """The fitted pipeline; arguments as `skops_file` has them."""
    outputs = 1 if columns.regression or len(columns.classes) == 2 else len(columns.classes)
    coefficients = weights[:-outputs].reshape(limits.width, outputs)
    slopes, shifts = _for_limits(coefficients, scale, limits)
    intercepts = weights[-outputs:] + shifts
    features, width = _features(scale, limits, columns), limits.width
    final: Any
    if columns.regression:
        final = Ridge(alpha=settings["alpha"])
        final.coef_, final.intercept_ = slopes[:, 0], float(intercepts[0])
    else:
        final = LogisticRegression(C=settings["C"])
        final.classes_ = np.array(columns.classes)
        final.coef_, final.intercept_ = np.ascontiguousarray(slopes.T), intercepts
        final.n_iter_ = np.array([1], dtype=np.int32)
    final.n_features_in_ = width
    return Pipeline([("features", features), ("model", final)])


def _for_limits(coefficients: Array, scale: Scale, limits: Limits) -> tuple[Array, Array]:
    """(coefficients [d, m] of numbers from 0 to 1 within their limits, what the intercepts [m]
    gain).
    """
    low, high = np.array([*limits.numbers.values()]).reshape(-1, 2).T
    means, spread = np.array(scale.means), np.array(scale.deviations)
    many = len(low)
    slopes = coefficients.copy()
    slopes[:many] *= ((high - low) / spread)[:, None]
    return slopes, ((low - means) / spread) @ coefficients[:many]


def _features(scale: Scale, limits: Limits, columns: Schema) -> ColumnTransformer:
    """The steps before the last one, fitted on rows that nobody owns: the ends of the limits, and
    the declared values.
    """
    steps = [("mean", SimpleImputer()), ("limits", MinMaxScaler(clip=True))]
    found = features_of(limits, columns, Pipeline(steps))
    if limits.numbers:
        found.named_transformers_["numbers"]["mean"].statistics_ = np.array(scale.means)
    return found


def features_of(limits: Limits, columns: Schema, numbers: Any) -> ColumnTransformer:
    """`numbers` for the columns of numbers and a column a declared value of each category, fitted
    on the ends of the limits.
    """
    kinds, parts = limits.categories, []
    if limits.numbers:
        parts.append(("numbers", numbers, [*limits.numbers]))
    if kinds:
        values = [np.array(one, dtype=object) for one in kinds.values()]
        encoder = OneHotEncoder(
            categories=values, handle_unknown="ignore", sparse_output=False, dtype=np.float64
        )
        parts.append(("categories", encoder, [*kinds]))
    ends = {
        column.name: (
            [kinds[column.name][0]] * 2 if column.name in kinds else limits.numbers[column.name]
        )
        for column in columns.features
    }
    found = ColumnTransformer(parts, sparse_threshold=0.0)
    return found.fit(pd.DataFrame({name: pd.Series(two) for name, two in ends.items()}))
