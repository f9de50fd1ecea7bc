"""Masks: what is left of a value for whoever may know that it is there but not what it is.

Which columns have one is said in `[data.columns.NAME] mask`, who sees a column masked by policy
(`dataset:read-masked`).
"""

import pyarrow as pa
import pyarrow.compute as pc

from casemate.core.errors import ConfigError


def masked(column: pa.ChunkedArray, mask: str, name: str) -> pa.ChunkedArray:
    """The column under its mask, missing cells still missing.

    Args:
        column: of any type.
        mask: `redact` leaves nothing (all missing), `year` the year of a time, `first-N` so many
            characters, `round-N` the multiple of N at or below a number.
        name: for the error.

    Raises:
        ConfigError: the mask does not fit the column's type.
    """
    kind, _, size = mask.partition("-")
    if kind == "redact":
        return pa.chunked_array([pa.nulls(len(column), column.type)])
    if kind == "year" and pa.types.is_temporal(column.type):
        return pc.year(column)
    if kind == "first" and (
        pa.types.is_string(column.type)
        or pa.types.is_large_string(column.type)
        or pa.types.is_dictionary(column.type)
    ):
        text = pc.cast(column, pa.string())
        return pc.utf8_slice_codeunits(text, 0, int(size))
    if kind == "round" and (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        step = float(size)
        return pc.multiply(pc.floor(pc.divide(pc.cast(column, pa.float64()), step)), step)
    raise ConfigError(
        f"[data.columns.{name}] mask {mask!r} does not fit a column of type {column.type}",
        hint="redact fits every column",
    )
