"""Inside the sandbox: a model that was trained on a sample goes on with further rows, which come a
piece at a time through a pipe, and are in memory a piece at a time.

The steps of a pipeline before its last stay as the sample taught them; the last one gets each piece
once by its `partial_fit`. Each piece is first asked about, then learnt from: the mean loss of these
answers is what the model was worth on the way (progressive validation: Blum, Kalai and Langford,
COLT 1999).
"""

import inspect
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from casemate.core.sandbox.child import Channel
from casemate.core.sandbox.feed import FED, fed
from casemate.core.types import Schema
from casemate.ml.answers import chained
from casemate.ml.frame import WEIGHT, features_of, target_of, wanted
from casemate.ml.learn.weights import NAME
from casemate.stages.train.candidates import Models
from casemate.stages.train.entry import BadEntry

Array = np.ndarray[Any, Any]
GO_ON = {
    "classification": (
        'SGDClassifier(loss="log_loss"), MLPClassifier, GaussianNB or another naive Bayes'
    ),
    "regression": "SGDRegressor or MLPRegressor",
}
LEAST = 1e-15
"""What a probability counts as at least in log loss, so that one wrong answer is not all."""


def require_going_on(models: Models, schema: Schema, *, weighted: bool) -> None:
    """BadEntry when one of them cannot go on after its fit; before the search is paid for."""
    task = "regression" if schema.regression else "classification"
    for name, estimator in models.by_name.items():
        said = refusal(estimator, task, weighted=weighted)
        if said:
            raise BadEntry(f"{name}: {said}" if name else said)


def refusal(estimator: Any, task: str, *, weighted: bool) -> str:
    """Why an estimator cannot go on after its fit, and what can; empty where it can.

    Args:
        estimator: unfitted.
        task: `[data] task`.
        weighted: whether rows have weights.
    """
    *before, last = _steps(estimator)
    name = type(last).__name__
    sampler = next((type(one).__name__ for one in before if hasattr(one, "fit_resample")), "")
    if sampler:
        return f"{sampler} would resample the drawn rows and no other: leave it out"
    if not hasattr(last, "partial_fit"):
        return (
            f"{name} cannot go on learning, it has no partial_fit: end the pipeline with"
            f' {GO_ON[task]}, or set [train] rows = "sample"'
        )
    # scikit-learn says so of itself, after the search
    if getattr(last, "early_stopping", False):
        return f"{name}: early_stopping holds rows back and stops: set early_stopping=False"
    if getattr(last, "class_weight", None) == "balanced":
        return (
            f"{name}: class_weight='balanced' counts the rows of each class, and the drawn rows are"
            " not all: give a number for each class"
        )
    if weighted and NAME not in inspect.signature(last.partial_fit).parameters:
        return f"[data] weight: {name} weighs no rows in partial_fit: use {GO_ON[task]}"
    return ""


def go_on(
    model: Any, job: dict[str, Any], schema: Schema, sample: pa.Table, channel: Channel
) -> dict[str, Any]:
    """Have the fitted model learn from every row of the pipe; what is said of it.

    Args:
        model: an estimator or a pipeline, changed in place.
        job: with the pipe, and how many rows come through it.
        schema: of the data set.
        sample: the rows that it was fitted on, whose weights have a mean of 1.
        channel: hears how far it is.
    """
    text, total = "learning from the rows beside the sample", int(job["rest"])
    *before, last = _steps(model)
    mean = 1.0
    if WEIGHT in sample.column_names:
        mean = float(np.mean(sample[WEIGHT].to_numpy()))
    rows, lost, worth = 0, 0.0, 0.0
    channel.progress(text, 0, total)
    for piece in _tables(job[FED]):
        frame, target = features_of(piece, schema), wanted(target_of(piece, schema))
        weights = piece[WEIGHT].to_numpy() / mean if WEIGHT in piece.column_names else None
        each = np.ones(len(frame)) if weights is None else weights
        given: Any = frame
        for step in before:
            given = step.transform(given)
        lost += float(np.sum(_losses(last, given, target, schema) * each))
        worth += float(each.sum())
        last.partial_fit(given, target, **({} if weights is None else {NAME: weights}))
        rows += len(frame)
        channel.progress(text, rows, total)
    if rows != total:
        raise EOFError(f"{rows} of {total} rows came")
    if not np.isfinite(_losses(last, given, target, schema)).all():
        raise BadEntry(
            f"{type(last).__name__} went astray in the rows beside the sample, and its answers are"
            " no numbers: scale the features before it, or lower its learning rate"
        )
    return {"rows": rows, "loss": lost / worth}


def _steps(estimator: Any) -> list[Any]:
    """Every step that does something, of pipelines within it too; the estimator at last."""
    if not chained(estimator):
        return [estimator]
    *before, last = [step for _, step in estimator.steps]
    kept = [step for step in before if step is not None and step != "passthrough"]
    return [*kept, *_steps(last)]


def _losses(last: Any, given: Any, target: Array, schema: Schema) -> Array:
    """Of each row, [n]: log loss, or the squared error, of several quantities their sum."""
    if schema.regression:
        errors = np.asarray(last.predict(given)).reshape(len(target), -1)
        return np.asarray(np.sum((errors - target.reshape(len(target), -1)) ** 2, axis=1))
    chances = np.asarray(last.predict_proba(given))[np.arange(len(target)), target]
    return np.asarray(-np.log(np.clip(chances, LEAST, 1.0)))


def _tables(descriptor: int) -> Iterator[pa.Table]:
    for batch in fed(descriptor):
        yield pa.Table.from_batches([batch])
