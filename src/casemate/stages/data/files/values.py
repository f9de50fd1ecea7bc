"""Single values of databases and spreadsheets as Arrow columns; nothing is rounded, and mixed
columns are text.
"""

import datetime
import decimal
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from casemate.core.errors import DataError

EXACT = 2**53
"""From here on float64 does not hold every integer (IEEE 754: 53 bits of significand)."""
LEAST_INTEGER, MOST_INTEGER = -(2**63), 2**63 - 1
"""What int64 holds; larger ones stay text or become numbers with gaps."""
Numbers = frozenset({int, float})


def table(names: Sequence[str], rows: Sequence[Sequence[Any]], *, whole: bool = False) -> pa.Table:
    """The rows as columns.

    Args:
        names: of the columns.
        rows: their cells; None is missing.
        whole: whether floating-point numbers that are all integers were meant so, as in
            spreadsheets, which know no others.

    Raises:
        DataError: a cell holds a list or a record.
    """
    cells = list(zip(*rows, strict=True)) if rows else [()] * len(names)
    columns = [
        _column(list(values), name, whole=whole) for values, name in zip(cells, names, strict=True)
    ]
    return pa.Table.from_arrays(columns, names=list(names))


def _column(values: list[Any], name: str, *, whole: bool) -> pa.Array:
    kinds = {type(value) for value in values if value is not None}
    if kinds & {list, dict, tuple, set}:
        raise DataError(
            f"column {name!r} holds lists or records",
            hint="flatten it: one column for each of its fields",
        )
    if kinds <= {int} and all(
        value is None or LEAST_INTEGER <= value <= MOST_INTEGER for value in values
    ):
        return pa.array(values, pa.int64())
    if kinds <= Numbers and all(
        value is None or isinstance(value, float) or abs(value) <= EXACT for value in values
    ):
        if whole and all(
            value is None or (abs(value) < EXACT and float(value).is_integer()) for value in values
        ):
            return pa.array([None if value is None else int(value) for value in values], pa.int64())
        return pa.array(values, pa.float64())
    if len(kinds) == 1 and kinds <= {
        bool,
        str,
        bytes,
        datetime.date,
        datetime.time,
        datetime.timedelta,
        datetime.datetime,
        decimal.Decimal,
    }:
        try:
            return pa.array(values)
        # a time zone for each cell, a year beyond nanoseconds, more digits than decimals hold
        except (pa.ArrowException, OverflowError, ValueError):
            return _texts(values)
    if kinds == {datetime.date, datetime.datetime}:
        midnight = datetime.time()
        moments = [
            (
                value
                if value is None or isinstance(value, datetime.datetime)
                else datetime.datetime.combine(value, midnight)
            )
            for value in values
        ]
        return pa.array(moments, pa.timestamp("us"))
    return _texts(values)


def _texts(values: list[Any]) -> pa.Array:
    return pa.array([None if value is None else _text(value) for value in values], pa.string())


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    if isinstance(value, float) and value.is_integer() and abs(value) < EXACT:
        return str(int(value))
    return value.isoformat(" ") if isinstance(value, datetime.datetime) else str(value)
