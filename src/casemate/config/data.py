"""`[data]`: where the table is, how it is read, and what must hold in it."""

import fnmatch
from typing import Annotated, Literal

from msgspec import Meta

from casemate.config.column import ColumnTable
from casemate.config.reading import ReadingOptions
from casemate.config.rules import RuleTable
from casemate.config.table import MOST_GB, is_pattern


class DataTable(ReadingOptions, frozen=True, kw_only=True):
    """The table to learn from."""

    missing_target: Annotated[
        Literal["refuse", "drop"],
        Meta(
            description=(
                "Rows without a target: `refuse` the table, or `drop` them before anything else and"
                " tell how many."
            )
        ),
    ] = "refuse"
    trim: Annotated[
        bool, Meta(description="Strip white space around CSV cells of text columns.")
    ] = True
    schema: Annotated[
        str,
        Meta(description="Where the inferred schema is pinned; edit it to change what is allowed."),
    ] = "schema.toml"
    max_bytes: Annotated[
        int,
        Meta(description="Largest source file that is read, in bytes.", ge=1, le=MOST_GB * 2**30),
    ] = 16 * 2**30
    sample: Annotated[
        Annotated[int, Meta(ge=1000)] | None,
        Meta(
            description=(
                "Of a longer text or Parquet table so many rows are drawn, and only these are"
                " screened, and learnt from unless `[train] rows` says `all`; all others are looked"
                " at in a stream, and `max_bytes` bounds the table no longer."
            )
        ),
    ] = None
    columns: Annotated[
        dict[str, ColumnTable],
        Meta(description="Per column (`px*` stands for all that match): class, type, limits, ..."),
    ] = {}
    rules: Annotated[
        list[RuleTable], Meta(description="What must hold across the columns of a row.")
    ] = []
    time: Annotated[
        str | None,
        Meta(
            description=(
                "Column that says when a row arose: drift, floods and an ordered split go by it."
            )
        ),
    ] = None
    provenance: Annotated[
        str | None,
        Meta(
            description="Column that says where a row came from, such as a site; it is no feature."
        ),
    ] = None
    weight: Annotated[
        str | None,
        Meta(
            description=(
                "Column that says for how many of the population a row stands, such as a survey"
                " weight: training, search and the figures of quality weigh rows by it; it is no"
                " feature."
            )
        ),
    ] = None
    reference: Annotated[
        str | None,
        Meta(
            description=(
                "Version whose statistics later ones are compared with; default: the first one that"
                " was sealed under the pinned schema."
            )
        ),
    ] = None

    @property
    def targets(self) -> list[str]:
        """The columns to predict."""
        return [self.target] if isinstance(self.target, str) else self.target

    @property
    def several_labels(self) -> bool:
        """Whether a row may carry any of several labels, each of them yes or no."""
        return self.task == "classification" and len(self.targets) > 1

    @property
    def no_features(self) -> list[str]:
        """Columns that are never a feature, whatever `[data.columns]` says of them."""
        return [
            *self.targets,
            *(name for name in (self.provenance, self.weight) if name is not None),
        ]

    def identifies(self, name: str) -> bool:
        """Whether a column is declared to say who somebody is: the subject, or of class
        `identifier`.
        """
        return name == self.subject or self.column(name).column_class == "identifier"

    def column(self, name: str) -> ColumnTable:
        """What is known about a column: its own entry, else the first pattern that matches."""
        if name in self.columns:
            return self.columns[name]
        return next(
            (
                table
                for pattern, table in self.columns.items()
                if is_pattern(pattern) and fnmatch.fnmatchcase(name, pattern)
            ),
            ColumnTable(),
        )
