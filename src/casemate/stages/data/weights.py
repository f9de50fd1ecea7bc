"""The column that says for how many of the population each row stands."""

from typing import Any

import numpy as np
import pyarrow as pa

from casemate.config import DataTable
from casemate.core.errors import DataError
from casemate.core.types import Finding
from casemate.ml.frame import worth
from casemate.stages.data.entries import quoted
from casemate.stages.data.odd import rows_text

Rows = np.ndarray[Any, np.dtype[np.intp]]
UNEVEN = 0.5
"""Below half of their number the rows tell much less than their count suggests: that is worth a
look.
"""


def require(table: pa.Table, options: DataTable, where: str = "the table") -> list[Finding]:
    """What the weights are worth; DataError when one is missing, not positive or no number. Without
    `[data] weight` nothing.
    """
    name = options.weight
    if name is None:
        return []
    column = table[name]
    if not are_numbers(column):
        raise DataError(
            f"{where}: the weight {name!r} is no number",
            hint=(
                f'[data.columns] {quoted(name)} = {{ type = "number" }}, or name another'
                " column in [data] weight"
            ),
        )
    weights = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    wrong = worthless(column)
    if len(wrong):
        raise refusal(name, where, rows_text(wrong))
    equal = worth(weights)
    text = (
        f"rows are weighted by {name!r}: {len(weights)} rows tell a mean as well as {equal:.0f} of"
        " equal weight would"
    )
    uneven = equal < UNEVEN * len(weights)
    return [
        Finding(
            id="data.weights",
            severity="medium" if uneven else "low",
            confidence="high",
            message=text,
            location=name,
        )
    ]


def are_numbers(column: pa.ChunkedArray) -> bool:
    """Whether a column's type may be one of weights."""
    return bool(pa.types.is_floating(column.type) or pa.types.is_integer(column.type))


def worthless(column: pa.ChunkedArray) -> Rows:
    """Rows whose weight is missing or not above zero, int64 [k] from 0."""
    weights = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return np.flatnonzero(~(np.isfinite(weights) & (weights > 0)))


def refusal(name: str, where: str, rows: str) -> DataError:
    """That rows, named as `rows 3, 17`, have no weight."""
    return DataError(
        f"{where}: the weight {name!r} is missing or not above zero in {rows}",
        hint=(
            "a row that stands for nobody is to be left out of the table; every other one needs"
            " its weight"
        ),
    )
