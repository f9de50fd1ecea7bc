"""ONNX export that answers as the estimator does; whether it may serve is decided by the parity measurement of the assess stage.

Numbers go in as float64, as scikit-learn computes with them: rounded to float32 at the door, a scaled value can fall on the
other side of a tree's threshold. Trees themselves see float32, as scikit-learn's do.
"""

from typing import Any

import onnx
from onnx import helper
from skl2onnx import to_onnx as convert
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, StringTensorType

from casemate.core.models import onnx_session
from casemate.core.types import Schema

OPSET = {"": 18, "ai.onnx.ml": 3}


def network_to_onnx(model: Any, schema: Schema) -> tuple[bytes, str]:
    """The same for a torch network."""
    from casemate.core.network import to_onnx as convert_network

    try:
        return convert_network(model, schema), ""
    except Exception as error:  # noqa: BLE001 - converters raise anything
        return b"", f"{type(error).__name__}: {' '.join(str(error).split())}"[:500]


def to_onnx(model: Any, schema: Schema) -> tuple[bytes, str]:
    """(ONNX bytes, "") or (b"", why not). All-numeric models get one input `x` [n, d] where that converts."""
    final = model.steps[-1][1] if hasattr(model, "steps") else model
    options = None if schema.regression else {id(final): {"zipmap": False}}
    problem = ""
    for types in _attempts(schema):
        try:
            graph = convert(model, initial_types=types, options=options, target_opset=OPSET, name="casemate")
            return _loadable(graph), ""
        except Exception as error:  # noqa: BLE001 - converters raise anything; the estimator itself then serves
            problem = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return b"", problem[:500]


def _attempts(schema: Schema) -> list[list[tuple[str, Any]]]:
    """The kinds of input to try, best first."""
    columns = [(column.name, column.type == "category") for column in schema.features]
    kinds = (DoubleTensorType, FloatTensorType)
    single = [] if schema.categories else [[("x", kind([None, len(columns)]))] for kind in kinds]
    return single + [[(name, StringTensorType([None, 1]) if text else kind([None, 1])) for name, text in columns] for kind in kinds]


def _loadable(graph: Any) -> bytes:
    """The graph as bytes that onnxruntime loads: float32 before each ensemble of trees, whose probabilities are float32 too."""
    nodes = []
    for node in graph.graph.node:
        if node.op_type.startswith("TreeEnsemble"):
            cast = f"{node.input[0]}_for_{node.output[0]}"
            nodes.append(helper.make_node("Cast", [node.input[0]], [cast], to=onnx.TensorProto.FLOAT))
            node.input[0] = cast
        nodes.append(node)
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)
    try:
        onnx_session(graph.SerializeToString())
    except Exception:  # noqa: BLE001 - onnxruntime has many; the converter declares double where an ensemble gives float
        for output in graph.graph.output:
            if output.type.tensor_type.elem_type == onnx.TensorProto.DOUBLE:
                output.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
        onnx_session(graph.SerializeToString())
    return bytes(graph.SerializeToString())
