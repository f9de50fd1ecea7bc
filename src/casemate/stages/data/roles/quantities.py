"""Whether a target is a quantity or a class, and how its numbers are written."""

import pyarrow as pa
import pyarrow.compute as pc

from casemate.config import ColumnTable, DataTable
from casemate.stages.data import notation, spans
from casemate.stages.data.roles import names
from casemate.stages.data.roles.numbers import amounts
from casemate.stages.data.roles.spans import lengths
from casemate.stages.data.roles.types import Column

FEW_NUMBERS, MANY_NUMBERS = 20, 100
"""Different numbers up to which a target is taken for classes, and from which for a quantity; in
between whole numbers are classes that are counted from 0 or 1 on without a gap.
"""
ROWS_A_CLASS = 5
"""Rows of the rarest number below which it is no class that could be learnt."""


def is_quantity(
    name: str, cells: pa.ChunkedArray, written: ColumnTable | None, options: DataTable
) -> bool:
    """Whether a target's numbers are so different that they are no classes.

    Args:
        name: the target's.
        cells: its cells.
        written: how numbers are written there, other than plainly.
        options: the `[data]` table.
    """
    column = Column(name, cells, options)
    numbers = column.plain
    if written is not None and (column.is_text or pa.types.is_time(column.cells.type)):
        numbers = _read(column.cells, written)
        if numbers.null_count > column.cells.null_count:
            return False
    if numbers is None or not column.count:
        return False
    different = pc.unique(numbers.drop_null())
    if len(different) <= FEW_NUMBERS:
        return False
    if (
        len(different) > MANY_NUMBERS
        or pc.any(pc.not_equal(different, pc.floor(different))).as_py()
    ):
        return True
    if column.leading_zeros or names.says(name, names.CODES | names.GROUPS):
        return False
    ends = pc.min_max(different).as_py()
    counted = ends["min"] in (0, 1) and ends["max"] - ends["min"] + 1 == len(different)
    rarest = pc.min(pc.value_counts(numbers.drop_null()).field("counts")).as_py()
    return not counted or rarest < ROWS_A_CLASS


def quantities(table: pa.Table, options: DataTable) -> dict[str, ColumnTable]:
    """Entries of those targets whose cells are all amounts: with decimal commas, thousands, a
    currency or percent, durations or times of day.
    """
    found: dict[str, ColumnTable] = {}
    for name in options.targets:
        if name not in table.column_names:
            continue
        column = Column(name, table[name], options)
        role = lengths(column) or amounts(column)
        if role is None:
            continue
        said = role.entry
        plain = ColumnTable(type="number", decimal=said.decimal, format=said.format)
        if said == plain and (said.decimal or said.format):
            found[name] = said
    return found


def _read(cells: pa.ChunkedArray, written: ColumnTable) -> pa.ChunkedArray:
    if written.format is not None:
        return spans.numbers(cells, written.format)
    return notation.numbers(cells, written.decimal)
