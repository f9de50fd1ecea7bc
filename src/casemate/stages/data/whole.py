"""Every row of a table of which a declared sample is learnt from: looked at a piece at a time, in
bounded memory.

Types are those of the drawn rows. Whether cells, limits, categories, weights and rules hold is said
of all rows, by the same functions and in the same words as of a table that is read at once; what
needs many rows together (copies, suspicion, leaks, drift) knows the drawn rows alone.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from casemate.config import DataTable
from casemate.controls.privacy.disclosure import FEWEST, limits, told_counts
from casemate.core.errors import DataError
from casemate.core.types import ColumnSchema, Finding, Schema, Whole
from casemate.stages.data import erased, expectations, files, source, weights
from casemate.stages.data import schema as schemas
from casemate.stages.data.checks.rules import Asked
from casemate.stages.data.consented import allowed
from casemate.stages.data.moments import Moments
from casemate.stages.data.odd import Pieces, Rows
from casemate.stages.data.tools import DataTools

OF_DRAWN = ("data.bad-rows", "data.blank-rows", "data.coerced", "data.missing-target")
"""Findings about drawn rows that are said of all rows instead."""


@dataclass(frozen=True)
class Looked:
    """What all rows show."""

    schema: Schema
    """As wide as all of them."""
    whole: Whole
    rules: Asked
    findings: list[Finding]
    """What is to be said of the table, the drawn rows included."""
    drawn: int
    """Rows that were."""
    again: Callable[[], Iterator[pa.Table]]
    """All rows once more, typed, a piece at a time: the rows that a table which is read at once
    would have.
    """


@dataclass
class _Column:
    """What one column has shown up to now."""

    beyond: expectations.Beyond = field(default_factory=expectations.Beyond)
    breaches: dict[tuple[str, str], Rows] = field(default_factory=dict)
    """By what is wrong, and the limit that it breaks."""
    moments: Moments = field(default_factory=Moments)
    counts: Counter[str] = field(default_factory=Counter)
    """Rows by category or class; those of a category with too many are no longer counted."""
    many: bool = False
    """Whether it has more categories than a column may have."""


def look(
    tools: DataTools,
    table: pa.Table,
    schema: Schema,
    findings: Sequence[Finding],
    *,
    pinned: Schema | None,
    identifiers: Sequence[str],
) -> Looked:
    """Look at every row of `[data] source`.

    Args:
        tools: the stage's.
        table: the drawn rows, typed.
        schema: what they show, or what is pinned with what casemate.toml says now.
        findings: what was said of the drawn rows.
        pinned: what is pinned; None: nothing yet.
        identifiers: columns that are known to name people, beside those that `[data]` declares.

    Raises:
        ConfigError: a rule cannot be read.
        DataError: a row breaks what would be refused in a table that is read at once; or has a
            class that no drawn row has.
    """
    options = tools.config.data
    problems = schemas.differences(table, schema, options) or [
        text
        for column in schema.columns
        if (text := schemas.mistaken(table[column.name], column, schema))
    ]
    if problems:
        raise schemas.broken(problems, options)

    def once_more() -> Iterator[pa.Table]:
        return _Seen(tools, table, schema, pinned).pieces(identifiers, [])

    seen = _Seen(tools, table, schema, pinned)
    heard: list[Finding] = []
    for piece in seen.pieces(identifiers, heard):
        seen.add(piece)
    said = seen.told(heard)
    found, moved = seen.widened()
    seen.require_within(found)
    kept = [one for one in findings if one.id not in OF_DRAWN]
    return Looked(
        found,
        seen.summary(),
        seen.rules,
        list(dict.fromkeys([*kept, *said, *moved])),
        table.num_rows,
        once_more,
    )


class _Seen:
    def __init__(
        self, tools: DataTools, table: pa.Table, schema: Schema, pinned: Schema | None
    ) -> None:
        self.tools, self.schema, self.pinned = tools, schema, pinned is not None
        self.options = tools.config.data
        self.names = table.column_names
        self.times = {one.name: one.type for one in table.schema if pa.types.is_temporal(one.type)}
        self.columns = {column.name: _Column() for column in schema.columns}
        known = {} if pinned is None else {column.name: column for column in pinned.columns}
        self.fresh = {
            column.name
            for column in schema.columns
            if column.name not in known or known[column.name].type != column.type
        }
        """Columns of which the drawn rows alone say what they hold."""
        self.empty = [
            name
            for name in self.names
            if name in self.fresh
            and table[name].null_count == table.num_rows
            and self.options.column(name).type is None
            and self.options.column(name).format is None
        ]
        """Those of which not even they do."""
        self.allowed = {
            column.name: frozenset(values)
            for column in schema.columns
            if (values := schemas.allowed(column, schema)) is not None
        }
        """Categories and classes that are known."""
        self.rules = Asked(self.options.rules)
        self.rows = 0
        self.erased = 0
        self.unlabelled = 0
        self.nobody = 0
        self.worthless = Rows()
        self.cells = Pieces()

    def pieces(self, identifiers: Sequence[str], heard: list[Finding]) -> Iterator[pa.Table]:
        """The rows that a table which is read at once would have, typed as the drawn ones."""
        reading = _declared(self.options, self.schema, self.empty)
        root = self.tools.identifiers.candidate()
        config = self.tools.config
        kept = {*identifiers, *source.lettered(self.names, self.options)}
        for held in files.pieces(self.tools.place, reading, kept, heard):
            if not held.num_rows:  # a piece of nothing but blank rows
                continue
            part = self._aligned(held)
            table = source.typed(part, reading, [], identifiers, self.cells)
            self.cells.before += part.num_rows
            if self.tools.erased is not None:
                table, gone = erased.others(table, config, self.tools.erased, root, identifiers)
                self.erased += len(gone)
            table = allowed(table, config, self.tools.usable, root).table
            labelled = source.labelled(table, self.options)[0]
            self.unlabelled += table.num_rows - labelled.num_rows
            if labelled.num_rows:
                yield labelled

    def _aligned(self, part: pa.Table) -> pa.Table:
        """The columns of the drawn rows; what is empty throughout a piece is text without cells, or
        has the drawn cells' type of time: zones do not compare with none.
        """
        made = {column.name for column in self.schema.columns if column.made_of}
        names = [name for name in self.names if name not in made]
        new = [name for name in part.column_names if name not in names]
        if new:
            raise schemas.broken([f"column {new[0]!r} is new"], self.options)
        columns = {
            name: part[name]
            if name in part.column_names and not pa.types.is_null(part[name].type)
            else pa.nulls(part.num_rows, self.times.get(name, pa.string()))
            for name in names
        }
        return pa.table(columns)

    def add(self, table: pa.Table) -> None:
        """One more piece of what `pieces` gives."""
        options = self.options
        for column in self.schema.columns:
            if column.name not in self.empty:
                self._add(column, table[column.name])
            else:
                self.columns[column.name].beyond.missing += table[column.name].null_count
        if options.weight is not None and weights.are_numbers(table[options.weight]):
            self.worthless.add(weights.worthless(table[options.weight]), self.rows)
        if options.subject is not None:
            self.nobody += table[options.subject].null_count
        self.rules.add(table)
        self.rows += table.num_rows

    def _add(self, column: ColumnSchema, values: pa.ChunkedArray) -> None:
        seen = self.columns[column.name]
        if pa.types.is_string(values.type) and column.name in self.allowed:
            names, counts = (one.to_pylist() for one in pc.value_counts(values).flatten())
            counted = dict(zip(names, counts, strict=True))
            counted.pop(None, None)
            if not seen.many:
                seen.counts.update(counted)
                seen.many = len(seen.counts) > schemas.MAX_CATEGORIES
            if not values.null_count and counted.keys() <= self.allowed[column.name]:
                seen.beyond.rows += len(values)
                return
        outside = dict(seen.beyond.outside)
        seen.beyond.add(column, values)
        if pa.types.is_floating(values.type):
            seen.moments.add(values)
        is_class = schemas.is_class(column, self.schema)
        if not values.null_count and outside == seen.beyond.outside and not is_class:
            return
        for breach in schemas.breaches(values, column, self.schema):
            rows = seen.breaches.setdefault((breach.text, breach.limit), Rows())
            rows.add(breach.rows, self.rows)

    def told(self, heard: list[Finding]) -> list[Finding]:
        """What was noticed while reading; DataError when a cell or row is none that may be."""
        options, privacy = self.options, self.tools.config.privacy
        found = list(heard)
        for one in heard:
            if one.id == "data.rounded" and options.column(one.location).type != "number":
                raise files.InexactColumn(one.location)
        self.cells.tell(options, found)
        if self.erased and privacy.erased == "refuse":
            raise erased.refusal(self.erased)
        if self.unlabelled:
            found.append(source.unlabelled(self.unlabelled, self.rows + self.unlabelled, options))
        if self.nobody:
            raise DataError(
                f"the subject {options.subject!r} is missing in {self.nobody} rows",
                hint="every row needs one",
            )
        if self.worthless.count and options.weight is not None:
            raise weights.refusal(options.weight, "the table", str(self.worthless))
        for name in self.empty:
            filled = self.rows - self.columns[name].beyond.missing
            if filled:
                found.append(_unknown(name, filled))
        found.append(
            Finding(
                id="data.whole",
                severity="low",
                confidence="high",
                message=(
                    f"whole table: {self.rows} rows, looked at in a stream: types, limits, missing"
                    " cells, rules and statistics are said of all of them; not looked for beyond"
                    " the drawn rows: copies, rows under suspicion, leaks, drift"
                ),
            )
        )
        return found

    def widened(self) -> tuple[Schema, list[Finding]]:
        """The schema as wide as all rows go: what is learnt now by all of them, what was pinned by
        chance alone.
        """
        known = {
            column.name: self.columns[column.name].beyond
            for column in expectations.limited(self.schema)
            if column.name not in self.fresh
        }
        schema, findings = expectations.widened_by(self.schema, known)
        columns = [
            self._learnt(column, findings) if column.name in self.fresh else column
            for column in schema.columns
        ]
        rows = schema.rows if self.pinned else self.rows
        return msgspec.structs.replace(schema, columns=columns, rows=rows), findings

    def _learnt(self, column: ColumnSchema, findings: list[Finding]) -> ColumnSchema:
        seen, changes = self.columns[column.name], dict[str, Any]()
        target = column.name in self.schema.targets
        if "nullable" not in column.declared and not target:
            changes["nullable"] = seen.beyond.missing > 0
        if column.type == "number" and not target:
            ends = seen.beyond.ends
            low, high = limits(column.column_class, ends.get("min"), ends.get("max"))
            learnt = {"min": low, "max": high}
            changes |= {one: end for one, end in learnt.items() if one not in column.declared}
        if column.categories is not None and seen.many:
            # as `schema.infer_column` takes it, with what that says
            changes |= {"type": "text", "categories": None, "once": 0, "use": False}
            if column.use and not self.options.column(column.name).parts:
                findings.append(schemas.unused(column.name, "text"))
        elif column.categories is not None:
            changes["once"] = sum(count == 1 for count in seen.counts.values())
            if "categories" not in column.declared:
                changes["categories"] = sorted(seen.counts)
        return msgspec.structs.replace(column, **changes)

    def require_within(self, found: Schema) -> None:
        """DataError when a row lies beyond limits that did not widen."""
        problems = []
        for before, after in zip(self.schema.columns, found.columns, strict=True):
            for (text, limit), rows in self.columns[before.name].breaches.items():
                if limit == "class" and not self.pinned:
                    raise DataError(
                        f"the target {before.name!r} has a class that none of the drawn rows has,"
                        f" in {rows}",
                        hint=(
                            "raise [data] sample until each class is drawn, or leave these rows out"
                        ),
                    )
                if before.name in self.schema.targets and limit == "nullable" and not self.pinned:
                    raise schemas.unlabelled(before.name, str(rows))
                if limit == "class" or getattr(before, limit) == getattr(after, limit):
                    problems.append(f"{text} in {rows}")
        if problems:
            raise schemas.broken(problems, self.options)

    def summary(self) -> Whole:
        """For the record: statistics of general columns alone, and no count of few rows."""
        general = [one for one in self.schema.columns if one.column_class == "general"]
        least = max(FEWEST, self.tools.config.privacy.min_group)
        statistics, missing = {}, {}
        for column in general:
            seen = self.columns[column.name]
            missing[column.name] = seen.beyond.missing / max(1, self.rows)
            if seen.moments.count:
                statistics[column.name] = {
                    "mean": seen.moments.mean,
                    "std": seen.moments.deviation,
                    "min": seen.beyond.ends["min"],
                    "max": seen.beyond.ends["max"],
                }
        classes = {
            column.name: told_counts(dict(sorted(self.columns[column.name].counts.items())), least)
            for column in general
            if column.name in self.schema.targets and self.columns[column.name].counts
        }
        return Whole(
            rows=self.rows,
            read=self.cells.before,
            missing=missing,
            statistics=statistics,
            classes=classes,
        )


def _declared(options: DataTable, schema: Schema, empty: Sequence[str]) -> DataTable:
    """`options` with every column's type, so that each piece is read as the drawn rows were."""
    known = dict(options.columns)
    for column in schema.columns:
        said = options.column(column.name)
        is_class = schemas.is_class(column, schema)
        if column.made_of or is_class or column.column_class == "identifier":
            continue
        if said.type is None and said.format is None:
            kind = "text" if column.name in empty else column.type
            known[column.name] = msgspec.structs.replace(said, type=kind)
    return msgspec.structs.replace(options, columns=known)


def _unknown(name: str, filled: int) -> Finding:
    return Finding(
        id="data.empty-in-sample",
        severity="medium",
        confidence="high",
        message=(
            f"{name!r} is empty in all drawn rows and has a cell in {filled} others, of which"
            " nothing is known: raise [data] sample, or say use = false"
        ),
        location=name,
    )
