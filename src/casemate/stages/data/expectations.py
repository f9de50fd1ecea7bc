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

from dataclasses import dataclass, field
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
MOST_NEW = 1_000_000
"""New categories of a column that are kept until its verdict: more are never chance."""


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
    seen = {
        column.name: Beyond.of(column, table[column.name])
        for column in limited(schema)
        if column.name in table.column_names
    }
    return widened_by(schema, seen)


def limited(schema: Schema) -> list[ColumnSchema]:
    """Columns whose limits may widen: a target's never do."""
    return [column for column in schema.columns if column.name not in schema.targets]


def widened_by(schema: Schema, seen: dict[str, "Beyond"]) -> tuple[Schema, list[Finding]]:
    """What `widened` gives of a table of whose columns this was seen, by name."""
    if not schema.rows:
        return schema, []
    least = SURE / max(1, 3 * len(seen))
    findings: list[Finding] = []
    return (
        msgspec.structs.replace(
            schema,
            columns=[
                (
                    _widened(column, seen[column.name], schema.rows, least, findings)
                    if column.name in seen
                    else column
                )
                for column in schema.columns
            ],
        ),
        findings,
    )


@dataclass
class Beyond:
    """What a column of another table has beyond its limits, piece after piece."""

    rows: int = 0
    missing: int = 0
    ends: dict[str, float] = field(default_factory=dict)
    """`min` and `max` of the cells."""
    outside: dict[str, int] = field(default_factory=dict)
    """How many cells are below `min`, above `max`, in none of `categories`."""
    new: set[str] = field(default_factory=set)
    """Categories that nobody had, up to one more than `MOST_NEW`."""

    @classmethod
    def of(cls, column: ColumnSchema, values: pa.ChunkedArray) -> "Beyond":
        """Of a whole column."""
        found = cls()
        found.add(column, values)
        return found

    def add(self, column: ColumnSchema, values: pa.ChunkedArray) -> None:
        """The next piece's."""
        self.rows += len(values)
        self.missing += values.null_count
        if column.type == "number" and pa.types.is_floating(values.type):
            ends = pc.min_max(values).as_py()
            for name, compare, extreme in (("min", pc.less, min), ("max", pc.greater, max)):
                end, limit = ends[name], getattr(column, name)
                if end is None:
                    continue
                self.ends[name] = extreme(end, self.ends.get(name, end))
                beyond = 0 if limit is None else pc.sum(compare(values, limit)).as_py() or 0
                self.outside[name] = self.outside.get(name, 0) + beyond
        if (
            column.type == "category"
            and column.categories is not None
            and pa.types.is_string(values.type)
        ):
            new = values.filter(
                pc.and_(
                    pc.is_valid(values),
                    pc.invert(pc.is_in(values, pa.array(column.categories, pa.string()))),
                )
            )
            self.outside["categories"] = self.outside.get("categories", 0) + len(new)
            if len(new) and len(self.new) <= MOST_NEW:
                self.new |= set(pc.unique(new).to_pylist()[: MOST_NEW + 1])


def _widened(
    column: ColumnSchema, seen: Beyond, rows: int, least: float, findings: list[Finding]
) -> ColumnSchema:
    from scipy.stats import betabinom

    changes: dict[str, Any] = {}
    told: list[str] = []

    def expected(name: str, beyond: int, singles: int = 0) -> bool:
        if name in column.declared:
            return False
        law = betabinom(seen.rows, 1 + singles, max(rows - singles, 1))
        return bool(beyond and law.sf(beyond - 1) >= least)

    if not column.nullable and expected("nullable", seen.missing):
        changes["nullable"] = True
        told.append(f"{seen.missing} cells are missing where none was")
    for name in ("min", "max"):
        beyond = seen.outside.get(name, 0)
        if expected(name, beyond):
            changes[name] = seen.ends[name]
            told.append(
                f"{beyond} cells are {'below' if name == 'min' else 'above'} the range that"
                f" {rows} rows had"
            )
    new = seen.outside.get("categories", 0)
    if len(seen.new) <= MOST_NEW and expected("categories", new, column.once):
        changes["categories"] = sorted({*(column.categories or []), *seen.new})
        told.append(f"{new} cells are categories that none of {rows} rows had")
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
