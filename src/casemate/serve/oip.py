"""Open Inference Protocol V2, REST with JSON tensors.

Spec: https://github.com/kserve/open-inference-protocol. A request holds either one numeric tensor [n, d] with the
features in the schema's order, or one tensor [n] or [n, 1] a feature by name. JSON null is a missing value. The reply
holds `label` (BYTES, class names) and `probabilities` (FP32 [n, k]).
"""

import difflib
from typing import Any

import msgspec
import numpy as np
import pandas as pd

from casemate.core.errors import RequestError
from casemate.core.types import MISSING_CATEGORY, ColumnSchema
from casemate.serve.endpoint import Endpoint

NUMERIC = frozenset({"BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64"})
OUTPUTS = ("label", "probabilities")


class Tensor(msgspec.Struct, frozen=True):
    """One tensor of a request."""

    name: str
    shape: list[int]
    datatype: str
    data: msgspec.Raw


class Wanted(msgspec.Struct, frozen=True):
    """One output that the caller asks for."""

    name: str


class InferRequest(msgspec.Struct, frozen=True):
    """The body of a call to `infer`; unknown fields (parameters) are allowed by the protocol."""

    inputs: list[Tensor]
    id: str | None = None
    outputs: list[Wanted] | None = None


_REQUEST = msgspec.json.Decoder(InferRequest)
_FLAT = msgspec.json.Decoder(list[float | None])
_COLUMN = msgspec.json.Decoder(list[tuple[float | None]])
_NESTED = msgspec.json.Decoder(list[list[float | None]])
_BOOLS = msgspec.json.Decoder(list[bool | None])
_TEXTS = msgspec.json.Decoder(list[str | None])
_TEXT_COLUMN = msgspec.json.Decoder(list[tuple[str | None]])


def decode(body: bytes) -> InferRequest:
    """The request in `body`; RequestError when it is not JSON of the right shape, has NaN, or nests too deep."""
    try:
        return _REQUEST.decode(body)
    except (msgspec.MsgspecError, ValueError) as error:
        raise RequestError(f"the body is not an inference request: {error}") from error
    except RecursionError as error:
        raise RequestError("the body is nested too deep") from error


def infer(endpoint: Endpoint, request: InferRequest, max_rows: int) -> tuple[dict[str, Any], int]:
    """(reply, rows) for a decoded request; RequestError when it does not fit the model's inputs."""
    wanted = [output.name for output in request.outputs] if request.outputs else list(OUTPUTS)
    unknown = [name for name in wanted if name not in OUTPUTS]
    if unknown:
        raise RequestError(f"no output called {unknown[0]!r}; outputs: {', '.join(OUTPUTS)}")
    features = endpoint.schema.features
    if not request.inputs:
        raise RequestError("the request has no inputs")
    first = request.inputs[0]
    if len(request.inputs) == 1 and len(first.shape) == 2 and (len(features) > 1 or first.name != features[0].name):
        labels, probabilities = endpoint.predict_matrix(_matrix(endpoint, first, max_rows))
    else:
        labels, probabilities = endpoint.predict_frame(_frame(endpoint, request.inputs, max_rows))
    rows = len(labels)
    tensors = {
        "label": {"name": "label", "shape": [rows], "datatype": "BYTES", "data": labels},
        "probabilities": {
            "name": "probabilities",
            "shape": list(probabilities.shape),
            "datatype": "FP32",
            "data": probabilities.ravel().tolist(),
        },
    }
    reply: dict[str, Any] = {
        "model_name": endpoint.card.name,
        "model_version": str(endpoint.card.model_version),
        "outputs": [tensors[name] for name in wanted],
    }
    if request.id is not None:
        reply["id"] = request.id
    return reply, rows


def metadata(endpoint: Endpoint) -> dict[str, Any]:
    """The model's metadata: one input a feature, two outputs."""
    return {
        "name": endpoint.card.name,
        "versions": [str(endpoint.card.model_version)],
        "platform": f"casemate_{endpoint.card.serve_format}",
        "inputs": [
            {"name": column.name, "datatype": "BYTES" if column.type == "category" else "FP64", "shape": [-1]} for column in endpoint.schema.features
        ],
        "outputs": [
            {"name": "label", "datatype": "BYTES", "shape": [-1]},
            {"name": "probabilities", "datatype": "FP32", "shape": [-1, len(endpoint.schema.classes)]},
        ],
        "parameters": {"classes": endpoint.schema.classes, "signer": endpoint.fingerprint},
    }


def _rows(tensor: Tensor, max_rows: int) -> int:
    if not tensor.shape or any(size < 1 for size in tensor.shape):
        raise RequestError(f"input {tensor.name!r}: the shape {tensor.shape} has no rows")
    if tensor.shape[0] > max_rows:
        raise RequestError(f"input {tensor.name!r}: {tensor.shape[0]} rows, at most {max_rows} in one request")
    return tensor.shape[0]


def _matrix(endpoint: Endpoint, tensor: Tensor, max_rows: int) -> np.ndarray[Any, Any]:
    features = endpoint.schema.features
    if not endpoint.takes_matrix:
        raise RequestError("this model has categories: send one tensor a feature, by name")
    rows = _rows(tensor, max_rows)
    if tensor.shape != [rows, len(features)]:
        raise RequestError(f"input {tensor.name!r}: shape {tensor.shape}, expected [n, {len(features)}]")
    matrix = _numbers(tensor, rows * len(features)).reshape(rows, len(features))
    missing = np.isnan(matrix).any(axis=0)
    for column in np.flatnonzero(missing):
        _refuse_missing(features[column])
    return matrix


def _frame(endpoint: Endpoint, tensors: list[Tensor], max_rows: int) -> pd.DataFrame:
    features = {column.name: column for column in endpoint.schema.features}
    given = {tensor.name: tensor for tensor in tensors}
    if len(given) != len(tensors):
        raise RequestError("two inputs have the same name")
    for name in given:
        if name not in features:
            close = difflib.get_close_matches(name[:100], list(features), n=1)
            raise RequestError(f"no input called {name[:100]!r}" + (f"; did you mean {close[0]!r}?" if close else ""))
    absent = [name for name in features if name not in given]
    if absent:
        raise RequestError(f"the input {absent[0]!r} is missing ({len(absent)} of {len(features)})")
    rows = {_rows(tensor, max_rows) for tensor in tensors}
    if len(rows) != 1 or any(tensor.shape[1:] not in ([], [1]) for tensor in tensors):
        raise RequestError("every input must have the shape [n] or [n, 1] with the same n")
    count = rows.pop()
    return pd.DataFrame({name: _column(column, given[name], count) for name, column in features.items()})


def _column(column: ColumnSchema, tensor: Tensor, count: int) -> Any:
    if column.type == "category":
        values = _texts(tensor, count)
        if None in values:
            _refuse_missing(column)
        return pd.Series([MISSING_CATEGORY if value is None else value for value in values], dtype=object)
    numbers = _numbers(tensor, count)
    if np.isnan(numbers).any():
        _refuse_missing(column)
    return numbers


def _refuse_missing(column: ColumnSchema) -> None:
    if not column.nullable:
        raise RequestError(f"input {column.name!r} is missing in a row; it was never missing in training")


def _numbers(tensor: Tensor, count: int) -> np.ndarray[Any, Any]:
    if tensor.datatype not in NUMERIC:
        raise RequestError(f"input {tensor.name!r}: datatype {tensor.datatype[:20]!r}, expected a numeric one such as FP64")
    decoders = (_BOOLS,) if tensor.datatype == "BOOL" else (_FLAT, _NESTED if len(tensor.shape) > 1 else _COLUMN)
    values = _decode(tensor, decoders)
    try:
        array = np.array(values, dtype=np.float64).ravel()
    except ValueError as error:
        raise RequestError(f"input {tensor.name!r}: the rows of data have different lengths") from error
    if len(array) != count:
        raise RequestError(f"input {tensor.name!r}: {len(array)} values, the shape needs {count}")
    return array


def _texts(tensor: Tensor, count: int) -> list[str | None]:
    if tensor.datatype != "BYTES":
        raise RequestError(f"input {tensor.name!r}: datatype {tensor.datatype[:20]!r}, expected BYTES")
    values = [value[0] if isinstance(value, tuple) else value for value in _decode(tensor, (_TEXTS, _TEXT_COLUMN))]
    if len(values) != count:
        raise RequestError(f"input {tensor.name!r}: {len(values)} values, the shape needs {count}")
    return values


def _decode(tensor: Tensor, decoders: tuple[Any, ...]) -> Any:
    fault: Exception | None = None
    for decoder in decoders:
        try:
            return decoder.decode(tensor.data)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            fault = fault or error
    raise RequestError(f"input {tensor.name!r}: the data do not fit {tensor.datatype} {tensor.shape}: {fault}")
