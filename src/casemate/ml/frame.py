"""From Arrow columns to what an estimator sees, the same at training, assessment and serving.

A feature frame is a pandas DataFrame: float64 for numbers (missing = NaN), `object` holding `str`
for categories (missing = "(missing)"), columns in the schema's order.
"""

import itertools
import mmap
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from casemate.core.errors import VerificationError
from casemate.core.types import MISSING_CATEGORY, Schema

Rows = np.ndarray[Any, Any] | dict[str, np.ndarray[Any, Any]]
"""Features of rows as a model server holds them: float64 [n, d], or one array [n] a feature
(float64, or `object` holding `str`).
"""

ROWS_A_RANGE, MOST_RANGES = 20, 10
"""Rows for each range of a quantity, and ranges at most. A judgement: folds and hold-outs shall
each see every range.
"""
NO_LABEL = "(no label)"
"""What a row without any label is called where labels stand for classes."""
GROUP = "__group__"
"""The column that carries the subject's number beside features and target, where rows are
grouped.
"""
WEIGHT = "__weight__"
"""The column that carries what each row weighs, where `[data] weight` says so."""
UNSEEN = "__unseen__"
"""The column that says of hold-out rows whether the model before was not trained on them, where
that is not every one.
"""


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
    frame = pd.DataFrame(
        {name: pd.Series(v, dtype=v.dtype) for name, v in columns.items()}, copy=False
    )
    return frame.astype({column.name: object for column in schema.categories})


def codes_of(table: pa.Table, schema: Schema) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The target as class numbers 0..k-1 in the order of `schema.classes`, int64, one a row."""
    positions = pc.index_in(
        pc.cast(table[schema.target], pa.string()), pa.array(schema.classes, pa.string())
    )
    return np.asarray(positions.to_numpy(zero_copy_only=False), dtype=np.int64)


def target_of(table: pa.Table, schema: Schema) -> np.ndarray[Any, Any]:
    """What is to be predicted: class numbers int64 [n], or, in the order of `schema.targets`,
    labels int64 [n, m] (1 is yes) or quantities float64 [n, m].
    """
    if schema.labels:
        return np.column_stack([codes_of(table, view) for view in schema.views])
    if not schema.regression:
        return codes_of(table, schema)
    return np.column_stack(
        [
            pc.cast(table[name], pa.float64()).to_numpy(zero_copy_only=False)
            for name in schema.targets
        ]
    )


def with_groups(table: pa.Table, people: pa.ChunkedArray) -> pa.Table:
    """A table with whose each row is, as numbers, in `GROUP`."""
    return table.append_column(GROUP, people.combine_chunks().dictionary_encode().indices)


def groups_of(table: pa.Table) -> np.ndarray[Any, np.dtype[np.int64]] | None:
    """Whose each row is, as numbers, int64 [n]; None where rows are not grouped. A row of nobody is
    a subject of its own.
    """
    if GROUP not in table.column_names:
        return None
    codes = pc.cast(table[GROUP], pa.float64()).to_numpy(zero_copy_only=False)
    nobody = np.isnan(codes)
    codes = np.where(nobody, -np.cumsum(nobody), codes)
    return np.asarray(codes, dtype=np.int64)


def weights_of(table: pa.Table) -> np.ndarray[Any, np.dtype[np.float64]] | None:
    """What each row weighs, with a mean of 1, [n]; None where all weigh alike."""
    if WEIGHT not in table.column_names or not table.num_rows:
        return None
    weights = np.asarray(
        pc.cast(table[WEIGHT], pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64
    )
    return np.asarray(weights / weights.mean())


def worth(weights: np.ndarray[Any, Any] | None) -> float:
    """How many rows of equal weight would tell a mean as well: Kish, Survey Sampling (1965), 11.7;
    0 where all weigh alike.
    """
    return 0.0 if weights is None else float(weights.sum() ** 2 / np.sum(weights**2))


def wanted(target: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The target as scikit-learn takes it: one quantity is [n]."""
    return target[:, 0] if target.ndim == 2 and target.shape[1] == 1 else target


def are_labels(target: np.ndarray[Any, Any]) -> bool:
    """Whether a target holds several labels a row, int [n, m]."""
    return target.ndim == 2 and target.dtype.kind in "iu"


def rarest_of(labels: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Of each row the rarest label that it carries, as 1 to m, and 0 where it carries none, [n].

    Carried is the rarer of a label's two values. Rows of the rarest label are one group, those of
    the next one are in two, and so on, so that groups which are shared out evenly share out every
    label.
    """
    positive = labels.mean(axis=0)
    carried = np.where(positive > 0.5, labels == 0, labels == 1)
    found = np.zeros(len(labels), dtype=np.int64)
    for place in np.argsort(-carried.sum(axis=0), kind="stable"):
        found[carried[:, place]] = place + 1
    return found


def strata_of(target: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Groups to share out evenly among the sides of a split, int64 [n]: the classes, the rarest
    label that a row carries, or ranges of the first quantity with as many rows each.
    """
    if target.ndim == 1:
        return target
    if are_labels(target):
        return rarest_of(target)
    return range_of(edges_of(target[:, 0]), target[:, 0])


def parts_of(values: np.ndarray[Any, Any], count: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The part of about as many rows each that every value lies in: numbers, ascending, int64 [n].

    By average ranks, so equal values share a part, and mirrored values have the mirrored parts.

    Args:
        values: [n], none of them missing.
        count: parts at most, even.
    """
    from scipy.stats import rankdata

    middle = (2 * rankdata(values) - 1 - len(values)) * count / (2 * max(len(values), 1))
    # A rank on the border of two parts goes outward on both sides, or mirroring would move it.
    return np.asarray(np.sign(middle) * np.ceil(np.abs(middle)), dtype=np.int64)


def borders_of(
    values: np.ndarray[Any, Any], parts: np.ndarray[Any, Any]
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Edges halfway between the values of neighbouring `parts` [n] (see `parts_of`), so that hardly
    any value lies on one.
    """
    ends = [values[parts == part] for part in np.unique(parts)]
    return np.array(
        [(low.max() + high.min()) / 2 for low, high in itertools.pairwise(ends)], dtype=np.float64
    )


def range_of(
    edges: np.ndarray[Any, Any], values: np.ndarray[Any, Any]
) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The number of the range between `edges` that each of `values` lies in, int64 [n]; an edge
    belongs to the range below it.
    """
    return np.searchsorted(edges, values, side="left")


def edges_of(values: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Upper ends of all ranges but the last, with about as many of `values` [n] in each of them; at
    most 9, ascending.
    """
    ranges = int(np.clip(len(values) // ROWS_A_RANGE, 2, MOST_RANGES))
    edges = np.unique(np.quantile(values, np.linspace(0, 1, ranges + 1)[1:-1], method="lower"))
    edges = np.asarray(edges[edges < values.max()], dtype=np.float64)
    # many equal values can leave a range with next to none: it joins its neighbour
    while len(edges):
        counts = np.bincount(range_of(edges, values), minlength=len(edges) + 1)
        few = int(counts.argmin())
        if counts[few] * 2 * ranges >= len(values):
            break
        edges = np.delete(edges, min(few, len(edges) - 1))
    return edges


def range_names(edges: np.ndarray[Any, Any]) -> list[str]:
    """What the ranges between `edges` are called."""
    ends = next(
        names
        for digits in range(4, 18)
        if len(set(names := [f"{edge:.{digits}g}" for edge in edges])) == len(edges)
    )
    if not ends:
        return ["any"]
    return [
        f"up to {ends[0]}",
        *(f"{low} to {high}" for low, high in itertools.pairwise(ends)),
        f"above {ends[-1]}",
    ]


def sample_rows(total: int, count: int, seed: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """At most `count` of `total` row numbers, ascending, drawn without replacement; the same for
    the same seed.
    """
    if total <= count:
        return np.arange(total)
    return np.sort(np.random.default_rng(seed).choice(total, count, replace=False))


def row_hashes(
    frame: pd.DataFrame, target: np.ndarray[Any, Any] | None = None
) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """A 64-bit hash a row, of every feature and, where they are given, the class, the labels or the
    quantities.
    """
    hashes = np.asarray(pd.util.hash_pandas_object(frame, index=False, categorize=True))
    if target is None:
        return hashes
    codes = (
        target
        if target.ndim == 1
        else pd.util.hash_pandas_object(pd.DataFrame(target), index=False).to_numpy()
    )
    return np.asarray(hashes ^ (codes.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)))


def numeric(frame: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """A feature frame as float64: categories by the order of their names; a number missing
    everywhere is 0, because no tree can bin nothing.
    """
    frame = frame.copy()
    for column in schema.categories:
        frame[column.name] = pd.factorize(frame[column.name], sort=True)[0]
    frame = frame.astype(np.float64)
    return frame.fillna(dict.fromkeys(frame.columns[frame.isna().all()], 0.0))


def open_table(descriptor: int) -> pa.Table:
    """The table in an inherited memory file, without copying."""
    return pa.ipc.open_stream(
        pa.py_buffer(mmap.mmap(descriptor, 0, prot=mmap.PROT_READ))
    ).read_all()


def rows_bytes(rows: Rows) -> bytes:
    """Rows as bytes that `rows_from` reads back bit for bit."""
    if isinstance(rows, dict):
        columns = {
            name: values.tolist() if values.dtype == object else values.astype("<f8").tobytes()
            for name, values in rows.items()
        }
        return b"C" + msgspec.json.encode(columns)
    return (
        b"M"
        + int(rows.shape[1]).to_bytes(4, "little")
        + bytes(rows.astype("<f8", copy=False).tobytes())
    )


def rows_from(content: bytes, schema: Schema) -> Rows:
    """What `rows_bytes` was given; VerificationError when `content` is nothing of the kind for
    `schema`.
    """
    try:
        if content[:1] == b"M":
            return (
                np.frombuffer(content[5:], "<f8")
                .reshape(-1, int.from_bytes(content[1:5], "little"))
                .astype(np.float64)
            )
        texts = {column.name for column in schema.categories}
        columns = msgspec.json.decode(content[1:], type=dict[str, Any])
        return {
            column.name: (
                np.array(msgspec.convert(columns[column.name], list[str]), dtype=object)
                if column.name in texts
                else np.frombuffer(msgspec.convert(columns[column.name], bytes), "<f8").astype(
                    np.float64
                )
            )
            for column in schema.features
        }
    except (msgspec.MsgspecError, ValueError, LookupError) as error:
        raise VerificationError(f"the rows are damaged: {error}") from error


def made_up(
    schema: Schema, count: int, generator: np.random.Generator | None = None
) -> pd.DataFrame:
    """A feature frame of rows that the schema allows and nobody owns: the middle of everything, or
    drawn evenly.
    """
    values: dict[str, np.ndarray[Any, Any]] = {}
    for column in schema.features:
        if column.type == "category":
            known = np.array(column.categories or [""], dtype=object)
            values[column.name] = (
                np.full(count, known[0], dtype=object)
                if generator is None
                else known[generator.integers(len(known), size=count)]
            )
        else:
            low, high = column.min or 0.0, column.max or 0.0
            values[column.name] = (
                np.full(count, (low + high) / 2)
                if generator is None
                else generator.uniform(low, max(low, high), count)
            )
    return pd.DataFrame(
        {name: pd.Series(found, dtype=found.dtype) for name, found in values.items()}, copy=False
    )


def part_of(rows: Rows, start: int, end: int) -> Rows:
    """Rows `start` to `end`."""
    return (
        {name: values[start:end] for name, values in rows.items()}
        if isinstance(rows, dict)
        else rows[start:end]
    )


def only(rows: Rows, taken: list[int]) -> Rows:
    """These rows."""
    return (
        {name: values[taken] for name, values in rows.items()}
        if isinstance(rows, dict)
        else rows[taken]
    )


def joined(parts: list[Rows]) -> Rows:
    """Rows of the same features below one another."""
    if len(parts) == 1:
        return parts[0]
    if isinstance(parts[0], dict):
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return np.concatenate(parts)  # type: ignore[arg-type]
