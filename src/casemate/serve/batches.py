"""From a file of rows to a file of answers, in memory that does not grow with them."""

import contextlib
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa

from casemate.config import DataTable
from casemate.core.errors import ConfigError, RequestError
from casemate.core.files import writing
from casemate.serve.client import REQUEST, REQUEST_ROW, ROW, Client
from casemate.serve.predictions import Answers
from casemate.serve.rows import Part, Source, open_source
from casemate.serve.written import CsvSink, Sink

MOST_HELD = 1 << 20
"""Bytes of rejected rows that are kept in memory."""
HEADER = {
    "row": pa.int64(),
    "line": pa.int64(),
    "column": pa.string(),
    "value": pa.string(),
    "why": pa.string(),
}


def predict_file(
    client: Client,
    path: Path,
    options: DataTable,
    sink: Sink,
    rejected: Path,
    keep: list[str] | None = None,
) -> tuple[int, int]:
    """(rows that were answered, rows that were not).

    Every answer has its row's number in the file, what is kept of the row, and the request in which
    it was asked about; the order is the file's. Rows without an answer go to `rejected`, with what
    is wrong in which column; without any there is no such file.

    Args:
        client: of the gateway.
        path: the rows, see `rows.open_source`.
        options: how CSV is written.
        sink: takes the answers.
        rejected: where the others go.
        keep: columns to carry over; None: every one that the model neither takes nor predicts.

    Raises:
        ConfigError, DataError: the file cannot be read. AccessDenied, RequestError, BackendError:
            the gateway refuses, or is away.
    """
    source = open_source(path, options, client.batch)
    kept = _kept(client, source, options.targets, keep)
    answered, refused, names = 0, 0, None
    with tempfile.SpooledTemporaryFile(MOST_HELD, "w+", encoding="utf-8", newline="") as lines:
        aside = CsvSink(lines)
        aside.begin(HEADER)
        for found in client.stream(source):
            for one in found.answers:
                if names is None:
                    names = list(one.columns)
                    sink.begin(
                        _types(client, source, kept, names, one.counts), client.probabilities
                    )
                if list(one.columns) != names:
                    raise RequestError(
                        "the gateway shows other outputs than before",
                        hint="its options changed: ask again",
                    )
                sink.write(_columns(one, found.part, kept))
                answered += len(one.numbers)
            refused += len(found.rejected)
            aside.write({name: [getattr(one, name) for one in found.rejected] for name in HEADER})
        if names is None:
            sink.begin(
                _types(client, source, kept, client.names(), counts=False), client.probabilities
            )
        if refused:
            lines.seek(0)
            with writing(rejected) as file:
                file.writelines(text.encode() for text in lines)
        else:
            _remove_older(rejected)
    return answered, refused


def _kept(
    client: Client, source: Source, targets: list[str], keep: list[str] | None
) -> dict[str, str]:
    """Column of the file -> its name beside the answers, where a name that these have is told
    apart.
    """
    absent = [name for name in keep or [] if name not in source.types]
    if absent:
        raise ConfigError(
            f"--keep {absent[0]}: the file has no such column",
            hint=f"it has {', '.join(list(source.types)[:12])}",
        )
    own = {ROW, REQUEST, REQUEST_ROW, *client.names(), "count"}
    others = (
        [name for name in source.types if name not in (*client.inputs, *targets)]
        if keep is None
        else keep
    )
    return {name: f"{name} (given)" if name in own else name for name in others}


def _types(
    client: Client, source: Source, kept: dict[str, str], names: list[str], counts: bool
) -> dict[str, pa.DataType]:
    if counts:
        return {"label": pa.string(), "count": pa.int64(), REQUEST: pa.string()}
    values = {
        _told_apart(name): pa.string() if name in client.texts else pa.float64() for name in names
    }
    carried = {new: source.types[name] for name, new in kept.items()}
    return {ROW: pa.int64(), **carried, **values, REQUEST: pa.string(), REQUEST_ROW: pa.int64()}


def _columns(one: Answers, part: Part, kept: dict[str, str]) -> dict[str, list[Any]]:
    if one.counts:
        return {**one.columns, REQUEST: [one.request] * len(one.columns["count"])}
    carried = {
        new: [part.columns[name][place] for place in one.places] for name, new in kept.items()
    }
    count = len(one.numbers)
    values = {_told_apart(name): column for name, column in one.columns.items()}
    return {
        ROW: one.numbers,
        **carried,
        **values,
        REQUEST: [one.request] * count,
        REQUEST_ROW: list(range(count)),
    }


def _told_apart(name: str) -> str:
    """The column of a quantity, which may be called as one of ours."""
    return f"{name} (predicted)" if name in (ROW, REQUEST, REQUEST_ROW) else name


def _remove_older(rejected: Path) -> None:
    """Of an earlier call for the same file: it says nothing of this one."""
    with contextlib.suppress(OSError):
        with rejected.open("rb") as file:
            ours = file.readline().decode(errors="replace").strip() == ",".join(HEADER)
        if ours:
            rejected.unlink()
