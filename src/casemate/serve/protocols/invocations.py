"""`POST /invocations`: the contract of MLflow's scoring server and of SageMaker's containers, which is the same but for its details.

JSON: one of `dataframe_split`, `dataframe_records`, `inputs` (rows, or lists by name), `instances` (rows, or records); CSV with or
without a line of names. Columns are found by name where names are given. The reply holds `predictions` (class names [n]) and,
unless hidden, `probabilities` [n, k]; of a regressor `predictions` are quantities, [n] or [n, m]; `Accept: text/csv` gets one line a row.
Specs: https://mlflow.org/docs/latest/genai/deployment/deploy-model-locally, https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html
"""

import csv
import io
import math
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from casemate.core.errors import RequestError
from casemate.core.frame import Rows
from casemate.core.types import MISSING_CATEGORY, ColumnSchema
from casemate.serve.endpoint import Endpoint
from casemate.serve.protocols.columns import require_features, rows_of
from casemate.serve.types import CSV, JSON, Answer, Array, Asked, Headers

MOST_FIELD = 64 * 1024
"""Characters of one cell of CSV."""
FORMS = ("dataframe_split", "dataframe_records", "inputs", "instances")


class _Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    dataframe_split: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    dataframe_records: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    inputs: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    instances: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    params: Any = None
    """Of the caller's making; there are none."""


class _Split(msgspec.Struct, frozen=True):
    data: msgspec.Raw
    columns: list[str] | None = None


_BODY = msgspec.json.Decoder(_Body)
_SPLIT = msgspec.json.Decoder(_Split)
_NUMBERS = msgspec.json.Decoder(list[list[float | None]])
_ROWS = msgspec.json.Decoder(list[Any])
_ANY = msgspec.json.Decoder()


def read(endpoint: Endpoint, body: bytes, content_type: bytes, max_rows: int, accept: bytes = b"") -> Asked:
    """The rows in a body; RequestError when they do not fit the model's inputs.

    Args:
        endpoint: the model.
        body: plain, not compressed.
        content_type: JSON or CSV.
        max_rows: that one request may have.
        accept: what the caller wants back: CSV, else JSON.
    """
    kind = content_type.partition(b";")[0].strip().lower()
    try:
        if kind == b"text/csv":
            rows = _csv(endpoint, body, max_rows)
        elif kind in (b"application/json", b"application/vnd.api+json", b""):
            rows = _json(endpoint, body, max_rows)
        else:
            raise RequestError("content types that are read: application/json, text/csv")
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise RequestError(f"the body is not as expected: {error}") from error
    count = len(next(iter(rows.values()))) if isinstance(rows, dict) else len(rows)
    return Asked(rows, count, encode_csv if _wants_csv(accept) else encode)


def encode(_endpoint: Endpoint, answer: Answer) -> tuple[Headers, bytes]:
    """(headers, body of the reply)."""
    outputs = answer.outputs
    reply: dict[str, Any] = {"predictions": outputs["prediction"].tolist() if "prediction" in outputs else outputs["label"]}
    if "count" in outputs:
        reply["counts"] = outputs["count"].tolist()
    elif "probabilities" in outputs:
        reply["probabilities"] = outputs["probabilities"].tolist()
    elif "top" in outputs:
        width = outputs["top_probabilities"].shape[1]
        names = [outputs["top"][i : i + width] for i in range(0, len(outputs["top"]), width)]
        pairs = zip(names, outputs["top_probabilities"].tolist(), strict=True)
        reply["probabilities"] = [dict(zip(classes, values, strict=True)) for classes, values in pairs]
    return JSON, msgspec.json.encode(reply)


def encode_csv(_endpoint: Endpoint, answer: Answer) -> tuple[Headers, bytes]:
    """(headers, a line a row): the class and all probabilities, or pairs of class and probability, or the quantities; no line of names."""
    outputs = answer.outputs
    columns: list[Any] = [outputs["label"]] if "label" in outputs else []
    for name in ("probabilities", "prediction", "count"):
        if name in outputs:
            columns += np.atleast_2d(outputs[name].T).tolist()
    if "top" in outputs:
        likely = outputs["top_probabilities"]
        for place in range(likely.shape[1]):
            columns += [outputs["top"][place :: likely.shape[1]], likely[:, place].tolist()]
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(zip(*columns, strict=True))
    return CSV, buffer.getvalue().encode()


def _wants_csv(accept: bytes) -> bool:
    kinds = (part.partition(b";")[0].strip().lower() for part in accept.split(b","))
    return next((kind for kind in kinds if kind in (b"text/csv", b"application/json", b"*/*")), b"") == b"text/csv"


def _json(endpoint: Endpoint, body: bytes, max_rows: int) -> Rows:
    said = _BODY.decode(body)
    given = [name for name in FORMS if getattr(said, name) is not msgspec.UNSET]
    if len(given) != 1:
        raise RequestError(f"give exactly one of {', '.join(FORMS)}")
    raw = getattr(said, given[0])
    if given[0] == "dataframe_split":
        split = _SPLIT.decode(raw)
        return _by_position(endpoint, split.columns, split.data, max_rows)
    value = _ANY.decode(raw)
    if isinstance(value, dict):
        if given[0] != "inputs":
            raise RequestError(f"{given[0]} must be a list")
        return _by_name(endpoint, value, max_rows)
    if not isinstance(value, list) or not value:
        raise RequestError(f"{given[0]} has no rows")
    _bounded(len(value), max_rows)
    if isinstance(value[0], dict):
        names = list(value[0])
        if not all(isinstance(record, dict) and len(record) == len(names) for record in value):
            raise RequestError(f"{given[0]}: every record must have the same names")
        try:
            return _by_name(endpoint, {name: [record[name] for record in value] for name in names}, max_rows)
        except KeyError as error:
            raise RequestError(f"{given[0]}: every record must have the same names") from error
    if given[0] == "dataframe_records":
        raise RequestError("dataframe_records must be a list of records")
    return _by_position(endpoint, None, raw, max_rows)


def _csv(endpoint: Endpoint, body: bytes, max_rows: int) -> Rows:
    csv.field_size_limit(MOST_FIELD)
    lines: list[list[str]] = []
    try:
        for line in csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True):
            if line:
                lines.append(line)
                _bounded(len(lines) - 1, max_rows)
    except csv.Error as error:
        raise RequestError(f"the body is no CSV: {error}") from error
    known = {column.name for column in endpoint.features}
    names = [cell.strip() for cell in lines[0]] if lines else []
    titled = bool(known & set(names))
    rows = lines[1:] if titled else lines
    if not rows:
        raise RequestError("the body has no rows")
    return _table(endpoint, names if titled else None, rows, text=True)


def _by_position(endpoint: Endpoint, columns: list[str] | None, raw: msgspec.Raw, max_rows: int) -> Rows:
    features = endpoint.features
    if endpoint.takes_matrix and (columns is None or columns == [column.name for column in features]):
        try:
            matrix = np.array(_NUMBERS.decode(raw), dtype=np.float64)
        except (msgspec.MsgspecError, ValueError):
            pass  # true and false, or pictures: slower, below; or the message for what is wrong
        else:
            if matrix.ndim == 2 and matrix.shape[1] == len(features) and len(matrix):
                _bounded(len(matrix), max_rows)
                return matrix
    rows = _ROWS.decode(raw)
    if not rows:
        raise RequestError("there are no rows")
    _bounded(len(rows), max_rows)
    return _table(endpoint, columns, rows, text=False)


def _table(endpoint: Endpoint, names: list[str] | None, rows: list[Any], *, text: bool) -> Rows:
    features = endpoint.features
    width = len(features) if names is None else len(names)
    if names is None and not text and isinstance(rows[0], list) and rows[0] and isinstance(rows[0][0], list):
        try:
            picture = np.array(rows, dtype=np.float64)
        except (ValueError, TypeError) as error:
            raise RequestError("the pictures have different shapes, or hold more than numbers") from error
        if not endpoint.takes_matrix or math.prod(picture.shape[1:]) != width:
            raise RequestError(f"a picture of {math.prod(picture.shape[1:])} values, the model takes {width}")
        return picture.reshape(len(picture), width)
    if not all(isinstance(row, list) and len(row) == width for row in rows):
        raise RequestError(f"every row must be a list of {width} values")
    named = [column.name for column in features] if names is None else names
    return _by_name(endpoint, {name: [row[place] for row in rows] for place, name in enumerate(named)}, len(rows), text=text, given=len(named))


def _by_name(endpoint: Endpoint, columns: dict[Any, Any], max_rows: int, *, text: bool = False, given: int | None = None) -> Rows:
    features = {column.name: column for column in endpoint.features}
    if given is not None and given != len(columns):
        raise RequestError("two columns have the same name")
    require_features(endpoint, columns)
    values = {name: columns[name] if isinstance(columns[name], list) else [columns[name]] for name in features}
    counts = {len(value) for value in values.values()}
    if len(counts) != 1 or not counts - {0}:
        raise RequestError("every column must have the same number of rows, and one at least")
    _bounded(counts.pop(), max_rows)
    found = {name: _column(column, values[name], text) for name, column in features.items()}
    return rows_of(endpoint, found)


def _column(column: ColumnSchema, values: Sequence[Any], text: bool) -> Array:
    if column.type == "category":
        return np.array([_category(column, value, text) for value in values], dtype=object)
    try:
        return np.array([_number(value, text) for value in values], dtype=np.float64)
    except (ValueError, TypeError, OverflowError) as error:
        raise RequestError(f"input {column.name!r} is a number, and a row has something else") from error


def _category(column: ColumnSchema, value: Any, text: bool) -> str:
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if value is None or (text and not value.strip()):
        return MISSING_CATEGORY
    if isinstance(value, str):
        return value.strip() if text else value
    if isinstance(value, bool | int):
        return str(value)
    raise RequestError(f"input {column.name!r} is a category, and a row has something else")


def _number(value: Any, text: bool) -> float:
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if value is None or (text and not value.strip()):
        return math.nan
    if text:
        lower = value.strip().lower()
        return {"true": 1.0, "false": 0.0}[lower] if lower in ("true", "false") else float(lower)
    if isinstance(value, bool | int | float):
        return float(value)
    raise TypeError


def _bounded(count: int, max_rows: int) -> None:
    if count > max_rows:
        raise RequestError(f"more than {max_rows} rows in one request")
