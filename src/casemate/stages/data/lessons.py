"""Rows of feedback in a version of a data set: screened rows that callers asked about, with what
really was.

They come behind the source's rows, so that the sealed files of a version without them are shared
and theirs are files of their own; the user's file is never written. None is held out: what somebody
tells may teach and never judges. A row that the hold-out has too is left out, for a model must not
learn from what it is measured on.
"""

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from casemate.config import DataTable
from casemate.controls.keys.subjects import Root
from casemate.core.errors import VerificationError
from casemate.core.types import Schema, Sides, Taught
from casemate.ml.frame import features_of, row_hashes
from casemate.stages.data.screen.interface import ScreenedRows

REQUEST, SOURCE, TIME, WEIGHT = (
    "casemate_request",
    "casemate_source",
    "casemate_time",
    "casemate_weight",
)
"""Columns of a lesson beside features and targets: text, text, seconds since 1970, a number whose
mean is 1 where all rows weigh alike.
"""
Mask = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True)
class Lessons:
    """Rows that teach."""

    digest: str
    """Of the object that holds them."""
    table: pa.Table
    """Features and targets by their names, and the columns above."""


def to_bytes(table: pa.Table) -> bytes:
    """The rows as an Arrow stream."""
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def from_bytes(digest: str, content: bytes) -> Lessons:
    """What `to_bytes` was given; VerificationError when it is nothing of the kind."""
    try:
        return Lessons(digest, pa.ipc.open_stream(content).read_all())
    except pa.ArrowException as error:
        raise VerificationError(
            f"the rows of feedback {digest[:12]} are damaged", hint="restore a backup"
        ) from error


def appended(
    table: pa.Table, lessons: Lessons | None, schema: Schema, options: DataTable
) -> pa.Table:
    """The source's rows and then the lessons, each a subject of its own, cells of other columns
    missing.
    """
    if lessons is None or not lessons.table.num_rows:
        return table
    told = lessons.table
    given = {column.name for column in schema.features} | {*schema.targets}
    columns = []
    for field in table.schema:
        if field.name in given:
            values: Any = told[field.name]
        elif field.name == options.subject:
            values = pc.binary_join_element_wise("feedback", told[REQUEST], " ")
        elif field.name == options.provenance:
            values = pc.binary_join_element_wise("feedback", told[SOURCE], " ")
        elif field.name == options.weight:
            mean = pc.mean(table[field.name]).as_py()
            values = pc.multiply(told[WEIGHT], pa.scalar(float(mean)))
        elif field.name == options.time:
            values = _times(told[TIME], table[field.name])
        else:
            values = pa.nulls(told.num_rows, field.type)
        columns.append(pc.cast(values, field.type, safe=False))
    return pa.concat_tables([table, pa.table(columns, schema=table.schema)]).combine_chunks()


def _times(seconds: pa.ChunkedArray, known: pa.ChunkedArray) -> Any:
    """When the rows were asked about, as the table tells time; as its newest row, where it counts
    in something else.
    """
    if pa.types.is_temporal(known.type):
        micros = pc.cast(pc.multiply(seconds, 1e6), pa.int64(), safe=False)
        return pc.cast(micros, pa.timestamp("us"))
    newest = pc.max(known).as_py()
    return pa.array([newest] * len(seconds), known.type)


def divided(
    divide: Any, tools: Any, table: pa.Table, rows: ScreenedRows, root: Root
) -> tuple[Sides, Mask, Mask]:
    """What `division.divided` says of the source's rows, and the lessons on the training side, but
    for those that the hold-out has too.
    """
    lessons = tools.lessons
    count = 0 if lessons is None else lessons.table.num_rows
    if not count:
        found: tuple[Sides, Mask, Mask] = divide(tools, table, rows, root)
        return found
    own = len(rows.codes) - count
    how, holdout, neither = divide(tools, table.slice(0, own), rows.only(np.arange(own)), root)
    holdout = np.r_[holdout, np.zeros(count, dtype=bool)]
    neither = np.r_[neither, np.zeros(count, dtype=bool)]
    neither[own:] = known(rows, holdout)[own:]
    return how, holdout, neither


def known(rows: ScreenedRows, holdout: Mask) -> Mask:
    """Rows with the same features as one that is held out, bool [n]."""
    values = row_hashes(rows.frame)
    return np.asarray(np.isin(values, values[holdout]))


def taught(
    lessons: Lessons | None, table: pa.Table, schema: Schema, holdout: Mask
) -> Taught | None:
    """What the record of a version says of its lessons; None where it has none."""
    if lessons is None or not lessons.table.num_rows:
        return None
    told, count = lessons.table, lessons.table.num_rows
    values = row_hashes(features_of(table, schema))
    counts = pc.value_counts(told[SOURCE].combine_chunks())
    return Taught(
        rows=count,
        object=lessons.digest,
        sources={one["values"].as_py(): one["counts"].as_py() for one in counts},
        known=int(np.isin(values[-count:], values[holdout]).sum()),
    )
