"""What differs between two versions of a table: columns, numbers of rows, and how the columns
moved; never a value.
"""

import numpy as np
import pandas as pd
import pyarrow as pa

from casemate.core.types import Record


class Moved(Record, frozen=True, kw_only=True):
    """How one column that both versions have differs."""

    column: str
    """Its name."""
    missing: tuple[int, int]
    """Missing cells, before and after."""
    mean: tuple[float, float] | None
    """Of a number, before and after."""
    distinct: tuple[int, int]
    """Different values, before and after."""


class Difference(Record, frozen=True, kw_only=True):
    """From an old version to a new one."""

    added_columns: list[str]
    """Only in the new one."""
    removed_columns: list[str]
    """Only in the old one."""
    retyped_columns: list[str]
    """In both, with another type."""
    rows: tuple[int, int]
    """Rows, before and after."""
    added_rows: int
    """Rows, in the columns that both have, that the new version has more often than the old one."""
    removed_rows: int
    """The reverse; a changed row counts as one removed and one added."""
    moved: list[Moved]
    """Columns that are not the same."""


def compare(old: pa.Table, new: pa.Table) -> Difference:
    """Compare two tables; the order of rows does not matter."""
    common = [name for name in old.column_names if name in new.column_names]
    retyped = [
        name
        for name in common
        if not old.schema.field(name).type.equals(new.schema.field(name).type)
    ]
    same = [name for name in common if name not in retyped]
    counts = _rows(old, same).sub(_rows(new, same), fill_value=0)
    return Difference(
        added_columns=[name for name in new.column_names if name not in common],
        removed_columns=[name for name in old.column_names if name not in common],
        retyped_columns=retyped,
        rows=(old.num_rows, new.num_rows),
        added_rows=int(-counts[counts < 0].sum()),
        removed_rows=int(counts[counts > 0].sum()),
        moved=[moved for name in same if (moved := _moved(old[name], new[name], name)) is not None],
    )


def _rows(table: pa.Table, columns: list[str]) -> "pd.Series[int]":
    """How often each row is there, by a 64-bit hash of its cells."""
    hashes = pd.util.hash_pandas_object(table.select(columns).to_pandas(), index=False)
    return hashes.value_counts()


def _moved(before: pa.ChunkedArray, after: pa.ChunkedArray, name: str) -> Moved | None:
    pair = [values.to_pandas() for values in (before, after)]
    number = pa.types.is_floating(before.type) or pa.types.is_integer(before.type)
    means = (
        [
            float(values.mean()) if len(values) and not values.isna().all() else float("nan")
            for values in pair
        ]
        if number
        else []
    )
    found = Moved(
        column=name,
        missing=(int(pair[0].isna().sum()), int(pair[1].isna().sum())),
        mean=(means[0], means[1]) if number and np.isfinite(means).all() else None,
        distinct=(int(pair[0].nunique()), int(pair[1].nunique())),
    )
    same_mean = found.mean is None or found.mean[0] == found.mean[1]
    return (
        None
        if found.missing[0] == found.missing[1]
        and found.distinct[0] == found.distinct[1]
        and same_mean
        else found
    )
