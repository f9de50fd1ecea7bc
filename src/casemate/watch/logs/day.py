"""One UTC day of lines: a tantivy index that has all of them, and Parquet files for SQL of those
that are settled.

The index is written in one commit a batch, so that a kill leaves all of a batch or nothing. Parquet
is derived from it: file `lines-FIRST-LAST.parquet` has the blocks FIRST to LAST, and what is behind
the last file is read from the index.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from casemate.core.files import make_folder, writing
from casemate.watch.logs.index import BLOCK, DEFAULTS, Index
from casemate.watch.logs.line import LogLine

if TYPE_CHECKING:
    import pyarrow

SEAL = 100_000
"""Lines behind the last Parquet file from which the next one is written before the day is over: so
many are read from the index in a second.
"""
GROUP = 128
"""Blocks of a row group."""
_NAME = re.compile(r"lines-(\d{8})-(\d{8})\.parquet")
COLUMNS = {
    "time": "timestamp",
    "level": "string",
    "message": "string",
    "id": "string",
    "dataset": "string",
    "kind": "string",
    "action": "string",
    "outcome": "string",
    "reason": "string",
    "duration": "int64",
    "principal": "string",
    "service": "string",
    "node": "string",
    "trace": "string",
    "request": "string",
    "method": "string",
    "status": "int64",
    "size": "int64",
    "code": "string",
    "rule": "string",
    "resource": "string",
    "model": "string",
    "run": "string",
    "stage": "string",
}
"""Columns of the view `logs`: the short names, but `principal` for `user`, which SQL keeps for
itself. A field that does not apply is NULL.
"""

RISING = {
    "time": "DELTA_BINARY_PACKED",
    "duration": "DELTA_BINARY_PACKED",
    "size": "DELTA_BINARY_PACKED",
    "id": "DELTA_BYTE_ARRAY",
    "request": "DELTA_BYTE_ARRAY",
}
"""Columns whose values differ little from those before them; with dictionaries, which are
Parquet's default, a file is half as large again.
"""
LAYOUT: dict[str, Any] = {
    "compression": "zstd",
    "column_encoding": RISING,
    "use_dictionary": [name for name in COLUMNS if name not in (*RISING, "message", "trace")],
}


class Day:
    """The lines of one day."""

    def __init__(self, folder: Path) -> None:
        """Open, or make it where it is not there."""
        self.folder = folder
        self.index = Index(make_folder(folder / "index"))

    @property
    def name(self) -> str:
        """Such as `2026-11-29`."""
        return self.folder.name

    def size(self) -> int:
        """Bytes on disk."""
        return size(self.folder)

    def add(self, lines: Iterable[LogLine]) -> list[LogLine]:
        """Add those lines that are not here yet, and return them."""
        given = {line.id: line for line in lines}
        known = self.index.known(list(given))
        fresh = [line for line in given.values() if line.id not in known]
        if fresh:
            self.index.add(fresh)
        return fresh

    def sealed(self) -> tuple[list[Path], int]:
        """(Parquet files, the first block that is in none of them)."""
        found, block = [], 0
        for path in sorted(self.folder.glob("lines-*.parquet")):
            match = _NAME.fullmatch(path.name)
            if match is not None and int(match[1]) == block:
                found.append(path)
                block = int(match[2]) + 1
        return found, block

    def seal(self, *, is_over: bool) -> None:
        """Write what is settled as Parquet: of a day that is over all, else only when it is
        much.
        """
        import pyarrow.parquet

        _, first = self.sealed()
        end = self.index.blocks()
        # blocks of small batches hold fewer lines; nothing depends on the exact number
        if first == end or (not is_over and (end - first) * BLOCK < SEAL):
            return
        path = self.folder / f"lines-{first:08}-{end - 1:08}.parquet"
        with (
            writing(path) as file,
            pyarrow.parquet.ParquetWriter(file, schema(), **LAYOUT) as parquet,
        ):
            for table in self.tables(first):
                parquet.write_table(table)

    def tables(self, first: int) -> "Iterator[pyarrow.Table]":
        """The lines from a block on, so many blocks together as make a row group."""
        end, columns = self.index.blocks(), self.index.columns
        for start in range(first, end, GROUP):
            yield table([columns(number) for number in range(start, min(end, start + GROUP))])


def size(folder: Path) -> int:
    """Bytes of the files in a folder, while somebody may remove some."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue
    return total


def schema() -> "pyarrow.Schema":
    """Of the Parquet files and the view."""
    import pyarrow

    kinds = {
        "string": pyarrow.string(),
        "int64": pyarrow.int64(),
        "timestamp": pyarrow.timestamp("ms"),
    }
    return pyarrow.schema([(name, kinds[kind]) for name, kind in COLUMNS.items()])


def table(blocks: list[dict[str, list[Any]]]) -> "pyarrow.Table":
    """Blocks as a table."""
    import pyarrow

    columns: dict[str, Any] = {}
    for field in schema():
        name = "user" if field.name == "principal" else field.name
        values: list[Any] = []
        for block in blocks:
            values += block.get(name) or [DEFAULTS[name]] * len(block["id"])
        if field.name == "time":
            in_utc = pyarrow.array(values).cast(pyarrow.timestamp("ms", tz="UTC"))
            columns[field.name] = in_utc.cast(field.type)
        else:
            told = pyarrow.array(values, field.type)
            columns[field.name] = _given(told) if field.type == pyarrow.string() else told
    return pyarrow.table(columns, schema=schema())


def _given(texts: Any) -> Any:
    """Texts, with NULL for the empty ones."""
    import pyarrow
    import pyarrow.compute

    empty = pyarrow.compute.equal(texts, "")
    return pyarrow.compute.if_else(empty, pyarrow.scalar(None, texts.type), texts)
