"""Inputs and outputs of a foreign ONNX graph as casemate's own graphs have them.

Inputs: one `x` [n, d] in the table's order, or one [n, 1] a feature, found by name and never by
place; whole numbers and booleans come as float64 and are cast inside. Outputs of a classifier:
class numbers or names [n], and probabilities [n, k]. A graph that gives probabilities alone, as
Keras and torch make them, has no class names: `[train] classes` says them.
"""

import re
from typing import Any

import msgspec
import numpy as np
import pandas as pd
from onnx import TensorProto, helper, numpy_helper

from casemate.core.errors import VerificationError
from casemate.core.types import Schema
from casemate.ml import graph as graphs
from casemate.ml.frame import made_up
from casemate.ml.models import OnnxModel

EXPORT = (
    "export it with outputs for labels [n] and probabilities [n, k], such as skl2onnx with"
    " options={'zipmap': False}"
)
ROWS = 2000
"""Made-up rows by whose answers a lone output is told for probabilities; as in `imported`."""
CLOSE = 1e-3
"""Sums of probabilities may miss 1 by so much: float32, and more for many classes."""
REAL = (TensorProto.FLOAT, TensorProto.DOUBLE)
CAST = {
    TensorProto.INT8,
    TensorProto.INT16,
    TensorProto.INT32,
    TensorProto.INT64,
    TensorProto.UINT8,
    TensorProto.BOOL,
}
NAMES = (TensorProto.INT32, TensorProto.INT64, TensorProto.STRING)
_SOFTMAX = (
    "let it give probabilities: torch.onnx.export(torch.nn.Sequential(model,"
    " torch.nn.Softmax(dim=1)), …), or keras.Sequential([model, keras.layers.Softmax()]).export(…,"
    " format='onnx')"
)
_ROWS = (
    "export it for any number of rows: torch.onnx.export(…, dynamic_axes={'INPUT': {0: 'n'},"
    " 'OUTPUT': {0: 'n'}})"
)
Array = np.ndarray[Any, Any]


def inputs(model: Any, schema: Schema) -> None:
    """Name, order and type the inputs, in place; VerificationError when they are not the table's
    features.
    """
    names = [column.name for column in schema.features]
    weights = {item.name for item in model.graph.initializer}
    ports = [port for port in model.graph.input if port.name not in weights]
    texts = [port.type.tensor_type.elem_type == TensorProto.STRING for port in ports]
    if len(ports) == 1 and not (len(names) == 1 and texts[0]):
        _rename(model, ports[0], "x")
        if schema.categories and not texts[0]:
            raise VerificationError(
                "the imported graph takes one matrix of numbers, and the table has categories",
                hint="export it with one input a column, by name",
            )
    elif len(ports) == len(names):
        ports = _ordered(ports, names)
    else:
        raise VerificationError(
            f"the imported graph has {len(ports)} inputs, the table {len(names)} features",
            hint="export it with one input for all features, or one a column",
        )
    for place, port in enumerate(ports):
        nullable = [column.name for column in schema.features if column.nullable]
        _real(
            model,
            port,
            nullable if len(ports) == 1 else [name for name in nullable if name == names[place]],
        )
        _any_number_of_rows(port)
    for port in model.graph.output:
        _any_number_of_rows(port)
    kept = [port for port in model.graph.input if port.name in weights]
    copies = [type(port).FromString(port.SerializeToString()) for port in (*ports, *kept)]
    del model.graph.input[:]
    model.graph.input.extend(copies)


def _ordered(ports: list[Any], names: list[str]) -> list[Any]:
    """The ports in the table's order: by name, where converters may have replaced signs."""
    for change in (
        str,
        lambda name: re.sub(r"\W", "_", name),
        lambda name: re.sub(r"\W", "_", name).casefold(),
    ):
        found = {change(port.name): port for port in ports}
        wanted = [change(name) for name in names]
        if len(found) == len(set(wanted)) == len(ports) and set(found) == set(wanted):
            return [found[name] for name in wanted]
    given = ", ".join(repr(port.name[:30]) for port in ports[:8])
    raise VerificationError(
        f"the imported graph's inputs are not the table's features: it has {given}, the table"
        f" {', '.join(map(repr, names[:8]))}",
        hint=(
            "rename the columns, or the inputs when you export it: order alone does not say which"
            " is which"
        ),
    )


def _rename(model: Any, port: Any, name: str) -> None:
    """Another name for an input; an inner value of that name gives way."""
    old = port.name
    if old == name:
        return
    taken = f"{name}_inner"
    while any(taken in (*node.input, *node.output) for node, _ in graphs.nodes(model.graph)):
        taken += "_"
    new = {old: name, name: taken}
    for node, _ in graphs.nodes(model.graph):
        for place, given in enumerate(node.input):
            node.input[place] = new.get(given, given)
        for place, given in enumerate(node.output):
            node.output[place] = new.get(given, given)
    for item in (*model.graph.initializer, *model.graph.output, *model.graph.value_info):
        item.name = new.get(item.name, item.name)
    port.name = name


def _real(model: Any, port: Any, nullable: list[str]) -> None:
    """Let an input of whole numbers or booleans take float64."""
    kind = port.type.tensor_type.elem_type
    if kind not in CAST:
        return
    if nullable:
        raise VerificationError(
            f"the imported graph takes whole numbers, and the column {nullable[0]!r} may be"
            " missing: it would answer nonsense",
            hint="export it with float inputs, such as FloatTensorType of skl2onnx",
        )
    inner = f"{port.name}_whole"
    for node, _ in graphs.nodes(model.graph):
        for place, name in enumerate(node.input):
            node.input[place] = inner if name == port.name else name
    port.type.tensor_type.elem_type = TensorProto.DOUBLE
    model.graph.node.insert(0, helper.make_node("Cast", [port.name], [inner], to=kind))


def _any_number_of_rows(port: Any) -> None:
    """Exporters of torch write down the size of its example; whether the graph depends on it is
    seen by asking.
    """
    shape = port.type.tensor_type.shape
    if shape.dim and shape.dim[0].HasField("dim_value"):
        shape.dim[0].ClearField("dim_value")
        shape.dim[0].dim_param = "n"


def answer(model: OnnxModel, frame: pd.DataFrame) -> tuple[Array, Array]:
    """What `model` predicts for `frame`; VerificationError with the way out when it cannot take so
    many rows, or these columns.
    """
    try:
        return model.predict(frame)
    except Exception as error:  # the runtime has exceptions of its own
        text = " ".join(str(error).split())[:200]
        raise VerificationError(
            f"the imported graph cannot be asked about {len(frame)} rows: {text}", hint=_ROWS
        ) from error


def require_quantities(made: Any, schema: Schema) -> None:
    """VerificationError unless a regressor's graph has one output of real numbers."""
    outputs = list(made.graph.output)
    if len(outputs) != 1 or outputs[0].type.tensor_type.elem_type not in REAL:
        raise VerificationError(
            f"the imported graph has {len(outputs)} outputs, one of {len(schema.targets)}"
            " quantities is expected",
            hint='export the regressor alone; [data] task = "classification" takes classifiers',
        )


def classifier(made: Any, schema: Schema, said: list[str]) -> Any:
    """The graph with labels and probabilities as its outputs, in this order.

    Args:
        made: rebuilt.
        schema: the pinned schema.
        said: `[train] classes`.

    Raises:
        VerificationError: it gives something else.
    """
    kinds = [port.type.tensor_type.elem_type for port in made.graph.output]
    if len(kinds) == 2 and kinds[0] in REAL and kinds[1] in NAMES:
        outputs = [
            type(port).FromString(port.SerializeToString()) for port in reversed(made.graph.output)
        ]
        del made.graph.output[:]
        made.graph.output.extend(outputs)
        return graphs.rebuilt(made)
    if len(kinds) == 2:
        return made
    if len(kinds) != 1 or kinds[0] not in REAL:
        raise VerificationError(
            f"the imported graph has {len(kinds)} outputs, labels and probabilities are expected",
            hint=EXPORT,
        )
    width = _probabilities(made, schema)
    if not said and schema.classes != [str(number) for number in range(len(schema.classes))]:
        listed = ", ".join(f'"{name}"' for name in schema.classes)
        raise VerificationError(
            "the imported graph gives probabilities without class names, and their order does not"
            " say which is which",
            hint=f"[train] classes = [{listed}] in casemate.toml, in the order of its outputs"
            + (
                "; of a single output the second is the class whose probability it is"
                if width == 1
                else ""
            ),
        )
    return _labelled(made, width)


def _probabilities(made: Any, schema: Schema) -> int:
    """How many numbers a row the only output has; VerificationError when they are no probabilities
    of the table's classes.
    """
    count = len(schema.classes)
    plain = msgspec.structs.replace(schema, classes=[])  # to be heard like quantities
    found = answer(
        OnnxModel(made.SerializeToString(), plain), made_up(schema, ROWS, np.random.default_rng(0))
    )[1]
    width = int(found.shape[1])
    if width != count and not (width == 1 and count == 2):
        raise VerificationError(
            f"the imported graph gives {width} numbers a row, {count} are expected",
            hint="use a model of this table",
        )
    require_probabilities(found, "the imported graph's only output")
    return width


def require_probabilities(found: Array, what: str) -> None:
    """VerificationError where numbers [n, k] are no probabilities; nothing turns scores into some
    by guess.
    """
    width = found.shape[1]
    sound = bool((found >= -CLOSE).all() and (found <= 1 + CLOSE).all())
    if not sound or (width > 1 and not np.allclose(found.sum(axis=1), 1, atol=CLOSE)):
        way = (
            _SOFTMAX.replace("Softmax(dim=1)", "Sigmoid()").replace(
                "Softmax()", "Activation('sigmoid')"
            )
            if width == 1
            else _SOFTMAX
        )
        raise VerificationError(
            f"{what} is no list of probabilities: they do not lie between 0 and 1, or add up",
            hint=way,
        )


def _labelled(made: Any, width: int) -> Any:
    """The graph with the place of the largest probability as its label before them; of one
    probability with the other beside it.
    """
    (port,) = made.graph.output
    kind = port.type.tensor_type.elem_type
    probabilities = port.name
    if width == 1:
        number = np.float64 if kind == TensorProto.DOUBLE else np.float32
        made.graph.initializer.extend(
            [
                numpy_helper.from_array(np.array([-1, 1]), "column_"),
                numpy_helper.from_array(np.array(1, number), "one_"),
            ]
        )
        made.graph.node.extend(
            [
                helper.make_node("Reshape", [probabilities, "column_"], ["positive_"]),
                helper.make_node("Sub", ["one_", "positive_"], ["negative_"]),
                helper.make_node("Concat", ["negative_", "positive_"], ["both_"], axis=1),
            ]
        )
        probabilities = "both_"
    made.graph.node.append(
        helper.make_node("ArgMax", [probabilities], ["place_"], axis=1, keepdims=0)
    )
    del made.graph.output[:]
    made.graph.output.extend(
        [
            helper.make_tensor_value_info("place_", TensorProto.INT64, [None]),
            helper.make_tensor_value_info(probabilities, kind, [None, max(width, 2)]),
        ]
    )
    return graphs.rebuilt(made)
