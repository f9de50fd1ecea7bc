"""A fold's preprocessing, fitted once for all candidates that share it.

A grid over the last step of a pipeline would otherwise encode the same rows again for every
candidate, and twice for each: once to hear what it says, once to score it.
"""

import sys
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from casemate.ml.answers import last_step
from casemate.ml.frame import wanted
from casemate.stages.train.folds import Rows

MOST_BYTES = 128 << 20
"""Kept at most; of a table that is larger every candidate encodes its rows itself. Chosen: less
than training takes anyway.
"""


class Prepared:
    """Keeps what the steps before the last made of the folds' rows."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, int], tuple[Any, Any]] = {}
        self._bytes = 0

    def apart(self, model: Any, taught: Rows, asked: Rows, fold: int) -> tuple[Any, Any, Any]:
        """(the unfitted estimator that is left, features to teach it, features to ask about).

        Args:
            model: unfitted.
            taught: rows of the fold to learn from.
            asked: its other rows.
            fold: the fold's number.
        """
        # imblearn's pipelines have steps that make rows: they are no Pipeline of exactly this type
        if type(model) is not Pipeline or len(model.steps) < 2 or model.transform_input:
            return model, taught.frame, asked.frame
        if _in_place(last_step(model)):
            return model, taught.frame, asked.frame
        before = clone(model[:-1])
        key = _described(before), fold
        found = self._kept.get(key)
        if found is None:
            found = (
                before.fit_transform(taught.frame, wanted(taught.target)),
                before.transform(asked.frame),
            )
            size = sum(_bytes(features) for features in found)
            if self._bytes + size <= MOST_BYTES:
                self._kept[key] = found
                self._bytes += size
        return last_step(model), *found


def _described(estimator: Any) -> str:
    """Its classes and parameters in full: the same for two that do the same."""
    with np.printoptions(threshold=sys.maxsize):
        return str(estimator.__repr__(N_CHAR_MAX=sys.maxsize))


def _in_place(estimator: Any) -> bool:
    """Whether it may write into what it learns from (`copy_X=False`)."""
    given = estimator.get_params(deep=True) if hasattr(estimator, "get_params") else {}
    return any(
        value is False for name, value in given.items() if name.split("__")[-1].startswith("copy")
    )


def _bytes(features: Any) -> int:
    """Of an array, sparse or not, or a frame."""
    if isinstance(features, np.ndarray):
        return int(features.nbytes)
    if issparse(features):
        return int(features.data.nbytes + features.indices.nbytes + features.indptr.nbytes)
    return int(features.memory_usage(index=False, deep=True).sum())
