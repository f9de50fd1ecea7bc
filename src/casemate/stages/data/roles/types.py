"""A column that is looked at, and what it was found to be."""

from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa
import pyarrow.compute as pc

from casemate.config import ColumnTable, DataTable
from casemate.stages.data import notation

SHOWN = 28
"""Characters of a cell in the table of roles, so that its columns fit beside one another."""
LOOKED_AT = 5000
"""Cells that are tried against notations before the whole column is."""


@dataclass(frozen=True)
class Role:
    """What a column is, and why."""

    name: str
    """The column."""
    role: str
    """`number`, `category`, `code`, `date`, `text`, `key`, `person`, `weight`, `row number`,
    `constant`, `empty` or `unsure`.
    """
    entry: ColumnTable
    """What casemate.toml is to say of it."""
    reason: str
    """Why, for people."""
    example: str = ""
    """One cell, as it is written."""
    note: str = ""
    """What is lost or not sure, with the line that says it otherwise; empty: nothing."""
    repeats: bool = False
    """Whether persons have several rows."""
    orders: bool = False
    """Whether a time says when the row arose."""
    forms: tuple[str, ...] = ()
    """Notations that the cells of an undecided date allow."""
    clock: bool = False
    """Whether times have an hour."""
    span: float = 0.0
    """Days from the first time to the last."""


class Column:
    """A column's cells, and figures about them that are reckoned once."""

    def __init__(self, name: str, cells: pa.ChunkedArray, options: DataTable) -> None:
        """Take cells as they are written; missing markers are nulls.

        Args:
            name: the column's.
            cells: text, or a Parquet file's own type.
            options: the `[data]` table.
        """
        if pa.types.is_dictionary(cells.type):
            cells = cells.cast(cells.type.value_type)
        if pa.types.is_null(cells.type):
            cells = cells.cast(pa.string())
        kind = cells.type
        self.blanks = 0
        """Cells that hold blanks and nothing else."""
        self.is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
        if self.is_text:
            written = cells.cast(pa.string())
            cells = pc.utf8_trim_whitespace(written)
            self.blanks = int(
                pc.sum(pc.and_(pc.equal(cells, ""), pc.not_equal(written, ""))).as_py() or 0
            )
            missing = pc.is_in(cells, pa.array([*options.null_values, ""]))
            cells = pc.if_else(pc.fill_null(missing, True), pa.scalar(None, pa.string()), cells)
        elif pa.types.is_floating(kind):
            cells = pc.if_else(pc.is_nan(cells), pa.scalar(None, kind), cells)
        self.name, self.cells, self.options = name, cells, options
        self.rows, self.count = len(cells), len(cells) - cells.null_count

    @cached_property
    def valid(self) -> pa.ChunkedArray:
        """The cells that are there."""
        return self.cells.drop_null() if self.cells.null_count else self.cells

    @cached_property
    def sample(self) -> pa.ChunkedArray:
        """Some of them, from the whole column."""
        step = max(1, self.count // LOOKED_AT)
        return self.valid if step == 1 else self.valid.take(pa.array(range(0, self.count, step)))

    @cached_property
    def distinct(self) -> int:
        """How many different cells there are."""
        return int(pc.count_distinct(self.valid).as_py())

    @cached_property
    def plain(self) -> pa.ChunkedArray | None:
        """The cells [rows] as float64 when every one is a plain number, or true or false; else
        None.
        """
        kind = self.cells.type
        if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
            return self.cells.cast(pa.float64(), safe=False)
        if not self.is_text or notation.numbers(self.sample.slice(0, 200)).null_count:
            return None
        if self.parts_thousands:
            return None
        found = notation.numbers(self.cells)
        return found if found.null_count == self.cells.null_count else None

    @cached_property
    def parts_thousands(self) -> bool:
        """Whether a point parts thousands and no fraction."""
        return self.is_text and notation.points_part_thousands(
            self.valid, decimal_comma=self.options.decimal == ","
        )

    @cached_property
    def whole(self) -> pa.ChunkedArray | None:
        """The cells [rows] as float64 when all are whole numbers; else None."""
        if self.plain is None or not self.count:
            return None
        return self.plain if pc.all(pc.equal(self.plain, pc.floor(self.plain))).as_py() else None

    @cached_property
    def extremes(self) -> tuple[float, float]:
        """Least and greatest of `plain`."""
        found = pc.min_max(self.plain).as_py()
        return found["min"], found["max"]

    @property
    def whole_positive(self) -> bool:
        """Whether all are whole and none is below 0."""
        return self.whole is not None and self.extremes[0] >= 0

    @cached_property
    def leading_zeros(self) -> bool:
        """Whether a number is written like 007."""
        if not self.is_text:
            return False
        return bool(pc.any(pc.match_substring_regex(self.valid, r"^0\d")).as_py()) and bool(
            pc.all(pc.match_substring_regex(self.valid, r"^\d+$")).as_py()
        )

    @cached_property
    def mixed_codes(self) -> bool:
        """Whether some cells are like 007 and others, of letters and digits alone, no numbers."""
        if not self.is_text or not self.count or self.plain is not None:
            return False
        return bool(pc.any(pc.match_substring_regex(self.valid, r"^0\d+$")).as_py()) and bool(
            pc.all(pc.match_substring_regex(self.valid, r"^[0-9A-Za-z]{1,12}$")).as_py()
            and pc.any(pc.match_substring_regex(self.valid, r"[A-Za-z]")).as_py()
        )

    @cached_property
    def words(self) -> float:
        """Words a cell, on average."""
        return (
            1.0 + float(pc.mean(pc.count_substring_regex(self.sample, r"\S\s+\S")).as_py() or 0.0)
            if self.is_text
            else 1.0
        )

    def role(
        self,
        role: str,
        entry: ColumnTable,
        reason: str,
        note: str = "",
        example: pa.ChunkedArray | None = None,
    ) -> Role:
        """A role of this column, with one of its cells."""
        cells = self.valid if example is None else example
        text = _printable(str(cells[0].as_py())) if len(cells) else ""
        return Role(
            self.name,
            role,
            entry,
            _printable(reason),
            text if len(text) <= SHOWN else text[: SHOWN - 1] + "\u2026",
            note,
        )


def _printable(text: str) -> str:
    """Without what a terminal would act on: cells are anybody's."""
    return "".join(sign if sign.isprintable() else " " for sign in text)
