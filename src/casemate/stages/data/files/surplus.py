"""Rows that are no data: blank ones, the header again, a footer."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from casemate.config import DataTable
from casemate.core.errors import DataError
from casemate.core.types import Finding
from casemate.stages.data.files import dialect as dialects
from casemate.stages.data.files.content import Content

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+|\d+,\d+)([eE][+-]?\d+)?")
NUMBERS = rf"^\s*({NUMBER.pattern})\s*$"
FOOTER = re.compile(r"\W*(grand\s+|sub-?)?(total|sum|average|mean)s?\b", re.IGNORECASE)


@dataclass(frozen=True)
class Part:
    """Where rows lie in their text, if they are not all of it."""

    first: bool = True
    last: bool = True
    before: int = 0
    """Rows before them."""
    kept: Callable[[str], bool] = lambda _: False
    """Columns that are known to hold more than numbers."""


WHOLE = Part()


def tidied(
    table: pa.Table, text: Content, options: DataTable, part: Part = WHOLE
) -> tuple[pa.Table, int]:
    """(the table without rows that hold no cell, and surely without the header again; how many held
    none).
    """
    filled, blank = without_blank_rows(table, part)
    _require_one_header(filled, text, options, part)
    _require_rows(filled, text, part)
    return filled, blank


def without_blank_rows(table: pa.Table, part: Part = WHOLE) -> tuple[pa.Table, int]:
    """Spreadsheets write rows of nothing but delimiters; of a whole table without any cell all
    stay.
    """
    blank: Any = None
    for column in table.columns:
        if column.null_count == 0:
            return table, 0
        missing = pc.is_null(column)
        blank = missing if blank is None else pc.and_(blank, missing)
        if not pc.any(blank).as_py():
            return table, 0
    if part is WHOLE and pc.all(blank).as_py():
        return table, 0
    return table.filter(pc.invert(blank)), int(pc.sum(blank).as_py() or 0)


def tell_blank(count: int, findings: list[Finding]) -> None:
    """That so many rows held no cell."""
    if count:
        message = f"{count} rows hold no cell and were left out"
        findings.append(
            Finding(id="data.blank-rows", severity="low", confidence="high", message=message)
        )


def _require_rows(table: pa.Table, text: Content, part: Part) -> None:
    """No row is the header of another table, and the last one is no footer.

    A header shows by its names in columns that hold numbers in nearly all other rows; a mark for
    missing values is the same in all of them.
    """
    if table.num_rows < 2:
        return
    last = table.slice(table.num_rows - 1)
    first = last[0][0].as_py()
    if (
        part.last
        and isinstance(first, str)
        and FOOTER.match(first)
        and any(column.null_count for column in last.columns)
    ):
        raise DataError(
            f"{text.path}: the last row seems to be a footer ({first[:12].strip()!r}), no row",
            hint="take it out",
        )
    numeric = [
        column
        for name, column in zip(table.column_names, table.columns, strict=True)
        if pa.types.is_string(column.type) and not part.kept(name) and _is_mostly_numbers(column)
    ]
    if len(numeric) < 2:
        return
    odd: Any = True
    for column in numeric:
        odd = pc.and_(
            odd,
            pc.fill_null(
                pc.and_(
                    pc.invert(pc.match_substring_regex(column, NUMBERS)), pc.not_equal(column, "")
                ),
                False,
            ),
        )
    for row in pc.indices_nonzero(odd).to_pylist()[:100]:
        cells = [column[row].as_py() for column in numeric]
        if len(set(cells)) == len(cells):
            raise DataError(
                f"{text.path}: row {part.before + row} (counting from 0) seems to be the header of"
                " another table: it has words where all others have numbers",
                hint="keep each table in a file of its own, and take lines out that are no rows",
            )


def _is_mostly_numbers(column: pa.ChunkedArray) -> bool:
    some = pc.drop_null(column.slice(0, 100))
    return len(some) > 3 and pc.sum(
        pc.match_substring_regex(some, NUMBERS)
    ).as_py() >= dialects.REGULAR * len(some)


def _require_one_header(table: pa.Table, text: Content, options: DataTable, part: Part) -> None:
    """No row is the header again, and the first one is no second line of it."""
    if options.header or table.num_rows < 2:
        return
    kinds = [pa.types.is_string(column.type) for column in table.columns]
    if all(kinds):
        same: Any = True
        for name, column in zip(table.column_names, table.columns, strict=True):
            same = pc.and_(
                same,
                pc.fill_null(pc.equal(_folded(column), name.strip().lower()), name.strip() == ""),
            )
            if not pc.any(same).as_py():
                break
        else:
            row = part.before + pc.index(same, True).as_py()
            raise DataError(
                f"{text.path}: the header is repeated in row {row} (counting from 0): a second"
                " table may follow there",
                hint='take the line out; [data] bad_rows = "quarantine" leaves it out',
            )
    if not part.first:
        return
    headed = [
        column
        for column, kind in zip(table.columns, kinds, strict=True)
        if kind and _is_headed(column)
    ]
    if headed and not any(
        _is_number(column[0].as_py()) for column in table.columns if column[0].is_valid
    ):
        raise DataError(
            f"{text.path}: the first row seems to be a second line of the header (units?): columns"
            " are numbers but for it",
            hint=(
                "name the columns in [data] header and say skip_lines, the lines before the"
                " first row"
            ),
        )


def _folded(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.utf8_lower(pc.utf8_trim_whitespace(column))


def _is_number(value: Any) -> bool:
    return not isinstance(value, str) or NUMBER.fullmatch(value.strip()) is not None


def _is_headed(column: pa.ChunkedArray) -> bool:
    """Text in the first row, numbers in all others."""
    if not column[0].is_valid or _is_number(column[0].as_py()):
        return False
    for size in (100, len(column)):  # most columns are told by a few rows
        others = pc.drop_null(column.slice(1, size))
        if len(others) < 3 or not pc.all(pc.match_substring_regex(others, NUMBERS)).as_py():
            return False
    return True
