"""Cells as typed values, or which cell is wrong: number -> float64, category and text -> string,
time -> timestamp.

Nothing is guessed silently: a text cell in a numeric column is an error that names column and rows,
unless the column says `coerce = true`. What says who somebody is (`[data] subject`, class
`identifier`) is text whatever it looks like: 42 and 000042 are two people, and a float64 holds no
19 digits.
"""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from casemate.config import ColumnTable, DataTable
from casemate.controls.privacy.disclosure import FEWEST
from casemate.core.errors import DataError
from casemate.core.types import Finding, Severity
from casemate.stages.data import notation, spans

NUMBER = notation.PLAIN
MOSTLY_NUMBERS = 0.5
"""Share of cells that must be numbers for an undeclared column to be read as numbers. A judgement:
where most cells are no number, the numbers among them are codes or slips.
"""
NOTABLE = 0.01
"""Share of cells that were read as missing from which it is no slip of a pen: the finding weighs
more.
"""
SAMPLE, REPEATING = 10_000, 0.1
"""Cells, and the share of them up to which they are distinct for a column to repeat itself."""
MOST_SHOWN = 3
"""Cells that an error quotes as examples: enough to see the notation."""
EXACT = {16: 2.0**11, 32: 2.0**24, 64: 2.0**53}
"""Bits of a floating-point number -> from where on it does not hold every integer, so that two
identifiers may have become one.
"""


class MixedColumn(DataError):
    """A numeric column holds cells that are blank or text; `column` names it."""

    def __init__(self, message: str, *, hint: str, column: str) -> None:
        super().__init__(message, hint=hint)
        self.column = column


def rows_text(rows: Any, total: int | None = None) -> str:
    """`rows 3, 17, 40 and 9 more (counting from 0)`."""
    shown = [str(int(row)) for row in rows[:5]]
    count = len(rows) if total is None else total
    more = f" and {count - len(shown)} more" if count > len(shown) else ""
    return f"row{'s' if count > 1 else ''} {', '.join(shown)}{more} (counting from 0)"


def identifier(values: pa.ChunkedArray, name: str, options: DataTable) -> pa.ChunkedArray:
    """What says who somebody is, as text to the last digit; white space around it never tells two
    people apart.

    Floating-point numbers come from tools that keep integers with gaps so: as long as float64 holds
    them exactly they are written as integers.
    """
    values = _plain(values, name)
    if pa.types.is_floating(values.type):
        values = _whole(values)
        if pa.types.is_floating(values.type):
            large = pc.fill_null(
                pc.greater_equal(
                    pc.abs(values), pa.scalar(EXACT[values.type.bit_width], values.type)
                ),
                False,
            )
            if pc.any(large).as_py():
                raise DataError(
                    f"column {name!r} identifies somebody and is stored as floating-point numbers"
                    f" too large to be exact: {rows_text(np.flatnonzero(large.to_numpy()))}",
                    hint=(
                        "export it as text or as integers: digits are lost, and two people may have"
                        " become one"
                    ),
                )
    return _text(pc.utf8_trim_whitespace(values.cast(pa.string())), options)


def _plain(values: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    """A column of single values, dictionaries resolved; DataError when it holds anything else."""
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    kind = values.type
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        raise DataError(
            f"column {name!r} holds bytes that are not UTF-8 text", hint="convert the file to UTF-8"
        )
    if pa.types.is_nested(kind):
        raise DataError(f"column {name!r} is nested ({kind})", hint="flatten it before")
    return values


def typed(
    values: pa.ChunkedArray, name: str, options: DataTable, findings: list[Finding]
) -> pa.ChunkedArray:
    """One column as its type says; DataError when a cell is of another, and `findings` gets what
    was read as missing.
    """
    column = options.column(name)
    values = _plain(values, name)
    kind = values.type
    if name in options.targets:
        if options.task == "classification":
            return _target(values, options)
        if pa.types.is_temporal(kind) or column.type not in (None, "number"):
            raise _no_quantity(name)
    values = _without_markers(values, column)
    if column.format in spans.UNITS:
        return _spans(values, name, column, options, findings)
    if column.format is not None or (column.type == "time" and not pa.types.is_temporal(kind)):
        return _times(values, name, column, options, findings)
    if pa.types.is_temporal(kind):
        return values if column.type in (None, "time") else _text(values.cast(pa.string()), options)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _from_text(values.cast(pa.string()), name, column, options, findings)
    if column.type in ("category", "text"):
        return _whole(values).cast(pa.string())
    numbers = values.cast(pa.float64(), safe=False)
    infinite = pc.fill_null(pc.is_inf(numbers), False)
    if pc.any(infinite).as_py():
        rows = np.flatnonzero(infinite.to_numpy())
        raise DataError(
            f"column {name!r} holds infinite numbers in {rows_text(rows)}",
            hint="correct the source",
        )
    return pc.if_else(pc.is_nan(numbers), pa.scalar(None, pa.float64()), numbers)


def _without_markers(values: pa.ChunkedArray, column: ColumnTable) -> pa.ChunkedArray:
    """The column without what `missing` declares; numbers are compared as numbers."""
    if not column.missing:
        return values
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        marked = pc.is_in(
            pc.utf8_trim_whitespace(values.cast(pa.string())), pa.array(column.missing)
        )
    elif pa.types.is_integer(values.type) or pa.types.is_floating(values.type):
        marks = (
            notation.numbers(pa.chunked_array([column.missing], pa.string()))
            .drop_null()
            .combine_chunks()
        )
        marked = pc.is_in(values.cast(pa.float64(), safe=False), marks)
    else:
        return values
    return pc.if_else(marked, pa.scalar(None, values.type), values)


def _times(
    values: pa.ChunkedArray,
    name: str,
    column: ColumnTable,
    options: DataTable,
    findings: list[Finding],
) -> pa.ChunkedArray:
    """Times as `format` says they are written."""
    form = column.format or options.date_format or "iso"
    if pa.types.is_temporal(values.type):
        return values
    written = (
        _text(values.cast(pa.string()), options) if pa.types.is_string(values.type) else values
    )
    times = notation.times(written, form)
    wrong = pc.and_(pc.is_valid(written), pc.is_null(times))
    _told(wrong, written, name, column, f"times written as {form!r}", findings)
    return times


def _spans(
    values: pa.ChunkedArray,
    name: str,
    column: ColumnTable,
    options: DataTable,
    findings: list[Finding],
) -> pa.ChunkedArray:
    """Times of day, or durations, as numbers."""
    form = column.format or ""
    written = _text(values, options) if pa.types.is_string(values.type) else values
    found = spans.numbers(written, form)
    _told(
        pc.and_(pc.is_valid(written), pc.is_null(found)),
        written,
        name,
        column,
        f"numbers of {spans.UNITS[form]} ({form})",
        findings,
    )
    return found


def _told(
    wrong: pa.ChunkedArray,
    cells: pa.ChunkedArray,
    name: str,
    column: ColumnTable,
    what: str,
    findings: list[Finding],
) -> None:
    """A finding, or without `coerce` a MixedColumn, about cells that are not what their column is;
    with an example.
    """
    rows = np.flatnonzero(wrong.to_numpy())
    if not len(rows):
        return
    shown = _frequent(cells.filter(wrong)) if column.column_class in (None, "general") else ""
    if not column.coerce:
        kind = "time" if what.startswith("times") else "number"
        raise MixedColumn(
            f"column {name!r} is {'numeric' if kind == 'number' else 'a time'} but {len(rows)}"
            f" cells are blank or text: {rows_text(rows)}{shown}",
            hint=(
                f"to read them as missing: [data.columns] {name} = {{ type ="
                f' "{kind}",{_said(column)} coerce = true }}; if the column is text: {{ type ='
                ' "category" }'
            ),
            column=name,
        )
    share = len(rows) / len(cells)
    text = (
        f"{len(rows)} cells of {name!r} that are no {what} were read as missing"
        f" ({share:.1%}{shown})"
    )
    severity: Severity = "low" if share <= NOTABLE else "medium"
    findings.append(
        Finding(
            id="data.coerced",
            severity=severity,
            confidence="high",
            message=text,
            location=rows_text(rows),
        )
    )


def _said(column: ColumnTable) -> str:
    """What stays in the entry that a hint writes out."""
    return f' format = "{column.format}",' if column.format else ""


def _frequent(cells: pa.ChunkedArray) -> str:
    """`, such as '> 89'`: words that enough rows have; findings are kept and told, and a rare word
    may be about one person.
    """
    counted = pc.value_counts(cells)
    often = counted.filter(pc.greater_equal(counted.field("counts"), FEWEST)).field("values")
    return f", such as {examples(often)}" if len(often) else ""


def examples(cells: pa.ChunkedArray | pa.Array) -> str:
    """Some different cells, as they are written."""
    shown = pc.unique(cells.slice(0, 1000)).to_pylist()[:MOST_SHOWN]
    return ", ".join(
        repr(cell if not isinstance(cell, str) or len(cell) <= 24 else cell[:23] + "\u2026")
        for cell in shown
    )


def _no_quantity(name: str) -> DataError:
    return DataError(
        f"the target {name!r} is no number", hint='[data] task = "classification" predicts classes'
    )


def _target(values: pa.ChunkedArray, options: DataTable) -> pa.ChunkedArray:
    return _text(_whole(values).cast(pa.string()), options)


def _whole(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Floating-point numbers without NaN, as integers where all are whole and exact; anything else
    as it is.
    """
    if not pa.types.is_floating(values.type):
        return values
    values = pc.if_else(pc.is_nan(values), pa.scalar(None, values.type), values)
    exact = pc.and_(
        pc.equal(values, pc.floor(values)),
        pc.less(pc.abs(values), pa.scalar(EXACT[values.type.bit_width], values.type)),
    )
    return values.cast(pa.int64()) if pc.all(exact).as_py() is not False else values


def _text(values: pa.ChunkedArray, options: DataTable) -> pa.ChunkedArray:
    if options.trim:
        values = pc.utf8_trim_whitespace(values)
    missing = pc.is_in(values, pa.array(options.null_values, pa.string()))
    return pc.if_else(pc.fill_null(missing, True), pa.scalar(None, pa.string()), values)


def _from_text(
    values: pa.ChunkedArray,
    name: str,
    column: ColumnTable,
    options: DataTable,
    findings: list[Finding],
) -> pa.ChunkedArray:
    text = _text(values, options)
    if column.type in ("category", "text"):
        return text
    found = _numbers(text, column)
    count, total = len(found) - found.null_count, len(values) - values.null_count
    if column.type is None and (count == 0 or count < MOSTLY_NUMBERS * total):
        if name in options.targets:
            raise _no_quantity(name)
        return text
    # A cell of blanks is not the empty cell that `null_values` declares missing, nor is a word.
    declared = pc.fill_null(
        pc.and_(pc.is_null(text), pc.not_equal(pc.utf8_trim_whitespace(values), "")), True
    )
    wrong = pc.and_not(pc.and_(pc.is_valid(values), pc.is_null(found)), declared)
    _told(wrong, values, name, column, "numbers", findings)
    return found


def _numbers(text: pa.ChunkedArray, column: ColumnTable) -> pa.ChunkedArray:
    """`notation.numbers`; of words that repeat each is read once."""
    sample = text.slice(0, SAMPLE)
    if len(text) <= SAMPLE or pc.count_distinct(sample).as_py() > SAMPLE * REPEATING:
        return notation.numbers(text, column.decimal, column.censored)
    encoded = text.dictionary_encode()
    kinds = pa.chunked_array([encoded.chunk(0).dictionary])
    read = notation.numbers(kinds, column.decimal, column.censored).combine_chunks()
    return pa.chunked_array([read.take(chunk.indices) for chunk in encoded.chunks])
