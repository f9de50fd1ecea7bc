"""Roles of columns, from all their cells and their names.

What is sure is written into casemate.toml, so that `run` never guesses otherwise; what is not sure
is left out or kept as a category, and asked about. Cells that would become missing are counted and
shown; above one in a hundred they are not.
"""

import dataclasses
import datetime
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from casemate.config import ColumnTable, DataTable
from casemate.stages.data.roles import names
from casemate.stages.data.roles.dates import dates, settle
from casemate.stages.data.roles.numbers import amounts, sentinels
from casemate.stages.data.roles.spans import lengths
from casemate.stages.data.roles.types import Column, Role
from casemate.stages.data.schema import MAX_CATEGORIES

LEAST_DISTINCT = 0.98
"""Share of different cells from which a column tells rows apart."""
REPEATED, FEW = 0.2, 20
"""A key named like one whose values repeat is still a key from this share of different cells, and
with more than so many of them.
"""
DENSE = 1.2
"""Different whole numbers in a range at most this much wider than they are many: somebody numbered
the rows. By chance n different numbers of a range of 1.2 n are rare, unless the column counts.
"""
FEWEST_ROWS = 50
"""Below this a column of numbers that are all different says little about itself."""
FEW_CODES, FEW_SHOWN = 50, 6
"""Different values up to which whole numbers may be codes, and up to which the reason lists them. A
judgement: the role is proposed, `casemate.toml` decides.
"""
ROWS_A_VALUE = 5
"""Rows of each value, on average, below which a category says little, and the next table's values
are mostly unknown.
"""
MOST_ROWS = 50_000
"""Rows that are looked at, evenly from the whole table; `scaffold` reads all and looks again at
columns that do not keep to it.
"""
DIALLED = 10.0**6
"""Whole numbers from here on are telephone numbers, and no count of calls."""
LONG = 10.0**12
"""Whole numbers from here on that are nearly all different are written for machines."""
WORDY, WORDS = 2.5, 50
"""Words a cell, and different cells, from which a column is free text."""
Rule = Callable[[Column], Role | None]


@dataclass
class Inferred:
    """What a table's columns are."""

    roles: list[Role] = field(default_factory=list)
    time: str | None = None
    """The column that says when a row arose, where one does."""
    subject: str | None = None
    """The column that says whom a row is about, where persons repeat."""
    thin: list[str] = field(default_factory=list)
    """Columns that showed one value or none: another row may say more."""

    def replace(self, role: Role) -> None:
        """Put `role` where the same column's was."""
        self.roles = [role if known.name == role.name else known for known in self.roles]

    @property
    def columns(self) -> dict[str, ColumnTable]:
        """Entries of `[data.columns]`: those that say anything."""
        return {role.name: role.entry for role in self.roles if role.entry != ColumnTable()}


def infer(table: pa.Table, options: DataTable, now: datetime.datetime) -> Inferred:
    """The role of every column but the targets.

    Args:
        table: columns as they are written: text of a CSV file, or a Parquet file's own types.
        options: says targets and subject, and which columns are decided already.
        now: birth dates are told from, where no other date is in the row.
    """
    skipped = {*options.targets, options.subject, options.weight}
    step = max(1, table.num_rows // MOST_ROWS)
    some = table.take(np.arange(0, table.num_rows, step)) if step > 1 else table
    looked_at = [
        _looked_at(name, table[name], some[name], options)
        for name in table.column_names
        if name not in skipped and name not in options.columns
    ]
    roles = settle([_decide(column) for column in looked_at], now)
    if options.weight in table.column_names:
        roles.append(
            Role(
                str(options.weight),
                "weight",
                ColumnTable(),
                "said so: no feature, it says what a row counts",
            )
        )
    person = [role for role in roles if role.role == "person" and role.repeats]
    subject = person[0].name if len(person) == 1 and options.subject is None else None
    ordering = [role for role in roles if role.role == "date" and role.orders]
    return Inferred(
        roles,
        ordering[0].name if len(ordering) == 1 else None,
        subject,
        [column.name for column in looked_at if column.distinct <= 1],
    )


def _looked_at(
    name: str, cells: pa.ChunkedArray, some: pa.ChunkedArray, options: DataTable
) -> Column:
    """A column by some of its cells, by all of them where those show nothing or one value."""
    column = Column(name, some, options)
    return (
        column if len(cells) == len(some) or column.distinct > 1 else Column(name, cells, options)
    )


def _decide(column: Column) -> Role:
    rules: tuple[Rule, ...] = (
        _empty,
        _row_number,
        _constant,
        _typed,
        _contact,
        _key,
        _codes,
        dates,
        lengths,
        amounts,
        _key_text,
        _text,
    )
    for rule in rules:
        role = rule(column)
        if role is not None:
            return sentinels(column, role)
    return column.role("category", ColumnTable(), f"{column.distinct} different values")


def again(table: pa.Table, name: str, options: DataTable) -> Role:
    """The role of one column by every cell: some showed less than all do."""
    return settle(
        [_decide(Column(name, table[name], options))], datetime.datetime.now(datetime.UTC)
    )[0]


def _empty(column: Column) -> Role | None:
    return (
        column.role("empty", ColumnTable(type="category", use=False), "no cell is filled in")
        if column.count == 0
        else None
    )


def _constant(column: Column) -> Role | None:
    if column.distinct > 1 or column.count < column.rows:
        return None
    kind: Any = "number" if column.whole is not None or column.plain is not None else "category"
    return column.role("constant", ColumnTable(type=kind, use=False), "every cell is the same")


def _row_number(column: Column) -> Role | None:
    whole = column.whole
    if whole is None or column.count < column.rows or column.rows < 2:
        return None
    named = names.counts(column.name)
    if not named and (names.person(column.name) or names.key(column.name)):
        return None
    steps = (
        pc.unique(pc.pairwise_diff(whole.combine_chunks()).drop_null()).to_pylist()
        if named or column.rows >= FEWEST_ROWS
        else []
    )
    if (len(steps) == 1 and steps[0] >= 1) or (
        named and column.distinct >= LEAST_DISTINCT * column.rows
    ):
        entry = ColumnTable(use=False)
        return column.role("row number", entry, "counts the rows")
    return None


def _typed(column: Column) -> Role | None:
    """What a Parquet file's own type, or plain true and false, leave no question about."""
    if pa.types.is_boolean(column.cells.type):
        return column.role("number", ColumnTable(), "true or false")
    return None


def _contact(column: Column) -> Role | None:
    """A name, an address for mail or a telephone number: of people, whether they repeat or not."""
    if not column.is_text or column.distinct <= FEW or not names.contact(column.name):
        return None
    if column.plain is not None and (column.whole is None or column.extremes[1] < DIALLED):
        return None  # how many, not which
    return _identifier(column, "key", "named like what tells who somebody is")


def _key(column: Column) -> Role | None:
    """Who or what a row is about, numeric or not, named so or numbered so."""
    if (column.plain is not None and column.whole is None) or column.count < 2:
        return None  # fractions
    person, key = names.person(column.name), names.key(column.name)
    return _named_key(column, person) if person or key else _numbered(column)


def _named_key(column: Column, person: bool) -> Role | None:
    share, role = column.distinct / column.count, "person" if person else "key"
    many = column.distinct > FEW and column.count >= FEWEST_ROWS
    if share >= LEAST_DISTINCT:
        return _identifier(column, role, "named like a key, different in nearly every row")
    if many and (person or share >= REPEATED):
        return _identifier(
            column, role, f"named like a key, {column.distinct} different in {column.count} rows"
        )
    return None


def _numbered(column: Column) -> Role | None:
    if (
        column.whole is None
        or column.count < FEWEST_ROWS
        or column.distinct < LEAST_DISTINCT * column.count
    ):
        return None
    low, high = column.extremes
    if names.says(column.name, names.TIMES | names.BIRTHS):
        return None
    if high - low + 1 <= DENSE * column.distinct:
        return _identifier(
            column, "key", "whole numbers without gaps, each once: rows were numbered"
        )
    return (
        _identifier(column, "key", "long numbers, nearly each once")
        if max(abs(low), abs(high)) >= LONG
        else None
    )


def _identifier(column: Column, role: str, reason: str) -> Role:
    repeats = column.distinct < column.count and column.count == column.rows
    return dataclasses.replace(
        column.role(role, ColumnTable(column_class="identifier"), reason), repeats=repeats
    )


def _codes(column: Column) -> Role | None:
    """Digits that say which and not how much."""
    if column.mixed_codes:
        reason = "digits with leading zeros, and letters"
        return _key_text(column) or _bounded(column, "code", reason)
    if column.whole is None:
        return None
    zeros = column.leading_zeros
    named = names.says(column.name, names.CODES) and column.whole_positive
    grouped = (
        (names.says(column.name, names.GROUPS) or names.key(column.name))
        and column.whole_positive
        and column.distinct <= FEW_CODES
    )
    if not (zeros or named or grouped):
        return None
    reason = (
        "digits with leading zeros"
        if zeros
        else "digits under the name of a code"
        if named
        else "few numbers under the name of a group"
    )
    return _bounded(column, "code", reason)


def _bounded(column: Column, role: str, reason: str) -> Role:
    """A category, or hashed where there are more values than a model can have columns for."""
    rare = column.distinct > FEW_CODES and column.distinct * ROWS_A_VALUE > column.count
    if column.distinct <= MAX_CATEGORIES and not rare:
        return column.role(
            role, ColumnTable(type="category") if role == "code" else ColumnTable(), reason
        )
    more = f"{reason}; {column.distinct} different values in {column.count} rows, so hashed"
    return column.role(role, ColumnTable(type="text", parts=["words"]), more)


def _key_text(column: Column) -> Role | None:
    """Text that differs in nearly every row and is not written in sentences."""
    if not column.is_text or column.words >= WORDY:
        return None
    if (
        column.distinct >= LEAST_DISTINCT * column.count
        and column.count >= LEAST_DISTINCT * column.rows
        and column.count > 1
    ):
        return _identifier(
            column,
            "person" if names.person(column.name) else "key",
            "text that differs in nearly every row",
        )
    return None


def _text(column: Column) -> Role | None:
    if not column.is_text:
        return None
    if (
        column.distinct > WORDS
        and column.words >= WORDY
        and column.distinct > REPEATED * column.count
    ):
        reason = f"free text, about {column.words:.0f} words a cell: which words occur, hashed"
        return column.role("text", ColumnTable(type="text", parts=["words"]), reason)
    if column.distinct <= FEW_SHOWN:
        return column.role(
            "category",
            ColumnTable(),
            f"one of {', '.join(sorted(pc.unique(column.valid).to_pylist()))}",
        )
    return _bounded(column, "category", f"text, {column.distinct} different values")


def targets(table: pa.Table, options: DataTable) -> list[str]:
    """What is to be said of the targets: missing ones, and classes that differ by case or blanks
    only.
    """
    notes = []
    for name in options.targets:
        column = Column(name, table[name], options)
        cells = column.cells
        missing = cells.null_count
        if missing:
            share = missing / max(len(cells), 1)
            loud = "NOTE WELL: " if share > 0.1 else ""
            notes.append(
                f"{loud}{missing} of {len(cells)} rows ({share:.1%}) have no {name!r} and are left"
                ' out (missing_target = "drop")'
            )
        if options.task == "classification" and pa.types.is_string(cells.type):
            notes += _alike(
                pc.unique(cells.drop_null()).to_pylist()[:MAX_CATEGORIES], f"classes of {name!r}"
            )
    notes += _alike(table.column_names, "columns")
    return notes


def _alike(values: list[str], what: str) -> list[str]:
    """A note when some values differ by case or blanks only."""
    known: dict[str, list[str]] = {}
    for value in values:
        known.setdefault(" ".join(value.split()).casefold(), []).append(value)
    same = [group for group in known.values() if len({value.strip() for value in group}) > 1]
    return [
        f"{what} differ by case or blanks only: {', '.join(map(repr, group))}: correct the table if"
        " they are one"
        for group in same
    ]


def protected(table: pa.Table, options: DataTable) -> list[str]:
    """Columns whose names speak of protected attributes, identifiers excepted."""
    return [
        name
        for name in table.column_names
        if names.protected(name) and not options.identifies(name) and name not in options.targets
    ]
