"""Cells that are not what their column is: told after the last piece of a table, which may be the
only one.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import structs

from casemate.config import ColumnTable, DataTable
from casemate.controls.privacy.disclosure import FEWEST
from casemate.core.errors import DataError
from casemate.core.types import ColumnType, Finding, Severity
from casemate.stages.data.entries import line

NOTABLE = 0.01
"""Share of cells that were read as missing from which it is no slip of a pen: the finding weighs
more.
"""
MOST_ROWS = 5
"""Rows that a message names; the count is told whole."""
MOST_WORDS = 1000
"""Different odd cells of a column that are counted on from one piece to the next."""
MOST_SHOWN = 3
"""Cells that an error quotes as examples: enough to see the notation."""


class MixedColumn(DataError):
    """A numeric column holds cells that are blank or text; `column` names it."""

    def __init__(self, message: str, *, hint: str, column: str) -> None:
        super().__init__(message, hint=hint)
        self.column = column


def rows_text(rows: Any, total: int | None = None) -> str:
    """`rows 3, 17, 40 and 9 more (counting from 0)`."""
    shown = [str(int(row)) for row in rows[:MOST_ROWS]]
    count = len(rows) if total is None else total
    more = f" and {count - len(shown)} more" if count > len(shown) else ""
    return f"row{'s' if count > 1 else ''} {', '.join(shown)}{more} (counting from 0)"


@dataclass
class Rows:
    """Rows that something is said of, in pieces of a table: how many, and the first of them."""

    count: int = 0
    first: list[int] = field(default_factory=list)

    def add(self, rows: Any, before: int) -> None:
        """Rows, numbered within a piece that `before` others come before."""
        self.count += len(rows)
        shown = MOST_ROWS - len(self.first)
        self.first += [before + int(row) for row in rows[:shown]] if shown else []

    def __str__(self) -> str:
        return rows_text(self.first, self.count)


@dataclass
class Odd:
    """Cells of a column that are not what it is."""

    rows: Rows = field(default_factory=Rows)
    words: Counter[Any] = field(default_factory=Counter)
    """How often each is written, of the most frequent."""


@dataclass
class Pieces:
    """What was wrong with the cells of a table that is typed a piece at a time."""

    before: int = 0
    """Rows before the piece that is typed now."""
    odd: dict[tuple[str, str], Odd] = field(default_factory=dict)
    """By column, and what its cells are not."""
    infinite: dict[str, Rows] = field(default_factory=dict)

    def tell(self, options: DataTable, findings: list[Finding]) -> None:
        """What is to be said after the last piece: a finding, or without `coerce` a MixedColumn;
        with examples, of words that enough rows have. Findings are kept and told, and a rare word
        may be about one person.
        """
        for name, rows in self.infinite.items():
            raise DataError(
                f"column {name!r} holds infinite numbers in {rows}", hint="correct the source"
            )
        for (name, what), odd in self.odd.items():
            often = [word for word, count in odd.words.items() if count >= FEWEST]
            shown = f", such as {examples(pa.array(often))}" if often else ""
            _say(name, options.column(name), what, odd.rows, self.before, shown, findings)


def tell(
    wrong: pa.ChunkedArray,
    cells: pa.ChunkedArray,
    name: str,
    column: ColumnTable,
    what: str,
    pieces: Pieces,
) -> None:
    """Have `pieces` hear of cells that are not what their column is, with what is written there."""
    rows = np.flatnonzero(wrong.to_numpy())
    if not len(rows):
        return
    odd = pieces.odd.setdefault((name, what), Odd())
    odd.rows.add(rows, pieces.before)
    if column.column_class in (None, "general"):
        if len(odd.words) > MOST_WORDS:
            odd.words = Counter(dict(odd.words.most_common(MOST_WORDS)))
        counted = pc.value_counts(cells.filter(wrong))
        if len(counted) > MOST_WORDS:  # a million different ones would be held beside the table
            counted = counted.filter(pc.greater(counted.field("counts"), 1))
        odd.words.update(dict(zip(*map(pa.Array.to_pylist, counted.flatten()), strict=True)))


def _say(
    name: str,
    column: ColumnTable,
    what: str,
    rows: Rows,
    total: int,
    shown: str,
    findings: list[Finding],
) -> None:
    if not column.coerce:
        kind: ColumnType = "time" if what.startswith("times") else "number"
        read = line(name, structs.replace(column, type=kind, coerce=True))
        raise MixedColumn(
            f"column {name!r} is {'numeric' if kind == 'number' else 'a time'} but {rows.count}"
            f" cells are blank or text: {rows}{shown}",
            hint=(
                f"to read them as missing, under [data.columns]: {read}; if the column is text:"
                ' { type = "category" }'
            ),
            column=name,
        )
    share = rows.count / total
    text = (
        f"{rows.count} cells of {name!r} that are no {what} were read as missing"
        f" ({share:.1%}{shown})"
    )
    severity: Severity = "low" if share <= NOTABLE else "medium"
    findings.append(
        Finding(
            id="data.coerced",
            severity=severity,
            confidence="high",
            message=text,
            location=str(rows),
        )
    )


def examples(cells: pa.ChunkedArray | pa.Array) -> str:
    """Some different cells, as they are written."""
    shown = pc.unique(cells.slice(0, 1000)).to_pylist()[:MOST_SHOWN]
    return ", ".join(
        repr(cell if not isinstance(cell, str) or len(cell) <= 24 else cell[:23] + "\u2026")
        for cell in shown
    )
