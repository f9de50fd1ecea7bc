"""A sealed table as one person may see it: columns, rows and masks as policy says, every reading
recorded.
"""

import dataclasses
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np
import pyarrow as pa

from casemate.controls.keys import tables
from casemate.controls.keys.identifiers import PSEUDONYM
from casemate.controls.privacy.budget import Limit, Spending, spend
from casemate.controls.privacy.statistics import Noisy, noisy, require_declared
from casemate.core.errors import ConfigError
from casemate.core.types import MISSING_CATEGORY, Quarantined, SealedDataset
from casemate.ml.frame import NO_LABEL, features_of, rarest_of, target_of
from casemate.operations.acting import Noun, operation, reading
from casemate.operations.sight import Access, Shown, Sight, under_masks, without_values
from casemate.stages.data.losses import Loss, losses
from casemate.stages.data.review import Review, row_digests
from casemate.wiring import Wiring

if TYPE_CHECKING:
    from casemate.stages.data.diff import Difference

GENERAL = {"column_class": "general"}
WITHHELD_ROWS, MASKED_COLUMNS = "casemate:withheld-rows", "casemate:masked-columns"


@dataclass(frozen=True)
class Dataset:
    """A sealed version of a table."""

    project: Wiring
    record: SealedDataset
    purpose: str | None = None
    """What it is read for; default: the project's purpose."""

    def __repr__(self) -> str:
        return (
            f"<data set {self.record.name}@{self.record.version}: {self.record.rows} rows,"
            f" {len(self.record.schema.columns)} columns>"
        )

    def for_purpose(self, purpose: str) -> "Dataset":
        """The same, read for something else than the project's purpose; policies may open more or
        less of it.
        """
        return dataclasses.replace(self, purpose=purpose)

    @property
    def _sight(self) -> Sight:
        return Sight(self.project, self.record, self.purpose)

    def access(self) -> Access:
        """What the current user may see of it: each column class is decided by policy. Nothing is
        recorded.
        """
        return self._sight.access()

    def hears_code(self) -> bool:
        """Whether the current user may hear what training code says of this version: it may quote
        any row and column that it saw.

        These are the features and the targets; nothing is recorded.
        """
        return self._sight.hears_code()

    @operation("dataset:read", "Dataset")
    def to_arrow(self, columns: list[str] | None = None) -> pa.Table:
        """The verified, decrypted table; reading it is decided by policy, per column class and row,
        and recorded.

        How many rows policy withholds is in the schema's metadata as `casemate:withheld-rows`, the
        columns that are shown under a mask as `casemate:masked-columns`. Identifiers of subjects
        whose key was shredded are null. Ask for `casemate_subject` to get every row's keyed
        pseudonym.

        Args:
            columns: names to read; default: every column that the user may see. `access()` says
                what is withheld.

        Raises:
            AccessDenied: a column was asked for that the user may not see, or there is none that he
                may.
            ConfigError: there is no such column.
        """
        access, wanted, rows = self._sight.decided(columns)
        table = rows.keep(
            tables.read(
                self.folder,
                self.project.provider,
                self.project.signer.verifier,
                wanted,
                access.denied,
            )
        )
        self._sight.told(rows, table.num_rows)
        shown = under_masks(self.project.identifiers.open(table), columns, rows, access)
        said = {WITHHELD_ROWS: str(rows.withheld)} if rows.withheld else {}
        if under := [name for name in shown.column_names if name in access.masked]:
            said[MASKED_COLUMNS] = ",".join(under)
        return shown.replace_schema_metadata(said) if said else shown

    @operation("dataset:read", "Dataset")
    def batches(
        self, columns: list[str] | None = None, *, rest: bool = False
    ) -> Iterator[pa.RecordBatch]:
        """The same in pieces of at most 65 536 rows, in constant memory.

        Args:
            columns: see `to_arrow`.
            rest: of a version that training goes on with beside its sample, these rows, with those
                of the columns that training needs.
        """
        yield from self._sight.pieces(columns, tables.REST if rest else tables.ROWS)

    @property
    def folder(self) -> Path:
        """Where the version lies, sealed."""
        return self.project.state / "datasets" / self.record.name / self.record.version

    @operation("dataset:read", "Dataset")
    def show(self) -> "Shown":
        """Schema, screen and quarantine, without a value of columns that policy does not open;
        AccessDenied: policy.
        """
        access = self.access()
        acting = Dataset.show.ask(self.project, self.record.name, context=GENERAL)
        hidden = {*access.withheld, *access.masked}
        record = msgspec.structs.replace(
            self.record, schema=without_values(self.record.schema, hidden)
        )
        found = msgspec.json.decode(
            self.project.objects.get(record.quarantine), type=list[Quarantined]
        )
        # reasons and scores come from all features
        if hidden & {column.name for column in record.schema.features}:
            found = [msgspec.structs.replace(suspect, detail="", score=0.0) for suspect in found]
        return Shown(acting.uid, record, found, access)

    @operation("dataset:read", "Dataset")
    def suspects(self) -> list[Quarantined]:
        """The rows under suspicion, by number; the policy must let you read the data set's general
        columns.
        """
        Dataset.suspects.ask(self.project, self.record.name, context=GENERAL, unrecorded=True)
        return msgspec.json.decode(
            self.project.objects.get(self.record.quarantine), type=list[Quarantined]
        )

    def reviewed(self) -> dict[int, Review]:
        """What people decided about the rows under suspicion, by row number."""
        rows = np.array(sorted({suspect.row for suspect in self.suspects()}), dtype=np.int64)
        known = self.project.reviews.of(self.record.name)
        return (
            {
                int(row): known[digest]
                for row, digest in zip(rows, self._digests(rows), strict=True)
                if digest in known
            }
            if known
            else {}
        )

    @operation("dataset:read", "Dataset")
    def losses(self, rows: list[int]) -> list[Loss]:
        """What leaving these rows out would do to classes and groups, as far as you may see the
        columns that make the groups.

        Protected columns and the source of rows are told in full, other categories where much of a
        group would go. Nothing is told of columns that policy withholds or masks, and nothing at
        all where it withholds the target or rows.

        Args:
            rows: row numbers.

        Raises:
            AccessDenied: policy does not permit reading the data set's general columns.
            ConfigError: no such row.
        """
        Dataset.losses.ask(self.project, self.record.name, context=GENERAL, unrecorded=True)
        self._require_rows(rows)

        access, schema, config = self.access(), self.record.schema, self.project.config
        hidden = {*access.withheld, *access.masked}
        # Counts are over all rows: to somebody who may see some of them they would tell the rest.
        if schema.target in hidden or config.access.rows:
            return []
        always = {name for name, column in config.data.columns.items() if column.protected} | {
            config.data.provenance or ""
        }
        known = (
            {column.name for column in schema.columns if column.column_class != "identifier"}
            - hidden
            - set(schema.targets)
        )
        names = sorted(known & (always | {column.name for column in schema.categories}))
        table = tables.read(
            self.folder,
            self.project.provider,
            self.project.signer.verifier,
            [*names, *schema.targets],
        )
        columns = {
            name: np.asarray(
                table[name].cast(pa.string()).fill_null(MISSING_CATEGORY).to_pylist(), dtype=str
            )
            for name in names
        }
        target = (
            target_of(table, schema)
            if not schema.regression
            else np.zeros(table.num_rows, dtype=int)
        )
        if schema.labels:
            target = rarest_of(target)
        names_of = [NO_LABEL, *schema.targets] if schema.labels else schema.classes or [""]
        labels = np.asarray(names_of, dtype=str)[target]
        gone = np.zeros(table.num_rows, dtype=bool)
        gone[rows] = True
        return losses(columns, labels, gone, config.privacy.min_group, frozenset(always))

    def _require_rows(self, rows: list[int]) -> None:
        if not rows or min(rows) < 0 or max(rows) >= self.record.rows:
            raise ConfigError(
                f"row numbers lie between 0 and {self.record.rows - 1}",
                hint="casemate data quarantine list",
            )

    @operation("dataset:quarantine", "Dataset")
    def review(
        self, rows: list[int], decision: Literal["released", "dropped"], reason: str
    ) -> None:
        """Say what becomes of rows under suspicion: `released` rows are trained on, `dropped` ones
        are not, from the next run on.

        Args:
            rows: row numbers.
            decision: `released` or `dropped`.
            reason: why, for the record.

        Raises:
            AccessDenied: policy does not permit it. ConfigError: no such row, or no reason.
        """
        acting = Dataset.review.ask(
            self.project, self.record.name, rows=len(rows), decision=decision
        )
        self._require_rows(rows)
        digests = self._digests(np.array(sorted(set(rows)), dtype=np.int64))
        with acting.transaction() as tx:
            self.project.reviews.decide(tx, self.record.name, digests, decision, acting.uid, reason)
            detail = {
                "version": self.record.version,
                "rows": sorted(set(rows))[:100],
                "count": len(set(rows)),
                "reason": reason.strip(),
            }
            acting.append(tx, f"quarantine:{decision}", f'Dataset::"{self.record.name}"', **detail)

    def _digests(self, rows: "np.ndarray[Any, Any]") -> list[str]:
        """Keyed digests of rows; nothing of them is shown, so no right to read is needed beyond the
        caller's.
        """
        schema = self.record.schema
        names = [*(column.name for column in schema.features), *schema.targets]
        table = tables.read(self.folder, self.project.provider, self.project.signer.verifier, names)
        key = self.project.identifiers.root(create=True).pseudonyms
        return row_digests(features_of(table, schema), target_of(table, schema), key, rows)

    @operation("dataset:statistics", "Dataset")
    def noisy(self, column: str, epsilon: float) -> Noisy:
        """A differentially private histogram of a column (and the mean of a number), paid from the
        data set's budget.

        Args:
            column: its name; `[data.columns]` must declare its limits or categories.
            epsilon: what it may cost.

        Raises:
            AccessDenied: policy does not permit it. BudgetSpent: the budget does not allow it.
                ConfigError: nothing is declared.
        """
        project, table = self.project, self.project.config.privacy
        acting = Dataset.noisy.ask(project, self.record.name, column=column, epsilon=epsilon)
        if column not in {known.name for known in self.record.schema.columns}:
            raise ConfigError(
                f"{self.reference} has no column {column!r}", hint="`casemate data show NAME`"
            )
        if not 0 < epsilon <= table.budget:
            raise ConfigError(
                f"epsilon {epsilon:g} is not between 0 and the budget {table.budget:g}",
                hint="[privacy] budget",
            )
        said = project.config.data.column(column)
        limits = (
            (said.min, said.max)
            if said.min is not None and said.max is not None
            else said.categories
        )
        require_declared(column, limits)
        wanted = Spending(
            id=secrets.token_hex(16),
            dataset=self.record.name,
            version=self.record.version,
            purpose=self.purpose or project.config.project.purpose,
            epsilon=epsilon,
            delta=0.0,
            events=[],
            run="",
            principal=acting.uid,
            what=f"statistics of {column}",
            time="",
        )
        spend(project.engine, project.ledger, wanted, Limit(table.budget, table.budget_delta))
        names = (
            [column] if self.record.subject is None or column == PSEUDONYM else [column, PSEUDONYM]
        )
        read = tables.read(self.folder, project.provider, project.signer.verifier, names)
        owners = (
            None
            if self.record.subject is None
            else read[PSEUDONYM].combine_chunks().dictionary_encode().indices.to_numpy()
        )
        return noisy(read[column], column, limits, epsilon, owners)

    def diff(self, newer: "Dataset") -> "Difference":
        """What differs in a newer version, without any value."""
        from casemate.stages.data.diff import compare

        return compare(self.to_arrow(), newer.to_arrow())

    @property
    def reference(self) -> str:
        """How this version is asked for, `NAME@VERSION`."""
        return f"{self.record.name}@{self.record.version}"

    def to_pandas(self, columns: list[str] | None = None) -> Any:
        """The same as a pandas DataFrame."""
        return self.to_arrow(columns).to_pandas()


class Datasets(Noun, Mapping[str, Dataset]):
    """Sealed data sets by `NAME` (newest) or `NAME@VERSION`, for whoever may list data sets."""

    @reading("dataset:list")
    def all(self) -> dict[str, Dataset]:
        """Every version by `NAME@VERSION`, and the newest by `NAME`; AccessDenied: policy."""
        found: dict[str, Dataset] = {}
        for run in self.project.engine.runs():
            record = self.project.engine.record(run.id, "data", SealedDataset)
            if record is not None:
                found.setdefault(record.name, Dataset(self.project, record))
                found.setdefault(f"{record.name}@{record.version}", Dataset(self.project, record))
        return found

    def __getitem__(self, reference: str) -> Dataset:
        return self.all()[reference]

    def find(self, reference: str) -> Dataset:
        """The data set of this name; AccessDenied: policy. ConfigError: there is none."""
        found = self.all().get(reference)
        if found is None:
            raise ConfigError(f"no data set {reference!r}", hint="`casemate data list`")
        return found

    def records(self) -> list[SealedDataset]:
        """Every sealed version; AccessDenied: policy."""
        return [dataset.record for reference, dataset in self.all().items() if "@" in reference]

    def __iter__(self) -> Iterator[str]:
        return iter([reference for reference in self.all() if "@" in reference])

    def __len__(self) -> int:
        return len(list(iter(self)))
