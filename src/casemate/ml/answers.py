"""What a fitted classifier answers: its own `predict`, which need not be the likeliest class.

scikit-learn's classifiers fall into three kinds, read from their sources and kept true by a test
over all of them: `predict` takes the largest of `predict_proba`; it takes the largest of something
that the probabilities rise with, so that the two can differ in ties and roundings only; or it has a
rule of its own (a threshold, Platt's probabilities beside a margin, votes).
"""

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
LARGEST = frozenset(
    {
        "BaggingClassifier",
        "CalibratedClassifierCV",
        "DecisionTreeClassifier",
        "ExtraTreeClassifier",
        "ExtraTreesClassifier",
        "LabelPropagation",
        "LabelSpreading",
        "RandomForestClassifier",
    }
)
"""`predict` is the largest of `predict_proba`, by their own code."""
RISING = frozenset(
    {
        "AdaBoostClassifier",
        "BernoulliNB",
        "CategoricalNB",
        "GaussianNB",
        "GradientBoostingClassifier",
        "HistGradientBoostingClassifier",
        "KNeighborsClassifier",
        "LinearDiscriminantAnalysis",
        "LogisticRegression",
        "LogisticRegressionCV",
        "MLPClassifier",
        "MultinomialNB",
        "QuadraticDiscriminantAnalysis",
    }
)
"""`predict` is the largest of what the probabilities rise with."""
THRESHOLDS = frozenset({"FixedThresholdClassifier", "TunedThresholdClassifierCV"})
"""They answer by a threshold on the scores of one class."""
CLOSE = 1e-6
"""Two probabilities that differ by less may be a tie in another arithmetic; a million times
float64's rounding.
"""


def chained(estimator: Any) -> bool:
    """Whether it is a pipeline; `PrivateClassifier` has a number called `steps`."""
    return isinstance(getattr(estimator, "steps", None), list)


def last_step(estimator: Any) -> Any:
    """The last step of a pipeline; anything else itself."""
    return estimator.steps[-1][1] if chained(estimator) else estimator


def answering(estimator: Any) -> Any:
    """The classifier that decides: the last step of a pipeline, the refitted one of a search."""
    while True:
        if chained(estimator):
            estimator = last_step(estimator)
        elif hasattr(estimator, "best_estimator_"):
            estimator = estimator.best_estimator_
        else:
            return estimator


def places(estimator: Any, frame: Any, probabilities: Array) -> Array:
    """The column of `probabilities` [n, k] that the estimator's own `predict` names for each row,
    int64 [n].

    `predict` is called only where it can differ from the likeliest class.
    """
    likeliest = probabilities.argmax(axis=1)
    name = type(answering(estimator)).__name__
    if name in LARGEST or len(probabilities) == 0:
        return np.asarray(likeliest)
    if name in RISING:
        first_two = np.partition(probabilities, -2, axis=1)[:, -2:]
        close = ~(first_two[:, 1] - first_two[:, 0] > CLOSE)  # no number is close too
        if not close.any():
            return np.asarray(likeliest)
        likeliest[close] = _own(estimator, frame[close])
        return np.asarray(likeliest)
    return _own(estimator, frame)


def _own(estimator: Any, frame: Any) -> Array:
    return np.searchsorted(estimator.classes_, np.asarray(estimator.predict(frame)).ravel())


def shift(estimator: Any) -> tuple[str, Array] | None:
    """(`probability` or `decision`, what to take from the scores [2] of that kind) so that the
    largest is the predicted class.

    For classifiers of two classes with a threshold of their own; None for all others.
    """
    final = answering(estimator)
    if type(final).__name__ not in THRESHOLDS or len(final.classes_) != 2:
        return None
    threshold = getattr(final, "best_threshold_", getattr(final, "threshold", None))
    if threshold is None or isinstance(threshold, str):  # "auto" is no threshold of its own
        return None
    inner = getattr(final, "estimator_", None)
    method = getattr(final, "response_method", "auto")
    kind = (
        "probability"
        if method == "predict_proba" or (method == "auto" and hasattr(inner, "predict_proba"))
        else "decision"
    )
    label = getattr(final, "pos_label", None)
    positive = 1 if label is None else int(np.flatnonzero(final.classes_ == label)[0])
    if kind == "decision":
        taken = np.array([-threshold, threshold], dtype=np.float64) / 2
    elif 0 < threshold < 1:
        taken = np.log(np.array([1 - threshold, threshold], dtype=np.float64))
    else:
        return None
    return kind, taken if positive == 1 else taken[::-1]
