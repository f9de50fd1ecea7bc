"""What is signed of how a table was written, so that a gateway reads callers' cells alike and
nothing outside of the signature decides.
"""

from casemate.config import ColumnTable, DataTable
from casemate.core.types import ColumnSchema, RawColumn, Reading, Schema


def of(options: DataTable, schema: Schema) -> Reading | None:
    """How features are read from the table's own columns; None where every cell is as the model
    takes it.
    """
    features = {column.name for column in schema.features}
    origins = {column.made_of for column in schema.features if column.made_of}
    until = {options.column(name).since for name in origins}
    columns = [
        _raw(column, options)
        for column in schema.columns
        if column.name in origins
        or column.name in until
        or (column.name in features and _noted(column, options))
    ]
    return (
        Reading(columns=columns, null_values=options.null_values, trim=options.trim)
        if columns
        else None
    )


def _noted(column: ColumnSchema, options: DataTable) -> bool:
    """Whether a feature's cells are written otherwise than a model takes them."""
    said = options.column(column.name)
    return bool(said.format or said.censored or said.missing or _decimal(column, said, options))


def _raw(column: ColumnSchema, options: DataTable) -> RawColumn:
    said = options.column(column.name)
    return RawColumn(
        name=column.name,
        type=column.type,
        decimal=_decimal(column, said, options),
        censored=said.censored,
        format=said.format or (options.date_format if column.type == "time" else None),
        missing=said.missing,
        parts=list(said.parts),
        since=said.since,
    )


def _decimal(column: ColumnSchema, said: ColumnTable, options: DataTable) -> str | None:
    """A decimal sign of its own, else the comma of the whole table, which text that is read by
    itself does not have.
    """
    plain = (
        column.type == "number" and not column.made_of and not said.censored and said.format is None
    )
    return "," if said.decimal is None and plain and options.decimal == "," else said.decimal
