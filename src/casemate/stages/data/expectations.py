"""What a pinned schema learnt from rows is an expectation: the next table of the same kind goes a
little beyond it, by chance.

Of n rows that a limit was learnt from and m new ones that come in the same way, how many of the new
ones lie beyond is known whatever the column is like: each of the n + m is as likely as any other to
be the greatest, so the count has a beta-binomial law with parameters 1 and n (Gumbel and von
Schelling, The distribution of the number of exceedances, 1950). The same holds for cells that are
missing where none was, and, with the categories that one row had added to the first parameter, for
categories that nobody had (Good, The population frequencies of species, 1953). Fewer than that law
lets through are told and pinned; more are refused as they were. What casemate.toml declares is law,
and so are the target's classes.
"""

from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from casemate.config import ColumnTable
from casemate.controls.privacy.disclosure import limits
from casemate.core.types import ColumnSchema, Finding, Schema

SURE = 0.001
"""One false refusal in a thousand tables that differ by chance alone, all limits of a table
together; drift takes the same.
"""


def declared(said: ColumnTable) -> list[str]:
    """Which limits of a column casemate.toml declares."""
    return [
        name for name in ("categories", "max", "min", "nullable") if getattr(said, name) is not None
    ]


def once(values: pa.ChunkedArray) -> int:
    """How many categories one row has."""
    return int(
        pc.sum(pc.equal(pc.value_counts(values.drop_null()).field("counts"), 1)).as_py() or 0
    )


def law(schema: Schema) -> Schema:
    """`schema` without what was learnt and may widen: two versions that differ in nothing else can
    be compared.
    """
    if not schema.rows:
        return schema
    columns = []
    for column in schema.columns:
        learnt: dict[str, Any] = {"min": None, "max": None, "categories": None, "nullable": False}
        kept = {name: value for name, value in learnt.items() if name not in column.declared}
        columns.append(msgspec.structs.replace(column, once=0, **kept))
    return msgspec.structs.replace(schema, columns=columns, rows=1)


def widened(schema: Schema, table: pa.Table) -> tuple[Schema, list[Finding]]:
    """`schema` with learnt limits as wide as the rows of `table` go by chance, and a finding for
    each that moved.

    A limit that too many rows break stays as it is, so that `schema.check` refuses the table.
    """
    # pinned before rows were counted, or for private training: every limit is law
    if not schema.rows:
        return schema, []
    limited = [
        column
        for column in schema.columns
        if column.name in table.column_names and column.name not in schema.targets
    ]
    least = SURE / max(1, 3 * len(limited))
    findings: list[Finding] = []
    known = {
        column.name: _widened(column, table[column.name], schema.rows, least, findings)
        for column in limited
    }
    return (
        msgspec.structs.replace(
            schema, columns=[known.get(column.name, column) for column in schema.columns]
        ),
        findings,
    )


def _widened(
    column: ColumnSchema, values: pa.ChunkedArray, rows: int, least: float, findings: list[Finding]
) -> ColumnSchema:
    from scipy.stats import betabinom

    changes: dict[str, Any] = {}
    told: list[str] = []

    def expected(beyond: int, singles: int = 0) -> bool:
        law = betabinom(len(values), 1 + singles, max(rows - singles, 1))
        return bool(beyond and law.sf(beyond - 1) >= least)

    if not column.nullable and "nullable" not in column.declared and expected(values.null_count):
        changes["nullable"] = True
        told.append(f"{values.null_count} cells are missing where none was")
    if column.type == "number" and pa.types.is_floating(values.type):
        for name, compare, extreme in (("min", pc.less, pc.min), ("max", pc.greater, pc.max)):
            limit = getattr(column, name)
            beyond = (
                0
                if limit is None or name in column.declared
                else pc.sum(compare(values, limit)).as_py() or 0
            )
            if expected(beyond):
                changes[name] = extreme(values).as_py()
                told.append(
                    f"{beyond} cells are {'below' if name == 'min' else 'above'} the range that"
                    f" {rows} rows had"
                )
    if (
        column.type == "category"
        and column.categories is not None
        and "categories" not in column.declared
        and pa.types.is_string(values.type)
    ):
        new = values.filter(
            pc.and_(
                pc.is_valid(values),
                pc.invert(pc.is_in(values, pa.array(column.categories, pa.string()))),
            )
        )
        if expected(len(new), column.once):
            changes["categories"] = sorted({*column.categories, *pc.unique(new).to_pylist()})
            told.append(f"{len(new)} cells are categories that none of {rows} rows had")
    if not changes:
        return column
    if {"min", "max"} & changes.keys() and column.min is not None and column.max is not None:
        low, high = limits(
            column.column_class, changes.get("min", column.min), changes.get("max", column.max)
        )
        changes |= {name: value for name, value in (("min", low), ("max", high)) if name in changes}
    text = (
        f"{column.name!r}: {'; '.join(told)}: as many as chance brings, so the pinned schema is"
        " wider now"
    )
    findings.append(
        Finding(
            id="data.beyond-expected",
            severity="low",
            confidence="high",
            message=text,
            location=column.name,
        )
    )
    return msgspec.structs.replace(column, **changes)
