"""How an estimator is told what each row weighs: to the steps that learn from it, and to nothing
that would drop it without a word.

scikit-learn gives weights to the last step of a pipeline as `STEP__sample_weight`. Inside of an
estimator that holds others they are passed on by its own `fit`, which some do with a warning only
when the inner one cannot take them; those are refused here.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import has_fit_parameter

from casemate.ml.answers import chained

Array = np.ndarray[Any, Any]
NAME = "sample_weight"
SEARCHES = (
    "GridSearchCV",
    "RandomizedSearchCV",
    "HalvingGridSearchCV",
    "HalvingRandomSearchCV",
    "TunedThresholdClassifierCV",
)
"""They choose by scores of their own, in which every row counts alike."""


FIXED = "FixedThresholdClassifier"
PASS_ON = ("VotingClassifier", "VotingRegressor", "StackingClassifier", "StackingRegressor")
"""Their fit takes weights though its signature does not name them."""


def fit_params(estimator: Any, weights: Array | None) -> dict[str, Array]:
    """What `fit` gets besides rows and target: the weights [n] under the name of the step that
    takes them; nothing without weights.
    """
    return {} if weights is None else {_name(estimator): weights}


def refusal(estimator: Any) -> str:
    """Why the estimator cannot learn from weighted rows, and what can; empty where it can."""
    while chained(estimator) or type(estimator).__name__ == FIXED:
        if type(estimator).__name__ == FIXED:
            estimator = estimator.estimator
            continue
        sampler = next(
            (type(step).__name__ for _, step in estimator.steps if hasattr(step, "fit_resample")),
            "",
        )
        if sampler:
            return f"{sampler} makes rows that have no weight: leave it out, weights do its work"
        estimator = estimator.steps[-1][1]
    name = type(estimator).__name__
    if name in SEARCHES:
        return (
            f"{name} chooses by scores in which every row counts alike: use [train] search, and"
            " [train] threshold, which weigh the rows"
        )
    if not _takes(estimator):
        return (
            f"{name} cannot weigh rows: use an estimator whose fit takes sample_weight, such as"
            " LogisticRegression or HistGradientBoostingClassifier"
        )
    for inner in _inner(estimator):
        if not _takes(inner):
            way = (
                f"put {name} at the end of the pipeline, around the last step alone"
                if chained(inner)
                else "use another one in it"
            )
            return f"{name} would not give the weights to the {type(inner).__name__} in it: {way}"
    return ""


def _takes(estimator: Any) -> bool:
    return has_fit_parameter(estimator, NAME) or type(estimator).__name__ in PASS_ON


def _name(estimator: Any) -> str:
    if type(estimator).__name__ == FIXED:  # it hands over what it gets
        return _name(estimator.estimator)
    if not chained(estimator):
        return NAME
    step, last = estimator.steps[-1]
    return f"{step}__{_name(last)}"


def _inner(estimator: Any) -> Iterator[Any]:
    """Every estimator that this one trains, at any depth."""
    for value in (
        estimator.get_params(deep=False).values() if isinstance(estimator, BaseEstimator) else ()
    ):
        for one in value if isinstance(value, list | tuple) else [value]:
            inner = one[1] if isinstance(one, tuple) and len(one) > 1 else one
            if (
                isinstance(inner, BaseEstimator)
                and hasattr(inner, "fit")
                and hasattr(inner, "predict")
            ):
                yield inner
                yield from _inner(inner)
