"""Further labelled tables, such as a later year or another site: read like the source, to be
measured on only.
"""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from casemate.config import DataTable
from casemate.core.errors import DataError
from casemate.core.types import Schema
from casemate.ml.frame import WEIGHT, with_groups
from casemate.stages.data import files, source, weights
from casemate.stages.data.odd import rows_text


def read(
    where: files.Place,
    options: DataTable,
    schema: Schema,
    taken: Callable[[pa.Table, str], pa.Table] = lambda table, _: table,
) -> pa.Table:
    """Features and target of the table, in the schema's order. Values may lie outside of the pinned
    ranges; types and classes may not.

    Args:
        where: the table's file, or its place in a bucket.
        options: the `[data]` table.
        schema: of the data set.
        taken: the rows of a table, by the name of its file, that may be looked at.

    Raises:
        ConfigError: there is no such file. DataError: a column is missing or of another type, or a
            class is unknown.
    """
    path = source.first(where)
    table, _ = source.labelled(taken(source.read(where, options)[0], path.name), options)
    wanted = [*(column.name for column in schema.features), *schema.targets]
    missing = [name for name in wanted if name not in table.column_names]
    missing += (
        [] if options.weight is None or options.weight in table.column_names else [options.weight]
    )
    if missing:
        raise DataError(
            f"{path.name} has no column {missing[0]!r}",
            hint="[assess] tables need every feature, the target and the weight",
        )
    for column in schema.features:
        number = pa.types.is_floating(table[column.name].type)
        if number != (column.type == "number"):
            raise DataError(
                f"{path.name}: column {column.name!r} is not of type {column.type}",
                hint="export it as the source was",
            )
    for name in schema.targets:
        if table[name].null_count:
            raise DataError(
                f"{path.name}: the target {name!r} is missing in {table[name].null_count} rows",
                hint="label them or leave them out",
            )
    weights.require(table, options, path.name)
    if schema.regression:
        return _chosen(table, wanted, options)
    for view in schema.views or [schema]:
        unknown = np.flatnonzero(
            pc.invert(pc.is_in(table[view.target], pa.array(view.classes, pa.string()))).to_numpy()
        )
        # the cell is not quoted: it may be anything, and the run's end says this to everybody
        if len(unknown):
            text = (
                f"{path.name}: the target {view.target!r} is none of the model's classes"
                f" {view.classes[:5]} in {rows_text(unknown)}"
            )
            raise DataError(text, hint="label it as the source is")
    return _chosen(table, wanted, options)


def _chosen(table: pa.Table, wanted: list[str], options: DataTable) -> pa.Table:
    """The wanted columns, what each row weighs and whose it is, as numbers, where `[data]` names
    columns that say so.
    """
    rows = table.select(wanted)
    if options.weight is not None:
        rows = rows.append_column(WEIGHT, table[options.weight])
    return rows if options.subject is None else with_groups(rows, table[options.subject])
