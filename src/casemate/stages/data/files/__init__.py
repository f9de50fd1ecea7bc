"""A table's columns as they are written, from whatever holds them: each format by its first bytes,
never by its name.

Text keeps its letters where they count (`007` is not `7`); Parquet, Arrow and databases keep their
own types. What a file is found to be can be said in `[data]` instead, and `casemate init` writes it
there.
"""

import sys
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec
import pyarrow as pa

from casemate.config import DataTable
from casemate.core.buckets import is_bucket
from casemate.core.digest import sha256, sha256_file, sha256_record
from casemate.core.errors import ConfigError, DataError
from casemate.core.types import Finding
from casemate.stages.data.files import (
    bucket,
    columnar,
    content,
    databases,
    delimited,
    exact,
    records,
    sampled,
    several,
    sheets,
)
from casemate.stages.data.files.content import Content, File
from casemate.stages.data.files.databases import is_url
from casemate.stages.data.files.evenly import Numbers
from casemate.stages.data.files.exact import InexactColumn
from casemate.stages.data.files.objects import S3Object, changed
from casemate.stages.data.files.partitions import parted

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "EVERY",
    "File",
    "InexactColumn",
    "Place",
    "beside",
    "changed",
    "columns",
    "digest",
    "found",
    "frame",
    "is_url",
    "names",
    "once",
    "pieces",
    "place",
    "stamp",
    "unplaced",
]


class _Every(frozenset[str]):
    """The names of every column, whatever they are."""

    def __contains__(self, name: object) -> bool:
        return True


EVERY = _Every()
"""All columns, kept letter by letter."""
Place: TypeAlias = Path | Sequence[File] | str | pa.Table
"""A file or folder, several files or objects of a bucket, the URL of a database or bucket, or a
table in memory.
"""


def place(root: Path, source: str | list[str]) -> Path | list[Path] | str:
    """Where `[data] source` is; names are relative to the project's folder."""
    if isinstance(source, list):
        return [root / one for one in source]
    return source if is_url(source) else root / source


def beside(root: Path, path: str) -> Path | str:
    """Where a further table is: a file, or an object or folder of a bucket."""
    return path if is_bucket(path) else root / path


def columns(
    where: Place, options: DataTable, identifiers: Collection[str], findings: list[Finding]
) -> pa.Table:
    """What is held there.

    Args:
        where: see `place`.
        options: the `[data]` table.
        identifiers: columns kept letter by letter, beside what `options` declares as text.
        findings: gets what was noticed while reading.

    Raises:
        ConfigError: there is no such file, or not enough is said about it.
        DataError: it is empty, too large, truncated, ragged, or something that is no table; with
            the line where there are lines.
        BackendError: a database is away.
    """
    where = _looked(where)
    if isinstance(where, pa.Table):
        table = columnar.settled(where, Path("the table"), findings)
    elif isinstance(where, str):
        _require_whole(options)
        table = columnar.settled(databases.read_server(where, options), Path(where), findings)
    else:
        paths, kept_apart = parted(where)
        several.require_bounded(paths, _most(options))
        drawn = None
        if options.sample is not None:
            drawn = sampled.drawn(
                paths, lambda path: _count(path, options), options.sample, findings
            )
        rows = [None] * len(paths) if drawn is None else drawn

        def one(at: int, kept: delimited.Kept) -> pa.Table:
            held = _file(paths[at], options, kept, findings, rows[at])
            return kept_apart.added(held, at, paths[at], kept)

        if len(paths) == 1:
            table = one(0, _as_written(options, identifiers))
        else:
            named = (
                (lambda _: EVERY) if identifiers is EVERY else (lambda more: {*identifiers, *more})
            )
            table = several.read(
                paths, lambda at, more: one(at, _as_written(options, named(more))), findings
            )
        bucket.tell(paths, findings)
    for name in table.column_names:
        if not options.identifies(name) and name not in identifiers:
            exact.require(table[name], name, options, findings)
    return table


def pieces(
    where: Place, options: DataTable, identifiers: Collection[str], findings: list[Finding]
) -> Iterator[pa.Table]:
    """What `columns` gives of text and Parquet files, however long, a piece at a time.

    Only a piece is looked at to tell which of its columns are numbers: `options` should say it of
    every column. For arguments and errors see `columns`.
    """
    where = _looked(where)
    if isinstance(where, (str, pa.Table)):
        raise ConfigError("rows are looked at in pieces of files", hint="take sample out")
    paths, kept_apart = parted(where)
    several.require_bounded(paths, sys.maxsize)
    kept = _as_written(options, identifiers)
    for at, path in enumerate(paths):
        held = content.unpacked(path, options.max_bytes)
        if content.kind(held) == "text":
            parts = delimited.pieces(held, options, kept, findings)
        else:
            parts = (
                columnar.settled(table, path, findings)
                for table in columnar.pieces_of_parquet(held)
            )
        for part in parts:
            table = kept_apart.added(part, at, path, kept)
            for name in table.column_names:
                if not options.identifies(name) and name not in identifiers:
                    exact.require(table[name], name, options, findings)
            yield table


def frame(path: Path) -> "pd.DataFrame":
    """A table from a file of any format that `[data] source` may have.

    Raises:
        ConfigError: there is no such file.
        DataError: it is empty, truncated, ragged or no table.
    """
    if not path.exists():
        raise ConfigError(f"no such file {path}", hint="give the path of a table")
    table: pd.DataFrame = columns(path, DataTable(source=str(path), target=""), (), []).to_pandas()
    return table


def once(where: Path | list[Path] | str, options: DataTable) -> Place:
    """A database's answer in the place of its address, so that it is asked once, and a bucket's
    objects as they are now; files stay where they are.

    Raises:
        ConfigError, DataError, BackendError: as `columns` says of a database.
    """
    looked = _looked(where)
    if not isinstance(looked, str):
        return looked
    _require_whole(options)
    return databases.read_server(looked, options)


def some(where: Place, options: DataTable, most: int) -> pa.Table | None:
    """About `most` rows, evenly from all, every cell as it is written and none checked; None where
    only `columns` can say.

    Args:
        where: see `place`.
        options: the `[data]` table.
        most: rows wanted, at most about twice as many.
    """
    if isinstance(where, (str, pa.Table)):
        return None
    paths, kept_apart = parted(where)
    several.require_bounded(paths, _most(options))
    if len(paths) > 1 or kept_apart.names:
        return None
    held = content.unpacked(paths[0], options.max_bytes)
    try:
        return delimited.some(held, options, most) if content.kind(held) == "text" else None
    except (DataError, pa.ArrowException, UnicodeDecodeError):
        return None


def names(where: Place, options: DataTable) -> list[str]:
    """The columns' names, without a look at a row where the format allows it; none where `columns`
    will say what is wrong.
    """
    try:
        if not isinstance(where, (str, pa.Table)):
            paths, kept_apart = parted(where)
            first = content.unpacked(paths[0], options.max_bytes)
            kind = content.kind(first)
            if kind == "text":
                return [*delimited.names(first, options), *kept_apart.names]
            if kind == "parquet":
                return [*columnar.parquet_names(first), *kept_apart.names]
        return list(columns(where, options, EVERY, []).column_names)
    except (ConfigError, DataError):
        return []


def shape(where: Place, options: DataTable, *, counted: bool = False) -> tuple[int, int] | None:
    """(rows, columns) of text and Parquet files, of text about, unless its rows are to be
    `counted`; None where it cannot be told without reading them.
    """
    if isinstance(where, (str, pa.Table)):
        return None
    rows, columns = 0.0, 0
    for path in several.paths(where):
        held = Content(path)
        if content.is_packed(held) or (kind := content.kind(held)) not in ("text", "parquet"):
            return None
        rows += delimited.about(held) if kind == "text" and not counted else _count(path, options)
        columns = columns or len(names(where, options))
    return (int(rows), columns) if columns else None


def found(where: Place, options: DataTable) -> dict[str, Any]:
    """How a text file is written, as options of `[data]` that differ from what is said or usual;
    nothing for other formats.
    """
    if isinstance(where, (str, pa.Table)):
        return {}
    first = content.unpacked(several.paths(where)[0], options.max_bytes)
    if content.kind(first) != "text":
        return {}
    dialect = delimited.look(first, options)
    said = {"delimiter": ",", "decimal": ".", "encoding": "utf-8", "quote": '"', "escape": ""}
    return {
        name: value for name, usual in said.items() if (value := getattr(dialect, name)) != usual
    }


def stamp(where: Place) -> list[Any]:
    """What changes when the files do; a database is asked again each time."""
    try:
        where = _looked(where)
        if isinstance(where, (str, pa.Table)):
            return []
        return [[str(path), *_status(path)] for path in several.paths(where)]
    except ConfigError:
        return []


def _looked(where: Place) -> Place:
    return bucket.look(where) if is_bucket(where) else where


def _status(path: File) -> tuple[Any, ...]:
    if isinstance(path, S3Object):
        return "", path.size, path.etag
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns


def digest(where: Place, table: pa.Table) -> str:
    """SHA-256 of the file; of several, over their digests; of a database's answer, over `table`."""
    if isinstance(where, (str, pa.Table)):
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table.combine_chunks())
        return sha256(sink.getvalue())
    paths, kept_apart = parted(where)
    if len(paths) == 1 and not kept_apart.names:
        return _digest(paths[0])
    # what the names of folders say of the rows is a part of the table
    return sha256_record(
        [(path.name, _digest(path), *kept_apart.of(at)) for at, path in enumerate(paths)]
    )


def _digest(path: File) -> str:
    return path.digest() if isinstance(path, S3Object) else sha256_file(path)


def unplaced(options: DataTable) -> DataTable:
    """`options` without the bucket that holds the table: it decides nothing of what is read."""
    named = bucket.named(options.source)
    return options if named == options.source else msgspec.structs.replace(options, source=named)


def _as_written(options: DataTable, identifiers: Collection[str]) -> delimited.Kept:
    """Whether a column's cells are kept letter by letter."""

    def kept(name: str) -> bool:
        if (
            name in identifiers
            or options.identifies(name)
            or options.column(name).type in ("category", "text")
        ):
            return True
        return options.task == "classification" and name in options.targets

    return kept


def _require_whole(options: DataTable) -> None:
    if options.sample is not None:
        raise ConfigError(
            "[data] sample: rows are drawn of files, not of a database's answer",
            hint="have [data] query draw them, and take sample out",
        )


def _most(options: DataTable) -> int:
    """Bytes that the files may have; of a sample the other rows take no memory."""
    return options.max_bytes if options.sample is None else sys.maxsize


def _count(path: File, options: DataTable) -> int:
    """Rows of a file that a sample can be drawn of."""
    held = content.unpacked(path, options.max_bytes)
    kind = content.kind(held)
    if kind not in ("text", "parquet"):
        raise ConfigError(
            f"[data] sample: {path.name} is read whole, so nothing is saved",
            hint="write it as Parquet or as text, or take sample out",
        )
    return delimited.count(held, options) if kind == "text" else columnar.count_parquet(held)


def _file(
    path: File,
    options: DataTable,
    kept: delimited.Kept,
    findings: list[Finding],
    numbers: Numbers | None,
) -> pa.Table:
    held = content.unpacked(path, options.max_bytes)
    kind = content.kind(held)
    if numbers is None and kind not in ("sqlite", "duckdb"):
        held = content.held(held)
    if kind == "text":
        return delimited.read(held, options, kept, findings, numbers)
    if numbers is None:
        table = _columns(held, kind, options, findings)
    else:
        table = columnar.some_of_parquet(held, numbers)
    if options.header and kind != "spreadsheet":
        raise ConfigError(
            f"[data] header: {path.name} names its columns itself", hint="take header out"
        )
    return columnar.settled(table, path, findings)


def _columns(held: Content, kind: str, options: DataTable, findings: list[Finding]) -> pa.Table:
    if kind == "spreadsheet":
        return sheets.read(held, options, findings)
    if kind in ("sqlite", "duckdb"):
        return {"sqlite": databases.read_sqlite, "duckdb": databases.read_duckdb}[kind](
            held, options
        )
    if kind == "json":
        return records.read(held, options, findings)
    return {
        "parquet": columnar.read_parquet,
        "arrow": columnar.read_arrow,
        "orc": columnar.read_orc,
    }[kind](held)
