"""A differentially private logistic regression on scaled, binned and one-hot features.

Full-batch gradient descent with clipped rows and Gaussian noise on each sum (Abadi et al., Deep
Learning with Differential Privacy, CCS 2016, without sampling, so that the privacy loss of all
steps is exactly one Gaussian's); momentum and averaging of the second half cost nothing. Binned
numbers make the model additive, as explainable boosting machines are (Nori et al., Accuracy,
Interpretability, and Differential Privacy via Explainable Boosting, ICML 2021).

>>> import pandas as pd
>>> from casemate.ml.learn.linear import PrivateClassifier
>>> frame = pd.DataFrame({"age": [20.0, 30.0, 60.0, 70.0] * 50})
>>> model = PrivateClassifier(epsilon=3.0, bounds={"age": (0, 120)}).fit(frame, [0, 0, 1, 1] * 50)
>>> model.spent_.steps  # one of them counts the rows
61
"""

from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    assert_all_finite,
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

from casemate.ml.learn import encoder
from casemate.ml.learn.accountant import Gaussians, sigma_for
from casemate.ml.learn.noise import Noise

Array = np.ndarray[Any, Any]
CHUNK = 65_536
"""Rows that are transformed or summed at once: bounds memory; sums are in the same order whatever
the machine.
"""
DEFAULT_BOUNDS = (-5.0, 5.0)
"""Of a number without declared limits, in whatever unit it comes: nothing may be learned from the
rows themselves. Wide for what was standardised; what lies outside is clipped.
"""


class PrivateClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Linear classifier whose coefficients are (epsilon, delta)-differentially private for one row,
    or one subject, more or less.

    After `fit`, `model_` is a plain scikit-learn pipeline and `spent_` what it cost. The columns'
    names and, without `classes`, the classes of `y` count as public; the number of rows does not.

    Args:
        epsilon: privacy budget of the fit.
        delta: chance beyond it; well below 1 / rows.
        bounds: (least, greatest) for all numbers, or per column name; values outside are clipped.
            Never computed from data.
        categories: declared values per category column.
        bins: bins per scale of a number; 0: the scaled value alone.
        steps: noisy gradient steps.
        rate: learning rate, for rows of norm at most 1.
        clip: largest norm of one row's (or subject's) gradient.
        momentum: of the descent.
        sigma: noise over the clip, if it is decided elsewhere; None: the least that epsilon allows.
        classes: declared classes, whichever of them `y` holds; None: those of `y`.
        units: about how many rows, or subjects, there are, from what is known; None: they are
            counted, by one more noisy sum.
    """

    def __init__(
        self,
        epsilon: float = 1.0,
        delta: float = 1e-5,
        bounds: Any = DEFAULT_BOUNDS,
        categories: dict[str, list[str]] | None = None,
        bins: int = 8,
        steps: int = 60,
        rate: float = 20.0,
        clip: float = 0.2,
        momentum: float = 0.9,
        sigma: float | None = None,
        classes: Any = None,
        units: int | None = None,
    ) -> None:
        self.epsilon = epsilon
        self.delta = delta
        self.bounds = bounds
        self.categories = categories
        self.bins = bins
        self.steps = steps
        self.rate = rate
        self.clip = clip
        self.momentum = momentum
        self.sigma = sigma
        self.classes = classes
        self.units = units

    def fit(self, X: Any, y: Any, groups: Any = None) -> "PrivateClassifier":  # noqa: N803 - scikit-learn's names
        """Train; with `groups` (a number per row) the guarantee is for all rows of one group
        together.

        Args:
            X: frame or array [n, d].
            y: class per row.
            groups: subject per row.
        """
        if y is None:
            raise ValueError("PrivateClassifier requires y to be passed, but the target y is None.")
        frame = self._frame(X, reset=True)
        y = column_or_1d(y, warn=True)
        assert_all_finite(y, input_name="y")
        check_classification_targets(y)
        check_consistent_length(frame, y)
        self.classes_, codes = self._coded(y)
        numbers, categories = self._declared(list(frame.columns))
        transformer, norm = encoder.encoder(numbers, categories, self.bins)
        scale = 1.0 / np.sqrt(norm**2 + 1.0)
        parts = [
            transformer.transform(frame.iloc[start : start + CHUNK]).astype(np.float32)
            for start in range(0, len(frame), CHUNK)
        ]
        rows = np.hstack(
            [np.vstack(parts), np.ones((len(frame), 1), dtype=np.float32)]
        ) * np.float32(scale)
        sums = noisy_sums(self.steps, self.units)
        self.sigma_ = (
            sigma_for(self.epsilon, self.delta, sums) if self.sigma is None else self.sigma
        )
        self.spent_ = Gaussians(sigma=self.sigma_, steps=sums)
        size = (self.sigma_, self.steps, self.rate, self.clip, self.momentum)
        weights = descend(rows, codes, len(self.classes_), groups, *size, self.units) * scale
        self.model_ = encoder.pipeline(transformer, _as_logistic(weights, self.classes_))
        return self

    def __sklearn_tags__(self) -> Any:
        """Missing numbers are taken: they lie in the middle of their bounds."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def predict_proba(self, X: Any) -> Array:  # noqa: N803
        """The probability of each class for each row, float64 [n, k]."""
        check_is_fitted(self)
        return np.asarray(self.model_.predict_proba(self._frame(X, reset=False)))

    def decision_function(self, X: Any) -> Array:  # noqa: N803
        """Scores as scikit-learn's LogisticRegression gives them."""
        check_is_fitted(self)
        return np.asarray(self.model_.decision_function(self._frame(X, reset=False)))

    def predict(self, X: Any) -> Array:  # noqa: N803
        """The likeliest class of each row, [n]."""
        check_is_fitted(self)
        return np.asarray(self.classes_[self.predict_proba(X).argmax(axis=1)])

    def _coded(self, y: Array) -> tuple[Array, Array]:
        """(classes, the number of each row's class)."""
        if self.classes is None:
            classes, codes = np.unique(y, return_inverse=True)
        else:
            classes = np.unique(np.asarray(self.classes))
            codes = np.minimum(np.searchsorted(classes, y), len(classes) - 1)
            if (classes[codes] != y).any():
                raise ValueError("y holds a class that is not among the declared ones.")
        if len(classes) < 2:
            raise ValueError("Classifier can't train when only one class is present.")
        return classes, codes

    def _frame(self, rows: Any, *, reset: bool) -> pd.DataFrame:
        if isinstance(rows, pd.DataFrame) and self.categories:
            if reset:
                self.feature_names_in_, self.n_features_in_ = (
                    np.asarray(rows.columns, dtype=object),
                    rows.shape[1],
                )
            return rows
        names = list(rows.columns) if isinstance(rows, pd.DataFrame) else None
        checked = validate_data(
            self, rows, reset=reset, dtype=np.float64, ensure_all_finite="allow-nan"
        )
        return pd.DataFrame(
            checked, columns=names or [f"x{place}" for place in range(checked.shape[1])]
        )

    def _declared(
        self, names: list[str]
    ) -> tuple[dict[str, tuple[float, float]], dict[str, list[str]]]:
        categories = {
            name: list(values) for name, values in (self.categories or {}).items() if name in names
        }
        numbers = [name for name in names if name not in categories]
        if isinstance(self.bounds, dict):
            missing = [name for name in numbers if name not in self.bounds]
            if missing:
                raise ValueError(
                    f"bounds are missing for {', '.join(map(str, missing[:5]))}: they must be"
                    " declared, not computed from the rows"
                )
            return {
                name: (float(self.bounds[name][0]), float(self.bounds[name][1])) for name in numbers
            }, categories
        low, high = self.bounds
        return {name: (float(low), float(high)) for name in numbers}, categories


def noisy_sums(steps: int, units: int | None) -> int:
    """How many noisy sums a descent of so many steps makes: see `descend`."""
    return steps + (units is None)


def descend(
    rows: Array,
    codes: Array,
    classes: int,
    groups: Array | None,
    sigma: float,
    steps: int,
    rate: float,
    clip: float,
    momentum: float,
    units: int | None = None,
) -> Array:
    """Coefficients float64 [d, k] by noisy gradient descent on the softmax loss.

    Args:
        rows: float32 [n, d] of norm at most 1.
        codes: class numbers [n].
        classes: k.
        groups: subject per row, or None; a subject's gradients are added before they are clipped.
        sigma: noise over `clip`.
        steps: noisy sums.
        rate: learning rate.
        clip: largest norm of one row's or subject's gradient.
        momentum: of the descent.
        units: what the sums are divided by, if that is known; None: the number of rows or subjects,
            counted with the same noise (a person more moves the count by one), because the exact
            one is a fact about who is in the table.
    """
    count, width = rows.shape
    noise = Noise()
    truth = np.eye(classes, dtype=np.float32)[codes]
    norms = np.linalg.norm(rows, axis=1)
    owners = None if groups is None else np.unique(groups, return_inverse=True)[1]
    people = count if owners is None else int(owners.max(initial=-1)) + 1
    # A count below its own noise says nothing; dividing by less would only make the steps wild.
    share = units or max(people + float(noise.normal((1,))[0]) * sigma, sigma, 1.0)
    weights = np.zeros((width, classes))
    velocity, total = np.zeros_like(weights), np.zeros_like(weights)
    for step in range(steps):
        summed = np.zeros_like(weights)
        if owners is None:
            for start in range(0, count, CHUNK):
                part = slice(start, start + CHUNK)
                error = _softmax(rows[part] @ weights.astype(np.float32)) - truth[part]
                length = norms[part] * np.linalg.norm(error, axis=1)
                error *= np.minimum(1.0, clip / np.maximum(length, 1e-12)).astype(np.float32)[
                    :, None
                ]
                summed += rows[part].T @ error
        else:
            error = _softmax(rows @ weights.astype(np.float32)) - truth
            summed = by_subject(rows, error, owners, people, clip)
        gradient = (summed + noise.normal(weights.shape) * sigma * clip) / share
        velocity = momentum * velocity + gradient
        weights = weights - rate * velocity
        if step >= steps // 2:
            total += weights
    return np.asarray(total / (steps - steps // 2))


def by_subject(rows: Array, error: Array, owners: Array, units: int, clip: float) -> Array:
    """Sum over subjects of their clipped gradients, float64 [d, k]. One that is no number, or too
    large for one, is nought: else the sum would say whose it is.

    Args:
        rows: [n, d].
        error: what each row's probabilities are off by, [n, k].
        owners: number of each row's subject, from 0, int64 [n].
        units: how many subjects there are.
        clip: largest norm of one subject's gradient.
    """
    order = np.argsort(owners, kind="stable")
    starts = np.searchsorted(owners[order], np.arange(units))
    summed = np.zeros((rows.shape[1], error.shape[1]))
    width = max(1, 4_000_000 // (rows.shape[1] * error.shape[1]))
    bounds = np.append(starts, len(order))
    for first in range(0, units, width):
        last = min(first + width, units)
        at = order[bounds[first] : bounds[last]]
        outer = rows[at][:, :, None] * error[at][:, None, :]
        own = np.add.reduceat(outer, starts[first:last] - bounds[first], axis=0)
        lengths = np.sqrt((own**2).sum(axis=(1, 2)))
        none = ~np.isfinite(lengths)
        own[none], lengths[none] = 0.0, 0.0
        summed += (own * np.minimum(1.0, clip / np.maximum(lengths, 1e-12))[:, None, None]).sum(
            axis=0
        )
    return summed


def _softmax(scores: Array) -> Array:
    scores = scores - scores.max(axis=1, keepdims=True)
    powers = np.exp(scores)
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _as_logistic(weights: Array, classes: Array) -> LogisticRegression:
    """A fitted scikit-learn model with these coefficients; two classes become one row, as
    scikit-learn has it.
    """
    model = LogisticRegression()
    model.classes_ = classes
    inner, bias = weights[:-1].T, weights[-1]
    if len(classes) == 2:
        inner, bias = inner[1:] - inner[:1], bias[1:] - bias[:1]
    model.coef_, model.intercept_ = np.ascontiguousarray(inner), np.ascontiguousarray(bias)
    model.n_features_in_, model.n_iter_ = inner.shape[1], np.array([0], dtype=np.int32)
    return model
