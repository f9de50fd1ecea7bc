"""ONNX export that answers as the estimator does; whether it may serve is decided by the parity measurement of the assess stage.

Numbers go in as float64, as scikit-learn computes with them: rounded to float32 at the door, a scaled value can fall on the
other side of a tree's threshold. Trees themselves see float32, as scikit-learn's do; those of histogram gradient boosting see
float64 there, and keep their exact thresholds here. Missing cells are filled with the imputer's own float64 values, for
which onnxruntime's operator has no place.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from skl2onnx import to_onnx as convert
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, StringTensorType

from casemate.core.models import onnx_session
from casemate.core.types import Schema

OPSET = {"": 18, "ai.onnx.ml": 3}
MOST_DEPTH = 8
INNER = ("steps", "transformers_", "estimators_", "estimator_", "estimator", "final_estimator_", "calibrated_classifiers_")
"""Where estimators keep others, fitted."""


def network_to_onnx(model: Any, schema: Schema) -> tuple[bytes, str]:
    """The same for a torch network."""
    from casemate.core.network import to_onnx as convert_network

    try:
        return convert_network(model, schema), ""
    except Exception as error:  # noqa: BLE001 - converters raise anything
        return b"", f"{type(error).__name__}: {' '.join(str(error).split())}"[:500]


def to_onnx(model: Any, schema: Schema) -> tuple[bytes, str]:
    """(ONNX bytes, "") or (b"", why not). All-numeric models get one input `x` [n, d] where that converts."""
    if any(hasattr(part, "tree_") and not np.isfinite(part.tree_.threshold).all() for part in _parts(model, 0)):
        return b"", "a tree splits on whether a value is missing, which its ONNX form does not know"  # and the converter never ends
    final = model.steps[-1][1] if hasattr(model, "steps") else model
    options = None if schema.regression else {id(final): {"zipmap": False}}
    problem = ""
    for types in _attempts(schema):
        try:
            graph = convert(model, initial_types=types, options=options, target_opset=OPSET, name="casemate")
            exact = any(isinstance(kind, DoubleTensorType) for _, kind in types)
            return _loadable(_filling(graph, model) if exact else graph, model, exact=exact), ""
        except Exception as error:  # noqa: BLE001 - converters raise anything; the estimator itself then serves
            problem = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return b"", problem[:500]


def _attempts(schema: Schema) -> list[list[tuple[str, Any]]]:
    """The kinds of input to try, best first."""
    columns = [(column.name, column.type == "category") for column in schema.features]
    kinds = (DoubleTensorType, FloatTensorType)
    single = [] if schema.categories else [[("x", kind([None, len(columns)]))] for kind in kinds]
    return single + [[(name, StringTensorType([None, 1]) if text else kind([None, 1])) for name, text in columns] for kind in kinds]


def _loadable(graph: Any, model: Any, *, exact: bool) -> bytes:
    """The graph as bytes that onnxruntime loads, with exact thresholds where they can be had and numbers come in as float64."""
    boosted = [estimator for estimator in _parts(model, 0) if hasattr(estimator, "_predictors")] if exact else []
    if boosted:
        try:
            return _opened(_arranged(graph, boosted))
        except Exception:  # noqa: BLE001, S110 - onnxruntime has many; what comes before a tree may give float32
            pass
    return _opened(_arranged(graph, []))


def _filling(graph: Any, model: Any) -> Any:
    """A copy that fills missing cells by a choice between float64 numbers, in place of an operator that knows float32 only."""
    made = onnx.ModelProto()
    made.CopyFrom(graph)
    kept = [part.statistics_ for part in _parts(model, 0) if hasattr(part, "statistics_")]
    filled = [np.asarray(numbers, dtype=np.float64) for numbers in kept if numbers.dtype.kind == "f"]
    nodes = []
    for node in made.graph.node:
        given = {attribute.name: attribute for attribute in node.attribute}
        values = np.array(given["imputed_value_floats"].floats) if "imputed_value_floats" in given else np.empty(0)
        if node.op_type != "Imputer" or not len(values) or not np.isnan(given["replaced_value_float"].f):
            nodes.append(node)
            continue
        exact = next((numbers for numbers in filled if np.array_equal(numbers.astype(np.float32), values.astype(np.float32))), values)
        name, gap = f"{node.output[0]}_values", f"{node.output[0]}_gaps"
        made.graph.initializer.append(numpy_helper.from_array(exact.astype(np.float64).reshape(1, -1), name))
        nodes.append(helper.make_node("IsNaN", [node.input[0]], [gap]))
        nodes.append(helper.make_node("Where", [gap, name, node.input[0]], [node.output[0]]))
    del made.graph.node[:]
    made.graph.node.extend(nodes)
    return made


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


def _arranged(graph: Any, boosted: list[Any]) -> Any:
    """A copy with float32 before each ensemble of trees, whose probabilities are float32 too; that of a boosted one takes float64."""
    made = onnx.ModelProto()
    made.CopyFrom(graph)
    nodes = []
    for node in made.graph.node:
        if node.op_type.startswith("TreeEnsemble") and not any(_sharpened(node, estimator) for estimator in boosted):
            cast = f"{node.input[0]}_for_{node.output[0]}"
            nodes.append(helper.make_node("Cast", [node.input[0]], [cast], to=onnx.TensorProto.FLOAT))
            node.input[0] = cast
        nodes.append(node)
    del made.graph.node[:]
    made.graph.node.extend(nodes)
    if boosted:
        for domain in made.opset_import:
            if domain.domain == "ai.onnx.ml":  # the converter writes down the least version that its own nodes need
                domain.version = OPSET["ai.onnx.ml"]
    return made


def _sharpened(node: Any, estimator: Any) -> bool:
    """Whether the ensemble is this estimator's; it then has the estimator's float64 numbers in place of float32 ones."""
    trees = [tree.nodes for group in estimator._predictors for tree in group]  # noqa: SLF001 - scikit-learn shows thresholds nowhere else
    leaf = np.concatenate([tree["is_leaf"] for tree in trees]).astype(bool)
    weights = "target_weights" if node.op_type == "TreeEnsembleRegressor" else "class_weights"
    exact = {
        "nodes_values": np.where(leaf, 0.0, np.concatenate([tree["num_threshold"] for tree in trees])),
        weights: np.concatenate([tree["value"] for tree in trees])[leaf],
        "base_values": np.ravel(estimator._baseline_prediction),  # noqa: SLF001 - same
    }
    known = {attribute.name: attribute for attribute in node.attribute}
    if not all(name in known and np.array_equal(known[name].floats, numbers.astype(np.float32)) for name, numbers in exact.items()):
        return False
    kept = [attribute for attribute in node.attribute if attribute.name not in exact]
    del node.attribute[:]
    node.attribute.extend(kept)
    for name, numbers in exact.items():
        node.attribute.append(helper.make_attribute(f"{name}_as_tensor", numpy_helper.from_array(numbers.astype(np.float64), name)))
    return True


def _opened(graph: Any) -> bytes:
    try:
        onnx_session(graph.SerializeToString())
    except Exception:  # noqa: BLE001 - onnxruntime has many; the converter declares double where an ensemble gives float
        for output in graph.graph.output:
            if output.type.tensor_type.elem_type == onnx.TensorProto.DOUBLE:
                output.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
        onnx_session(graph.SerializeToString())
    return bytes(graph.SerializeToString())
