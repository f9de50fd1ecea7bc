"""What a fitted model keeps of the rows that it learnt from: an ONNX graph's words, and rows.

Encoders keep categories, so the names of people where a column of names was a feature; support
vectors and neighbours are rows of the table. Numbers in trees and weights are not looked at:
thresholds are hardly ever a person's value.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from casemate.core.errors import DataError

MOST_BYTES = 256 * 1024 * 1024
"""Of one model file that is searched in memory. A judgement: what is larger is refused, never
passed unsearched.
"""
FAR = 100
"""Steps from a node back to the input that it works on."""
SUPPORT = ("SVMClassifier", "SVMRegressor")
NEIGHBOURS = ("CDist", "Scan")
"""What compares an input with rows: neighbours, Gaussian processes."""


def columns_of(path: Path) -> tuple[dict[str, pa.Array], int]:
    """(words that a graph holds, by the input that they belong to; how many rows it holds).

    Raises:
        DataError: it is no ONNX graph, or too large.
    """
    import onnx
    from google.protobuf.message import DecodeError

    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise DataError(f"{path} is larger than {MOST_BYTES} bytes", hint="scan it by other means")
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except DecodeError as error:
        raise DataError(f"{path} is no ONNX graph", hint="export it again") from error
    if not model.graph.node:
        raise DataError(f"{path} is no ONNX graph", hint="export it again")
    made = {name: node for node in model.graph.node for name in node.output}
    inputs = {one.name for one in model.graph.input}
    words: dict[str, list[str]] = {}
    rows = 0
    for node in model.graph.node:
        found = [text for one in node.attribute for text in _words(one)]
        if found:
            words.setdefault(_origin(node, made, inputs), []).extend(found)
        rows += _supports(node)
    for tensor in model.graph.initializer:
        if found := _text(tensor):
            words.setdefault(tensor.name or "initialiser", []).extend(found)
        if len(tensor.dims) == 2 and any(
            tensor.name in node.input and node.op_type in NEIGHBOURS for node in model.graph.node
        ):
            rows += int(tensor.dims[0])
    told = [one.value for one in model.metadata_props] + [model.doc_string, model.graph.doc_string]
    words["metadata"] = [text for text in told if text]
    return {name: pa.array(found, pa.string()) for name, found in words.items() if found}, rows


def _words(attribute: Any) -> Iterator[str]:
    for text in [*attribute.strings, *([attribute.s] if attribute.s else [])]:
        yield text.decode("utf-8", "replace")
    for tensor in [*attribute.tensors, *([attribute.t] if attribute.HasField("t") else [])]:
        yield from _text(tensor)


def _text(tensor: Any) -> list[str]:
    return [text.decode("utf-8", "replace") for text in tensor.string_data]


def _supports(node: Any) -> int:
    if node.op_type not in SUPPORT:
        return 0
    told = {one.name: one for one in node.attribute}
    if "vectors_per_class" in told:
        return int(sum(told["vectors_per_class"].ints))
    return int(told["n_supports"].i) if "n_supports" in told else 0


def _origin(node: Any, made: dict[str, Any], inputs: set[str]) -> str:
    """The input of the graph that a node works on, through nodes before it; its own name where
    there are several.
    """
    at = node
    for _ in range(FAR):
        known = [name for name in at.input if name in inputs or name in made]
        if len(known) != 1:
            break
        if known[0] in inputs:
            return str(known[0])
        at = made[known[0]]
    return str(node.name or node.op_type)
