"""Open Inference Protocol V2, REST with tensors in JSON or, by the binary tensor extension, as
bytes behind the JSON.

Spec: https://github.com/kserve/open-inference-protocol, extension_binary_data of the V2 dialect
that Triton speaks. A request holds either one numeric tensor [n, d] with the features in the
schema's order, or one tensor [n] or [n, 1] a feature by name: a number may come as BYTES, a
category as BOOL or a number; or the columns of the training table as it was written (BYTES), of
which the metadata's parameters tell (`raw`). JSON null, or NaN in bytes, is a missing value. The
reply holds `label` (BYTES, class names) and `probabilities` (FP32 [n, k]), or of a regressor
`prediction` (FP64 [n], of several targets [n, m]); noisy counts are `count` (INT64 [k]) beside all
labels.
"""

import math
import struct
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta

from casemate.core.errors import RequestError
from casemate.ml.frame import Rows
from casemate.serve.cells import Cells
from casemate.serve.endpoint import Endpoint
from casemate.serve.outputs import NAMES
from casemate.serve.protocols.columns import made, raw_names, rows_of
from casemate.serve.protocols.interface import Asked, Encode
from casemate.serve.types import BINARY, JSON, Answer, Array, Headers

DTYPES = {
    "BOOL": "?", "UINT8": "u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8", "INT8": "i1",
    "INT16": "<i2", "INT32": "<i4", "INT64": "<i8", "FP16": "<f2", "FP32": "<f4", "FP64": "<f8",
}  # fmt: skip
"""NumPy's name of each numeric datatype on the wire: little-endian, row by row."""
KINDS = {"f4": "FP32", "f8": "FP64", "i8": "INT64"}
MOST_DIMENSIONS, MOST_SIZE = 8, 2**31
OUTPUTS = ("label", "probabilities", "prediction", "count")
"""What is sent to a caller who names no outputs; what is hidden from them is left out."""


class TensorParameters(msgspec.Struct, frozen=True):
    """Of a tensor."""

    binary_data_size: int | None = None


class OutputParameters(msgspec.Struct, frozen=True):
    """Of an output that is asked for."""

    binary_data: bool | None = None


class InferParameters(msgspec.Struct, frozen=True):
    """Of a call."""

    binary_data_output: bool = False


class TensorJson(msgspec.Struct, frozen=True):
    """One tensor on the wire; without `data` its bytes follow the JSON."""

    name: str
    shape: list[int]
    datatype: Annotated[str, Meta(extra_json_schema={"enum": [*DTYPES, "BYTES"]})]
    data: Annotated[msgspec.Raw | msgspec.UnsetType, Meta(extra_json_schema={"type": "array"})] = (
        msgspec.UNSET
    )
    parameters: TensorParameters | None = None


class WantedOutput(msgspec.Struct, frozen=True):
    """An output that is asked for."""

    name: str
    parameters: OutputParameters | None = None


class InferBody(msgspec.Struct, frozen=True):
    """The JSON part of a call to `infer`; unknown fields (parameters) are allowed by the
    protocol.
    """

    inputs: Annotated[list[TensorJson], Meta(extra_json_schema={"minItems": 1})]
    id: str | None = None
    outputs: list[WantedOutput] | None = None
    parameters: InferParameters | None = None


@dataclass(frozen=True)
class Tensor:
    """One tensor of a request."""

    name: str
    shape: list[int]
    datatype: str
    data: bytes | memoryview
    """JSON, or what the binary extension put behind the JSON."""
    binary: bool


@dataclass(frozen=True)
class InferRequest:
    """A call to `infer`."""

    inputs: list[Tensor]
    id: str | None
    outputs: list[tuple[str, bool]]
    """Name of each output that the caller asks for, and whether it is to be bytes."""


_REQUEST = msgspec.json.Decoder(InferBody)
_FLAT = msgspec.json.Decoder(list[float | None])
_COLUMN = msgspec.json.Decoder(list[tuple[float | None]])
_NESTED = msgspec.json.Decoder(list[list[float | None]])
_PICTURES = msgspec.json.Decoder(list[list[list[float | None]]])
_BOOLS = msgspec.json.Decoder(list[bool | None])
_WHOLE = msgspec.json.Decoder(list[int | None])
_WHOLE_COLUMN = msgspec.json.Decoder(list[tuple[int | None]])
_TEXTS = msgspec.json.Decoder(list[str | None])
_TEXT_COLUMN = msgspec.json.Decoder(list[tuple[str | None]])


def decode(body: bytes, header: int | None = None) -> InferRequest:
    """The request in `body`.

    Args:
        body: JSON, and behind it the tensors that are bytes.
        header: length of the JSON, when the caller says that there is more.

    Raises:
        RequestError: it is not JSON of the right shape, has NaN, nests too deep, or the sizes do
            not add up.
    """
    if header is None:
        return _filled(_parsed(body), memoryview(b""))
    try:
        if not 0 <= header <= len(body):
            raise RequestError(
                f"Inference-Header-Content-Length is {header}, the body has {len(body)} bytes"
            )
        return _filled(_parsed(body[:header]), memoryview(body)[header:])
    except RequestError:
        # tritonclient keeps the header of an earlier call when the caller uses its dict of headers
        # again.
        try:
            return _filled(_parsed(body), memoryview(b""))
        except RequestError:
            pass
        raise


def _parsed(body: bytes) -> InferBody:
    try:
        return _REQUEST.decode(body)
    except (msgspec.MsgspecError, ValueError) as error:
        raise RequestError(f"the body is not an inference request: {error}") from error
    except RecursionError as error:
        raise RequestError("the body is nested too deep") from error


def _filled(request: InferBody, rest: memoryview) -> InferRequest:
    """The request with the bytes of its tensors, which follow in the order of the inputs."""
    inputs = []
    for tensor in request.inputs:
        size = tensor.parameters.binary_data_size if tensor.parameters else None
        if (size is None) == (tensor.data is msgspec.UNSET):
            raise RequestError(f"input {tensor.name[:100]!r}: give data or binary_data_size")
        if size is None:
            inputs.append(
                Tensor(tensor.name, tensor.shape, tensor.datatype, bytes(tensor.data), binary=False)  # type: ignore[arg-type]
            )
            continue
        if not 0 <= size <= len(rest):
            raise RequestError(
                f"input {tensor.name[:100]!r}: binary_data_size is {size}, {len(rest)} bytes are"
                " left"
            )
        inputs.append(Tensor(tensor.name, tensor.shape, tensor.datatype, rest[:size], binary=True))
        rest = rest[size:]
    if len(rest):
        raise RequestError(f"{len(rest)} bytes are left over behind the tensors")
    usual = request.parameters is not None and request.parameters.binary_data_output
    if not request.outputs:
        return InferRequest(inputs, request.id, [(name, usual) for name in OUTPUTS])
    said = [
        (one.name, one.parameters.binary_data if one.parameters else None)
        for one in request.outputs
    ]
    wanted = [(name, usual if binary is None else binary) for name, binary in said]
    return InferRequest(inputs, request.id, wanted)


def read(endpoint: Endpoint, name: str, body: bytes, header: int | None, max_rows: int) -> Asked:
    """A call to `infer` of the model that callers know as `name`; RequestError when it does not fit
    the model's inputs.
    """
    request = decode(body, header)
    return understood(
        endpoint,
        request,
        max_rows,
        lambda endpoint, answer: encode(endpoint, name, answer, request),
    )


def understood(endpoint: Endpoint, request: InferRequest, max_rows: int, encode: Encode) -> Asked:
    """The rows of a request; RequestError when it does not fit the model's inputs.

    Args:
        endpoint: the model.
        request: from JSON or gRPC.
        max_rows: that one request may have.
        encode: writes the answer.
    """
    unknown = [output for output, _ in request.outputs if output not in NAMES]
    if unknown:
        raise RequestError(f"no output called {unknown[0][:100]!r}; outputs: {', '.join(NAMES)}")
    if len({output for output, _ in request.outputs}) != len(request.outputs):
        raise RequestError("an output is asked for twice")
    features = endpoint.features
    if not request.inputs:
        raise RequestError("the request has no inputs")
    first = request.inputs[0]
    rows: Rows
    by_name = first.name in raw_names(endpoint) or (
        len(features) == 1 and first.name == features[0].name
    )
    if len(request.inputs) == 1 and len(first.shape) >= 2 and not by_name:
        rows = _matrix(endpoint, first, max_rows)
    else:
        rows = _columns(endpoint, request.inputs, max_rows)
    return Asked(
        rows, len(next(iter(rows.values()))) if isinstance(rows, dict) else len(rows), encode
    )


def encode(
    endpoint: Endpoint, called: str, answer: Answer, request: InferRequest
) -> tuple[Headers, bytes]:
    """(headers, body of the reply)."""
    outputs, parts = [], []
    for name, binary in request.outputs:
        values = answer.outputs.get(name)
        if values is None:
            continue
        text = isinstance(values, list)
        output: dict[str, Any] = {
            "name": name,
            "shape": [len(values)] if text else list(values.shape),
            "datatype": datatype(values),
        }
        if binary:
            parts.append(packed(values) if text else raw(values))
            output["parameters"] = {"binary_data_size": len(parts[-1])}
        else:
            output["data"] = values if text else values.ravel().tolist()
        outputs.append(output)
    reply: dict[str, Any] = {
        "model_name": called,
        "model_version": endpoint.version,
        "outputs": outputs,
    }
    if request.id is not None:
        reply["id"] = request.id
    if answer.noticed:
        reply["parameters"] = answer.noticed
    told = msgspec.json.encode(reply)
    if not parts:
        return JSON, told
    return [*BINARY, (b"inference-header-content-length", b"%d" % len(told))], b"".join(
        [told, *parts]
    )


def datatype(values: list[str] | Array) -> str:
    """The protocol's name for the type of an output."""
    return (
        "BYTES"
        if isinstance(values, list)
        else KINDS[values.dtype.kind + str(values.dtype.itemsize)]
    )


def raw(values: Array) -> bytes:
    """A numeric output as the binary tensor extension sends it."""
    return values.astype(DTYPES[datatype(values)], copy=False).tobytes()


def packed(texts: list[str]) -> bytes:
    """BYTES of the binary extension: four bytes of length before each value."""
    return b"".join(
        struct.pack("<I", len(text)) + text for text in (value.encode() for value in texts)
    )


def _unpacked(tensor: Tensor, count: int) -> list[str | None]:
    """What `packed` made."""
    found: list[str | None] = []
    data, at = memoryview(tensor.data), 0
    try:
        while at < len(data) and len(found) <= count:
            (size,) = struct.unpack_from("<I", data, at)
            if at + 4 + size > len(data):
                raise RequestError(f"input {tensor.name!r}: a value ends behind the tensor")
            found.append(bytes(data[at + 4 : at + 4 + size]).decode())
            at += 4 + size
    except (struct.error, UnicodeDecodeError) as error:
        raise RequestError(
            f"input {tensor.name!r}: the bytes are no list of UTF-8 texts"
        ) from error
    return found


def metadata(endpoint: Endpoint, name: str, versions: list[str]) -> dict[str, Any]:
    """The metadata of a model under the name that callers use: one input a feature; label and
    probabilities, or the prediction.
    """
    targets = endpoint.schema.targets
    outputs = [
        {"name": "label", "datatype": "BYTES", "shape": [-1]},
        {"name": "probabilities", "datatype": "FP32", "shape": [-1, len(endpoint.classes)]},
    ]
    if endpoint.regression:
        outputs = [
            {
                "name": "prediction",
                "datatype": "FP64",
                "shape": [-1] if len(targets) == 1 else [-1, len(targets)],
            }
        ]
    return {
        "name": name,
        "versions": versions,
        "platform": f"casemate_{endpoint.card.serve_format}",
        "inputs": [
            {
                "name": column.name,
                "datatype": "BYTES" if column.type == "category" else "FP64",
                "shape": [-1],
            }
            for column in endpoint.features
        ],
        "outputs": outputs,
        "parameters": (
            ({"targets": targets} if endpoint.regression else {"classes": endpoint.classes})
            | {"signer": endpoint.fingerprint}
            | ({} if endpoint.raw is None else {"raw": endpoint.raw.described})
        ),
    }


def _rows(tensor: Tensor, max_rows: int) -> int:
    if len(tensor.shape) > MOST_DIMENSIONS or any(size > MOST_SIZE for size in tensor.shape):
        raise RequestError(
            f"input {tensor.name[:100]!r}: a shape has at most {MOST_DIMENSIONS} dimensions of at"
            f" most {MOST_SIZE}"
        )
    if not tensor.shape or any(size < 1 for size in tensor.shape):
        raise RequestError(f"input {tensor.name!r}: the shape {tensor.shape} has no rows")
    if tensor.shape[0] > max_rows:
        raise RequestError(
            f"input {tensor.name!r}: {tensor.shape[0]} rows, at most {max_rows} in one request"
        )
    return tensor.shape[0]


def _matrix(endpoint: Endpoint, tensor: Tensor, max_rows: int) -> Array:
    features = endpoint.features
    if not endpoint.takes_matrix:
        raise RequestError("this model has categories: send one tensor a feature, by name")
    rows = _rows(tensor, max_rows)
    if math.prod(tensor.shape[1:]) != len(features):
        raise RequestError(
            f"input {tensor.name!r}: shape {tensor.shape}, expected [n, {len(features)}], or a"
            " picture of as many values a row"
        )
    return _numbers(tensor, rows * len(features)).reshape(rows, len(features))


def _columns(endpoint: Endpoint, tensors: list[Tensor], max_rows: int) -> Rows:
    given = {tensor.name: tensor for tensor in tensors}
    if len(given) != len(tensors):
        raise RequestError("two inputs have the same name")
    wanted = [
        given[name] for name in given if name in endpoint.cells or name in raw_names(endpoint)
    ]
    rows = {_rows(tensor, max_rows) for tensor in wanted}
    if wanted and (len(rows) != 1 or any(tensor.shape[1:] not in ([], [1]) for tensor in wanted)):
        raise RequestError("every input must have the shape [n] or [n, 1] with the same n")
    count = max(rows, default=0)
    found = made(
        endpoint,
        given,
        lambda name: _values(given[name], count),
        lambda name: given[name].datatype == "BYTES",
    )
    return rows_of(
        endpoint,
        {
            name: cells.read(found[name]) if name in found else _column(cells, given[name], count)
            for name, cells in endpoint.cells.items()
        },
    )


def _column(cells: Cells, tensor: Tensor, count: int) -> Array:
    if cells.column.type != "category" and tensor.datatype != "BYTES":
        return _numbers(tensor, count)
    return cells.read(_values(tensor, count))


def _values(tensor: Tensor, count: int) -> list[Any]:
    """A tensor's values one by one, texts and whole numbers to the last digit."""
    if tensor.datatype == "BYTES":
        return _texts(tensor, count)
    if tensor.binary or tensor.datatype[:3] not in ("INT", "UIN"):
        numbers: list[Any] = _numbers(tensor, count).tolist()
    else:  # through floating-point numbers a long code would lose digits
        numbers = [
            value[0] if isinstance(value, tuple) else value
            for value in _decode(tensor, (_WHOLE, _WHOLE_COLUMN))
        ]
    if tensor.datatype == "BOOL":
        numbers = [None if math.isnan(value) else bool(value) for value in numbers]
    if len(numbers) != count:
        raise RequestError(f"input {tensor.name!r}: {len(numbers)} values, the shape needs {count}")
    return numbers


def _numbers(tensor: Tensor, count: int) -> Array:
    dtype = DTYPES.get(tensor.datatype)
    if dtype is None:
        raise RequestError(
            f"input {tensor.name!r}: datatype {tensor.datatype[:20]!r}, expected a numeric one such"
            " as FP64"
        )
    if tensor.binary:
        if len(tensor.data) != count * np.dtype(dtype).itemsize:
            raise RequestError(
                f"input {tensor.name!r}: {len(tensor.data)} bytes, the shape needs"
                f" {count * np.dtype(dtype).itemsize}"
            )
        return np.frombuffer(tensor.data, dtype).astype(np.float64)
    decoders = (
        (_BOOLS,)
        if tensor.datatype == "BOOL"
        else (_FLAT, _NESTED if len(tensor.shape) > 1 else _COLUMN, _PICTURES)
    )
    values = _decode(tensor, decoders)
    try:
        array = np.array(values, dtype=np.float64).ravel()
    except ValueError as error:
        raise RequestError(
            f"input {tensor.name!r}: the rows of data have different lengths"
        ) from error
    if len(array) != count:
        raise RequestError(f"input {tensor.name!r}: {len(array)} values, the shape needs {count}")
    return array


def _texts(tensor: Tensor, count: int) -> list[str | None]:
    if tensor.datatype != "BYTES":
        raise RequestError(
            f"input {tensor.name!r}: datatype {tensor.datatype[:20]!r}, expected BYTES"
        )
    if tensor.binary:
        values = _unpacked(tensor, count)
    else:
        values = [
            value[0] if isinstance(value, tuple) else value
            for value in _decode(tensor, (_TEXTS, _TEXT_COLUMN))
        ]
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
    raise RequestError(
        f"input {tensor.name!r}: the data do not fit {tensor.datatype} {tensor.shape}: {fault}"
    )
