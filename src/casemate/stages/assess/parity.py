"""Parity: the ONNX export must answer like the estimator that was assessed, or the estimator itself serves."""

import time
from typing import Any

import numpy as np
import pandas as pd

from casemate.core.models import Model, OnnxModel
from casemate.core.types import Schema
from casemate.stages.assess.sample import Sample, spread_of

MAX_DIFFERENCE = 1e-4
ROWS = 20_000


def measure(model: Model, onnx: bytes, schema: Schema, holdout: Sample) -> dict[str, Any]:
    """`equal` is true when all labels agree and no probability differs by more than `MAX_DIFFERENCE`; `faster` when one row takes less time.

    Quantities are compared in deviations of what is predicted.
    """
    if not onnx:
        return {"equal": False, "exported": False}
    sample = holdout.take(ROWS, 0)
    graph = OnnxModel(onnx, schema)
    labels, probabilities = model.predict(sample.frame)
    other_labels, other = graph.predict(sample.frame)
    unit = spread_of(probabilities) if schema.regression else 1.0
    agreement = 1.0 if schema.regression else float(np.mean(np.asarray(labels) == np.asarray(other_labels).ravel()))
    difference = float(np.max(np.abs(probabilities - other) / unit))
    return {
        "equal": agreement == 1.0 and difference <= MAX_DIFFERENCE,
        "exported": True,
        "label_agreement": agreement,
        "max_difference": difference,
        "limit": MAX_DIFFERENCE,
        "rows": len(sample.target),
        "faster": _seconds(graph, sample.frame[:1]) < _seconds(model, sample.frame[:1]),
    }


def _seconds(model: Model, frame: pd.DataFrame) -> float:
    """The shortest time of a few calls."""
    model.predict(frame)
    times = []
    for _ in range(5):
        began = time.perf_counter()
        model.predict(frame)
        times.append(time.perf_counter() - began)
    return min(times)
