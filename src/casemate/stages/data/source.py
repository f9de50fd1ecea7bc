"""A table's file as typed Arrow columns, or what is wrong with it: `files` reads it, `cells` types it."""

import re
from collections.abc import Collection
from pathlib import Path

import pyarrow as pa

from casemate.config import DataTable, is_pattern
from casemate.core.errors import ConfigError, DataError
from casemate.core.types import Finding
from casemate.stages.data import cells, files

READING = 3
"""Raised when a table is read in another way than before, so that the next run seals it anew."""


def read(where: files.Place, options: DataTable, identifiers: Collection[str] = ()) -> tuple[pa.Table, list[Finding]]:
    """The typed table and what was noticed while reading.

    Args:
        where: a file or folder, several files, or a database; see `files.place`.
        options: the `[data]` table.
        identifiers: columns that say who somebody is, beside those that `options` declares.

    Raises:
        ConfigError: the file is missing, or a named column is not in it.
        DataError: the file is empty, too large, truncated, ragged, not in its encoding, or a cell has the wrong type.
        BackendError: a database is away.
    """
    findings: list[Finding] = []
    table = _table(where, options, identifiers, findings)
    columns = [
        cells.identifier(table[name], name, options)
        if options.identifies(name) or name in identifiers
        else cells.typed(table[name], name, options, findings)
        for name in table.column_names
    ]
    return pa.table(dict(zip(table.column_names, columns, strict=True))), findings


def _table(where: files.Place, options: DataTable, identifiers: Collection[str], findings: list[Finding]) -> pa.Table:
    """The columns that are held there, under names that `options` knows."""
    table = files.columns(where, options, identifiers, findings)
    path = where[0] if isinstance(where, list) else Path("the table" if isinstance(where, pa.Table) else where)
    _check_names(table, path, options)
    if table.num_rows == 0:
        raise DataError(f"{path} has a header and no rows", hint="export the table again")
    return table


def _check_names(table: pa.Table, path: Path, options: DataTable) -> None:
    names = table.column_names
    wanted = [("target", name) for name in options.targets] + [(key, getattr(options, key)) for key in ("subject", "time", "provenance")]
    wanted += [("columns", name) for name in options.columns if not is_pattern(name)]
    for key, name in wanted:
        if name is None or name in names:
            continue
        numeric = sum(bool(re.match(cells.NUMBER, text.strip())) for text in names)
        hint = f"the columns are: {', '.join(names[:12])}"
        if not options.header and numeric >= max(1, len(names) // 4):
            hint = "the file seems to have no header line: list the names in [data] header"
        raise ConfigError(f"[data] {key}: {path.name} has no column {name!r}", hint=hint)
