"""Tensors as the Open Inference Protocol sends them, in JSON or as bytes, and the rows in them."""

import math
import struct
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from casemate.core.errors import RequestError
from casemate.serve.cells import Cells
from casemate.serve.endpoint import Endpoint
from casemate.serve.protocols.columns import made, raw_names, rows_of, whose_of
from casemate.serve.protocols.interface import Read
from casemate.serve.types import Array

DTYPES = {
    "BOOL": "?", "UINT8": "u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8", "INT8": "i1",
    "INT16": "<i2", "INT32": "<i4", "INT64": "<i8", "FP16": "<f2", "FP32": "<f4", "FP64": "<f8",
}  # fmt: skip
"""NumPy's name of each numeric datatype on the wire: little-endian, row by row."""
KINDS = {"f4": "FP32", "f8": "FP64", "i8": "INT64"}
MOST_DIMENSIONS, MOST_SIZE = 8, 2**31
"""Of a tensor's shape. A judgement: a table has two dimensions, and what they say is bounded before
it is multiplied.
"""


@dataclass(frozen=True)
class Tensor:
    """One tensor of a request."""

    name: str
    shape: list[int]
    datatype: str
    data: bytes | memoryview
    """JSON, or what the binary extension put behind the JSON."""
    binary: bool


_FLAT = msgspec.json.Decoder(list[float | None])
_COLUMN = msgspec.json.Decoder(list[tuple[float | None]])
_NESTED = msgspec.json.Decoder(list[list[float | None]])
_PICTURES = msgspec.json.Decoder(list[list[list[float | None]]])
_BOOLS = msgspec.json.Decoder(list[bool | None])
_WHOLE = msgspec.json.Decoder(list[int | None])
_WHOLE_COLUMN = msgspec.json.Decoder(list[tuple[int | None]])
_TEXTS = msgspec.json.Decoder(list[str | None])
_TEXT_COLUMN = msgspec.json.Decoder(list[tuple[str | None]])


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


def unpacked(tensor: Tensor, count: int) -> list[str | None]:
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


def matrix(endpoint: Endpoint, tensor: Tensor, max_rows: int) -> Array:
    """The rows in one tensor, a value a feature."""
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


def columns(endpoint: Endpoint, tensors: list[Tensor], max_rows: int) -> Read:
    """The rows in tensors of a feature each."""
    given = {tensor.name: tensor for tensor in tensors}
    if len(given) != len(tensors):
        raise RequestError("two inputs have the same name")
    wanted = [
        given[name]
        for name in given
        if name in endpoint.cells or name in raw_names(endpoint) or name == whose_of(endpoint)
    ]
    rows = {_rows(tensor, max_rows) for tensor in wanted}
    if wanted and (len(rows) != 1 or any(tensor.shape[1:] not in ([], [1]) for tensor in wanted)):
        raise RequestError("every input must have the shape [n] or [n, 1] with the same n")
    count = max(rows, default=0)
    found, people = made(
        endpoint,
        given,
        lambda name: _values(given[name], count),
        lambda name: given[name].datatype == "BYTES",
    )
    rows_by_name = {
        name: cells.read(found[name]) if name in found else _column(cells, given[name], count)
        for name, cells in endpoint.cells.items()
    }
    return Read(rows_of(endpoint, rows_by_name), people)


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
        values = unpacked(tensor, count)
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
