"""A model that was trained elsewhere: whether it takes the table's features, and which of its
outputs is which class.

Questions are asked of rows that the schema admits and nobody owns. An ONNX graph comes out with one
input `x` or one a feature, and with the table's class numbers and probabilities in the table's
order, whatever it called them before; `ports` gives it the inputs and outputs that casemate's
graphs have.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from casemate.core.errors import VerificationError
from casemate.core.types import Schema
from casemate.ml import graph as graphs
from casemate.ml.frame import made_up
from casemate.ml.models import OnnxModel, SkopsModel
from casemate.ml.own.asked import AskedModel
from casemate.stages.train import ports
from casemate.stages.train.classes import order_of

ROWS = 2000
"""Made-up rows that an imported graph is asked about. A judgement: each category and missing cell
of a common table occurs.
"""
ML = "ai.onnx.ml"
ML_VERSION = 3
"""Of `ai.onnx.ml`, as `export` has it; LabelEncoder takes keys and values as attributes since
version 2.
"""
LEAST_AGREEMENT = 0.5
"""A list of class names is the model's if its largest probability names the answered class this
often; thresholds may change the rest.
"""
Array = np.ndarray[Any, Any]


def check_estimator(model: SkopsModel, schema: Schema, said: list[str]) -> list[int]:
    """The table's class number of each of the estimator's classes; VerificationError when it is no
    model of this table.
    """
    estimator = model.estimator
    names = [column.name for column in schema.features]
    given = [str(name) for name in getattr(estimator, "feature_names_in_", [])]
    if given and given != names:
        raise VerificationError(
            f"the imported model takes the features {given[:8]}, the table has {names[:8]}",
            hint="name and order must be the same",
        )
    if schema.regression:
        if not model.regression or model.predict(made_up(schema, 1))[1].shape != (
            1,
            len(schema.targets),
        ):
            raise VerificationError(
                f"the imported model is no regressor with {len(schema.targets)} outputs",
                hint="use a model of this table",
            )
        return []
    if model.regression:
        raise VerificationError(
            "the imported model is no classifier",
            hint='[data] task = "regression" takes regressors',
        )
    return order_of(list(estimator.classes_), schema.classes, said)


def check_asked(model: AskedModel, schema: Schema, said: list[str]) -> list[int]:
    """The same of one with code of its own, as the process says that holds the code."""
    names = [column.name for column in schema.features]
    if model.features and model.features != names:
        raise VerificationError(
            f"the imported model takes the features {model.features[:8]}, the table has"
            f" {names[:8]}",
            hint="name and order must be the same",
        )
    if model.regression != schema.regression:
        raise VerificationError(
            "the imported model predicts something else than the table has",
            hint="[data] task says whether it is classes or quantities",
        )
    model.predict(made_up(schema, 1))  # raises where its answer is of another width
    return [] if schema.regression else order_of(model.classes, schema.classes, said)


def canonical_graph(content: bytes, schema: Schema, said: list[str]) -> bytes:
    """The user's own graph, canonical, with the table's classes; VerificationError when it is no
    model of this table.
    """
    model = graphs.read(content)
    mapped = graphs.without_mapping(model)
    ports.inputs(model, schema)
    made = graphs.rebuilt(model)
    if schema.regression:
        ports.require_quantities(made, schema)
        _require_width(OnnxModel(made.SerializeToString(), schema), schema)
        return bytes(made.SerializeToString(deterministic=True))
    made = ports.classifier(made, schema, said)
    answers = OnnxModel(made.SerializeToString(), schema)
    _require_width(answers, schema)
    labels, probabilities = ports.answer(answers, made_up(schema, ROWS, np.random.default_rng(0)))
    ports.require_probabilities(
        np.asarray(probabilities, dtype=np.float64), "the second output of the imported graph"
    )
    values = _values(
        mapped + list(_lists(made, len(schema.classes))), np.ravel(labels), probabilities
    )
    _append_order(made, values, order_of(values, schema.classes, said))
    return bytes(graphs.rebuilt(made).SerializeToString(deterministic=True))


def _require_width(model: OnnxModel, schema: Schema) -> None:
    width = len(schema.targets) if schema.regression else len(schema.classes)
    shape = ports.answer(model, made_up(schema, 2))[1].shape
    if shape != (2, width):
        raise VerificationError(
            f"the imported graph gives {shape[-1]} numbers a row, {width} are expected",
            hint=ports.EXPORT,
        )


def _lists(model: Any, count: int) -> Iterator[list[Any]]:
    """Every list of `count` distinct whole numbers or texts in the graph: one of them names its
    classes.
    """
    for node, _ in graphs.nodes(model.graph):
        for item in node.attribute:
            found: list[Any] = []
            if item.type in (AttributeProto.INTS, AttributeProto.STRINGS):
                found = list(item.ints or item.strings)
            elif item.type == AttributeProto.TENSOR:
                found = _plain(item.t)
            if len(set(found)) == len(found) == count:
                yield found
    for tensor in model.graph.initializer:
        found = _plain(tensor)
        if len(set(found)) == len(found) == count:
            yield found


def _plain(tensor: Any) -> list[Any]:
    if (
        tensor.data_type not in (TensorProto.INT32, TensorProto.INT64, TensorProto.STRING)
        or len(tensor.dims) > 2
    ):
        return []
    return list(numpy_helper.to_array(tensor).ravel().tolist())


def _values(lists: list[list[Any]], labels: Array, probabilities: Array) -> list[Any]:
    """What the graph calls its classes, in the order of its probabilities."""
    likeliest = np.asarray(probabilities).argmax(axis=1)
    answered = [value.encode() if isinstance(value, str) else value for value in labels.tolist()]
    best: tuple[float, list[Any]] = (0.0, [])
    for values in [*lists, list(range(np.shape(probabilities)[1]))]:
        known = [value.encode() if isinstance(value, str) else value for value in values]
        if set(answered) <= set(known):
            agreement = float(
                np.mean(
                    [
                        known[place] == value
                        for place, value in zip(likeliest, answered, strict=True)
                    ]
                )
            )
            best = max(best, (agreement, known), key=lambda pair: pair[0])
    if best[0] < LEAST_AGREEMENT:
        raise VerificationError(
            "it cannot be told which class each probability of the imported graph means",
            hint=ports.EXPORT,
        )
    return best[1]


def _append_order(made: Any, values: list[Any], order: list[int]) -> None:
    """Let the graph answer the table's class numbers, and probabilities in the table's order."""
    if values == order == list(range(len(order))):
        return
    label, probabilities = made.graph.output
    sets = {entry.domain: entry for entry in made.opset_import}
    if ML not in sets:
        made.opset_import.append(helper.make_opsetid(ML, ML_VERSION))
    elif sets[ML].version == 1:
        # the one operator that version 2 changed
        if any(node.op_type == "LabelEncoder" for node, _ in graphs.nodes(made.graph)):
            raise VerificationError(
                "the imported graph uses the first version of the operators ai.onnx.ml",
                hint="export it for version 2 or newer",
            )
        sets[ML].version = ML_VERSION
    keys = "keys_strings" if isinstance(values[0], bytes) else "keys_int64s"
    # -1 is no class, and the assessment says so
    listed: dict[str, Any] = {keys: values, "values_int64s": order, "default_int64": -1}
    encode = helper.make_node("LabelEncoder", [label.name], ["label_"], domain=ML, **listed)
    places = numpy_helper.from_array(np.argsort(order), "places_")
    gather = helper.make_node("Gather", [probabilities.name, "places_"], ["probabilities_"], axis=1)
    kind = probabilities.type.tensor_type.elem_type
    shape = [None] * max(len(label.type.tensor_type.shape.dim), 1)
    del made.graph.output[:]
    made.graph.node.extend([encode, gather])
    made.graph.initializer.append(places)
    made.graph.output.extend(
        [
            helper.make_tensor_value_info("label_", TensorProto.INT64, shape),
            helper.make_tensor_value_info("probabilities_", kind, [None, len(order)]),
        ]
    )


def class_numbers(content: bytes, values: list[Any], order: list[int]) -> bytes:
    """A graph of our own converter, whose estimator has the classes `values`, with the table's
    classes.
    """
    made = graphs.read(content)
    plain = [value.item() if hasattr(value, "item") else value for value in values]
    known = [value.encode() if isinstance(value, str) else int(value) for value in plain]
    _append_order(made, known, order)
    return bytes(graphs.rebuilt(made).SerializeToString(deterministic=True))
