"""`[data]`: where the table is, how it is read, and what must hold in it."""

import fnmatch
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from casemate.config.column import ColumnTable, impossible_column
from casemate.config.table import Name, Share, Table, is_pattern
from casemate.core.errors import ConfigError
from casemate.core.types import Severity


class ProjectTable(Table, frozen=True, kw_only=True):
    """Who this project is."""

    name: Annotated[
        Name, Meta(description="Project name; also the model's and the data set's default name.")
    ]
    id: Annotated[
        Name,
        Meta(
            description="Names the key store folder `~/.config/casemate/<id>`; written by `init`."
        ),
    ]
    purpose: Annotated[
        str, Meta(description="Why the data is processed; part of every decision and record.")
    ] = "unspecified"


class RuleTable(Table, frozen=True, kw_only=True):
    """One thing that must hold in every row, in your words."""

    name: Annotated[
        str, Meta(description="What the rule says, for reports.", min_length=1, max_length=200)
    ]
    check: Annotated[
        str,
        Meta(
            description=(
                "What must hold: columns, numbers and texts with `+ - * /`, comparisons, `and`,"
                " `or`, `not`, `in [...]`, `abs()`, `is None`; `column('a name')` for names with"
                " blanks."
            ),
            max_length=2000,
        ),
    ]
    when: Annotated[str | None, Meta(description="Only rows for which this holds are checked.")] = (
        None
    )
    severity: Annotated[Severity, Meta(description="`high` blocks a release.")] = "high"
    tolerate: Annotated[Share, Meta(description="Share of the checked rows that may break it.")] = (
        0.0
    )


MOST_LABELS = 16
"""Labels of a row at most: the answers to a row are recorded as the bits of one 16-bit number, and
each label is trained, screened and attacked for itself, so that a run takes as many times as long.
Chosen.
"""


class DataTable(Table, frozen=True, kw_only=True):
    """The table to learn from."""

    source: Annotated[
        str | Annotated[list[str], Meta(min_length=1, max_length=10_000)],
        Meta(
            description=(
                "File, relative to the project: delimited text, Parquet, Arrow, ORC, JSON, SQLite,"
                " DuckDB or a spreadsheet, by its content; a list of files or a folder of them with"
                " the same columns; or `postgresql://USER@HOST:PORT/DATABASE` with `query`."
            )
        ),
    ]
    target: Annotated[
        str | Annotated[list[str], Meta(min_length=1, max_length=100)],
        Meta(
            description=(
                "Column to predict; several quantities, or several labels of which a row may carry"
                " any: a list."
            )
        ),
    ]
    task: Annotated[
        Literal["classification", "regression"],
        Meta(
            description=(
                "`classification`: the target is one of some classes; `regression`: a quantity, or"
                " several."
            )
        ),
    ] = "classification"
    subject: Annotated[
        str | None,
        Meta(
            description=(
                "Column that identifies the person; its rows stay on one side of every split."
            )
        ),
    ] = None
    name: Annotated[
        Name | None, Meta(description="Data set name; default: the project's name.")
    ] = None
    positive: Annotated[
        str | None,
        Meta(description="Positive class of a binary target; default: the last one when sorted."),
    ] = None
    ordinal: Annotated[
        list[str],
        Meta(
            description=(
                "The target's classes from the least to the greatest, where they have an order,"
                " such as grades: they are numbered so, and `quadratic_kappa` and `rank_error` say"
                " how far off answers are."
            )
        ),
    ] = []
    header: Annotated[
        list[str] | None, Meta(description="Column names of a CSV file that has no header line.")
    ] = None
    delimiter: Annotated[
        Annotated[str, Meta(min_length=1, max_length=1)] | None,
        Meta(
            description=(
                "What is between the cells of a text file, `\\t` for tabs; default: found by"
                " content."
            )
        ),
    ] = None
    decimal: Annotated[
        Literal[".", ","] | None,
        Meta(description="Decimal sign of a text file; default: found by content."),
    ] = None
    encoding: Annotated[
        str | None,
        Meta(
            description=(
                "Encoding of a text file, such as `cp1252`; default: UTF-8, or UTF-16 where its"
                " mark says so."
            )
        ),
    ] = None
    quote: Annotated[
        Annotated[str, Meta(max_length=1)] | None,
        Meta(
            description=(
                "What is around cells that hold delimiters; empty: quotes are letters; default:"
                " found by content."
            )
        ),
    ] = None
    escape: Annotated[
        Annotated[str, Meta(max_length=1)] | None,
        Meta(
            description=(
                "What stands before a quote inside of a quoted cell; empty: quotes are doubled;"
                " default: found by content."
            )
        ),
    ] = None
    skip_lines: Annotated[
        int,
        Meta(
            description=(
                "Lines (spreadsheets: rows) before the header, or before the first row if `header`"
                " is given."
            ),
            ge=0,
        ),
    ] = 0
    bad_rows: Annotated[
        Literal["refuse", "quarantine"],
        Meta(
            description=(
                "Ragged or wrongly quoted rows of a text file: `refuse` it, or leave them out"
                " (`quarantine`); a finding lists their lines."
            )
        ),
    ] = "refuse"
    date_format: Annotated[
        str | None,
        Meta(
            description=(
                "How a text file writes moments, as strptime has it: `%d.%m.%Y`; default: ISO 8601."
            )
        ),
    ] = None
    table: Annotated[
        str | None,
        Meta(
            description="Table of a database file, or sheet of a workbook; default: the only one."
        ),
    ] = None
    query: Annotated[
        str | None,
        Meta(description="What a database server is asked: one SELECT, best with ORDER BY."),
    ] = None
    password: Annotated[
        str | None,
        Meta(description="Reference to the database's password: `env:NAME` or `file:PATH`."),
    ] = None
    null_values: Annotated[list[str], Meta(description="CSV cells that mean missing.")] = (
        msgspec.field(default_factory=lambda: ["", "NA", "N/A", "NaN", "null"])
    )
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
        int, Meta(description="Largest source file that is read, in bytes.", ge=1)
    ] = 16 * 2**30
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


def require_possible(data: DataTable) -> None:
    """ConfigError when keys of the `[data]` table do not go together."""
    problems = impossible_data(data)
    if problems:
        raise ConfigError("; ".join(problems))


def impossible_data(data: DataTable) -> list[str]:
    """What of `[data]` does not go together."""
    problems = []
    if any(
        name in data.columns and data.columns[name].column_class == "identifier"
        for name in data.targets
    ):
        problems.append("[data] the target cannot be an identifier")
    for key in ("subject", "time", "provenance", "weight"):
        if getattr(data, key) in data.targets:
            problems.append(f"[data] {key} and target are the same column")
    if data.weight is not None:
        problems += _impossible_weight(data, data.weight)
    if len(set(data.targets)) < len(data.targets):
        problems.append("[data] target names a column twice")
    if data.several_labels:
        problems += _impossible_labels(data)
    if data.ordinal:
        problems += _impossible_order(data)
    if data.task == "regression" and data.positive is not None:
        problems.append("[data] positive: a quantity has no positive class")
    for name, column in data.columns.items():
        if column.min is not None and column.max is not None and column.min > column.max:
            problems.append(f"[data.columns] {name}: min {column.min} is above max {column.max}")
        problems += [f"[data.columns] {name}: {text}" for text in impossible_column(column)]
    names = [rule.name for rule in data.rules]
    problems += [
        f"[[data.rules]] two rules are called {name!r}"
        for name in sorted({name for name in names if names.count(name) > 1})
    ]
    return problems


def _impossible_labels(data: DataTable) -> list[str]:
    problems = []
    if len(data.targets) > MOST_LABELS:
        problems.append(
            f"[data] target: names {len(data.targets)} labels, a project learns up to"
            f" {MOST_LABELS}: make a project for each group of them"
        )
    if data.ordinal:
        problems.append(
            "[data] ordinal: is for the classes of one target; of several labels each is yes or no"
        )
    return problems


def _impossible_order(data: DataTable) -> list[str]:
    if data.task == "regression":
        return ["[data] ordinal: a quantity has an order of its own"]
    problems = (
        ["[data] ordinal: names a class twice"]
        if len(set(data.ordinal)) < len(data.ordinal)
        else []
    )
    if data.positive is not None:
        problems.append(
            "[data] ordinal and positive: say one of them; of ordered classes none is the"
            " positive one"
        )
    return problems + (
        ["[data] ordinal: two classes have no order that a figure could show; leave it out"]
        if len(data.ordinal) < 3
        else []
    )


def _impossible_weight(data: DataTable, name: str) -> list[str]:
    problems = [
        f"[data] weight and {key} are the same column"
        for key in ("subject", "time", "provenance")
        if getattr(data, key) == name
    ]
    said = data.column(name)
    if said.column_class == "identifier" or said.type not in (None, "number"):
        problems.append(
            f"[data.columns] {name}: it is the weight, which is a number and no identifier"
        )
    if said.use:
        problems.append(
            f"[data.columns] {name}: it is the weight, which is never a feature: use = true"
        )
    return problems
