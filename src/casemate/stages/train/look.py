"""A look at what `build` returned before any search: what could not be stored in the end is refused
at the beginning.

The unfitted estimator is written as a model file would be, and so is one that was fitted on a few
rows where it holds parts whose fitted form is not known beforehand.
"""

import warnings
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, clone

from casemate.core.errors import VerificationError
from casemate.ml.answers import chained, last_step
from casemate.ml.learn.weights import SEARCHES, fit_params
from casemate.ml.models import dump_skops, load_skops, untrusted_types
from casemate.stages.train import boosters, oblivious, told
from casemate.stages.train.catalogue import INSTEAD, USUAL
from casemate.stages.train.grown import Foreign
from casemate.stages.train.stored import stored

A_CLASS = 25
"""Rows of each class, or four times as many where there is none, to fit a trial on."""
MOST_DEPTH = 8
"""Estimators within estimators that are looked through: far more than people nest, and what holds
itself ends.
"""
Array = np.ndarray[Any, Any]


def problem(
    estimator: Any,
    frame: pd.DataFrame,
    target: Array,
    weights: Array | None = None,
    own: Collection[str] = (),
) -> str:
    """Why no model file could hold the estimator, and what could be used instead; empty where one
    can.

    Args:
        estimator: unfitted.
        frame: training rows.
        target: theirs; class numbers [n], or quantities [n] or [n, m].
        weights: theirs, [n]; None: all weigh alike.
        own: classes and functions of `[train] transformers`, by qualified name.
    """
    parts = list(_parts(estimator, 0))
    for part in parts:
        said = _refused(part, own, final=part is _last(estimator))
        if said:
            return said
    if all(type(part).__name__ in USUAL for part in parts):  # no class of the user's is called so
        return ""
    # what is stored is something else
    translated = any(
        hasattr(part, "fit_resample") or hasattr(part, "as_sklearn") or boosters.library(part)
        for part in parts
    )
    searched = any(type(part).__name__ in SEARCHES for part in parts)
    return ("" if translated or searched else _of_types(estimator, own)) or _tried(
        estimator, frame, target, weights, own
    )


def is_own(part: Any, own: Collection[str]) -> bool:
    """Whether an estimator's class is one of those."""
    return f"{type(part).__module__}.{type(part).__qualname__}" in own


def _refused(part: Any, own: Collection[str], *, final: bool) -> str:
    """A part of which it is known that it cannot be stored."""
    name, package = type(part).__name__, type(part).__module__.partition(".")[0]
    if is_own(part, own):
        return (
            f"{name} has the name of one of scikit-learn's classes: call it otherwise, records say"
            " what a model is made of by name"
            if name in told.known()
            else ""
        )
    if package == "sklearn":
        return f"{name} cannot be stored safely: {INSTEAD[name]}" if name in INSTEAD else ""
    if boosters.library(part):
        return (
            (oblivious.refusal(part) if boosters.library(part) == "catboost" else "")
            if final
            else (
                f"{name} must be the last step of a pipeline, not inside another estimator: only"
                " there its trees can be read"
            )
        )
    if package == "imblearn":
        return (
            ""
            if hasattr(part, "fit_resample") or hasattr(part, "steps")
            else (
                f"{name} cannot be stored safely: use scikit-learn's classifier with"
                " class_weight='balanced', or a sampler in an imblearn pipeline"
            )
        )
    if package == "casemate":
        return ""
    return (
        f"{name} is a class of {package}, which no model file may hold: use scikit-learn's"
        " (docs/reference/estimators.md lists them all), put a class of your own into a file that"
        " [train] transformers names, compute such columns before the table is given to casemate,"
        " or import the finished model as ONNX (casemate model import)"
    )


def _of_types(estimator: Any, own: Collection[str]) -> str:
    """Types of the unfitted or fitted estimator that no model file may hold."""
    state = (
        "keep numbers, texts, lists, dictionaries and arrays in self, and make what is more anew"
        " where it is used"
    )
    try:
        unknown = untrusted_types(dump_skops(estimator), [*own])
    except VerificationError as error:
        return error.message
    except Exception as error:  # noqa: BLE001 - skops has many
        return (
            f"it cannot be stored safely: {type(error).__name__}:"
            f" {' '.join(str(error).split())[:200]}"
        ) + (f"; {state}" if own else "")
    if not unknown:
        return ""
    hint = (
        "a function of train.py or of NumPy can be replaced by FunctionTransformer with a universal"
        " function such as numpy.log1p"
    )
    if own:
        hint = f"in a class of your own, {state}; a function can stand in a file of the list"
    return f"it holds what no model file may hold: {', '.join(unknown[:3])}; {hint}"


def _tried(
    estimator: Any,
    frame: pd.DataFrame,
    target: Array,
    weights: Array | None,
    own: Collection[str],
) -> str:
    """The same of one that was fitted on a few rows; empty where so few rows do not fit it."""
    if target.ndim == 1 and target.dtype.kind in "iu":
        at = np.sort(
            np.concatenate([np.flatnonzero(target == kind)[:A_CLASS] for kind in np.unique(target)])
        )
    else:
        at = np.arange(min(len(target), 4 * A_CLASS))
    few = frame.iloc[at].reset_index(drop=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            fitted = stored(
                clone(estimator).fit(
                    few,
                    target[at],
                    **fit_params(estimator, None if weights is None else weights[at]),
                ),
                few,
            )
        except Foreign as error:
            return str(error)
        except Exception:  # noqa: BLE001 - a few rows are not the table: the search will say what is wrong
            return ""
    said = _of_types(fitted, own)
    return said or (_forgetful(fitted, few, own) if own else "")


def _forgetful(fitted: Any, few: pd.DataFrame, own: Collection[str]) -> str:
    """Whether a class of the user's keeps something where no file looks: a model that was stored
    and read again answers otherwise. Empty where it does not.
    """
    read = load_skops(dump_skops(fitted), trusted=[*own]).estimator
    try:
        before, after = np.asarray(fitted.predict(few)), np.asarray(read.predict(few))
        same = bool(np.array_equal(before, after))
    except Exception as error:  # noqa: BLE001 - code of the user's may raise anything
        return (
            "once stored and read again it does not answer:"
            f" {type(error).__name__}: {' '.join(str(error).split())[:200]}; keep in self what"
            " transform needs, and write no __getstate__"
        )
    return "" if same else "once stored and read again it answers otherwise; keep it all in self"


def _last(estimator: Any) -> Any:
    while True:
        if chained(estimator):
            estimator = last_step(estimator)
        elif type(estimator).__name__ in SEARCHES:
            estimator = estimator.estimator
        else:
            return estimator


def _parts(value: Any, depth: int) -> Iterator[Any]:
    """Every estimator among the parameters."""
    if depth > MOST_DEPTH:
        return
    if isinstance(value, list | tuple):
        for one in value:
            yield from _parts(one, depth + 1)
    elif isinstance(value, BaseEstimator) or boosters.library(value):
        yield value
        if boosters.library(value):
            return
        for one in value.get_params(deep=False).values():
            yield from _parts(one, depth + 1)
