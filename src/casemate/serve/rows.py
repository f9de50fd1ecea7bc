"""A caller's table a part at a time, as it stands: whatever `[data] source` may be a file of, or
Arrow from memory.

What the file is says its content. A row that cannot be read is named and the others are read; a
file that cannot be read on ends in `DataError`.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq
from msgspec import structs

from casemate.config import DataTable
from casemate.core.errors import ConfigError, DataError
from casemate.stages.data import files
from casemate.stages.data.files import columnar, content, delimited, naming
from casemate.stages.data.files import dialect as dialects
from casemate.stages.data.files.content import Content

MOST_CELL = 1 << 20
"""Characters of one cell: a quote that is never closed does not swallow the file."""


@dataclass(frozen=True)
class Rejected:
    """A row that has no answer, and why."""

    row: int
    """Its number in the table, from 0."""
    line: int | None
    """Where it begins in a text file, from 1."""
    column: str
    """What is wrong; empty: the whole row."""
    value: str
    """What stands there, for the one who sent it."""
    why: str


@dataclass(frozen=True)
class Part:
    """Some rows one below the other."""

    numbers: Sequence[int]
    """Of each row, its number in the table, from 0."""
    lines: Sequence[int] | None
    """Of each row, the line where it begins; None: not a text file."""
    columns: dict[str, list[Any]]
    """By name the values of those rows."""
    rejected: list[Rejected]
    """Rows between them that cannot be read."""


class Source:
    """A table to be read once, from its beginning."""

    def __init__(self, types: dict[str, pa.DataType], parts: Iterator[Part]) -> None:
        self.types = types
        """By name, in the table's order; text for everything in CSV."""
        self.parts = parts


def open_source(path: Path, options: DataTable, size: int) -> Source:
    """The table in a file.

    Args:
        path: anything that `[data] source` may be a file of; text and Parquet are read a part at a
            time.
        options: how text is written; what they do not say is found by content.
        size: rows of a part.

    Raises:
        ConfigError: there is no such file. DataError: it is no such table, or two columns have the
            same name; so do its parts.
    """
    require_file(path)
    held = content.unpacked(path, options.max_bytes)
    kind = content.kind(held)
    if kind == "text":
        return _csv(held, options, size)
    if kind == "parquet" and held.data is None:
        return _parquet(path, size)
    own = structs.replace(options, table=None, header=None, skip_lines=0)
    return of_table(files.columns(path, own, files.EVERY, []), size)


def require_file(path: Path) -> None:
    """ConfigError when nothing can be read there."""
    try:
        with path.open("rb"):
            return
    except OSError as error:
        raise ConfigError(
            f"no such file: {path}" if isinstance(error, FileNotFoundError) else str(error),
            hint="check the path",
        ) from error


def of_table(table: Any, size: int) -> Source:
    """The table of whatever gives Arrow (pyarrow, pandas, polars)."""
    found = table if isinstance(table, pa.Table) else pa.table(table)
    return Source(
        _types(found.schema, Path("the table")),
        _batches(iter(found.to_batches(max_chunksize=size))),
    )


def _types(schema: pa.Schema, path: Path) -> dict[str, pa.DataType]:
    naming.require_distinct(schema.names, path)
    return {field.name: field.type for field in schema}


def _parquet(path: Path, size: int) -> Source:
    with columnar.explained(path, "Parquet"):
        file = pq.ParquetFile(path, page_checksum_verification=True)
        return Source(_types(file.schema_arrow, path), _batches(_read(file, path, size)))


def _read(file: pq.ParquetFile, path: Path, size: int) -> Iterator[pa.RecordBatch]:
    with columnar.explained(path, "Parquet"), file:
        yield from file.iter_batches(batch_size=size)


def _batches(batches: Iterator[pa.RecordBatch]) -> Iterator[Part]:
    start = 0
    for batch in batches:
        columns = {
            name: values.to_pylist()
            for name, values in zip(batch.schema.names, batch.columns, strict=True)
        }
        yield Part(range(start, start + batch.num_rows), None, columns, [])
        start += batch.num_rows


def _csv(held: Content, options: DataTable, size: int) -> Source:
    text, encoding = dialects.decoded(held, options)
    text = delimited.begun(text, options)
    text, dialect = dialects.plain(text, dialects.found(text, options, encoding))
    csv.field_size_limit(MOST_CELL)
    file = io.TextIOWrapper(text.open(), "utf-8-sig", newline="")
    reader = dialects.reader(file, dialect)
    skipped = text.line - 1
    try:
        names = naming.cleaned(options.header or next(reader, []))
        naming.require_distinct(names, held.path)
    except (csv.Error, UnicodeDecodeError, OSError, EOFError) as error:
        file.close()
        raise _broken(held.path, skipped + 1, error) from error
    return Source(
        dict.fromkeys(names, pa.string()), _lines(held.path, file, reader, names, size, skipped)
    )


def _lines(
    path: files.File, file: IO[str], reader: Any, names: list[str], size: int, skipped: int
) -> Iterator[Part]:
    number, before = 0, skipped + reader.line_num
    cells: list[list[str]] = []
    places: list[tuple[int, int]] = []
    rejected: list[Rejected] = []
    with file:
        try:
            for row in reader:
                begins, before = before + 1, skipped + reader.line_num
                if not row:
                    continue
                if len(row) == len(names):
                    cells.append(row)
                    places.append((number, begins))
                else:
                    rejected.append(
                        Rejected(
                            number,
                            begins,
                            "",
                            "",
                            f"has {len(row)} cells, the table has {len(names)} columns",
                        )
                    )
                number += 1
                if len(cells) + len(rejected) == size:
                    yield _part(names, cells, places, rejected)
                    cells, places, rejected = [], [], []
        except (csv.Error, UnicodeDecodeError, OSError, EOFError) as error:
            raise _broken(path, before + 1, error) from error
    if cells or rejected:
        yield _part(names, cells, places, rejected)


def _part(
    names: list[str],
    cells: list[list[str]],
    places: list[tuple[int, int]],
    rejected: list[Rejected],
) -> Part:
    columns = {name: [row[place] for row in cells] for place, name in enumerate(names)}
    return Part([number for number, _ in places], [line for _, line in places], columns, rejected)


def _broken(path: files.File, line: int, error: Exception) -> DataError:
    if isinstance(error, UnicodeDecodeError):
        return DataError(
            f"{path}: after line {line} it is not UTF-8 text",
            hint="convert it, for example with iconv -t UTF-8",
        )
    hint = "check the quotes there; [data] delimiter says how cells are separated"
    return DataError(f"{path}: it cannot be read from line {line} on: {error}", hint=hint)
