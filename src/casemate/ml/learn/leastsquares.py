"""Least squares that can be unlearnt: ridge regression by sums over rows, from which a row's share
is taken off.

The coefficients are a function of the sums of x xᵀ and x y (Hoerl and Kennard, Ridge Regression,
Technometrics 12(1), 1970), so that without some rows they are those of a fit without them, up to
the rounding of sums: within `TOLERANCE` of the largest coefficient, as long as the columns are of
like size. A logistic regression has no such sums: train it anew.

>>> import numpy as np
>>> from casemate.ml.learn.leastsquares import UnlearnableRidge
>>> X, y = np.arange(10.0).reshape(-1, 1), np.arange(10.0) * 2
>>> round(float(UnlearnableRidge(alpha=0.0).fit(X, y).unlearn(X[:3], y[:3]).coef_[0]), 6)
2.0
"""

from typing import Any

import numpy as np
from scipy import linalg
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.linear_model import Ridge
from sklearn.utils.validation import (
    _check_sample_weight,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

from casemate.ml.learn.forest import STATE

Array = np.ndarray[Any, Any]
TOLERANCE = 1e-8
"""Relative difference between unlearning and a fit without the rows."""


class UnlearnableRidge(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Ridge regression that keeps its sums.

    Args:
        alpha: penalty on the squares of the coefficients, not of the intercept; 0: least squares.
    """

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = alpha

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:  # noqa: N803 - scikit-learn's names
        """Sum the rows and solve.

        Args:
            X: numbers [n, d].
            y: quantity per row.
            sample_weight: per row.
        """
        rows, y, weight = self._checked(X, y, sample_weight, reset=True)
        self.gram_, self.moment_, self.rows_ = *_sums(rows, y, weight), len(rows)
        return self._solved()

    def unlearn(self, X: Any, y: Any, sample_weight: Any = None) -> Any:  # noqa: N803
        """Take rows off that were learnt; what the rows are is for the caller to know.

        Args:
            X: the rows that go, [m, d], exactly as they were learnt.
            y: theirs.
            sample_weight: theirs.

        Raises:
            ValueError: there are not so many, or they were not all learnt, as far as sums tell.
        """
        check_is_fitted(self)
        rows, y, weight = self._checked(X, y, sample_weight, reset=False)
        if len(rows) >= self.rows_:
            raise ValueError(f"the model is of {self.rows_} rows: fewer must go")
        gram, moment = _sums(rows, y, weight)
        left = self.gram_ - gram
        if (np.diag(left) < -TOLERANCE * np.diag(self.gram_)).any():
            raise ValueError("these rows were not all learnt: more would go than is there")
        self.gram_, self.moment_, self.rows_ = left, self.moment_ - moment, self.rows_ - len(rows)
        return self._solved()

    def _checked(self, X: Any, y: Any, weight: Any, *, reset: bool) -> tuple[Array, Array, Array]:  # noqa: N803
        seen, y = validate_data(self, X, y, reset=reset, dtype=np.float64, y_numeric=True)
        given = _check_sample_weight(weight, seen, dtype=np.float64)
        return np.hstack([np.ones((len(seen), 1)), seen]), column_or_1d(y).astype(np.float64), given

    def _solved(self) -> Any:
        penalty = np.diag([0.0, *[float(self.alpha)] * (len(self.gram_) - 1)])
        found = linalg.lstsq(self.gram_ + penalty, self.moment_)[0]
        self.intercept_, self.coef_ = float(found[0]), found[1:]
        return self

    def predict(self, X: Any) -> Array:  # noqa: N803
        """Float64 [n]."""
        check_is_fitted(self)
        rows = validate_data(self, X, reset=False, dtype=np.float64)
        return np.asarray(rows @ self.coef_ + self.intercept_)

    def as_sklearn(self) -> Any:
        """The same as scikit-learn's own class, without the sums, which model files hold."""
        check_is_fitted(self)
        made = Ridge(alpha=self.alpha)
        made.coef_, made.intercept_ = self.coef_, self.intercept_
        made.n_features_in_, made.n_iter_, made.solver_ = self.n_features_in_, None, "cholesky"
        if hasattr(self, "feature_names_in_"):
            made.feature_names_in_ = self.feature_names_in_
        setattr(made, STATE, {"trees": [], "each": 0, "rows": int(self.rows_), "digest": ""})
        return made


def _sums(rows: Array, y: Array, weight: Array) -> tuple[Array, Array]:
    weighted = rows * weight[:, None]
    return weighted.T @ rows, weighted.T @ y
