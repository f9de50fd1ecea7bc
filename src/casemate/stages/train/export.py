"""ONNX export with float32 inputs; whether it may serve is decided by the parity measurement of the assess stage."""

from typing import Any

from skl2onnx import to_onnx as convert
from skl2onnx.common.data_types import FloatTensorType, StringTensorType

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
    options = {id(final): {"zipmap": False}}
    per_column = [
        (column.name, StringTensorType([None, 1]) if column.type == "category" else FloatTensorType([None, 1])) for column in schema.features
    ]
    attempts = [per_column] if schema.categories else [[("x", FloatTensorType([None, len(per_column)]))], per_column]
    problem = ""
    for types in attempts:
        try:
            graph = convert(model, initial_types=types, options=options, target_opset=OPSET, name="casemate")
            return graph.SerializeToString(), ""
        except Exception as error:  # noqa: BLE001 - converters raise anything; the estimator itself then serves
            problem = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return b"", problem[:500]
