"""What one person may see of a sealed table: decided by policy per class of columns and per row,
recorded, and shown under masks.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa

from casemate.controls.access.masks import masked
from casemate.controls.access.policy import Decision, Resource
from casemate.controls.access.rows import RowFilter, Tags
from casemate.controls.access.types import Principal
from casemate.controls.keys import tables
from casemate.controls.keys.identifiers import PSEUDONYM, classes_of
from casemate.core.errors import AccessDenied, ConfigError
from casemate.core.types import Quarantined, Schema, SealedDataset
from casemate.wiring import Wiring


@dataclass(frozen=True)
class Access:
    """What one principal may see of a data set."""

    principal: Principal
    classes: dict[str, str]
    """Column class per column."""
    decisions: dict[str, Decision]
    """The policy's answer per column class."""
    masked: dict[str, str]
    """Mask per column that is shown under it."""
    opened: frozenset[str] = frozenset()
    """Classes whose keys are needed to open other columns; nothing of them is shown."""

    @property
    def denied(self) -> frozenset[str]:
        """Column classes whose keys are not unwrapped for this principal."""
        needed = {self.classes[column] for column in self.masked} | self.opened
        return (
            frozenset(name for name, decision in self.decisions.items() if not decision.allowed)
            - needed
        )

    @property
    def withheld(self) -> dict[str, tuple[str, ...]]:
        """Per column that stays closed, the policies that say so."""
        return {
            column: self.decisions[found].reasons
            for column, found in self.classes.items()
            if not self.decisions[found].allowed and column not in self.masked
        }


@dataclass(frozen=True)
class Sight:
    """One version, and what whoever acts may see of it."""

    project: Wiring
    record: SealedDataset
    purpose: str | None
    """What it is read for; None: the project's purpose."""

    @property
    def reference(self) -> str:
        """How this version is asked for, `NAME@VERSION`."""
        return f"{self.record.name}@{self.record.version}"

    def access(self) -> Access:
        """What the current user may see of it: each column class is decided by policy. Nothing is
        recorded.
        """
        point, classes, resource = (
            self.project.point,
            classes_of(self.record),
            Resource("Dataset", self.record.name),
        )

        def asked(action: str) -> dict[str, Decision]:
            return {
                found: point.decide(action, resource, self.purpose, column_class=found)[1]
                for found in sorted(set(classes.values()))
            }

        decisions, under_masks = asked("dataset:read"), asked("dataset:read-masked")
        masks = {
            name: column.mask
            for name, column in self.project.config.data.columns.items()
            if column.mask is not None
        }
        shown = {
            name: masks[name]
            for name, found in classes.items()
            if name in masks and not decisions[found].allowed and under_masks[found].allowed
        }
        return Access(point.actor, classes, decisions, shown)

    @property
    def folder(self) -> Path:
        """Where the version lies, sealed."""
        return self.project.state / "datasets" / self.record.name / self.record.version

    def hears_code(self) -> bool:
        """Whether the current user may hear what training code says of this version."""
        schema, access = self.record.schema, self.access()
        seen = {
            column.column_class
            for column in schema.columns
            if column in schema.features or column.name in schema.targets
        }
        if not all(access.decisions[found].allowed for found in seen):
            return False
        try:
            rows = self.rows(access)
        except AccessDenied:
            return False
        if not rows.columns:  # nothing tells rows apart, so one stands for all
            rows.keep(pa.table({schema.target: [None]}))
            return rows.withheld == 0
        keys, verifier = self.project.provider, self.project.signer.verifier
        # training went on with those beside a sample
        for piece in tables.scan_all(self.folder, keys, verifier, rows.columns):
            if not {*rows.columns} <= {*piece.schema.names}:
                return False
            rows.keep(pa.Table.from_batches([piece]))
        return rows.withheld == 0

    def rows(self, access: Access) -> RowFilter:
        """The filter of rows; its columns must be open to whoever reads, or nothing is."""
        point, columns = self.project.point, self.project.config.access.rows
        for name in columns:
            if name not in access.classes:
                raise ConfigError(
                    f"[access] rows: {self.reference} has no column {name!r}",
                    hint="no policy could tell its rows apart",
                )
            if access.classes[name] != "general":
                raise ConfigError(
                    f"[access] rows: {name!r} is of class {access.classes[name]}",
                    hint="rows are told apart by general columns",
                )
            if name in access.withheld:
                raise AccessDenied(
                    f"{access.principal.uid} may not see {name!r}, by which rows are told apart",
                    hint="the project's owner writes policies",
                )

        def allowed(tags: Tags) -> bool:
            return point.decide(
                "dataset:read-rows", Resource("Row", self.record.name, tags), self.purpose
            )[1].allowed

        return RowFilter(columns, allowed)

    def pieces(self, columns: list[str] | None, kind: str) -> Iterator[pa.RecordBatch]:
        """Rows of a kind (see `tables.scan`) as they may be seen; deciding and reading are
        recorded.
        """
        if kind == tables.REST and not self.record.rest:
            return
        access, wanted, rows = self.decided(columns)
        keys, verifier = self.project.provider, self.project.signer.verifier
        root, count = None, 0
        if kind == tables.REST:
            kept = tables.columns_of(self.folder, keys, verifier, kind).names
            wanted = [name for name in wanted if name in kept]
            if not {*rows.columns} <= {*kept}:  # nothing there tells these rows apart
                rows.withheld += self.record.rest
                self.told(rows, 0)
                return
        try:
            for batch in tables.scan(self.folder, keys, verifier, wanted, access.denied, kind):
                piece = rows.keep(pa.Table.from_batches([batch]))
                count += piece.num_rows
                if PSEUDONYM in piece.column_names:
                    root = root or self.project.identifiers.root(create=False)
                yield from under_masks(
                    self.project.identifiers.open(piece, root), columns, rows, access
                ).to_batches()
        finally:  # also of a reader who stops half-way
            self.told(rows, count)

    def told(self, rows: RowFilter, read: int) -> None:
        """Say how many rows were read, and record those that policy withholds."""
        principal, resource = self.project.point.actor, f'Dataset::"{self.record.name}"'
        self.project.point.anomalies.read(principal.uid, read)
        if rows.withheld:
            self.project.log.record(
                principal.uid,
                "dataset:read-rows",
                resource,
                "denied",
                version=self.record.version,
                rows=rows.withheld,
            )

    def decided(self, columns: list[str] | None) -> tuple[Access, list[str], RowFilter]:
        """(what may be seen, columns to read, filter of rows), decided and recorded."""
        access = self.access()
        rows = self.rows(access)
        if unknown := sorted(set(columns or ()) - set(access.classes)):
            raise ConfigError(
                f"{self.reference} has no column {unknown[0]!r}", hint="`casemate data show NAME`"
            )
        asked = list(access.classes) if columns is None else columns
        refused = [name for name in asked if name in access.withheld]
        resource = f'Dataset::"{self.record.name}"'
        reasons = sorted(
            {
                reason
                for found in {access.classes[name] for name in asked}
                for reason in access.decisions[found].reasons
            }
        )
        if refused and (columns is not None or len(refused) == len(asked)):
            self.project.log.record(
                access.principal.uid,
                "dataset:read",
                resource,
                "denied",
                columns=refused,
                policies=reasons,
            )
            raise AccessDenied(
                f"{access.principal.uid} may not dataset:read {self.record.name!r}, columns"
                f" {', '.join(refused[:8])} ({', '.join(reasons)})",
                hint="ask for other columns; the project's owner grants roles and writes policies",
            )
        wanted = [name for name in asked if name not in refused]
        told: dict[str, Any] = {
            "version": self.record.version,
            "withheld": refused,
            "policies": reasons,
        }
        if under := [name for name in wanted if name in access.masked]:
            told["masked"] = under
        if self.purpose is not None:
            told["purpose"] = self.purpose
        self.project.log.record(access.principal.uid, "dataset:read", resource, "allowed", **told)
        named = {
            column.name
            for column in self.record.schema.columns
            if column.column_class == "identifier"
        }
        if self.record.subject is not None and PSEUDONYM not in wanted and named & set(wanted):
            wanted = [*wanted, PSEUDONYM]
            access = dataclasses.replace(access, opened=frozenset({access.classes[PSEUDONYM]}))
        return access, [*wanted, *(name for name in rows.columns if name not in wanted)], rows


def under_masks(
    opened: pa.Table, columns: list[str] | None, rows: RowFilter, access: Access
) -> pa.Table:
    """Without what was read for our own purposes only, and under masks."""
    ours = {PSEUDONYM, *(rows.columns if columns is not None else ())} - set(columns or ())
    shown = opened.drop_columns([name for name in opened.column_names if name in ours])
    for name in [name for name in shown.column_names if name in access.masked]:
        column = masked(shown[name], access.masked[name], name)
        shown = shown.set_column(shown.column_names.index(name), name, column)
    return shown


@dataclass(frozen=True)
class Shown:
    """A data set as one person may see it."""

    reader: str
    record: SealedDataset
    suspects: list[Quarantined]
    access: Access


def without_values(schema: Schema, hidden: set[str]) -> Schema:
    """The schema without what it says of the values of columns that policy does not open."""
    columns = [
        (
            msgspec.structs.replace(column, min=None, max=None, categories=None)
            if column.name in hidden
            else column
        )
        for column in schema.columns
    ]
    return msgspec.structs.replace(
        schema, columns=columns, classes=[] if schema.target in hidden else schema.classes
    )
