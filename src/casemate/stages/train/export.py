"""ONNX export that answers as the estimator does; whether it may serve is decided by the parity
measurement of the assess stage.

Numbers go in as float64, as scikit-learn computes with them: rounded to float32 at the door, a
scaled value can fall on the other side of a tree's threshold. Trees, encoders and imputers are
converted by `trees` and `encoders`, everything else by skl2onnx; what does not convert in this form
is tried by skl2onnx alone with float32.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from skl2onnx import convert_sklearn as convert
from skl2onnx._parse import sklearn_parsers_map
from skl2onnx._supported_operators import sklearn_operator_name_map
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, StringTensorType
from sklearn.base import BaseEstimator
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.pipeline import Pipeline

from casemate.core.types import Schema
from casemate.ml.answers import last_step
from casemate.ml.models import onnx_session
from casemate.stages.train import encoders, trees

OPSET = {"": 18, "ai.onnx.ml": 3}
"""What skl2onnx is asked for; where trees are ours, ai.onnx.ml is raised to `trees.OPSET`."""
OLDER = {"TreeEnsembleClassifier", "TreeEnsembleRegressor"}
"""Operators that the version of ours has no longer."""
MOST_DEPTH = 8
"""Estimators within estimators that are looked through: a pipeline of stacked, calibrated models
has four or five, and what holds itself ends.
"""
INNER = (
    "steps",
    "transformers_",
    "estimators_",
    "estimator_",
    "estimator",
    "final_estimator_",
    "calibrated_classifiers_",
)
"""Where estimators keep others, fitted."""


def network_to_onnx(model: Any, schema: Schema) -> tuple[bytes, str]:
    """The same for a torch network."""
    from casemate.ml.networks import to_onnx as convert_network

    try:
        return convert_network(model, schema), ""
    except Exception as error:  # noqa: BLE001 - converters raise anything
        return b"", f"{type(error).__name__}: {' '.join(str(error).split())}"[:500]


def to_onnx(model: Any, schema: Schema) -> tuple[bytes, str]:
    """(ONNX bytes, "") or (b"", why not). All-numeric models get one input `x` [n, d] where that
    converts.
    """
    model = _without_pauses(model)
    if schema.labels:
        return b"", "a model of several labels is no graph: scikit-learn serves, label by label"
    last = model.steps[-1][1] if isinstance(model, Pipeline) else model
    if isinstance(last, FixedThresholdClassifier):
        probable = last.response_method == "predict_proba" or (
            last.response_method == "auto" and hasattr(last.estimator_, "predict_proba")
        )
        if not probable or last.classes_.dtype.kind not in "iu":
            return (
                b"",
                (
                    "the threshold is about scores, or about classes that are no numbers, which the"
                    " graph does not give: scikit-learn serves"
                ),
            )
        inner = (
            Pipeline([*model.steps[:-1], ("inner", last.estimator_)])
            if isinstance(model, Pipeline)
            else last.estimator_
        )
        content, problem = to_onnx(inner, schema)
        return (_thresholded(content, last), "") if content else (b"", problem)
    final = last_step(model)
    options = None if schema.regression else {id(final): {"zipmap": False}}
    problem = ""
    for types, exact in _attempts(schema, model):
        try:
            return _opened(_converted(model, types, options, exact=exact)), ""
        except Exception as error:  # noqa: BLE001 - converters raise anything; the estimator itself then serves
            problem = problem or f"{type(error).__name__}: {' '.join(str(error).split())}"
    return b"", _blamed(model, problem)[:500]


def _thresholded(content: bytes, model: Any) -> bytes:
    """The graph of a classifier of two classes with labels by the threshold on the probability of
    one of them.
    """
    graph = onnx.load_from_string(content)
    _, probabilities = graph.graph.output
    kind = (
        np.float64
        if probabilities.type.tensor_type.elem_type == onnx.TensorProto.DOUBLE
        else np.float32
    )
    positive = (
        1 if model.pos_label is None else int(np.flatnonzero(model.classes_ == model.pos_label)[0])
    )
    values = {
        "at_": np.array(positive),
        "threshold_": np.array(0.5 if model.threshold == "auto" else model.threshold, kind),
        "classes_": model.classes_.astype(np.int64),
    }
    graph.graph.initializer.extend(
        [numpy_helper.from_array(value, name) for name, value in values.items()]
    )
    places = ["positive_place_", "negative_place_"]
    graph.graph.initializer.extend(
        [
            numpy_helper.from_array(np.array(place), name)
            for place, name in zip((positive, 1 - positive), places, strict=True)
        ]
    )
    graph.graph.node.extend(
        [
            helper.make_node("Gather", [probabilities.name, "at_"], ["score_"], axis=1),
            helper.make_node("GreaterOrEqual", ["score_", "threshold_"], ["said_"]),
            helper.make_node("Where", ["said_", *places], ["place_"]),
            helper.make_node("Gather", ["classes_", "place_"], ["thresholded_"]),
        ]
    )
    outputs = [
        helper.make_tensor_value_info("thresholded_", onnx.TensorProto.INT64, [None]),
        type(probabilities).FromString(probabilities.SerializeToString()),
    ]
    del graph.graph.output[:]
    graph.graph.output.extend(outputs)
    onnx_session(graph.SerializeToString())
    return bytes(graph.SerializeToString())


def _blamed(model: Any, problem: str) -> str:
    """The parts that have no ONNX form, or else what the converter said."""
    known = {
        *sklearn_operator_name_map,
        *sklearn_parsers_map,
        *trees.CONVERTERS,
        *encoders.CONVERTERS,
    }
    without = [
        type(part).__name__
        for part in _parts(model, 0)
        if isinstance(part, BaseEstimator) and type(part) not in known
    ]
    if not without:
        return problem
    names = ", ".join(dict.fromkeys(without))
    return (
        f"{names} has no ONNX form: scikit-learn serves; docs/reference/estimators.md names what"
        f" has one. The converter said: {problem}"
    )


def _without_pauses(model: Any) -> Any:
    """Pipelines without the steps that do nothing, which skl2onnx takes for estimators."""
    if not isinstance(model, Pipeline):
        return model
    steps = [
        (name, _without_pauses(step))
        for name, step in model.steps
        if step is not None and not isinstance(step, str)
    ]
    return Pipeline(steps) if steps else model


def _converted(model: Any, types: list[tuple[str, Any]], options: Any, *, exact: bool) -> Any:
    """The graph by our own converters, or by skl2onnx's alone."""
    if not exact:
        return convert(
            model, initial_types=types, options=options, target_opset=OPSET, name="casemate"
        )
    functions, shapes = (
        {**trees.CONVERTERS, **encoders.CONVERTERS},
        {
            **trees.SHAPES,
            **encoders.SHAPES,
        },
    )
    graph = convert(
        model,
        initial_types=types,
        options=options,
        target_opset=OPSET,
        name="casemate",
        custom_conversion_functions=functions,
        custom_shape_calculators=shapes,
    )
    kinds = {node.op_type for node in graph.graph.node}
    if "TreeEnsemble" in kinds:
        if kinds & OLDER:
            raise ValueError("trees of two kinds in one graph")
        for domain in graph.opset_import:
            if domain.domain == "ai.onnx.ml":
                domain.version = trees.OPSET
    return graph


def _attempts(schema: Schema, model: Any) -> Iterator[tuple[list[tuple[str, Any]], bool]]:
    """The kinds of input to try, best first, and whether by our own converters."""
    columns = [(column.name, column.type == "category") for column in schema.features]
    for exact in (True, False):
        # skl2onnx alone would never end on a tree that splits on whether a value is missing
        if not exact and any(
            hasattr(part, "tree_") and not np.isfinite(part.tree_.threshold).all()
            for part in _parts(model, 0)
        ):
            return
        number = DoubleTensorType if exact else FloatTensorType
        if not schema.categories:
            yield [("x", number([None, len(columns)]))], exact
        yield (
            [
                (name, StringTensorType([None, 1]) if text else number([None, 1]))
                for name, text in columns
            ],
            exact,
        )


def _parts(model: Any, depth: int) -> Iterator[Any]:
    """Every estimator that the model consists of."""
    if depth > MOST_DEPTH or model is None or isinstance(model, str):
        return
    if isinstance(model, list | tuple | np.ndarray):
        for part in model:
            yield from _parts(part, depth)
        return
    yield model
    for name in INNER:
        yield from _parts(getattr(model, name, None), depth + 1)


def _opened(graph: Any) -> bytes:
    try:
        onnx_session(graph.SerializeToString())
    except Exception:  # noqa: BLE001 - onnxruntime has many; the converter declares double where an ensemble gives float
        for output in graph.graph.output:
            if output.type.tensor_type.elem_type == onnx.TensorProto.DOUBLE:
                output.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
        onnx_session(graph.SerializeToString())
    return bytes(graph.SerializeToString())
