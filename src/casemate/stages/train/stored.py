"""The part of a fitted estimator that answers, without what only training needed: it is what is
stored, measured and served.

A search is the model that it found, a tuned threshold is the threshold that it found, a pipeline
that resampled is the pipeline behind it, boosted trees of another library are trees. Each answers
as before; the rest would be scorers, splitters and classes of other people in a model file.
"""

from typing import Any

from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import FixedThresholdClassifier, TunedThresholdClassifierCV
from sklearn.pipeline import Pipeline

from casemate.stages.train import boosters, categories


def stored(model: Any, frame: Any, unknown: Any = None) -> Any:
    """The same answers from fewer parts.

    Args:
        model: fitted.
        frame: rows that it learnt, for the comparison with another library's trees.
        unknown: rows with categories that nobody has seen, for the same.

    Raises:
        Foreign: trees of another library that do not answer alike here.
    """
    if hasattr(model, "best_estimator_"):
        return stored(model.best_estimator_, frame, unknown)
    if isinstance(model, FrozenEstimator):
        return stored(model.estimator, frame, unknown)
    if isinstance(model, TunedThresholdClassifierCV):
        return _fixed(model, frame, unknown)
    if isinstance(model, Pipeline):
        return _pipeline(model, frame)
    if hasattr(model, "as_sklearn"):  # one of ours that can be unlearnt
        return model.as_sklearn()
    if boosters.library(model):
        return boosters.as_sklearn(model, frame, unknown)
    return model


def _fixed(model: Any, frame: Any, unknown: Any) -> Any:
    inner = stored(model.estimator_, frame, unknown)
    label = model._curve_scorer._get_pos_label()  # noqa: SLF001 - the class that the threshold is about is shown nowhere else
    return thresholded(inner, float(model.best_threshold_), label, model.response_method)


def thresholded(inner: Any, threshold: float, label: Any, method: str = "predict_proba") -> Any:
    """A fitted classifier that says `label` where its score is at or above the threshold."""
    made = FixedThresholdClassifier(
        inner, threshold=threshold, pos_label=label, response_method=method
    )
    made.estimator_ = inner
    for name in ("n_features_in_", "feature_names_in_"):
        if hasattr(inner, name):
            setattr(made, name, getattr(inner, name))
    return made


def _pipeline(model: Any, frame: Any) -> Any:
    unknown = categories.unknown_rows(frame) if _foreign(model.steps[-1][1]) else None
    # these do nothing when it is asked
    kept = [(name, step) for name, step in model.steps if not hasattr(step, "fit_resample")]
    for _, step in kept[:-1]:
        if step in (None, "passthrough") or not _foreign(kept[-1][1]):
            continue
        frame, unknown = step.transform(frame), _transformed(step, unknown)
    name, last = kept[-1]
    made = stored(last, frame, unknown)
    if type(model) is Pipeline and made is last and len(kept) == len(model.steps):
        return model
    return Pipeline([*kept[:-1], (name, made)])


def _transformed(step: Any, unknown: Any) -> Any:
    """None where the step refuses categories that it does not know."""
    try:
        return None if unknown is None else step.transform(unknown)
    except ValueError:
        return None


def _foreign(step: Any) -> bool:
    return bool(
        boosters.library(getattr(step, "best_estimator_", getattr(step, "estimator_", step)))
    )
