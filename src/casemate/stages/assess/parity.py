"""Parity: the ONNX export must answer like the estimator that was assessed, or the estimator itself
serves.

Both are asked about every kind of row that a deployment can meet (see `probes`), labels and
probabilities apart.
"""

import time
from typing import Any

import numpy as np
import pandas as pd

from casemate.core.errors import VerificationError
from casemate.core.types import Schema
from casemate.ml import graph as graphs
from casemate.ml.models import Model, OnnxModel
from casemate.stages.assess import faults
from casemate.stages.assess.probes import Kind
from casemate.stages.assess.sample import spread_of

MAX_DIFFERENCE = 1e-4
"""Largest difference of a probability. Chosen: above what a graph's arithmetic rounds away; labels
must agree entirely.
"""
ROWS = 20_000
"""Rows of one kind that both models are asked about; chosen for time."""
Answer = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]


def answers_of(
    model: Model, kinds: list[Kind], schema: Schema
) -> tuple[dict[str, Answer], dict[str, str]]:
    """(what the model says of each kind of row, why it says nothing that counts of others)."""
    answers, without = {}, {}
    for kind in kinds:
        try:
            labels, probabilities = model.predict(kind.frame)
        except Exception as error:  # noqa: BLE001 - an estimator may raise anything; that there is no answer is what is told
            without[kind.name] = faults.plain(error)
            continue
        if not schema.labels:
            labels = np.ravel(labels)
        probabilities = np.asarray(probabilities, dtype=np.float64)
        wide = len(schema.classes) or len(schema.targets)
        if probabilities.shape != (len(kind.frame), wide) or not np.isfinite(probabilities).all():
            without[kind.name] = "it gives something that is no number"
        elif not schema.regression and (
            labels.shape != (probabilities.shape if schema.labels else (len(kind.frame),))
            or labels.dtype.kind not in "iu"
            or not ((labels >= 0) & (labels < (2 if schema.labels else wide))).all()
        ):
            without[kind.name] = "it gives a label that is no class of the table"
        else:
            answers[kind.name] = labels, probabilities
    return answers, without


def measure(
    answers: dict[str, Answer], model: Model, onnx: bytes, schema: Schema, kinds: list[Kind]
) -> dict[str, Any]:
    """`equal` is true when, for every kind of row, all labels agree and no probability differs by
    more than `MAX_DIFFERENCE`.

    `faster` is true when one row takes less time. Quantities are compared in deviations of what is
    predicted.

    Args:
        answers: the assessed model's, by kind; of kinds that it has no answer to, the graph is not
            asked.
        model: the assessed model.
        onnx: the graph; empty where there is none.
        schema: pinned.
        kinds: rows of every kind.
    """
    if not onnx:
        return {"equal": False, "exported": False}
    if graphs.canonical(onnx) != onnx:
        raise VerificationError(
            "the ONNX graph is not in canonical form", hint="treat the model as hostile"
        )
    graph = OnnxModel(onnx, schema)
    unit = spread_of(answers["rows as they came"][1]) if schema.regression else np.ones(1)
    found: dict[str, dict[str, Any]] = {}
    for kind in kinds:
        if kind.name in answers:
            # Far beyond the limits a quantity may be huge, and only its digits can agree.
            scale = (
                unit
                if kind.admitted or not schema.regression
                else np.maximum(unit, np.abs(answers[kind.name][1]))
            )
            found[kind.name] = {
                "rows": len(kind.frame),
                **_compared(graph, kind.frame, answers[kind.name], scale, schema),
            }
    agreement, difference = (
        min(part["label_agreement"] for part in found.values()),
        max(part["max_difference"] for part in found.values()),
    )
    first = kinds[0].frame[:1]
    return {
        "equal": agreement == 1.0 and difference <= MAX_DIFFERENCE,
        "exported": True,
        "label_agreement": agreement,
        "max_difference": difference,
        "limit": MAX_DIFFERENCE,
        "rows": sum(part["rows"] for part in found.values()),
        "kinds": found,
        "faster": _seconds(graph, first) < _seconds(model, first),
    }


def unequal(compared: dict[str, Any], schema: Schema) -> str:
    """In words, of the kind of row where the two differ most."""
    kind, worst = min(
        compared["kinds"].items(),
        key=lambda item: (item[1]["label_agreement"], -item[1]["max_difference"]),
    )
    if schema.regression:
        return f"{kind}: quantities differ by up to {worst['max_difference']:.2g} deviations"
    return (
        f"{kind}: labels agree on {worst['label_agreement']:.4%}, probabilities differ by up to"
        f" {worst['max_difference']:.2g}"
    )


def _compared(
    graph: OnnxModel, frame: pd.DataFrame, answer: Answer, unit: Any, schema: Schema
) -> dict[str, Any]:
    labels, probabilities = answer
    try:
        other_labels, other = graph.predict(frame)
    except Exception as error:  # noqa: BLE001 - onnxruntime has many: no answer is not the same answer
        return {"label_agreement": 0.0, "max_difference": 1e300, "failed": type(error).__name__}
    if np.shape(other) != probabilities.shape:
        return {"label_agreement": 0.0, "max_difference": 1e300, "failed": "shape"}
    differences = np.abs(probabilities - np.asarray(other, dtype=np.float64)) / unit
    largest = float(np.max(np.where(np.isnan(differences), 1e300, differences)))
    agreement = 1.0 if schema.regression else float(np.mean(labels == np.ravel(other_labels)))
    return {"label_agreement": agreement, "max_difference": min(largest, 1e300)}


def _seconds(model: Model, frame: pd.DataFrame) -> float:
    """The shortest time of a few calls."""
    model.predict(frame)
    times = []
    for _ in range(5):
        began = time.perf_counter()
        model.predict(frame)
        times.append(time.perf_counter() - began)
    return min(times)
