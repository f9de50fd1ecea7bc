"""`casemate privacy scan`: identifiers in a table, or in every table of a folder."""

import os
from pathlib import Path

import msgspec
import pyarrow as pa

from casemate.config import DataTable
from casemate.core.errors import BackendError, ConfigError, DataError
from casemate.core.types import Record
from casemate.stages.data import files
from casemate.stages.data.identifiers import checks, columns, fitted, patterns
from casemate.stages.data.identifiers.columns import NOT_LOOKED_FOR, ColumnFound

MODEL = ".onnx"
MOST_FILES, DEEPEST = 1000, 8
"""Files of a folder that are looked at, and folders that they may lie in."""


class ScannedTable(Record, frozen=True, kw_only=True):
    """What was found in one table."""

    path: str
    rows: int
    """Of a model: words that it holds."""
    columns: list[ColumnFound]
    rows_kept: int = 0
    """Rows of its training table that a model holds, number by number."""
    names_that_tell: int = 0
    """Columns that are called like what cells hold; then every name is told as an outline, for the
    first person's row may be the names."""

    @property
    def found(self) -> list[ColumnFound]:
        """Columns in which there is something."""
        return [column for column in self.columns if column.evidence]


class NotRead(Record, frozen=True, kw_only=True):
    """A file that nothing is known of."""

    path: str
    why: str


class Scan(Record, frozen=True, kw_only=True):
    """What a look at a file or folder found."""

    tables: list[ScannedTable]
    not_read: list[NotRead]
    not_looked_for: list[str]

    @property
    def is_clean(self) -> bool:
        """Whether every file was read and nothing found in any."""
        return not self.not_read and not any(
            table.found or table.rows_kept or table.names_that_tell for table in self.tables
        )


def read(path: Path, header: list[str] | None = None) -> pa.Table:
    """A table, text letter by letter, so that no code loses its zeros.

    Args:
        path: any table that casemate reads.
        header: the columns' names, where a text file has none.

    Raises:
        ConfigError: there is no such file.
        DataError: it is no table that can be read.
    """
    if not path.exists():
        raise ConfigError(f"no such file {path}", hint="give the path of a table")
    options = DataTable(source=str(path), target="", null_values=[""], header=header)
    return files.columns(path, options, files.EVERY, [])


def scan(path: Path | str, header: list[str] | None = None) -> Scan:
    """Look for identifiers in a table or an ONNX model, or in the files of a folder, links not
    followed.

    Args:
        path: of a table, or of a folder.
        header: see `read`.

    Raises:
        ConfigError: there is no such path, too many files, or the libraries of check digits are not
            installed.
        DataError: the file is no table that can be read; in a folder it is listed instead.
    """
    path = Path(path)
    checks.require_libraries()
    tables: list[ScannedTable] = []
    not_read: list[NotRead] = []
    if not path.is_dir():
        tables.append(_scanned(path, header))
    else:
        for one in _files(path, not_read):
            try:
                tables.append(_scanned(one, header))
            except (DataError, ConfigError, BackendError) as error:
                not_read.append(NotRead(path=str(one), why=error.message))
    return Scan(tables=tables, not_read=not_read, not_looked_for=list(NOT_LOOKED_FOR))


def _scanned(path: Path, header: list[str] | None) -> ScannedTable:
    if path.suffix.lower() == MODEL and path.is_file():
        return _model(path)
    table = read(path, header)
    found = columns.look(table)
    telling = (
        0 if header else sum(patterns.in_name(name) is not None for name in table.column_names)
    )
    if telling:
        found = [msgspec.structs.replace(one, column=patterns.masked(one.column)) for one in found]
    return ScannedTable(path=str(path), rows=table.num_rows, columns=found, names_that_tell=telling)


def _model(path: Path) -> ScannedTable:
    words, rows = fitted.columns_of(path)
    held = [columns.look(pa.table({name: cells}))[0] for name, cells in words.items()]
    return ScannedTable(
        path=str(path), rows=sum(map(len, words.values())), columns=held, rows_kept=rows
    )


def _files(folder: Path, not_read: list[NotRead]) -> list[Path]:
    def list_(error: OSError) -> None:
        not_read.append(NotRead(path=str(error.filename), why=f"cannot be read: {error.strerror}"))

    found: list[Path] = []
    for root, folders, names in os.walk(folder, onerror=list_):
        if len(Path(root).relative_to(folder).parts) >= DEEPEST:
            raise ConfigError(
                f"{folder} has folders deeper than {DEEPEST}", hint="scan them one by one"
            )
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [
            path
            for name in sorted(names)
            if not name.startswith(".")
            and (path := Path(root, name)).is_file()
            and not path.is_symlink()
        ]
        if len(found) > MOST_FILES:
            raise ConfigError(
                f"{folder} has more than {MOST_FILES} files", hint="scan its folders one by one"
            )
    if not found and not not_read:
        raise ConfigError(f"{folder} has no files", hint="give the path of a table")
    return found
