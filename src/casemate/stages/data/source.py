"""A table's file as typed Arrow columns, or what is wrong with it: `files` reads it, `cells` types
it.
"""

import re
from collections.abc import Collection
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from casemate.config import ColumnTable, DataTable, is_pattern
from casemate.config.words import nearest
from casemate.core.errors import ConfigError, DataError
from casemate.core.types import Finding, Severity
from casemate.stages.data import cells, derived, files, odd
from casemate.stages.data.files import sampled

READING = 5
"""Raised when a table is read in another way than before, so that the next run seals it anew."""
MANY_UNLABELLED = 0.1
"""Share of rows without a target from which the others may be no fair sample of them."""


def read(
    where: files.Place,
    options: DataTable,
    identifiers: Collection[str] = (),
    *,
    looked_at: bool = False,
) -> tuple[pa.Table, list[Finding]]:
    """The typed table and what was noticed while reading.

    Args:
        where: a file or folder, several files, or a database; see `files.place`.
        options: the `[data]` table.
        identifiers: columns that say who somebody is, beside those that `options` declares.
        looked_at: whether all rows are looked at afterwards where only some are drawn: then that
            says what is wrong with a cell, and in which row.

    Raises:
        ConfigError: the file is missing, or a named column is not in it.
        DataError: the file is empty, too large, truncated, ragged, not in its encoding, or a cell
            has the wrong type.
        BackendError: a database is away.
    """
    findings: list[Finding] = []
    table = held(where, options, findings, identifiers)
    later = odd.Pieces() if looked_at and sampled.is_drawn(findings) else None
    return typed(table, options, findings, identifiers, later), findings


def held(
    where: files.Place,
    options: DataTable,
    findings: list[Finding],
    identifiers: Collection[str] = (),
) -> pa.Table:
    """The columns as a file's reader gives them, before `typed`; for arguments and errors see
    `read`.
    """
    kept = lettered(files.names(where, options), options) if options.columns else set()
    return _table(where, options, {*identifiers, *kept}, findings)


def lettered(names: Collection[str], options: DataTable) -> set[str]:
    """Those columns that no reader of files types before their entry in `[data.columns]` does."""
    return {name for name in names if _lettered(options.column(name))}


def typed(
    table: pa.Table,
    options: DataTable,
    findings: list[Finding],
    identifiers: Collection[str] = (),
    pieces: odd.Pieces | None = None,
) -> pa.Table:
    """What `held` gave, each column as its type says, with the features made of them; DataError
    when a cell is of another type, or `pieces` hears of it.
    """
    columns = [
        (
            cells.identifier(table[name], name, options)
            if options.identifies(name) or name in identifiers
            else cells.typed(table[name], name, options, findings, pieces)
        )
        for name in table.column_names
    ]
    censored = {
        name: table[name].cast(pa.string())
        for name in table.column_names
        if options.column(name).censored
    }
    return derived.add(
        pa.table(dict(zip(table.column_names, columns, strict=True))), options, censored
    )


def as_called(table: pa.Table, options: DataTable) -> pa.Table:
    """What a caller of the model sends, made of a table as it is written: every cell as text,
    notations read, made features added.

    Args:
        table: text columns without missing markers; columns of other tables do no harm.
        options: the `[data]` table.

    Raises:
        DataError: a cell is of another type than its column.
    """
    columns = {name: table[name] for name in table.column_names if name not in options.targets}
    said = noted(options, columns)
    lenient = {name: msgspec.structs.replace(options.column(name), coerce=True) for name in said}
    reading = msgspec.structs.replace(options, columns={**options.columns, **lenient})
    typed = {
        name: cells.typed(column, name, reading, []) if name in said else column
        for name, column in columns.items()
    }
    made = derived.add(
        pa.table(typed),
        reading,
        {name: columns[name] for name in said if reading.column(name).censored},
    )
    return pa.table({name: made[name].cast(pa.string()) for name in made.column_names})


def noted(options: DataTable, names: Collection[str]) -> list[str]:
    """Those columns of which `[data.columns]` says what plain reading would not know: a notation,
    marks for missing, made features.
    """
    until = {options.column(name).since for name in names}
    return [
        name
        for name in names
        if _lettered(said := options.column(name)) or said.missing or said.parts or name in until
    ]


def _lettered(said: ColumnTable) -> bool:
    """Whether a column's entry says how its cells are written: then no reader of files guesses
    before.
    """
    return said.format is not None or said.decimal is not None or said.censored


def written(where: files.Place, options: DataTable, findings: list[Finding]) -> pa.Table:
    """Every column as it is written: text to the last digit, or the types of its own; raises what
    `read` raises of a file.
    """
    return _table(where, options, files.EVERY, findings)


def some(where: files.Place, options: DataTable, most: int) -> tuple[pa.Table, bool]:
    """(rows of what `written` gives, whether they are all): about `most` of a long text, evenly
    from all of it, and nothing is checked.
    """
    table = files.some(where, options, most)
    if table is None or table.num_rows == 0:
        return written(where, options, []), True
    _check_names(table, first(where), options)
    return table, False


def labelled(
    table: pa.Table, options: DataTable, *, drop: bool = False
) -> tuple[pa.Table, list[Finding]]:
    """The rows that have every target, where `[data] missing_target` or `drop` says so, and a
    finding about the others.
    """
    if options.missing_target != "drop" and not drop:
        return table, []
    known = pc.is_valid(table[options.targets[0]])
    for name in options.targets[1:]:
        known = pc.and_(known, pc.is_valid(table[name]))
    kept = table.filter(known)
    gone = table.num_rows - kept.num_rows
    return (kept, [unlabelled(gone, table.num_rows, options)]) if gone else (table, [])


def unlabelled(gone: int, total: int, options: DataTable) -> Finding:
    """That so many rows of a table have no target and were left out."""
    share = gone / total
    text = (
        f"{gone} of {total} rows ({share:.1%}) have no target and were left out; row numbers are"
        " those of the rows that stay"
    )
    severity: Severity = "low" if share <= MANY_UNLABELLED else "medium"
    return Finding(
        id="data.missing-target",
        severity=severity,
        confidence="high",
        message=text,
        location=options.targets[0],
    )


def _table(
    where: files.Place, options: DataTable, identifiers: Collection[str], findings: list[Finding]
) -> pa.Table:
    """The columns that are held there, under names that `options` knows."""
    table = files.columns(where, options, identifiers, findings)
    path = first(where)
    _check_names(table, path, options)
    if table.num_rows == 0:
        raise DataError(f"{path} has a header and no rows", hint="export the table again")
    return table


def first(where: files.Place) -> files.File:
    """The file that messages name; of several the first one."""
    if isinstance(where, (str, Path)):
        return Path(where)
    return Path("the table") if isinstance(where, pa.Table) else where[0]


def _check_names(table: pa.Table, path: files.File, options: DataTable) -> None:
    names = table.column_names
    wanted = [("target", name) for name in options.targets] + [
        (key, getattr(options, key)) for key in ("subject", "time", "provenance", "weight")
    ]
    wanted += [("columns", name) for name in options.columns if not is_pattern(name)]
    made = derived.names(options, names)
    for key, name in wanted:
        if name is None or name in names or (key == "columns" and name in made):
            continue
        numeric = sum(bool(re.match(cells.NUMBER, text.strip())) for text in names)
        hint = f"the columns are: {', '.join(names[:12])}"
        if not options.header and numeric >= max(1, len(names) // 4):
            hint = "the file seems to have no header line: list the names in [data] header"
        raise ConfigError(
            f"[data] {key}: {path.name} has no column {name!r}{nearest(name, names)}", hint=hint
        )
