"""What a column's values look like, in counts: enough to compare versions, too little to tell a row.

Numbers are cut at 20 quantiles of the reference version; small counts are never shown in a report, see `privacy.disclosure`.
"""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from casemate.core.types import Record, Schema

BINS = 20
MOST_CATEGORIES = 50
OTHER = "(other)"


class Profile(Record, frozen=True, kw_only=True):
    """One column."""

    name: str
    """Column name."""
    kind: str
    """`number`, `category`, `time` or `text`."""
    rows: int
    """Rows."""
    missing: int
    """Rows without a value."""
    edges: list[float] = []
    """Numbers: inner bin edges, ascending."""
    labels: list[str] = []
    """Categories: values, the most frequent first, at last `(other)`."""
    counts: list[int] = []
    """Rows per bin or category."""
    mean: float | None = None
    """Of a number."""
    std: float | None = None
    """Of a number."""


def profile(table: pa.Table, schema: Schema, reference: list[Profile] | None = None) -> list[Profile]:
    """Of every column that is no identifier and no text; bins and categories are those of `reference` where there is one."""
    known = {column.name: column for column in reference or []}
    found = []
    for column in schema.columns:
        if column.column_class == "identifier" or column.type not in ("number", "category"):
            continue
        values = table[column.name]
        older = known.get(column.name)
        make = _number if column.type == "number" else _category
        found.append(make(column.name, values, older if older and older.kind == column.type else None))
    return found


def _number(name: str, values: pa.ChunkedArray, reference: Profile | None) -> Profile:
    present = values.drop_null().to_numpy()
    if reference is not None:
        edges = reference.edges
    else:
        edges = np.unique(np.quantile(present, np.linspace(0, 1, BINS + 1)[1:-1])).tolist() if len(present) else []
    counts = np.bincount(np.searchsorted(np.asarray(edges), present, side="right"), minlength=len(edges) + 1)
    return Profile(
        name=name,
        kind="number",
        rows=len(values),
        missing=values.null_count,
        edges=edges,
        counts=counts.tolist(),
        mean=float(present.mean()) if len(present) else None,
        std=float(present.std()) if len(present) else None,
    )


def _category(name: str, values: pa.ChunkedArray, reference: Profile | None) -> Profile:
    counted: dict[str, int] = {str(item["values"]): int(item["counts"]) for item in pc.value_counts(values.drop_null()).to_pylist()}
    ranked = sorted(counted, key=lambda label: (-counted[label], label))
    labels = reference.labels[:-1] if reference is not None else ranked[:MOST_CATEGORIES]
    counts = [counted.get(label, 0) for label in labels]
    rest = sum(counted.values()) - sum(counts)
    return Profile(name=name, kind="category", rows=len(values), missing=values.null_count, labels=[*labels, OTHER], counts=[*counts, rest])


def shares(column: Profile) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Share of the rows per bin, the missing ones last."""
    counts = np.array([*column.counts, column.missing], dtype=np.float64)
    return np.asarray(counts / max(counts.sum(), 1.0))
