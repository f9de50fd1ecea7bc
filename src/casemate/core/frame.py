"""From Arrow columns to what an estimator sees, the same at training, assessment and serving.

A feature frame is a pandas DataFrame: float64 for numbers (missing = NaN), `object` holding `str` for categories
(missing = "(missing)"), columns in the schema's order.
"""

import mmap
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from casemate.core.types import MISSING_CATEGORY, Schema

GROUP = "__group__"
"""The column that carries the subject's number beside features and target, where rows are grouped."""


def features_of(table: pa.Table, schema: Schema) -> pd.DataFrame:
    """The feature frame of `table` (rows x features)."""
    columns: dict[str, Any] = {}
    for column in schema.features:
        values = table[column.name]
        if column.type == "category":
            filled = pc.fill_null(pc.cast(values, pa.string()), MISSING_CATEGORY)
            columns[column.name] = filled.to_numpy(zero_copy_only=False)
        else:
            columns[column.name] = pc.cast(values, pa.float64()).to_numpy(zero_copy_only=False)
    frame = pd.DataFrame({name: pd.Series(v, dtype=v.dtype) for name, v in columns.items()}, copy=False)
    return frame.astype({column.name: object for column in schema.categories})


def codes_of(table: pa.Table, schema: Schema) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The target as class numbers 0..k-1 in the order of `schema.classes`, int64, one a row."""
    positions = pc.index_in(pc.cast(table[schema.target], pa.string()), pa.array(schema.classes, pa.string()))
    return np.asarray(positions.to_numpy(zero_copy_only=False), dtype=np.int64)


def open_table(descriptor: int) -> pa.Table:
    """The table in an inherited memory file, without copying."""
    return pa.ipc.open_stream(pa.py_buffer(mmap.mmap(descriptor, 0, prot=mmap.PROT_READ))).read_all()
