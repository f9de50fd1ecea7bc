"""Cells as typed values, or which cell is wrong: number -> float64, category and text -> string,
time -> timestamp.

Nothing is guessed silently: a text cell in a numeric column is an error that names column and rows,
unless the column says `coerce = true`. What says who somebody is (`[data] subject`, class
`identifier`) is text whatever it looks like: 42 and 000042 are two people, and a float64 holds no
19 digits.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from casemate.config import ColumnTable, DataTable
from casemate.core.errors import DataError
from casemate.core.types import Finding
from casemate.stages.data import notation, odd, spans
from casemate.stages.data.odd import rows_text

NUMBER = notation.PLAIN
MOSTLY_NUMBERS = 0.5
"""Share of cells that must be numbers for an undeclared column to be read as numbers. A judgement:
where most cells are no number, the numbers among them are codes or slips.
"""
SAMPLE, REPEATING = 10_000, 0.1
"""Cells, and the share of them up to which they are distinct for a column to repeat itself."""
EXACT = {16: 2.0**11, 32: 2.0**24, 64: 2.0**53}
"""Bits of a floating-point number -> from where on it does not hold every integer, so that two
identifiers may have become one.
"""


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
    values: pa.ChunkedArray,
    name: str,
    options: DataTable,
    findings: list[Finding],
    pieces: odd.Pieces | None = None,
) -> pa.ChunkedArray:
    """One column as its type says; DataError when a cell is of another, and `findings` gets what
    was read as missing. Of pieces of a table, `pieces` hears both.
    """
    if pieces is None:
        whole = odd.Pieces()
        found = _typed(values, name, options, whole)
        whole.before = len(values)
        whole.tell(options, findings)
        return found
    return _typed(values, name, options, pieces)


def _typed(
    values: pa.ChunkedArray, name: str, options: DataTable, pieces: odd.Pieces
) -> pa.ChunkedArray:
    column = options.column(name)
    values = _plain(values, name)
    kind = values.type
    if name in options.targets:
        if options.task == "classification":
            return _target(values, options)
        if pa.types.is_temporal(kind) and column.format not in spans.UNITS:
            raise no_time(name)
        if column.type not in (None, "number"):
            raise _no_quantity(name)
    values = _without_markers(values, column)
    if column.format in spans.UNITS:
        return _spans(values, name, column, options, pieces)
    if column.format is not None or (column.type == "time" and not pa.types.is_temporal(kind)):
        return _times(values, name, column, options, pieces)
    if pa.types.is_temporal(kind):
        return values if column.type in (None, "time") else _text(values.cast(pa.string()), options)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _from_text(values.cast(pa.string()), name, column, options, pieces)
    if column.type in ("category", "text"):
        return _whole(values).cast(pa.string())
    numbers = values.cast(pa.float64(), safe=False)
    infinite = pc.fill_null(pc.is_inf(numbers), False)
    if pc.any(infinite).as_py():
        rows = np.flatnonzero(infinite.to_numpy())
        pieces.infinite.setdefault(name, odd.Rows()).add(rows, pieces.before)
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
    pieces: odd.Pieces,
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
    odd.tell(wrong, written, name, column, f"times written as {form!r}", pieces)
    return times


def _spans(
    values: pa.ChunkedArray,
    name: str,
    column: ColumnTable,
    options: DataTable,
    pieces: odd.Pieces,
) -> pa.ChunkedArray:
    """Times of day, or durations, as numbers."""
    form = column.format or ""
    written = _text(values, options) if pa.types.is_string(values.type) else values
    found = spans.numbers(written, form)
    odd.tell(
        pc.and_(pc.is_valid(written), pc.is_null(found)),
        written,
        name,
        column,
        f"numbers of {spans.UNITS[form]} ({form})",
        pieces,
    )
    return found


def _no_quantity(name: str) -> DataError:
    return DataError(
        f"the target {name!r} is no number", hint='[data] task = "classification" predicts classes'
    )


def no_time(name: str) -> DataError:
    """That a target is a moment."""
    return DataError(
        f"the target {name!r} is a time, which is neither a quantity nor a class",
        hint=(
            "put what is wanted of it into a column of its own, such as the days to it from another"
            " date of the row, or whether it is later than a day, and name that in [data] target"
        ),
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
    pieces: odd.Pieces,
) -> pa.ChunkedArray:
    text = _text(values, options)
    if column.type in ("category", "text"):
        return text
    found = _numbers(text, column, options)
    count, total = len(found) - found.null_count, len(values) - values.null_count
    if column.type is None and (count == 0 or count < MOSTLY_NUMBERS * total):
        if name in options.targets:
            known = text.drop_null().slice(0, SAMPLE)
            is_time = len(known) and notation.formats(known, MOSTLY_NUMBERS)
            raise no_time(name) if is_time else _no_quantity(name)
        return text
    # A cell of blanks is not the empty cell that `null_values` declares missing, nor is a word.
    declared = pc.fill_null(
        pc.and_(pc.is_null(text), pc.not_equal(pc.utf8_trim_whitespace(values), "")), True
    )
    wrong = pc.and_not(pc.and_(pc.is_valid(values), pc.is_null(found)), declared)
    odd.tell(wrong, values, name, column, "numbers", pieces)
    return found


def _numbers(text: pa.ChunkedArray, column: ColumnTable, options: DataTable) -> pa.ChunkedArray:
    """`notation.numbers`; of words that repeat each is read once."""
    decimal = column.decimal
    if decimal is None and not column.censored and options.decimal == ",":
        decimal = ","  # the whole file's: one word has its reader give a column as text
    sample = text.slice(0, SAMPLE)
    if len(text) <= SAMPLE or pc.count_distinct(sample).as_py() > SAMPLE * REPEATING:
        return notation.numbers(text, decimal, column.censored)
    encoded = text.dictionary_encode()
    kinds = pa.chunked_array([encoded.chunk(0).dictionary])
    read = notation.numbers(kinds, decimal, column.censored).combine_chunks()
    return pa.chunked_array([read.take(chunk.indices) for chunk in encoded.chunks])
