"""Integers that a floating-point number does not hold: a code that looks like a number is not
rounded silently.
"""

import pyarrow as pa
import pyarrow.compute as pc

from casemate.config import DataTable
from casemate.core.errors import DataError
from casemate.core.types import Finding
from casemate.stages.data.entries import quoted

MOST = 2**53
"""Up to here float64 holds every integer."""


class InexactColumn(DataError):
    """A column of numbers holds integers of more digits than numbers keep; `column` names it."""

    def __init__(self, column: str) -> None:
        super().__init__(
            f"column {column!r} holds integers beyond 2^53, which as numbers would be rounded",
            hint=(
                f'if they are codes: [data.columns] {quoted(column)} = {{ type = "category" }} or'
                ' { class = "identifier" }; if rounding does no harm: { type = "number" }'
            ),
        )
        self.column = column


def require(
    values: pa.ChunkedArray, name: str, options: DataTable, findings: list[Finding]
) -> None:
    """Integers beyond 2^53 are refused where they would be read as numbers, or told where the
    column is declared to be one.

    Raises:
        InexactColumn: see above.
    """
    kind = values.type
    if not (pa.types.is_integer(kind) and kind.bit_width == 64) and not (
        pa.types.is_decimal(kind) and kind.scale <= 0
    ):
        return
    if options.column(name).type in ("category", "text") or (
        name in options.targets and options.task == "classification"
    ):
        return
    bounds = pc.min_max(values).as_py()
    if bounds["max"] is not None and (bounds["max"] > MOST or bounds["min"] < -MOST):
        tell(name, options, findings)


def tell(name: str, options: DataTable, findings: list[Finding]) -> None:
    """A finding for a declared number, an error for any other column."""
    if options.column(name).type != "number":
        raise InexactColumn(name)
    message = (
        f"column {name!r} holds integers beyond 2^53, which were rounded to the nearest"
        " floating-point number"
    )
    findings.append(
        Finding(
            id="data.rounded", severity="low", confidence="high", message=message, location=name
        )
    )


def suspects(table: pa.Table) -> list[str]:
    """Floating-point columns with whole numbers so large that they may have been rounded while they
    were read.
    """
    found = []
    for name in table.column_names:
        if pa.types.is_float64(table[name].type):
            ends = pc.min_max(table[name]).as_py()  # NaN is passed over
            if ends["max"] is not None and (ends["max"] > MOST or ends["min"] < -MOST):
                found.append(name)
    return found
