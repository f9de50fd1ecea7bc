"""`POST /invocations`: the contract of MLflow's scoring server and of SageMaker's containers, which
is the same but for its details.

JSON: one of `dataframe_split`, `dataframe_records`, `inputs` (rows, or lists by name), `instances`
(rows, or records); CSV with or without a line of names; JSON lines, a record or a row each. Columns
are found by name where names are given. The reply holds `predictions` (class names [n], of several
labels [n, m]) and, unless hidden, `probabilities` [n, k]; of a regressor `predictions` are
quantities, [n] or [n, m]; `Accept: text/csv` or `application/jsonlines` gets one line a row.
Specs: https://mlflow.org/docs/latest/genai/deployment/deploy-model-locally,
https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html
"""

import csv
import io
import json
import math
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta

from casemate.config.container import JSON_LINES_TYPES
from casemate.core.errors import RequestError
from casemate.serve.endpoint import Endpoint
from casemate.serve.protocols.columns import asked_of, made, raw_names, rows_of, whose_of
from casemate.serve.protocols.interface import Asked, Encode, Read
from casemate.serve.types import CSV, JSON, JSON_LINES, Answer, Headers

MOST_FIELD = 64 * 1024
"""Characters of one cell of CSV."""
LINES = tuple(kind.encode() for kind in JSON_LINES_TYPES)
FORMS = ("dataframe_split", "dataframe_records", "inputs", "instances")
_Later = msgspec.Raw | msgspec.UnsetType
"""Read once it is known what it is."""
_SOME: dict[str, Any] = {"type": "array", "minItems": 1}


class InvocationBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A call in JSON: exactly one of the forms of a table, and `params`."""

    dataframe_split: Annotated[
        _Later, Meta(extra_json_schema={"$ref": "#/components/schemas/Split"})
    ] = msgspec.UNSET
    dataframe_records: Annotated[
        _Later, Meta(extra_json_schema=_SOME | {"items": {"type": "object"}})
    ] = msgspec.UNSET
    inputs: Annotated[_Later, Meta(extra_json_schema={"type": ["array", "object"]})] = msgspec.UNSET
    instances: Annotated[_Later, Meta(extra_json_schema=_SOME)] = msgspec.UNSET
    params: Any = None
    """Of the caller's making; `subject` says whom all rows are about."""


class Split(msgspec.Struct, frozen=True):
    """A table as pandas writes it with `orient="split"`."""

    data: Annotated[msgspec.Raw, Meta(extra_json_schema=_SOME)]
    columns: list[str] | None = None


_BODY = msgspec.json.Decoder(InvocationBody)
_SPLIT = msgspec.json.Decoder(Split)
_NUMBERS = msgspec.json.Decoder(list[list[float | None]])
_ROWS = msgspec.json.Decoder(list[Any])
_ANY = msgspec.json.Decoder()
_LINES = msgspec.json.Encoder()


def read(
    endpoint: Endpoint, body: bytes, content_type: bytes, max_rows: int, accept: bytes = b""
) -> Asked:
    """The rows in a body; RequestError when they do not fit the model's inputs.

    Args:
        endpoint: the model.
        body: plain, not compressed.
        content_type: JSON, JSON lines or CSV.
        max_rows: that one request may have.
        accept: what the caller wants back: CSV, JSON lines, else JSON.
    """
    kind = content_type.partition(b";")[0].strip().lower()
    subject = None
    try:
        if kind in (b"text/csv", b"application/csv"):
            found = _csv(endpoint, body, max_rows)
        elif kind in LINES:
            found = _lines(endpoint, body, max_rows)
        elif kind in (b"application/json", b"application/vnd.api+json", b""):
            found, subject = _json(endpoint, _without_nan(body), max_rows)
        else:
            raise RequestError(
                "content types that are read: application/json, application/jsonlines, text/csv"
            )
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise RequestError(f"the body is not as expected: {error}") from error
    return asked_of(endpoint, found, subject, _encoding(accept))


def encode(endpoint: Endpoint, answer: Answer) -> tuple[Headers, bytes]:
    """(headers, body of the reply)."""
    outputs = answer.outputs
    reply: dict[str, Any] = {
        "predictions": (
            outputs["prediction"].tolist()
            if "prediction" in outputs
            else list(zip(*_labels(endpoint, outputs["label"]), strict=True))
            if endpoint.labels
            else outputs["label"]
        )
    }
    if "count" in outputs:
        reply["counts"] = outputs["count"].tolist()
    elif "probabilities" in outputs:
        reply["probabilities"] = outputs["probabilities"].tolist()
    elif "top" in outputs:
        width = outputs["top_probabilities"].shape[1]
        names = [outputs["top"][i : i + width] for i in range(0, len(outputs["top"]), width)]
        pairs = zip(names, outputs["top_probabilities"].tolist(), strict=True)
        reply["probabilities"] = [
            dict(zip(classes, values, strict=True)) for classes, values in pairs
        ]
    return JSON, msgspec.json.encode(reply)


def _labels(endpoint: Endpoint, said: list[str]) -> list[list[str]]:
    """What `label` says, a column a target."""
    width = max(len(endpoint.labels), 1)
    return [said[place::width] for place in range(width)]


def encode_csv(endpoint: Endpoint, answer: Answer) -> tuple[Headers, bytes]:
    """(headers, a line a row): the class and all probabilities, or pairs of class and probability,
    or the quantities; no line of names.
    """
    outputs = answer.outputs
    columns: list[Any] = _labels(endpoint, outputs["label"]) if "label" in outputs else []
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


def encode_lines(endpoint: Endpoint, answer: Answer) -> tuple[Headers, bytes]:
    """(headers, a JSON object a row): its `prediction` and, unless hidden, `probabilities`."""
    reply = msgspec.json.decode(encode(endpoint, answer)[1])
    if "counts" in reply:
        return JSON_LINES, msgspec.json.encode(reply) + b"\n"
    told = [{"prediction": value} for value in reply["predictions"]]
    for line, values in zip(told, reply.get("probabilities", []), strict=False):  # hidden: none
        line["probabilities"] = values
    return JSON_LINES, _LINES.encode_lines(told)


def _encoding(accept: bytes) -> Encode:
    """The first form of ours that the caller takes."""
    for part in accept.split(b","):
        kind = part.partition(b";")[0].strip().lower()
        if kind in (b"text/csv", b"application/csv"):
            return encode_csv
        if kind in LINES:
            return encode_lines
        if kind in (b"application/json", b"*/*"):
            break
    return encode


def _without_nan(body: bytes) -> bytes:
    """JSON, where a caller's library wrote `NaN` for a missing number; nothing else that JSON does
    not know is let in.
    """
    if b"NaN" not in body:
        return body
    try:
        return msgspec.json.encode(json.loads(body, parse_constant=_constant))
    except ValueError:
        return body  # the strict reader says what is wrong


def _constant(word: str) -> None:
    if word != "NaN":
        raise ValueError(word)


def _json(endpoint: Endpoint, body: bytes, max_rows: int) -> tuple[Read, Any]:
    said = _BODY.decode(body)
    subject = said.params.get("subject") if isinstance(said.params, dict) else None
    return _one_form(endpoint, said, max_rows), subject


def _one_form(endpoint: Endpoint, said: InvocationBody, max_rows: int) -> Read:
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
        return _records(endpoint, value, given[0], max_rows)
    if given[0] == "dataframe_records":
        raise RequestError("dataframe_records must be a list of records")
    return _by_position(endpoint, None, raw, max_rows)


def _records(endpoint: Endpoint, records: list[Any], form: str, max_rows: int) -> Read:
    names = list(records[0])
    if not all(isinstance(record, dict) and len(record) == len(names) for record in records):
        raise RequestError(f"{form}: every record must have the same names")
    try:
        return _by_name(
            endpoint, {name: [record[name] for record in records] for name in names}, max_rows
        )
    except KeyError as error:
        raise RequestError(f"{form}: every record must have the same names") from error


def _lines(endpoint: Endpoint, body: bytes, max_rows: int) -> Read:
    rows = _ANY.decode_lines(body)
    if not rows:
        raise RequestError("the body has no rows")
    _bounded(len(rows), max_rows)
    if isinstance(rows[0], dict):
        return _records(endpoint, rows, "JSON lines", max_rows)
    return _table(endpoint, None, rows)


def _csv(endpoint: Endpoint, body: bytes, max_rows: int) -> Read:
    csv.field_size_limit(MOST_FIELD)
    lines: list[list[str]] = []
    try:
        for line in csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True):
            if line:
                lines.append(line)
                _bounded(len(lines) - 1, max_rows)
    except csv.Error as error:
        raise RequestError(f"the body is no CSV: {error}") from error
    known = {column.name for column in endpoint.features} | set(raw_names(endpoint))
    names = [cell.strip() for cell in lines[0]] if lines else []
    titled = bool(known & set(names))
    rows = lines[1:] if titled else lines
    if not rows:
        raise RequestError("the body has no rows")
    return _table(endpoint, names if titled else None, rows)


def _by_position(
    endpoint: Endpoint, columns: list[str] | None, raw: msgspec.Raw, max_rows: int
) -> Read:
    features = endpoint.features
    if endpoint.takes_matrix and (
        columns is None or columns == [column.name for column in features]
    ):
        try:
            matrix = np.array(_NUMBERS.decode(raw), dtype=np.float64)
        except (msgspec.MsgspecError, ValueError):
            pass  # true and false, or pictures: slower, below; or the message for what is wrong
        else:
            if matrix.ndim == 2 and matrix.shape[1] == len(features) and len(matrix):
                _bounded(len(matrix), max_rows)
                return Read(matrix)
    rows = _ROWS.decode(raw)
    if not rows:
        raise RequestError("there are no rows")
    _bounded(len(rows), max_rows)
    return _table(endpoint, columns, rows)


def _table(endpoint: Endpoint, names: list[str] | None, rows: list[Any]) -> Read:
    features = endpoint.features
    width = len(features) if names is None else len(names)
    if names is None and isinstance(rows[0], list) and rows[0] and isinstance(rows[0][0], list):
        try:
            picture = np.array(rows, dtype=np.float64)
        except (ValueError, TypeError) as error:
            raise RequestError(
                "the pictures have different shapes, or hold more than numbers"
            ) from error
        if not endpoint.takes_matrix or math.prod(picture.shape[1:]) != width:
            raise RequestError(
                f"a picture of {math.prod(picture.shape[1:])} values, the model takes {width}"
            )
        return Read(picture.reshape(len(picture), width))
    if not all(isinstance(row, list) and len(row) == width for row in rows):
        raise RequestError(f"every row must be a list of {width} values")
    named = [column.name for column in features] if names is None else names
    return _by_name(
        endpoint,
        {name: [row[place] for row in rows] for place, name in enumerate(named)},
        len(rows),
        given=len(named),
    )


def _by_name(
    endpoint: Endpoint, columns: dict[Any, Any], max_rows: int, *, given: int | None = None
) -> Read:
    if given is not None and given != len(columns):
        raise RequestError("two columns have the same name")
    further = {*raw_names(endpoint), whose_of(endpoint)}
    known = [*endpoint.cells, *(name for name in further if name not in endpoint.cells)]
    values = {
        name: columns[name] if isinstance(columns[name], list) else [columns[name]]
        for name in known
        if name in columns
    }
    counts = {len(value) for value in values.values()}
    if values and (len(counts) != 1 or not counts - {0}):
        raise RequestError("every column must have the same number of rows, and one at least")
    _bounded(max(counts, default=0), max_rows)
    found, people = made(
        endpoint,
        columns,
        lambda name: [_single(value) for value in values[name]],
        lambda name: any(map(_texts, values[name])),
    )
    rows_by_name = {
        name: cells.read(found[name] if name in found else values[name])
        for name, cells in endpoint.cells.items()
    }
    return Read(rows_of(endpoint, rows_by_name), people)


def _single(value: Any) -> Any:
    """A value of a raw column; one that is no value would be read as its spelling."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if value is not None and not isinstance(value, str | int | float):
        raise RequestError("a value is a text, a number, true, false or null")
    return value


def _texts(value: Any) -> bool:
    return isinstance(value, str) or (
        isinstance(value, list) and len(value) == 1 and isinstance(value[0], str)
    )


def _bounded(count: int, max_rows: int) -> None:
    if count > max_rows:
        raise RequestError(f"more than {max_rows} rows in one request")
