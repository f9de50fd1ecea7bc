"""What an endpoint captured, as a table that `casemate watch` takes.

A file has a JSON object a line: what was asked and answered, each in the encoding that its content
type got (`CSV`, `JSON` as they came, `BASE64` for all else), and when. What cannot be read is left
out and counted; nothing of it is repeated.
Format: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-data-capture-endpoint.html
"""

import base64
import collections
import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from casemate.config.container import JSON_LINES_TYPES
from casemate.core.errors import ConfigError, DataError
from casemate.core.files import below, writing
from casemate.core.types import Record

MOST_LINE = 64 << 20
"""Bytes of a line: a request of 25 MiB and its answer in base64."""
MOST_FIELD = 64 * 1024
"""Characters of a cell."""
MOST_FILES = 100_000
OWN = ("inference_time", "request", "prediction")
"""Columns beside those that were asked with."""
NO_EVENT, NO_ROWS, OTHER = "no event of a capture", "no rows that can be read", "other columns"
UNANSWERED = "an answer that does not fit its rows"


class Side(msgspec.Struct, rename="camel"):
    """What was asked, or answered."""

    data: str
    encoding: str
    observed_content_type: str = ""


class Both(msgspec.Struct, rename="camel"):
    """Of one request; an endpoint may capture one side only."""

    endpoint_input: Side | None = None
    endpoint_output: Side | None = None


class Split(msgspec.Struct):
    """A table as pandas writes it."""

    data: list[list[Any]]
    columns: list[str] | None = None


class When(msgspec.Struct, rename="camel"):
    """What SageMaker says of it."""

    event_id: str
    inference_time: str = ""


class Event(msgspec.Struct, rename="camel"):
    """A line."""

    capture_data: Both
    event_metadata: When


class Made(Record, frozen=True, kw_only=True):
    """What came of it."""

    out: str
    requests: int
    rows: int
    left_out: dict[str, int]
    """Requests that are not in the table, by why."""


class _Unfit(Exception):
    """Why a request is left out."""


_EVENT = msgspec.json.Decoder(Event)
_LINES = msgspec.json.Decoder()
FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")
FETCHED = "files as SageMaker captures them: aws s3 sync s3://… FOLDER"
NAMED = "--columns names the inputs of callers who send rows without names"
Rows = tuple[list[str] | None, list[list[Any]]]
"""Names, if there were any, and rows."""


def table(source: Path, out: Path, names: list[str] | None = None) -> Made:
    """Write the table.

    Args:
        source: a file of JSON lines, or a folder with such files (`*.jsonl`).
        out: a new CSV file.
        names: of the inputs, for rows that came without.

    Raises:
        ConfigError: `out` is there already, or names repeat. DataError: there is no file, or
            nothing in it can be read.
    """
    if out.exists():
        raise ConfigError(f"{out} exists already", hint="name a new file")
    if names is not None and (len({*names}) != len(names) or not all(names)):
        raise ConfigError("--columns names a column twice, or an empty one")
    files = _files(source)
    left: collections.Counter[str] = collections.Counter()
    header: list[str] | None = None
    requests = rows = 0
    with writing(out) as file:
        text = io.TextIOWrapper(file, "utf-8", newline="", write_through=True)
        writer = csv.writer(text, lineterminator="\n")
        for path in files:
            for line in _lines(path, left):
                try:
                    known, cells = _request(line, names)
                    if header is None:
                        header = known
                        writer.writerow(header)
                    elif known != header:
                        raise _Unfit(OTHER)
                except _Unfit as why:
                    left[str(why)] += 1
                    continue
                writer.writerows(cells)
                requests, rows = requests + 1, rows + len(cells)
        if not rows:
            said = (
                ", ".join(f"{count} {why}" for why, count in left.items()) or "the files are empty"
            )
            raise DataError(
                f"nothing that was captured can be read: {said}",
                hint=NAMED if left[NO_ROWS] else FETCHED,
            )
        text.detach()
    return Made(out=str(out), requests=requests, rows=rows, left_out=dict(left))


def _files(source: Path) -> list[Path]:
    if source.is_file():
        return [source]
    found = [
        path
        for path in below(source)
        if path.suffix == ".jsonl" and path.is_file() and not path.is_symlink()
    ]
    if not found:
        raise DataError(f"there is no file *.jsonl in {source}", hint=FETCHED)
    if len(found) > MOST_FILES:
        raise DataError(f"{source} has more than {MOST_FILES} files", hint="take fewer days")
    return found


def _lines(path: Path, left: collections.Counter[str]) -> Iterator[bytes]:
    with path.open("rb") as file:
        while line := file.readline(MOST_LINE + 1):
            if len(line) > MOST_LINE:
                while line and not line.endswith(b"\n"):
                    line = file.readline(MOST_LINE)
                left[NO_EVENT] += 1
            elif line.strip():
                yield line


def _request(line: bytes, names: list[str] | None) -> tuple[list[str], list[list[Any]]]:
    """(the header, its rows) of one event."""
    try:
        event = _EVENT.decode(line)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise _Unfit(NO_EVENT) from None
    asked, answered = event.capture_data.endpoint_input, event.capture_data.endpoint_output
    if asked is None:
        raise _Unfit(NO_ROWS)
    try:
        given, rows = _rows(asked, names)
    except (msgspec.MsgspecError, ValueError, KeyError, TypeError, csv.Error, RecursionError):
        raise _Unfit(NO_ROWS) from None
    known = given or names
    if not rows or known is None or any(len(row) != len(known) for row in rows):
        raise _Unfit(NO_ROWS)
    if {*known} & {*OWN} or len({*known}) != len(known):
        raise _Unfit(OTHER)
    answers = [""] * len(rows) if answered is None else _answers(answered, len(rows))
    when = [event.event_metadata.inference_time, event.event_metadata.event_id]
    cells = [[*when, answer, *row] for row, answer in zip(rows, answers, strict=True)]
    return [*OWN, *known], cells


def _text(side: Side) -> str:
    if side.encoding == "BASE64":
        return base64.b64decode(side.data, validate=True).decode()
    if side.encoding not in ("CSV", "JSON"):
        raise ValueError(side.encoding[:20])
    return side.data


def _kind(side: Side) -> str:
    return side.observed_content_type.partition(";")[0].strip().lower()


def _rows(side: Side, names: list[str] | None) -> Rows:
    text, kind = _text(side), _kind(side)
    if kind in ("text/csv", "application/csv") or side.encoding == "CSV":
        return _of_csv(text, names)
    if kind in JSON_LINES_TYPES:
        return _of_values(_LINES.decode_lines(text))
    said = msgspec.json.decode(text)
    (form,) = {*said} & {*FORMS}
    value = said[form]
    if form == "dataframe_split":
        split = msgspec.convert(value, Split)
        return split.columns, [_flat(row) for row in split.data]
    if isinstance(value, dict):  # lists by name
        columns = [one if isinstance(one, list) else [one] for one in value.values()]
        return [*value], [_flat(row) for row in zip(*columns, strict=True)]
    return _of_values(value)


def _of_csv(text: str, names: list[str] | None) -> Rows:
    csv.field_size_limit(MOST_FIELD)
    lines = [line for line in csv.reader(io.StringIO(text, newline=""), strict=True) if line]
    if not lines:
        return None, []
    titled = (
        not any(map(_is_value, lines[0])) if names is None else sorted(lines[0]) == sorted(names)
    )
    return (lines[0], [*lines[1:]]) if titled else (None, [*lines])


def _is_value(cell: str) -> bool:
    """Whether a cell is no name: a number, or nothing."""
    try:
        float(cell)
    except ValueError:
        return not cell.strip()
    return True


def _of_values(values: list[Any]) -> Rows:
    if values and isinstance(values[0], dict):
        names = [*values[0]]
        return names, [
            _flat([one[name] for name in names]) for one in values if len(one) == len(names)
        ]
    return None, [_flat(row) for row in values]


def _flat(row: Any) -> list[Any]:
    """A row's cells, texts and numbers only."""
    cells = [*row]
    for place, cell in enumerate(cells):
        if isinstance(cell, list) and len(cell) == 1:
            cells[place] = cell[0]
        if isinstance(cells[place], list | dict):
            raise TypeError("no cell")
    return ["" if cell is None else cell for cell in cells]


def _answers(side: Side, count: int) -> list[Any]:
    try:
        text, kind = _text(side), _kind(side)
        if kind in ("text/csv", "application/csv") or side.encoding == "CSV":
            found = [line[0] for line in csv.reader(io.StringIO(text, newline="")) if line]
        elif kind in JSON_LINES_TYPES:
            found = [one["prediction"] for one in _LINES.decode_lines(text)]
        else:
            found = msgspec.json.decode(text)["predictions"]
    except (msgspec.MsgspecError, ValueError, KeyError, TypeError, csv.Error, RecursionError):
        raise _Unfit(UNANSWERED) from None
    if not isinstance(found, list) or len(found) != count:
        raise _Unfit(UNANSWERED)
    return [_said(one) for one in found]


def _said(answer: Any) -> Any:
    """Of several labels or quantities one text."""
    return ";".join(map(str, answer)) if isinstance(answer, list) else answer
