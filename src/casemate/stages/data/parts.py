"""Files of an older version that a new one shares, where it only adds rows."""

from pathlib import Path

import pyarrow as pa

from casemate.controls.keys import tables
from casemate.core.errors import Error
from casemate.core.types import SealedDataset
from casemate.stages.data.tools import DataTools

MOST_PARTS = 64
"""A table in more files than this is written anew as a whole."""


def folder_of(tools: DataTools, dataset: SealedDataset) -> Path:
    """Where a version lies."""
    return tools.datasets / dataset.name / dataset.version


def extended(tools: DataTools, table: pa.Table, record: SealedDataset) -> SealedDataset | None:
    """The newest sealed version, if `table` is its rows and then new ones."""
    older = tools.previous
    if (
        older is None
        or (older.name, older.schema, older.subject) != (record.name, record.schema, record.subject)
        or older.rows >= record.rows
        or older.goes_on
        or record.goes_on
    ):
        return None
    folder = folder_of(tools, older)
    if len(list(folder.glob("*.parquet"))) >= MOST_PARTS:
        return None
    try:
        rows = tools.identifiers.open(tables.read(folder, tools.keys, tools.signer.verifier))
    except Error:
        return None  # a version that cannot be read is nothing to build on
    same = rows.select(table.column_names).equals(table.slice(0, rows.num_rows))
    return older if same else None
