"""What a column's values look like, in counts: enough to compare tables, too little to tell a row.

The bins are those of a reference. Of a number: one for every frequent value, or for every value
where there are few; about twenty with as many rows each for the others; one for what lies below all
of the reference and one for what lies above, so that no direction is blind. Missing values count
apart. A mirrored column has the mirrored bins. Small counts are never shown in a report, see
`privacy.disclosure`.
"""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import structs

from casemate.controls.privacy.disclosure import FEWEST, limits
from casemate.core.types import ColumnSchema, Record, Schema
from casemate.ml.frame import borders_of, parts_of

BINS = 20
"""Of numbers, and the most distinct values that have a bin each. Siddiqi (2006) takes 10 to 20."""
MOST_CATEGORIES = 50
"""Categories that are counted by themselves, the most frequent; the others are one bin. Chosen for
size: a profile is kept with each version.
"""
OTHER = "(other)"
Array = np.ndarray[Any, Any]


class TableProfile(Record, frozen=True, kw_only=True):
    """What a column of a sealed table looks like; the profile of a table is a list of these, one
    per column.
    """

    name: str
    """Column name."""
    kind: str
    """`number`, `category`, `time` or `text`."""
    rows: int
    """Rows."""
    missing: int
    """Rows without a value."""
    edges: list[float] = []
    """Numbers: inner bin edges, ascending; a value on an edge lies above it."""
    labels: list[str] = []
    """Categories: values, the most frequent first, at last `(other)`."""
    counts: list[int] = []
    """Rows per bin: one for each of `values`, then (if there is a `low`) what lies below it, those
    between the edges, and what lies above `high`; or rows per category."""
    mean: float | None = None
    """Of a number."""
    std: float | None = None
    """Of a number."""
    values: list[float] = []
    """Numbers: values that have a bin of their own, ascending. None in older profiles."""
    low: float | None = None
    """Numbers: the least value of the reference, as it may be told. None in older profiles, whose
    outermost bins are open, so that what lies far outside is not told from what lies at the end."""
    high: float | None = None
    """Numbers: the greatest one."""
    worth: float = 1.0
    """How many independent rows a row counts for where subjects have several, at most 1: what
    counts are tested with.
    """
    uneven: float = 0.0
    """How much that differs from bin to bin: squared coefficient of variation of the design
    effects.
    """
    subjects: int = 0
    """How many subjects that is estimated from; 0: every row is another one's."""


def profile(
    table: pa.Table,
    schema: Schema,
    reference: list[TableProfile] | None = None,
    groups: Array | None = None,
) -> list[TableProfile]:
    """Of every column that is no identifier and no text.

    Args:
        table: its rows.
        schema: says what the columns are.
        reference: profiles whose bins and categories are taken; default: the table's own.
        groups: whose each row is, [n]; None: every row is somebody else's.
    """
    whose = None if groups is None else np.unique(groups, return_inverse=True)[1]
    if whose is not None and int(whose.max(initial=-1)) + 1 == len(whose):
        whose = None
    known = {column.name: column for column in reference or []}
    found = []
    for column in schema.columns:
        if column.column_class == "identifier" or column.type not in ("number", "category"):
            continue
        older = known.get(column.name)
        if older is not None and older.kind != column.type:
            older = None
        if column.type == "number":
            told = _number(column, table[column.name], older)
        else:
            told = _category(column.name, table[column.name], older)
        found.append(told if whose is None else _by_subject(told, table[column.name], whose))
    return found


def _by_subject(told: TableProfile, cells: pa.ChunkedArray, groups: Array) -> TableProfile:
    """With the mean design effect of the bins' shares and how it varies (Rao and Scott, JASA 76,
    1981).
    """
    if told.kind == "number":
        there = ~np.asarray(cells.is_null())
        places = np.full(len(cells), len(told.counts))
        places[there] = _places(told, cells.drop_null().to_numpy().astype(np.float64))
    else:
        found = pc.index_in(pc.cast(cells, pa.string()), pa.array(told.labels[:-1], pa.string()))
        places = np.where(
            cells.is_null(), len(told.counts), found.fill_null(len(told.labels) - 1).to_numpy()
        )
    bins, people, rows = len(told.counts) + 1, int(groups.max()) + 1, len(places)
    share = np.bincount(places, minlength=bins) / rows
    seen = share > 0
    if people < 2 or seen.sum() < 2:
        return structs.replace(told, worth=people / rows, subjects=people)
    sums = np.bincount(groups * bins + places, minlength=people * bins).reshape(people, bins)[
        :, seen
    ] - np.outer(np.bincount(groups), share[seen])
    scaled = sums / (share[seen] * rows) ** 0.5
    effects = scaled.T @ scaled * (people / (people - 1))
    total, free = float(np.trace(effects)), int(seen.sum()) - 1
    if not total > 0:
        return structs.replace(told, worth=people / rows, subjects=people)
    uneven = max(free * float(np.sum(effects**2)) / total**2 - 1, 0.0)
    return structs.replace(told, worth=min(1.0, free / total), uneven=uneven, subjects=people)


def _number(
    column: ColumnSchema, cells: pa.ChunkedArray, reference: TableProfile | None
) -> TableProfile:
    present = cells.drop_null().to_numpy().astype(np.float64)
    bins = _own(column, present) if reference is None else _with_ends(reference, column)
    return structs.replace(
        bins,
        rows=len(cells),
        missing=cells.null_count,
        counts=_counts(bins, present),
        mean=float(present.mean()) if len(present) else None,
        std=float(present.std()) if len(present) else None,
    )


def _own(column: ColumnSchema, present: np.ndarray[Any, Any]) -> TableProfile:
    """The bins that fit these values, without counts."""
    empty = TableProfile(name=column.name, kind="number", rows=0, missing=0)
    if not len(present):
        return empty
    distinct, times = np.unique(present, return_counts=True)
    # A value of few rows has no bin of its own, because bins are kept and told.
    often = FEWEST if len(distinct) <= BINS else max(len(present) / BINS, FEWEST)
    values = distinct[times >= often]
    rest = present[~np.isin(present, values)] if len(distinct) > BINS else present[:0]
    parts = min(BINS, len(rest) // FEWEST // 2 * 2)
    edges = borders_of(rest, parts_of(rest, parts)) if parts >= 2 else np.empty(0)
    low, high = limits(column.column_class, float(distinct[0]), float(distinct[-1]))
    return structs.replace(empty, edges=edges.tolist(), values=values.tolist(), low=low, high=high)


def _with_ends(reference: TableProfile, column: ColumnSchema) -> TableProfile:
    """The reference's bins; older ones get the schema's limits as ends, which all of its
    rows kept.
    """
    if reference.low is not None or column.min is None or column.max is None:
        return reference
    return structs.replace(reference, low=column.min, high=column.max)


def _counts(bins: TableProfile, present: Array) -> list[int]:
    open_ended = bins.low is None or bins.high is None
    count = len(bins.values) + len(bins.edges) + (1 if open_ended else 3)
    return [int(rows) for rows in np.bincount(_places(bins, present), minlength=count)]


def _places(bins: TableProfile, present: Array) -> Array:
    """The bin of each value, [n]."""
    values = np.asarray(bins.values)
    places = np.searchsorted(np.asarray(bins.edges), present, side="right")
    if bins.low is not None and bins.high is not None:
        places = np.where(
            present < bins.low, 0, np.where(present > bins.high, len(bins.edges) + 2, places + 1)
        )
    if not len(values):
        return np.asarray(places)
    own = np.minimum(np.searchsorted(values, present), len(values) - 1)
    return np.where(values[own] == present, own, places + len(values))


def bin_names(column: TableProfile) -> list[str]:
    """What the bins behind `counts` are called."""
    if column.kind != "number":
        return list(column.labels)
    own = [f"{value:.4g}" for value in column.values]
    if column.low is None or column.high is None:
        return [*own, *(f"below {edge:.4g}" for edge in column.edges), "above"]
    inner = [f"below {edge:.4g}" for edge in [*column.edges, column.high]]
    return [*own, f"under {column.low:.4g}", *inner, f"over {column.high:.4g}"]


def _category(name: str, values: pa.ChunkedArray, reference: TableProfile | None) -> TableProfile:
    counted: dict[str, int] = {
        str(item["values"]): int(item["counts"])
        for item in pc.value_counts(values.drop_null()).to_pylist()
    }
    ranked = sorted(counted, key=lambda label: (-counted[label], label))
    labels = reference.labels[:-1] if reference is not None else ranked[:MOST_CATEGORIES]
    counts = [counted.get(label, 0) for label in labels]
    rest = sum(counted.values()) - sum(counts)
    return TableProfile(
        name=name,
        kind="category",
        rows=len(values),
        missing=values.null_count,
        labels=[*labels, OTHER],
        counts=[*counts, rest],
    )


def counted(
    before: TableProfile, after: TableProfile
) -> np.ndarray[Any, np.dtype[np.float64]] | None:
    """Rows per bin of two profiles, [2, bins], the missing ones last; None where the bins
    differ.
    """
    older = list(before.counts)
    if before.low is None and after.low is not None and len(older) + 2 == len(after.counts):
        older = [0, *older, 0]  # nobody of an older reference lies beyond its ends
    if before.kind != after.kind or len(older) != len(after.counts):
        return None
    return np.array([[*older, before.missing], [*after.counts, after.missing]], dtype=np.float64)
