"""Rows that nobody owns, for a rehearsal of private training: what does not work is noticed before
epsilon is paid.
"""

import numpy as np
import pyarrow as pa

from casemate.core.types import Schema
from casemate.ml.frame import GROUP, made_up

ROWS = 64
"""Enough for every class and a few batches; a rehearsal is about what raises, not about what is
learnt.
"""


def rows(schema: Schema, *, grouped: bool) -> pa.Table:
    """A table as the training code gets it, made of the schema alone: features, target and, if
    `grouped`, two rows a subject.
    """
    frame = made_up(schema, ROWS, np.random.default_rng(0))
    columns: dict[str, pa.Array] = {}
    for column in schema.features:
        columns[column.name] = pa.array(
            frame[column.name], pa.string() if column.type == "category" else pa.float64()
        )
    columns[schema.target] = pa.array(
        [schema.classes[place % len(schema.classes)] for place in range(ROWS)], pa.string()
    )
    if grouped:
        columns[GROUP] = pa.array(np.arange(ROWS) // 2)
    return pa.table(columns)
