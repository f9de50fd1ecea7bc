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
from casemate.watch.logs.index import BLOCK, Index
from casemate.watch.logs.line import LogLine, moment

if TYPE_CHECKING:
    import pyarrow

SEAL = 100_000
"""Lines behind the last Parquet file from which the next one is written before the day is over: so
many are read from the index in a second.
"""
GROUP = 64
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
            pyarrow.parquet.ParquetWriter(file, schema(), compression="zstd") as parquet,
        ):
            for table in self.tables(first):
                parquet.write_table(table)

    def tables(self, first: int) -> "Iterator[pyarrow.Table]":
        """The lines from a block on, so many blocks together as make a row group."""
        lines: list[LogLine] = []
        for number, block in self.index.lines(first):
            lines += block
            if len(lines) >= GROUP * BLOCK or number == self.index.blocks() - 1:
                yield table(lines)
                lines = []


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


def table(lines: list[LogLine]) -> "pyarrow.Table":
    """Lines as a table."""
    import pyarrow

    columns: dict[str, list[Any]] = {}
    for name, kind in COLUMNS.items():
        values = [getattr(line, "user" if name == "principal" else name) for line in lines]
        if kind == "timestamp":
            values = [moment(value).replace(tzinfo=None) for value in values]
        elif kind == "string":
            values = [value or None for value in values]
        columns[name] = values
    return pyarrow.table(columns, schema=schema())
