"""`casemate.toml` as a frozen `Config`: every option with its type, limits, default and meaning.

The file is strict: an unknown table or key is an error that names the nearest known one. `-s table.key=value`
overrides one value. Secrets are never values here, only references (`env:NAME`, `file:PATH`).

>>> from casemate.config import parse
>>> config = parse('[project]\\nname = "demo"\\nid = "demo-1"\\n[data]\\nsource = "t.csv"\\ntarget = "y"\\n'
...                '[train]\\nentry = "train.py:build"\\n')
>>> config.train.metric is None
True
"""

import difflib
import fnmatch
import ipaddress
import json
import math
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec
from msgspec import Meta

from casemate.core.errors import ConfigError
from casemate.core.http import is_private
from casemate.core.types import ColumnClass, ColumnType, Severity

FILE_NAME = "casemate.toml"
Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
Share = Annotated[float, Meta(ge=0.0, le=1.0)]
Count = Annotated[int, Meta(ge=1)]
Url = Annotated[str, Meta(pattern=r"^https?://[^\s?#]+$")]
Origin = Annotated[str, Meta(pattern=r"^https://[^\s/?#]+$")]
Part = Literal["year", "month", "weekday", "hour", "days", "words"]
Mask = Annotated[str, Meta(pattern=r"^(redact|year|first-[1-9][0-9]?|round-[1-9][0-9]{0,8})$")]


DetectorId = Literal["duplicate", "flood", "outlier", "neighbours", "label-noise", "trigger", "spectral"]
"""What a row of the quarantine is there for."""
Event = Literal["run:passed", "run:refused", "run:failed", "access:break-glass", "access:anomaly", "model:rolled-back", "model:canary-failed",
                "model:withdrawn", "model:not-loaded", "*"]  # fmt: skip
"""What the outbox can tell; `*` is all of it."""


def is_pattern(name: str) -> bool:
    """Whether a name in `[data.columns]` stands for all columns that match it."""
    return any(sign in name for sign in "*?[")


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One table of the file."""


class ProjectTable(Table, frozen=True, kw_only=True):
    """Who this project is."""

    name: Annotated[Name, Meta(description="Project name; also the model's and the data set's default name.")]
    id: Annotated[Name, Meta(description="Names the key store folder `~/.config/casemate/<id>`; written by `init`.")]
    purpose: Annotated[str, Meta(description="Why the data is processed; part of every decision and record.")] = "unspecified"


SPANS = ("clock", "duration")
"""Formats of a column that make numbers of it."""


class ColumnTable(Table, frozen=True, kw_only=True, rename={"column_class": "class"}):
    """What is known about one column."""

    column_class: Annotated[
        ColumnClass | None,
        Meta(
            description="`identifier` and `sensitive` columns are sealed under keys of their own; an identifier is never a feature and is "
            "read as text. Default: what the pinned schema says, in a new one `general`."
        ),
    ] = None
    type: Annotated[ColumnType | None, Meta(description="Fixes the type instead of inferring it.")] = None
    coerce: Annotated[
        bool, Meta(description="Cells that are not of the type become missing, and a finding names the rows; otherwise they are an error.")
    ] = False
    use: Annotated[bool | None, Meta(description="Whether the column is a feature. Default: what the pinned schema says, in a new one yes.")] = None
    min: Annotated[float | None, Meta(description="Least number that is possible, whatever the data shows; needed for private training.")] = None
    max: Annotated[float | None, Meta(description="Greatest number that is possible; needed for private training.")] = None
    categories: Annotated[
        list[str] | None,
        Meta(description="All categories that are possible, whatever the data shows; needed for private training, of the target too (its classes)."),
    ] = None
    nullable: Annotated[
        bool | None,
        Meta(description="Whether a cell may be missing. Default: what the pinned schema says, in a new one what the data shows; private: yes."),
    ] = None
    decimal: Annotated[
        Literal[".", ","] | None,
        Meta(
            description="Numbers are written as amounts with this decimal sign: currency signs, `%` and thousands "
            "separators are taken off (`$1,234.50`, `35%`; with a comma `1.234,50 €`)."
        ),
    ] = None
    censored: Annotated[
        bool,
        Meta(
            description="Cells such as `> 89` or `<0.1` are read as the number, and a feature `NAME_censored` (-1 below, 0 exact, 1 above) is added."
        ),
    ] = False
    format: Annotated[
        str | None,
        Meta(
            description="How a time is written: `%d.%m.%Y` and so on (strptime), `iso`, or the unit of numbers since 1970: `epoch-s`, `epoch-ms`. "
            "Of a number: `clock` (times of day as hours: `08:15`, `8:15 pm`), `duration` (seconds: `1h 30m`, `26:10:00`, `PT1H30M`)."
        ),
    ] = None
    parts: Annotated[
        list[Part],
        Meta(
            description="Features made of the column, row by row: of a time `year`, `month`, `weekday` (0 is Monday), `hour`, "
            "`days` (until `since`); of text `words` (16 counts of hashed words)."
        ),
    ] = []
    since: Annotated[
        str | None,
        Meta(description="What `days` counts from the column to: another time column, or a date such as 2026-01-31."),
    ] = None
    missing: Annotated[list[str], Meta(description="Cells of this column that mean missing, beside `null_values`: `-1`, `999`, `?`.")] = []
    monotone: Annotated[
        Literal["increasing", "decreasing"] | None,
        Meta(
            description="Which way the prediction may go when this number rises and nothing else changes: the positive class's probability, or "
            "the quantities. Boosted trees keep it; models that cannot are not trained."
        ),
    ] = None
    unit: Annotated[str | None, Meta(description="Unit of a number, such as `kg` or `degC`; rows that look like another unit are found.")] = None
    protected: Annotated[bool, Meta(description="A protected attribute, such as sex: fairness is measured by each of its values.")] = False
    mask: Annotated[
        Mask | None, Meta(description="What is left of a value for whoever policy lets see it masked only: `redact`, `year`, `first-N` or `round-N`.")
    ] = None


class RuleTable(Table, frozen=True, kw_only=True):
    """One thing that must hold in every row, in your words."""

    name: Annotated[str, Meta(description="What the rule says, for reports.", min_length=1, max_length=200)]
    check: Annotated[
        str,
        Meta(
            description="What must hold: columns, numbers and texts with `+ - * /`, comparisons, `and`, `or`, `not`, `in [...]`, `abs()`, "
            "`is None`; `column('a name')` for names with blanks.",
            max_length=2000,
        ),
    ]
    when: Annotated[str | None, Meta(description="Only rows for which this holds are checked.")] = None
    severity: Annotated[Severity, Meta(description="`high` blocks a release.")] = "high"
    tolerate: Annotated[Share, Meta(description="Share of the checked rows that may break it.")] = 0.0


class DataTable(Table, frozen=True, kw_only=True):
    """The table to learn from."""

    source: Annotated[
        str | Annotated[list[str], Meta(min_length=1, max_length=10_000)],
        Meta(
            description="File, relative to the project: delimited text, Parquet, Arrow, ORC, JSON, SQLite, DuckDB or a spreadsheet, by its content; "
            "a list of files or a folder of them with the same columns; or `postgresql://USER@HOST:PORT/DATABASE` with `query`."
        ),
    ]
    target: Annotated[
        str | Annotated[list[str], Meta(min_length=1, max_length=100)], Meta(description="Column to predict; several for regression: a list.")
    ]
    task: Annotated[
        Literal["classification", "regression"],
        Meta(description="`classification`: the target is one of some classes; `regression`: a quantity, or several."),
    ] = "classification"
    subject: Annotated[str | None, Meta(description="Column that identifies the person; its rows stay on one side of every split.")] = None
    name: Annotated[Name | None, Meta(description="Data set name; default: the project's name.")] = None
    positive: Annotated[str | None, Meta(description="Positive class of a binary target; default: the last one when sorted.")] = None
    ordinal: Annotated[
        list[str],
        Meta(
            description="The target's classes from the least to the greatest, where they have an order, such as grades: they are numbered so, and "
            "`quadratic_kappa` and `rank_error` say how far off answers are."
        ),
    ] = []
    header: Annotated[list[str] | None, Meta(description="Column names of a CSV file that has no header line.")] = None
    delimiter: Annotated[
        Annotated[str, Meta(min_length=1, max_length=1)] | None,
        Meta(description="What is between the cells of a text file, `\\t` for tabs; default: found by content."),
    ] = None
    decimal: Annotated[Literal[".", ","] | None, Meta(description="Decimal sign of a text file; default: found by content.")] = None
    encoding: Annotated[
        str | None, Meta(description="Encoding of a text file, such as `cp1252`; default: UTF-8, or UTF-16 where its mark says so.")
    ] = None
    quote: Annotated[
        Annotated[str, Meta(max_length=1)] | None,
        Meta(description="What is around cells that hold delimiters; empty: quotes are letters; default: found by content."),
    ] = None
    escape: Annotated[
        Annotated[str, Meta(max_length=1)] | None,
        Meta(description="What stands before a quote inside of a quoted cell; empty: quotes are doubled; default: found by content."),
    ] = None
    skip_lines: Annotated[
        int, Meta(description="Lines (spreadsheets: rows) before the header, or before the first row if `header` is given.", ge=0)
    ] = 0
    bad_rows: Annotated[
        Literal["refuse", "quarantine"],
        Meta(description="Ragged or wrongly quoted rows of a text file: `refuse` it, or leave them out (`quarantine`); a finding lists their lines."),
    ] = "refuse"
    date_format: Annotated[str | None, Meta(description="How a text file writes moments, as strptime has it: `%d.%m.%Y`; default: ISO 8601.")] = None
    table: Annotated[str | None, Meta(description="Table of a database file, or sheet of a workbook; default: the only one.")] = None
    query: Annotated[str | None, Meta(description="What a database server is asked: one SELECT, best with ORDER BY.")] = None
    password: Annotated[str | None, Meta(description="Reference to the database's password: `env:NAME` or `file:PATH`.")] = None
    null_values: Annotated[list[str], Meta(description="CSV cells that mean missing.")] = msgspec.field(
        default_factory=lambda: ["", "NA", "N/A", "NaN", "null"]
    )
    missing_target: Annotated[
        Literal["refuse", "drop"],
        Meta(description="Rows without a target: `refuse` the table, or `drop` them before anything else and tell how many."),
    ] = "refuse"
    trim: Annotated[bool, Meta(description="Strip white space around CSV cells of text columns.")] = True
    schema: Annotated[str, Meta(description="Where the inferred schema is pinned; edit it to change what is allowed.")] = "schema.toml"
    max_bytes: Annotated[int, Meta(description="Largest source file that is read, in bytes.", ge=1)] = 16 * 2**30
    columns: Annotated[dict[str, ColumnTable], Meta(description="Per column (`px*` stands for all that match): class, type, limits, ...")] = {}
    rules: Annotated[list[RuleTable], Meta(description="What must hold across the columns of a row.")] = []
    time: Annotated[str | None, Meta(description="Column that says when a row arose: drift, floods and an ordered split go by it.")] = None
    provenance: Annotated[str | None, Meta(description="Column that says where a row came from, such as a site; it is no feature.")] = None
    weight: Annotated[
        str | None,
        Meta(
            description="Column that says for how many of the population a row stands, such as a survey weight: training, search and the "
            "figures of quality weigh rows by it; it is no feature."
        ),
    ] = None
    reference: Annotated[
        str | None,
        Meta(description="Version whose statistics later ones are compared with; default: the first one that was sealed under the pinned schema."),
    ] = None

    @property
    def targets(self) -> list[str]:
        """The columns to predict."""
        return [self.target] if isinstance(self.target, str) else self.target

    @property
    def no_features(self) -> list[str]:
        """Columns that are never a feature, whatever `[data.columns]` says of them."""
        return [*self.targets, *(name for name in (self.provenance, self.weight) if name is not None)]

    def identifies(self, name: str) -> bool:
        """Whether a column is declared to say who somebody is: the subject, or of class `identifier`."""
        return name == self.subject or self.column(name).column_class == "identifier"

    def column(self, name: str) -> ColumnTable:
        """What is known about a column: its own entry, else the first pattern that matches."""
        if name in self.columns:
            return self.columns[name]
        return next((table for pattern, table in self.columns.items() if is_pattern(pattern) and fnmatch.fnmatchcase(name, pattern)), ColumnTable())


class ScreenTable(Table, frozen=True, kw_only=True):
    """What is looked for in the rows before anything learns from them."""

    label_noise: Annotated[bool, Meta(description="Suspected wrong labels by out-of-fold probabilities.")] = True
    outliers: Annotated[bool, Meta(description="Cells far outside their column's spread.")] = True
    duplicates: Annotated[bool, Meta(description="Rows equal in every feature and the target, more of them than chance makes.")] = True
    neighbours: Annotated[bool, Meta(description="Rows whose nearest rows nearly all have another label.")] = True
    floods: Annotated[bool, Meta(description="Many near-copies of one row with one label, far more of them than chance makes.")] = True
    provenance: Annotated[bool, Meta(description="Sources and times at which labels or suspicious rows are unusually frequent.")] = True
    triggers: Annotated[bool, Meta(description="Rare values of one to three features that decide the label (backdoors).")] = True
    spectral: Annotated[bool, Meta(description="Small groups inside a class that stand apart from it (spectral signature).")] = True
    influence: Annotated[bool, Meta(description="How much the rows under suspicion change a model: trained with and without them.")] = True
    rows: Annotated[int, Meta(description="Rows that the detectors with a cost above n log n look at; larger tables are sampled.", ge=100)] = 50_000
    folds: Annotated[int, Meta(description="Folds of the label screen.", ge=2, le=20)] = 5
    outlier_deviations: Annotated[float, Meta(description="Robust deviations (median, MAD) from which a cell is an outlier.", gt=0)] = 12.0
    quarantine: Annotated[
        Literal["report", "exclude"],
        Meta(description="`exclude` leaves suspicious training rows out; they stay sealed and listed. The hold-out keeps its rows in any case."),
    ] = "report"
    exclude: Annotated[
        list[DetectorId],
        Meta(description="Detectors whose training rows are left out even with `report`, such as `trigger`, before anybody looked at them."),
    ] = []
    cap: Annotated[Share, Meta(description="Largest share of rows under suspicion; above it the run is refused.")] = 0.25


class AdversarialTable(Table, frozen=True, kw_only=True):
    """How a model is hardened."""

    eps: Annotated[float, Meta(description="Attack size to train against, in standard deviations (networks: see `[robustness] unit`).", gt=0)] = 0.1
    steps: Annotated[int, Meta(description="Steps of the attack.", ge=1, le=100)] = 7
    rounds: Annotated[int, Meta(description="scikit-learn: rounds of attacking and training again.", ge=1, le=20)] = 3


class NetworkTable(Table, frozen=True, kw_only=True):
    """How a torch network is trained."""

    epochs: Annotated[int, Meta(description="Passes over the rows.", ge=1, le=10_000)] = 10
    batch: Annotated[int, Meta(description="Rows a step (private training: expected rows).", ge=1, le=1_000_000)] = 128
    rate: Annotated[float, Meta(description="Learning rate.", gt=0)] = 0.001
    momentum: Annotated[float, Meta(description="Of SGD, used for private training.", ge=0, lt=1)] = 0.9


class TrainTable(Table, frozen=True, kw_only=True):
    """How the model is made."""

    entry: Annotated[
        str,
        Meta(description="`FILE.py:FUNCTION` that returns an unfitted scikit-learn estimator.", pattern=r"^[^:]+\.py:[A-Za-z_]\w*$"),
    ]
    files: Annotated[list[str], Meta(description="Further code files that the entry imports, relative to the project.")] = []
    model: Annotated[
        str | None, Meta(description="An imported model file (`casemate model import`) to assess and release instead of training one.")
    ] = None
    classes: Annotated[
        list[str],
        Meta(description="Of an imported model: the table's class that each of its outputs stands for, in their order; default: by name or number."),
    ] = []
    mode: Annotated[
        Literal["plain", "adversarial", "private"],
        Meta(description="`adversarial`: hardened against evasion; `private`: differentially private, within `[privacy]`."),
    ] = "plain"
    split: Annotated[
        Literal["random", "ordered"],
        Meta(description="`ordered`: the newest rows (by `[data] time`, else the last ones) are held out, and folds go forward in time."),
    ] = "random"
    repeats: Annotated[int, Meta(description="Repetitions of the cross-validation with other folds.", ge=1, le=50)] = 1
    nested: Annotated[int, Meta(description="Outer folds that judge the whole search, not only its best candidate; 0: none.", ge=0, le=20)] = 0
    prune: Annotated[bool, Meta(description="Optuna stops candidates that fall behind after some folds (median rule).")] = True
    adversarial: Annotated[AdversarialTable, Meta(description='How `mode = "adversarial"` hardens.')] = AdversarialTable()
    network: Annotated[NetworkTable, Meta(description="How a torch network is trained.")] = NetworkTable()
    search: Annotated[
        dict[str, Any],
        Meta(description="Parameter -> list of values (grid), or `{low, high, log, int}` (Optuna); both may be mixed."),
    ] = {}
    trials: Annotated[Count, Meta(description="Optuna trials when a range is given.")] = 20
    calibrate: Annotated[
        bool,
        Meta(
            description="Calibrate probabilities by a slope and a shift of the model's scores, where that lowers log loss on rows of other folds by "
            "more than chance; for models that end in `LogisticRegression` or histogram gradient boosting."
        ),
    ] = True
    quantile: Annotated[
        Annotated[float, Meta(gt=0, lt=1)] | None,
        Meta(
            description="Predict this quantile of the quantity, such as 0.9, and not its mean: the template's trees and the search go by the pinball "
            "loss; `pinball_loss` and `quantile_coverage` are figures. A project for each quantile."
        ),
    ] = None
    costs: Annotated[
        dict[str, Annotated[float, Meta(gt=0)]],
        Meta(
            description="What a wrong answer costs, by the class that the row is of, such as `{ ill = 10, well = 1 }`: decides the threshold, "
            "on out-of-fold predictions of training rows, and the figure `cost`. For two classes; both are named."
        ),
    ] = {}
    metric: Annotated[
        str | None, Meta(description="scikit-learn scorer that chooses among candidates; default: `roc_auc`; `neg_root_mean_squared_error`; `r2`.")
    ] = None
    folds: Annotated[int, Meta(description="Cross-validation folds (stratified; grouped by subject).", ge=2, le=50)] = 5
    test_share: Annotated[
        float,
        Meta(
            description="Share of rows (or subjects) held out, each by a keyed hash of what it is; the training code never sees them.",
            gt=0.0,
            lt=1.0,
        ),
    ] = 0.25
    seed: Annotated[int, Meta(description="Seed of folds, search, detectors and NumPy; the hold-out does not depend on it.", ge=0, le=2**32 - 1)] = 0
    jobs: Annotated[Count, Meta(description="Processes for cross-validation.")] = 1
    threads: Annotated[int, Meta(description="Threads inside numeric libraries; 0 means all cores.", ge=0)] = 0
    timeout: Annotated[float, Meta(description="Seconds after which the training code is stopped.", gt=0)] = 3600.0
    memory_gb: Annotated[
        float, Meta(description="Memory of all processes of the training code together, and address space of each, in GiB.", gt=0)
    ] = 16.0

    def costs_of(self, classes: list[str]) -> list[float]:
        """What a wrong answer costs for a row of each class, in their order; nothing where no costs are said.

        Raises:
            ConfigError: the costs are not those of these classes.
        """
        if self.costs and sorted(self.costs) != sorted(classes):
            raise ConfigError(
                f"[train] costs names {', '.join(sorted(self.costs))}, the target's classes are {', '.join(classes[:8])}",
                hint="name each of the two classes of the target once",
            )
        return [float(self.costs[name]) for name in classes] if self.costs else []


class PrivacyTable(Table, frozen=True, kw_only=True):
    """What private training may spend, and what a data set may give away in all."""

    min_group: Annotated[
        int, Meta(description="Fewest rows that a told figure may be about; smaller groups are told together as `(others)`.", ge=1, le=1000)
    ] = 10

    epsilon: Annotated[float, Meta(description="Of one private training.", gt=0, le=100)] = 1.0
    delta: Annotated[float, Meta(description="Of one private training; well below one over the number of rows.", gt=0, lt=0.1)] = 1e-5
    rows: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(
            description="About how many rows (or subjects) the table has, a round number from what you know; the sampling rate of private training "
            "follows from it. Needed for torch networks trained in batches; default: rows are counted with noise."
        ),
    ] = None
    clip: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(description="Largest norm of one row's (or subject's) gradient; default: 0.2 for linear models, 1 for networks."),
    ] = None
    budget: Annotated[float, Meta(description="Epsilon that all trainings and statistics of one data set may spend together, per purpose.", gt=0)] = (
        8.0
    )
    budget_delta: Annotated[float, Meta(description="Delta at which the ledger adds up; the deltas spent may not exceed it.", gt=0, lt=0.1)] = 1e-4


class SandboxTable(Table, frozen=True, kw_only=True):
    """How the training code is confined."""

    mode: Annotated[
        Literal["require", "prefer"],
        Meta(description="`require` refuses where the kernel cannot confine; `prefer` runs and records a finding that blocks no gate."),
    ] = "require"


class BehaviourTable(Table, frozen=True, kw_only=True):
    """What the model must do when one feature changes and the others stay."""

    name: Annotated[str, Meta(description="What is expected, for reports.", min_length=1, max_length=200)]
    feature: Annotated[str, Meta(description="The feature to change.")]
    add: Annotated[float | None, Meta(description="Added to a number.")] = None
    to: Annotated[list[str] | None, Meta(description="Categories that it is set to, one after the other.")] = None
    expect: Annotated[
        Literal["same", "up", "down"],
        Meta(description="`same`: the label stays; `up`, `down`: the score of the positive class, or the quantity, does not fall, or rise."),
    ] = "same"
    tolerate: Annotated[Share, Meta(description="Share of the rows that may break it.")] = 0.0


class AssessTable(Table, frozen=True, kw_only=True):
    """What is measured on the hold-out."""

    slices: Annotated[
        list[str],
        Meta(description="Columns to slice by; numbers with more than 20 values are cut at quartiles. Default: features with at most 20 values."),
    ] = []
    bootstrap: Annotated[int, Meta(description="Bootstrap resamples, where a figure has no interval in closed form.", ge=20, le=100_000)] = 300
    attack_rows: Annotated[int, Meta(description="Hold-out rows to attack.", ge=10, le=100_000)] = 100
    attack_steps: Annotated[int, Meta(description="Steps of the attacks.", ge=1, le=1000)] = 20
    eps: Annotated[list[float], Meta(description="Attack sizes of the curve, in standard deviations of each feature.")] = msgspec.field(
        default_factory=lambda: [0.05, 0.1, 0.2]
    )
    membership_rows: Annotated[int, Meta(description="Rows per side of the membership test.", ge=20)] = 5000
    shadows: Annotated[int, Meta(description="Shadow models of the likelihood-ratio attack (LiRA); 0: none.", ge=0, le=1024)] = 16
    shadow_rows: Annotated[int, Meta(description="Rows that each pair of shadow models shares out among members and others.", ge=40)] = 1000
    shadow_size: Annotated[
        int,
        Meta(
            description="Up to so many training rows shadow models are trained on as many; above it on `shadow_rows`.",
            ge=0,
        ),
    ] = 4000
    attribute_rows: Annotated[int, Meta(description="Rows per side of the attribute inference test.", ge=20)] = 1000
    importance: Annotated[bool, Meta(description="How much each feature matters, by permutation.")] = True
    tables: Annotated[
        dict[Name, str],
        Meta(description="Further labelled tables to measure on, such as a later year: name -> file. Gates name them: `later.roc_auc`."),
    ] = {}
    behaviour: Annotated[list[BehaviourTable], Meta(description="What the model must do when a feature changes.")] = []
    timeout: Annotated[float, Meta(description="Seconds after which the assessment is stopped; its gates are then inconclusive.", gt=0)] = 3600.0


class FeatureTable(Table, frozen=True, kw_only=True):
    """What an attacker can do to one feature."""

    change: Annotated[
        Literal["any", "up", "down", "none"], Meta(description="`none`: cannot be changed at all, such as a birth date; `up`, `down`: one way only.")
    ] = "any"
    integer: Annotated[bool, Meta(description="Only whole numbers make sense.")] = False
    budget: Annotated[Annotated[float, Meta(ge=0)] | None, Meta(description="Most that it can be moved, in its own unit, whatever eps allows.")] = (
        None
    )
    to: Annotated[list[str] | None, Meta(description="Categories that an attacker can choose; a category without this stays.")] = None


class RobustnessTable(Table, frozen=True, kw_only=True):
    """What an evasion attacker can do."""

    features: Annotated[dict[str, FeatureTable], Meta(description="Per feature (`px*` stands for all that match): change, integer, budget, to.")] = {}
    unit: Annotated[
        Literal["deviation", "range"],
        Meta(description="What eps 1 is: a standard deviation of each feature, or its pinned range (images)."),
    ] = "deviation"
    tolerance: Annotated[
        float, Meta(description="Regression: how far a prediction may lie from the truth, in deviations of the target, and count as right.", gt=0)
    ] = 1.0
    second_opinion: Annotated[
        Literal["none", "art"],
        Meta(description="`art`: attacks of the Adversarial Robustness Toolbox run in the same box, and the worse figure counts (`casemate[art]`)."),
    ] = "none"
    decision_rows: Annotated[int, Meta(description="Rows of the attack that sees labels only (HopSkipJump); 0: none.", ge=0)] = 5
    restarts: Annotated[int, Meta(description="Random starts of the gradient attack.", ge=1, le=100)] = 2
    certify_rows: Annotated[
        int, Meta(description="Rows that smoothing certifies (exact bounds of linear models and trees cover every attacked row); 0: no bounds.", ge=0)
    ] = 50
    smoothing: Annotated[
        float,
        Meta(description="Standard deviation, in units of eps, of the noise of the smoothed model that certifies a general model; 0: none.", ge=0),
    ] = 0.0
    samples: Annotated[int, Meta(description="Noisy copies a row for certification by smoothing.", ge=100, le=100_000)] = 1000

    def feature(self, name: str) -> FeatureTable:
        """What an attacker can do to a feature: its own entry, else the first pattern that matches."""
        if name in self.features:
            return self.features[name]
        return next((table for pattern, table in self.features.items() if is_pattern(pattern) and fnmatch.fnmatchcase(name, pattern)), FeatureTable())


class GateTable(Table, frozen=True, kw_only=True):
    """One limit on one measured figure: passed if its whole 95 % interval keeps it, refused if none of it does, else inconclusive."""

    min: Annotated[float | None, Meta(description="Least value that passes.")] = None
    max: Annotated[float | None, Meta(description="Greatest value that passes.")] = None
    eps: Annotated[Annotated[float, Meta(gt=0)] | None, Meta(description="Attack size, for `robust_accuracy` and `certified_accuracy` only.")] = None
    no_worse_than: Annotated[
        Literal["previous"] | None,
        Meta(description="The model that passed last, measured on the same rows, which neither saw; quality figures only."),
    ] = None
    margin: Annotated[float, Meta(description="How much worse than that one it may be.", ge=0)] = 0.01


class RunTable(Table, frozen=True, kw_only=True):
    """How a run behaves when something is away or takes too long."""

    retries: Annotated[int, Meta(description="Further attempts at a stage when a back end was away for a moment.", ge=0, le=20)] = 2
    backoff: Annotated[float, Meta(description="Seconds before the second attempt; doubled each time, with jitter.", ge=0, le=3600)] = 1.0
    timeouts: Annotated[
        dict[Literal["data", "train", "assess", "release"], Annotated[float, Meta(gt=0)]],
        Meta(description="Seconds a stage may take, such as `{ data = 600 }`; the run then ends as failed. Default: no limit."),
    ] = {}


class KeysTable(Table, frozen=True, kw_only=True):
    """Who keeps the key-encryption keys."""

    provider: Annotated[
        Literal["file", "vault", "aws"],
        Meta(description="`file`: on this machine; `vault`: HashiCorp Vault or OpenBao Transit; `aws`: AWS KMS. `casemate keys migrate` changes it."),
    ] = "file"
    passphrase: Annotated[
        str | None, Meta(description="File provider: reference to the passphrase (`env:NAME`, `file:PATH` or `prompt`); none: mode 0600 only.")
    ] = None
    address: Annotated[str, Meta(description="Vault: URL of the server, https; http to this machine only.")] = "https://127.0.0.1:8200"
    ca: Annotated[str | None, Meta(description="Vault: PEM file of the certificate authority, if it is not a public one.")] = None
    namespace: Annotated[str | None, Meta(description="Vault: namespace.")] = None
    mount: Annotated[str, Meta(description="Vault: where the Transit engine is mounted.", min_length=1)] = "transit"
    auth: Annotated[Literal["token", "approle", "kubernetes"], Meta(description="Vault: how casemate logs in.")] = "token"
    role: Annotated[str, Meta(description="Vault: role id (AppRole) or role name (Kubernetes).")] = ""
    secret: Annotated[str, Meta(description="Vault: reference to the token, the AppRole's secret id, or the Kubernetes service account's token.")] = (
        "env:VAULT_TOKEN"
    )
    region: Annotated[str | None, Meta(description="AWS: region; default: the AWS configuration's.")] = None
    endpoint: Annotated[str, Meta(description="AWS: another endpoint, such as a VPC endpoint.", pattern=r"^(https?://[^\s?#]+)?$")] = ""
    timeout: Annotated[float, Meta(description="Seconds one request to the provider may take.", gt=0, le=600)] = 10.0
    max_age_days: Annotated[int, Meta(description="Days after which the active version of a key is overdue for rotation.", ge=1)] = 365


class StoreTable(Table, frozen=True, kw_only=True):
    """Where runs, models, principals and the log's entries are kept, and sealed objects."""

    url: Annotated[str, Meta(description="Empty: SQLite in `.casemate/catalog.db`. Or `postgresql://USER@HOST:PORT/DATABASE`.")] = ""
    password: Annotated[str | None, Meta(description="Reference to the database password: `env:NAME` or `file:PATH`.")] = None
    objects: Annotated[str, Meta(description="Sealed objects; empty: in `.casemate/objects`. Or `s3://BUCKET/PREFIX`.", pattern="^(s3://.+)?$")] = ""
    endpoint: Annotated[str | None, Meta(description="Of an S3 server that is not AWS: `https://HOST:PORT`.")] = None
    region: Annotated[str | None, Meta(description="Of the bucket.")] = None
    access_key: Annotated[str | None, Meta(description="Reference to the access key; default: as the AWS SDK finds it.")] = None
    secret_key: Annotated[str | None, Meta(description="Reference to the secret key; default: as the AWS SDK finds it.")] = None


class WitnessTable(Table, frozen=True, kw_only=True):
    """Somebody else who keeps the log honest."""

    url: Annotated[str, Meta(description="Submission prefix of the witness (C2SP tlog-witness).", pattern=r"^https?://[^\s?#]+$")]
    keys: Annotated[list[str], Meta(description="Its verifier keys (lines of its witness.vkey); all of them must sign.", min_length=1)]


class AuditTable(Table, frozen=True, kw_only=True):
    """Who else holds a copy of what the log said."""

    witnesses: Annotated[dict[Name, WitnessTable], Meta(description="Per witness: url, keys.")] = {}
    quorum: Annotated[int, Meta(description="Witnesses that must have cosigned; `audit verify` fails below it.", ge=0)] = 0
    copies: Annotated[
        list[str],
        Meta(description="Where checkpoints are copied: `file:FOLDER`, `git:REPOSITORY`, `s3:BUCKET/PREFIX` (written under object lock)."),
    ] = []
    retain_days: Annotated[int, Meta(description="Days that S3 object lock keeps a checkpoint.", ge=1)] = 2190
    max_age_hours: Annotated[
        float,
        Meta(description="With a quorum: hours after which a cosignature no longer vouches for the log; `audit verify` and `fsck` fail then.", gt=0),
    ] = 24.0
    every_minutes: Annotated[
        float, Meta(description="Minutes between two copies and cosignatures while a gateway serves; runs ask at their end too.", gt=0)
    ] = 15.0


class NoticeTable(Table, frozen=True, kw_only=True):
    """One receiver of what happens."""

    kind: Annotated[Literal["webhook", "mail", "folder"], Meta(description="How it is delivered.")]
    to: Annotated[str, Meta(description="URL, mail address or folder.", min_length=1)]
    on: Annotated[list[Event], Meta(description="What it hears of; `*`: everything.")] = msgspec.field(default_factory=lambda: ["*"])
    secret: Annotated[str | None, Meta(description="Webhook: reference to the key that signs the body (HMAC-SHA-256).")] = None
    server: Annotated[str, Meta(description="Mail: HOST:PORT of the SMTP server.")] = "localhost:25"
    sender: Annotated[str, Meta(description="Mail: From address.")] = "casemate@localhost"


class OutboxTable(Table, frozen=True, kw_only=True):
    """How hard the outbox tries."""

    attempts: Annotated[int, Meta(description="Deliveries tried before a message counts as dead.", ge=1, le=100)] = 8
    backoff: Annotated[float, Meta(description="Seconds before the second try; doubled each time, at most a day.", ge=0, le=86400)] = 10.0
    timeout: Annotated[float, Meta(description="Seconds one delivery may take.", gt=0, le=600)] = 10.0


class ReleaseTable(Table, frozen=True, kw_only=True):
    """What a signed model is for."""

    stage: Annotated[
        Name, Meta(description="The stage that a passed model is signed for, such as `staging`; a policy may say who signs for which.")
    ] = "production"
    approvals: Annotated[int, Meta(description="People who must approve a model before it is served or exported.", ge=0, le=10)] = 0
    separate: Annotated[
        list[Literal["trainer", "steward"]],
        Meta(description="Who may not approve: who ran the training, who sealed the data."),
    ] = msgspec.field(default_factory=lambda: ["trainer", "steward"])


Digits = Annotated[int, Meta(ge=1, le=7)]
Reaction = Literal["flag", "refuse"]


class GuardTable(Table, frozen=True, kw_only=True):
    """What happens to rows that are not like the training data; what is flagged is answered, counted and recorded."""

    outside: Annotated[Reaction, Meta(description="A number beyond `min` or `max` of the pinned schema.")] = "flag"
    unknown: Annotated[Reaction, Meta(description="A category that the pinned schema does not list.")] = "refuse"
    unusual: Annotated[Reaction, Meta(description="A row farther from the training rows than all but one in a thousand of them.")] = "flag"


class OutputsTable(Table, frozen=True, kw_only=True):
    """How much of an answer callers see; policy may show them less: who may only `model:infer-label` sees the class.

    Who may only `model:infer-aggregate` is told how many rows of the request get which class, with noise.
    """

    show: Annotated[
        Literal["all", "top", "label", "aggregate"],
        Meta(description="All probabilities, those of the likeliest classes, the class alone, or noisy counts of a request's classes."),
    ] = "all"
    top: Annotated[int, Meta(description="How many classes `top` shows.", ge=1)] = 3
    digits: Annotated[Digits | None, Meta(description="Decimal places of probabilities; default: as computed.")] = None


class AggregateTable(Table, frozen=True, kw_only=True):
    """Noisy counts for callers who are told no more; see `[serve.outputs]`. Needs `casemate[private]`."""

    epsilon: Annotated[float, Meta(description="Of one request: how well it hides what the model says of any one of its rows.", gt=0, le=100)] = 0.5
    budget: Annotated[float, Meta(description="Epsilon of all requests of one caller to one model, for ever.", gt=0)] = 8.0
    rows: Annotated[int, Meta(description="Least rows of a request, all of them different.", ge=2)] = 20


class LimitsTable(Table, frozen=True, kw_only=True):
    """What each caller may use of a model; kept in the catalogue, so a restart or another gateway forgives nothing."""

    requests_per_minute: Annotated[Count | None, Meta(description="Per caller; a token may be narrower.")] = None
    concurrent: Annotated[int, Meta(description="Requests of one caller that are being answered at the same time.", ge=1)] = 256
    rows: Annotated[Count | None, Meta(description="Rows that a caller may ask a model about within `days`; to copy one takes more.")] = None
    days: Annotated[int, Meta(description="Length of that window.", ge=1, le=366)] = 30
    probing: Annotated[
        float, Meta(description="A caller with more than this share of rows that look like probing becomes a finding (`model-probing`).", gt=0, le=1)
    ] = 0.5


class CanaryTable(Table, frozen=True, kw_only=True):
    """When a canary is rolled back by itself."""

    errors: Annotated[float, Meta(description="Share of failed answers.", ge=0, le=1)] = 0.01
    refusals: Annotated[float, Meta(description="Share of rows that guards refuse, beyond that of the live version.", ge=0, le=1)] = 0.05
    latency: Annotated[float, Meta(description="Mean time of its answers, as a multiple of the live version's.", ge=1)] = 3.0
    drift: Annotated[float, Meta(description="Largest difference in the share of any class, beyond chance, from the live version.", ge=0, le=1)] = 0.1
    requests: Annotated[int, Meta(description="Answers before it is judged.", ge=10)] = 50


class ServeTable(Table, frozen=True, kw_only=True):
    """The prediction gateway."""

    host: Annotated[str, Meta(description="Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, Meta(description="TCP port.", ge=0, le=65535)] = 8443
    grpc_port: Annotated[
        Annotated[int, Meta(ge=0, le=65535)] | None, Meta(description="TCP port of the same protocol over gRPC; needs `casemate[grpc]`.")
    ] = None
    names: Annotated[list[str], Meta(description="DNS names and addresses in the server certificate.")] = msgspec.field(
        default_factory=lambda: ["localhost", "127.0.0.1"]
    )
    models: Annotated[
        dict[Name, str],
        Meta(description="Per name that callers use, `NAME` (what was promoted, or the newest) or `NAME@VERSION`; default: the project's."),
    ] = {}
    stage: Annotated[Name, Meta(description="Only models signed for this stage are served.")] = "production"
    client_certificates: Annotated[
        Literal["none", "require"], Meta(description="`require`: only clients with a valid certificate of the project's own authority may connect.")
    ] = "none"
    max_body_mb: Annotated[float, Meta(description="Largest request body in MiB.", gt=0)] = 8.0
    max_rows: Annotated[Count, Meta(description="Most rows in one request.")] = 10_000
    extra: Annotated[
        Literal["ignore", "refuse"],
        Meta(description="Inputs that the model does not take, identifiers among them: `ignore` neither uses nor keeps them."),
    ] = "ignore"
    tls: Annotated[
        Literal["own", "proxy"],
        Meta(description="`proxy`: plain HTTP, for a TLS proxy or a platform in front that nobody can go around."),
    ] = "own"
    platform: Annotated[
        Literal["none", "sagemaker"],
        Meta(description="`sagemaker`: also its contract, as `casemate serve --sagemaker` sets it; see docs/how-to/serve.md."),
    ] = "none"
    workers: Annotated[int, Meta(description="Processes that share the port.", ge=1, le=64)] = 1
    audit: Annotated[
        Literal["durable", "batched"],
        Meta(description="`durable`: an answer leaves when its record is on disk; `batched`: records follow within 0.2 s, which a crash can lose."),
    ] = "durable"
    inputs: Annotated[Literal["digest", "sealed"], Meta(description="What is kept of the rows that were asked about.")] = "digest"
    keep_days: Annotated[int, Meta(description="Days that records of predictions are kept.", ge=1)] = 400
    inputs_days: Annotated[int, Meta(description="Days that sealed rows are kept.", ge=1)] = 30
    deadline: Annotated[float, Meta(description="Seconds after which an answer is not given any more.", gt=0)] = 10.0
    max_waiting: Annotated[int, Meta(description="Requests that a worker holds at once; what comes on top is told to come again.", ge=1)] = 1000
    stuck: Annotated[
        float, Meta(description="Seconds, beyond ten times what it usually takes, after which a model or a stopped worker stands still.", ge=0.5)
    ] = 5.0
    keep_alive: Annotated[float, Meta(description="Seconds that a caller's connection may be idle.", ge=1)] = 75.0
    max_connections: Annotated[int, Meta(description="Callers' connections to a worker; fewer where it may not open so many files.", ge=1)] = 12_000
    strangers: Annotated[
        int, Meta(description="Connections to a worker on which nobody has shown yet who it is; they have room of their own.", ge=1)
    ] = 1000
    strangers_per_address: Annotated[
        int, Meta(description='How many of these one address may have (IPv6: one network of 64 bits); with tls = "proxy" as many as all.', ge=1)
    ] = 200
    verify_minutes: Annotated[float, Meta(description="How often served models are verified again.", gt=0)] = 10.0
    request_log: Annotated[str, Meta(description="File that takes one line of JSON a request, without rows and answers; `-`: standard output.")] = ""
    traces: Annotated[str, Meta(description="URL of an OpenTelemetry collector (OTLP over HTTP, `…/v1/traces`); needs `casemate[traces]`.")] = ""
    traces_share: Annotated[float, Meta(description="Share of the requests that are traced, of those whose caller did not decide.", ge=0, le=1)] = 1.0
    guard: Annotated[GuardTable, Meta(description="How inputs are guarded.")] = GuardTable()
    outputs: Annotated[OutputsTable, Meta(description="What callers are told.")] = OutputsTable()
    aggregates: Annotated[AggregateTable, Meta(description="What noisy counts give away.")] = AggregateTable()
    limits: Annotated[LimitsTable, Meta(description="What callers may use.")] = LimitsTable()
    canary: Annotated[CanaryTable, Meta(description="When a canary is taken back.")] = CanaryTable()


class ProviderTable(Table, frozen=True, kw_only=True):
    """An OpenID provider that people log in through."""

    issuer: Annotated[Url, Meta(description="Its issuer, exactly as its tokens say; https, or http on this machine.")]
    client: Annotated[str, Meta(description="Client id of casemate at the provider.", min_length=1)]
    secret: Annotated[str | None, Meta(description="Reference to the client's secret, where the provider wants one.")] = None
    scopes: Annotated[list[str], Meta(description="What is asked for.")] = msgspec.field(default_factory=lambda: ["openid", "profile", "email"])
    ca: Annotated[str | None, Meta(description="PEM file of the only authority that is believed for it; default: the system's.")] = None
    account: Annotated[list[str], Meta(description="Claims that tell an account from every other one, for ever.", min_length=1)] = msgspec.field(
        default_factory=lambda: ["sub"]
    )
    person: Annotated[str, Meta(description="Claim that gives a new person's name.")] = "preferred_username"
    register: Annotated[
        bool, Meta(description="Accounts that nobody knows here yet become users; `false`: only those that `access user add` has named.")
    ] = False
    require: Annotated[dict[str, list[str]], Meta(description="Per claim, the values of which it must have one, such as a tenant.")] = {}
    roles_from: Annotated[str | None, Meta(description="Claim that gives roles; default: roles are granted here.")] = None
    roles: Annotated[dict[str, list[str]], Meta(description="Per value of that claim, the roles it stands for.")] = {}
    factor: Annotated[
        dict[str, list[str]], Meta(description='Per claim, values that say that a second factor was used, such as `amr = ["mfa"]`.')
    ] = {}


class WorkloadTable(Table, frozen=True, kw_only=True):
    """An issuer whose tokens stand for services: a Kubernetes cluster, a CI server."""

    issuer: Annotated[Url, Meta(description="`iss` of its tokens.")]
    audience: Annotated[str, Meta(description="`aud` that they must be made for.", min_length=1)] = "casemate"
    keys: Annotated[str | None, Meta(description="Its JWK set: a file or an https address; default: by discovery from the issuer.")] = None
    ca: Annotated[str | None, Meta(description="PEM file of the only authority that is believed for it; default: the system's.")] = None
    services: Annotated[dict[str, Name], Meta(description="Per `sub`, such as `system:serviceaccount:ml:scorer`, the service it stands for.")]


class PlaceTable(Table, frozen=True, kw_only=True):
    """Where networks are, so that travel which nobody can make is seen."""

    networks: Annotated[list[str], Meta(description="Networks of the place, CIDR.", min_length=1)]
    latitude: Annotated[float, Meta(description="Degrees north.", ge=-90, le=90)]
    longitude: Annotated[float, Meta(description="Degrees east.", ge=-180, le=180)]


class AccessTable(Table, frozen=True, kw_only=True):
    """Who may do what."""

    policies: Annotated[str, Meta(description="Folder of the project's own Cedar policies (`*.cedar`).")] = "policies"
    rows: Annotated[
        list[str],
        Meta(description="Columns of class `general` with few values by which policies open or close rows (`dataset:read-rows`)."),
    ] = []
    local: Annotated[bool, Meta(description="Users of this machine act as themselves; `false`: only after `casemate access login`.")] = True
    mfa: Annotated[
        Literal["enrolled", "required"],
        Meta(description="Who needs a fresh second factor for what cannot be taken back: whoever has one enrolled, or everybody."),
    ] = "enrolled"
    environment: Annotated[Name, Meta(description="Goes into every decision, such as `production`.")] = "local"
    timezone: Annotated[str, Meta(description="Of `context.hour` and `context.weekday`, such as `Europe/Berlin`.")] = "UTC"
    breached: Annotated[
        str | None, Meta(description="Breached passwords, refused for accounts: a file of sorted SHA-1 hashes as Have I Been Pwned offers it.")
    ] = None
    posture: Annotated[
        str | None, Meta(description="A file whose first line is this device's posture (`context.device`), kept by your device management.")
    ] = None
    providers: Annotated[dict[Name, ProviderTable], Meta(description="Per OpenID provider: issuer, client, ...")] = {}
    workloads: Annotated[dict[Name, WorkloadTable], Meta(description="Per issuer of services' tokens: issuer, services, ...")] = {}
    places: Annotated[dict[Name, PlaceTable], Meta(description="Per place: networks, latitude, longitude.")] = {}
    bulk_rows: Annotated[Count, Meta(description="Rows that a person may read in a day before it is told, unless it is usual for them.")] = 100_000
    origin: Annotated[
        Origin | None,
        Meta(description="Address that browsers know this service by, for passkeys; default: the first of `[serve] names` and the port."),
    ] = None


class RetentionTable(Table, frozen=True, kw_only=True):
    """What `casemate gc` must leave."""

    keep_days: Annotated[int, Meta(description="Days that an ended run stays, with its evidence and what only it refers to.", ge=1)] = 90
    keep_runs: Annotated[int, Meta(description="So many of the newest ended runs stay however old they are.", ge=1)] = 10
    hold: Annotated[
        list[str], Meta(description="Legal hold: ids of runs, and names of models and data sets with or without `@VERSION`, that stay in any case.")
    ] = []


class Config(Table, frozen=True, kw_only=True):
    """The whole file."""

    project: ProjectTable
    data: DataTable
    train: TrainTable
    screen: ScreenTable = ScreenTable()
    privacy: PrivacyTable = PrivacyTable()
    sandbox: SandboxTable = SandboxTable()
    robustness: RobustnessTable = RobustnessTable()
    assess: AssessTable = AssessTable()
    gates: dict[str, GateTable] = {}
    release: ReleaseTable = ReleaseTable()
    run: RunTable = RunTable()
    keys: KeysTable = KeysTable()
    store: StoreTable = StoreTable()
    audit: AuditTable = AuditTable()
    outbox: OutboxTable = OutboxTable()
    retention: RetentionTable = RetentionTable()
    notices: dict[Name, NoticeTable] = {}
    serve: ServeTable = ServeTable()
    access: AccessTable = AccessTable()

    @property
    def dataset_name(self) -> str:
        """Name of the data set."""
        return self.data.name or self.project.name


_SHARE: tuple[float, float | None] = (0.0, 1.0)
CLASSIFICATION: dict[str, tuple[float, float | None]] = {
    "accuracy": _SHARE,
    "balanced_accuracy": _SHARE,
    "f1": _SHARE,
    "roc_auc": _SHARE,
    "average_precision": _SHARE,
    "log_loss": (0.0, None),
    "brier": (0.0, 2.0),
    "calibration_error": _SHARE,
    "cost": (0.0, None),
    "quadratic_kappa": (-1.0, 1.0),
    "rank_error": (0.0, None),
    "worst_slice_accuracy": _SHARE,
}
REGRESSION: dict[str, tuple[float, float | None]] = {
    "r2": (-math.inf, 1.0),
    "rmse": (0.0, None),
    "mae": (0.0, None),
    "median_absolute_error": (0.0, None),
    "pinball_loss": (0.0, None),
    "quantile_coverage": _SHARE,
    "worst_target_r2": (-math.inf, 1.0),
    "worst_slice_mae": (0.0, None),
}
WISHES = ("cost", "quadratic_kappa", "rank_error", "pinball_loss", "quantile_coverage")
"""Figures of quality that there are only where casemate.toml says what they go by."""
QUALITY = CLASSIFICATION | REGRESSION
"""Figures of quality with their possible range; `TABLE.FIGURE` names them on one of `[assess] tables`."""
LESS_IS_BETTER = {
    "log_loss",
    "brier",
    "cost",
    "rank_error",
    "pinball_loss",
    "calibration_error",
    "rmse",
    "mae",
    "median_absolute_error",
    "worst_slice_mae",
}
"""Figures of quality that should be small."""
AT_EPS = {"robust_accuracy", "certified_accuracy"}
"""Figures that belong to an attack size."""
FIGURES: dict[str, tuple[float, float | None]] = QUALITY | {
    "robust_accuracy": _SHARE,
    "certified_accuracy": _SHARE,
    "membership_auc": _SHARE,
    "membership_tpr_at_1_fpr": _SHARE,
    "label_only_auc": _SHARE,
    "lira_auc": _SHARE,
    "lira_tpr_at_1_fpr": _SHARE,
    "attribute_advantage": (-1.0, 1.0),
    "inversion_correlation": (-1.0, 1.0),
    "memorised_share": _SHARE,
    "epsilon": (0.0, None),
    "demographic_parity_difference": _SHARE,
    "equalized_odds_difference": _SHARE,
    "mean_prediction_difference": (0.0, None),
    "absolute_error_difference": (0.0, None),
    "cv_gap": (-math.inf, None),
    "nested_cv": (-math.inf, None),
    "shift_auc": _SHARE,
    "behaviour_failures": (0.0, None),
    "rule_violations": (0.0, None),
    "drift": (0.0, None),
    "contamination": _SHARE,
    "leakage_auc": _SHARE,
    "minority_share": _SHARE,
    "suspicious_share": _SHARE,
    "influence": (-1.0, 1.0),
}
"""Every figure that a gate may name, with its possible range."""
OF_CLASSES = {*CLASSIFICATION, "certified_accuracy", "label_only_auc", "demographic_parity_difference", "equalized_odds_difference",
              "inversion_correlation", "memorised_share", "epsilon", "minority_share"}  # fmt: skip
"""Figures that no regressor has."""
ON_TRAINING_ROWS = {"membership_auc", "membership_tpr_at_1_fpr", "label_only_auc", "lira_auc", "lira_tpr_at_1_fpr", "attribute_advantage",
                    "inversion_correlation", "memorised_share", "cv_gap", "nested_cv", "shift_auc", "rule_violations", "drift", "contamination",
                    "leakage_auc", "minority_share", "suspicious_share", "influence"}  # fmt: skip
"""Figures that training rows decide: private training may neither tell them nor refuse a model by them."""
OF_QUANTITIES = {*REGRESSION, "mean_prediction_difference", "absolute_error_difference"}
"""Figures that no classifier has."""


def load(path: Path, overrides: list[str] | None = None) -> Config:
    """Read `path` and apply `table.key=value` overrides.

    Raises:
        ConfigError: the file is absent, not TOML, or holds something unknown or impossible; every problem is named.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigError(f"no {FILE_NAME} in {path.parent}", hint="`casemate init` creates a project here") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text") from error
    return parse(text, overrides)


def parse(text: str, overrides: list[str] | None = None) -> Config:
    """The configuration in `text`; see `load`."""
    try:
        tables = tomllib.loads(text)
        for override in overrides or []:
            _apply(tables, override)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{FILE_NAME} is not valid TOML: {error}", hint="correct that line") from error
    problems: list[str] = []
    values: dict[str, Any] = {}
    fields = {field.name: field for field in msgspec.structs.fields(Config)}
    for name, value in tables.items():
        if name not in fields:
            problems.append(f"[{name}]: unknown table{_nearest(name, fields)}")
            continue
        try:
            values[name] = msgspec.convert(value, fields[name].type)
        except msgspec.ValidationError as error:
            problems.append(f"[{name}] {_explain(str(error), fields[name].type, value)}")
    problems += [f"[{name}]: this table is missing" for name in ("project", "data", "train") if name not in tables]
    if not problems:
        config = Config(**values)
        problems = _impossible(config)
        if not problems:
            return config
    raise ConfigError(f"{FILE_NAME}: " + "; ".join(problems), hint="`casemate config schema` lists every option")


def keys_table(values: dict[str, Any]) -> KeysTable:
    """`[keys]` from single values; ConfigError when one is impossible."""
    try:
        return msgspec.convert(values, KeysTable)
    except msgspec.ValidationError as error:
        raise ConfigError(f"[keys] {_explain(str(error), KeysTable, values)}", hint="`casemate config schema` lists every option") from error


def schema() -> dict[str, Any]:
    """JSON Schema of the file."""
    return msgspec.json.schema(Config)


FIXED = (["release", "approvals"], ["release", "separate"], ["data", "subject"], ["data", "schema"])
"""What `-s` may not set, beside `[access]`, classes and masks: whoever starts a run would give themselves rights, or take others' protection."""


def _apply(tables: dict[str, Any], override: str) -> None:
    key, separator, value = override.partition("=")
    path = key.strip().split(".")
    if not separator or len(path) < 2:
        raise ConfigError(f"-s {override!r} is not table.key=value", hint="for example -s train.folds=3")
    if path[0] == "access" or path in FIXED or (path[:2] == ["data", "columns"] and (len(path) < 4 or path[-1] in ("mask", "class"))):
        raise ConfigError(f"-s {override!r}: who may do or see what is said in {FILE_NAME} only", hint="edit the file, if you may")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value
    place: Any = tables
    for part in path[:-1]:
        place = place.setdefault(part, {})
        if not isinstance(place, dict):
            raise ConfigError(f"-s {override!r}: {part} is not a table", hint="for example -s train.folds=3")
    place[path[-1]] = parsed


def _nearest(name: str, known: Any) -> str:
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


def _explain(text: str, type_: Any, value: Any) -> str:
    text = text.replace("$.", "").replace("`$`", "the table")
    foreign = re.fullmatch(r"Invalid enum value '(.*)'(?: - at (.*))?", text, re.DOTALL)
    if foreign:
        known = _choices(msgspec.inspect.type_info(type_), foreign[2] or "")
        return f"{foreign[2] or 'value'}: unknown {foreign[1]!r}{_nearest(foreign[1], known) or '; known are ' + ', '.join(known)}"
    unknown = re.search(r"unknown field `([^`]+)`", text)
    if not unknown:
        return text
    fields: set[str] = set()
    for part in (match[1] if (match := re.search(r"at `([\w.]+)`", text)) else "").split("."):
        inner = {field.encode_name: field.type for field in msgspec.structs.fields(type_)}.get(part) if isinstance(type_, type) else None
        type_ = getattr(inner, "__origin__", inner) if isinstance(getattr(inner, "__origin__", inner), type) else type_
    for table in (type_, ColumnTable, GateTable):
        if isinstance(table, type) and issubclass(table, Table) and (table is type_ or isinstance(value, dict)):
            fields |= {field.encode_name for field in msgspec.structs.fields(table)}
    return text + _nearest(unknown[1], fields)


def _choices(type_: Any, path: str) -> list[str]:
    """The fixed words that `path` of msgspec's error, such as `columns[...].class`, may be; all below it where it says no more."""
    types, found = [type_], []
    for name in re.findall(r"\w+(?=[.`\[]|$)", path.removeprefix("`key` in ")):
        types = [
            field.type for one in types for field in _inside(one) if isinstance(field, msgspec.inspect.Field) and field.encode_name == name
        ] or types
    while types:
        one = types.pop(0)
        found += [str(value) for value in getattr(one, "values", ()) if value not in found]
        types += [part for part in _inside(one) if not isinstance(part, msgspec.inspect.Field)]
    return found


def _inside(type_: Any) -> list[Any]:
    """Fields of a table through whatever is around it, and the types that a type is made of."""
    parts = list(getattr(type_, "fields", ()))
    made_of = [getattr(type_, name) for name in ("type", "item_type", "key_type", "value_type") if hasattr(type_, name)]
    return [*parts, *made_of, *getattr(type_, "types", ()), *(below for part in made_of for below in _inside(part))]


def _impossible(config: Config) -> list[str]:
    problems = []
    for name, gate in config.gates.items():
        problems += _bad_gate(name, gate, config)
    for parameter, space in config.train.search.items():
        problems += _bad_space(parameter, space)
    if any(eps <= 0 for eps in config.assess.eps):
        problems.append("[assess] eps: sizes must be positive")
    problems += _impossible_data(config.data) + _impossible_training(config) + _impossible_private(config)
    return problems + _impossible_audit(config.audit) + _impossible_access(config.access)


def _bad_gate(name: str, gate: GateTable, config: Config) -> list[str]:
    table, dot, figure = name.rpartition(".")
    known = QUALITY if dot else FIGURES
    if dot and table not in config.assess.tables:
        return [f"[gates] {name}: [assess] tables has no {table!r}"]
    if figure not in known:
        return [f"[gates] unknown figure {name!r}{_nearest(figure, known)}"]
    problems = []
    wanting: dict[str, tuple[Any, str]] = {"cost": (config.train.costs, "what mistakes cost in [train] costs")}
    wanting |= dict.fromkeys(("quadratic_kappa", "rank_error"), (config.data.ordinal, "the order of the classes in [data] ordinal"))
    wanting |= dict.fromkeys(("pinball_loss", "quantile_coverage"), (config.train.quantile, "which quantile is predicted in [train] quantile"))
    if figure in wanting and not wanting[figure][0]:
        problems.append(f"[gates] {name}: say {wanting[figure][1]}")
    foreign = OF_CLASSES if config.data.task == "regression" else OF_QUANTITIES
    if figure in foreign:
        ours = ", ".join(REGRESSION if config.data.task == "regression" else CLASSIFICATION)
        problems.append(f"[gates] {name}: no figure of {config.data.task}, which has {ours}")
    least, most = known[figure]
    if gate.min is None and gate.max is None and gate.no_worse_than is None:
        problems.append(f"[gates] {name}: give min, max or no_worse_than")
    if gate.min is not None and gate.max is not None and gate.min > gate.max:
        problems.append(f"[gates] {name}: min {gate.min} is above max {gate.max}, nothing can pass")
    if (gate.min is not None and most is not None and gate.min > most) or (gate.max is not None and gate.max < least):
        problems.append(f"[gates] {name}: impossible, its range is {least} to {most}")
    if gate.eps is not None and name not in AT_EPS:
        problems.append(f"[gates] {name}: eps belongs to {' and '.join(sorted(AT_EPS))} only")
    if gate.eps is None and name in AT_EPS:
        problems.append(f"[gates] {name}: give eps, the attack size in standard deviations")
    if gate.no_worse_than and (dot or name not in QUALITY or name.startswith("worst_") or name == "quantile_coverage"):
        problems.append(f"[gates] {name}: no_worse_than compares figures of quality on the hold-out only")
    return problems


def line_of(path: Path, column: str) -> str:
    """`casemate.toml:12: `, the line that says something of a column; `-s: ` when none does."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    name = re.escape(column)
    quoted = f"({name}|\"{name}\"|'{name}')"
    said = re.compile(rf"\s*(\[data\.columns\.{quoted}\]|{quoted}\s*[=.]|data\.columns\.{quoted}\s*[=.])")
    inside = False
    for number, line in enumerate(text.splitlines(), 1):
        inside = line.strip().startswith("[data.columns") if line.lstrip().startswith("[") else inside
        if inside and said.match(line):
            return f"{path.name}:{number}: "
    return "-s: "


def require_possible(data: DataTable) -> None:
    """ConfigError when keys of the `[data]` table do not go together."""
    problems = _impossible_data(data)
    if problems:
        raise ConfigError("; ".join(problems))


def _impossible_column(column: ColumnTable) -> list[str]:
    """What a column's entry says that its own `type` makes meaningless: nothing that is written is ignored."""
    number, time = (column.type in (None, kind) for kind in ("number", "time"))
    meaningless = {
        "min": column.min is not None and not number,
        "max": column.max is not None and not number,
        "unit": column.unit is not None and not number,
        "monotone": column.monotone is not None and not number,
        "decimal": column.decimal is not None and not number,
        "censored": column.censored and not number,
        "coerce": column.coerce and not (number or time),
        "categories": column.categories is not None and column.type not in (None, "category"),
        "format": column.format is not None and not (number if column.format in SPANS else time),
        "since": column.since is not None and "days" not in column.parts,
    }
    problems = [f'{key} says nothing of type = "{column.type}"' for key, wrong in meaningless.items() if wrong and key != "since"]
    if meaningless["since"]:
        problems.append('since needs parts = ["days"]')
    if "days" in column.parts and column.since is None:
        problems.append('parts = ["days"] needs since')
    if "words" in column.parts and (column.type not in (None, "text", "category") or len(column.parts) > 1):
        problems.append("words are made of text, and of nothing else beside")
    if column.parts and "words" not in column.parts and column.type != "time":
        problems.append('calendar parts need type = "time"')
    if column.column_class == "identifier":
        said = ("min", "max", "unit", "monotone", "decimal", "censored", "coerce", "categories", "format", "parts")
        problems += [f"{key} says nothing of an identifier" for key in said if getattr(column, key) not in (None, False, [])]
        problems += ["an identifier is never a feature: use = true"] if column.use else []
    return problems


def _impossible_data(data: DataTable) -> list[str]:
    problems = []
    if any(name in data.columns and data.columns[name].column_class == "identifier" for name in data.targets):
        problems.append("[data] the target cannot be an identifier")
    for key in ("subject", "time", "provenance", "weight"):
        if getattr(data, key) in data.targets:
            problems.append(f"[data] {key} and target are the same column")
    if data.weight is not None:
        problems += _impossible_weight(data, data.weight)
    if len(set(data.targets)) < len(data.targets):
        problems.append("[data] target names a column twice")
    if data.task == "classification" and len(data.targets) > 1:
        problems.append(
            f"[data] target: {', '.join(data.targets)} would be several labels of a row, and a project predicts one: make a project for each of them "
            '(casemate init a-folder --table FILE --target LABEL); several quantities need task = "regression"'
        )
    if data.ordinal:
        problems += _impossible_order(data)
    if data.task == "regression" and data.positive is not None:
        problems.append("[data] positive: a quantity has no positive class")
    for name, column in data.columns.items():
        if column.min is not None and column.max is not None and column.min > column.max:
            problems.append(f"[data.columns] {name}: min {column.min} is above max {column.max}")
        problems += [f"[data.columns] {name}: {text}" for text in _impossible_column(column)]
    names = [rule.name for rule in data.rules]
    problems += [f"[[data.rules]] two rules are called {name!r}" for name in sorted({name for name in names if names.count(name) > 1})]
    return problems


def _impossible_order(data: DataTable) -> list[str]:
    if data.task == "regression":
        return ["[data] ordinal: a quantity has an order of its own"]
    problems = ["[data] ordinal: names a class twice"] if len(set(data.ordinal)) < len(data.ordinal) else []
    if data.positive is not None:
        problems.append("[data] ordinal and positive: say one of them; of ordered classes none is the positive one")
    return problems + (["[data] ordinal: two classes have no order that a figure could show; leave it out"] if len(data.ordinal) < 3 else [])


def _impossible_weight(data: DataTable, name: str) -> list[str]:
    problems = [f"[data] weight and {key} are the same column" for key in ("subject", "time", "provenance") if getattr(data, key) == name]
    said = data.column(name)
    if said.column_class == "identifier" or said.type not in (None, "number"):
        problems.append(f"[data.columns] {name}: it is the weight, which is a number and no identifier")
    if said.use:
        problems.append(f"[data.columns] {name}: it is the weight, which is never a feature: use = true")
    return problems


def _impossible_training(config: Config) -> list[str]:
    problems = []
    if config.data.weight is not None and config.train.mode != "plain":
        problems.append(f'[data] weight: {config.train.mode!r} training takes every row alike; leave weight out, or set [train] mode = "plain"')
    if config.privacy.budget_delta < config.privacy.delta:
        problems.append("[privacy] budget_delta is below delta: no training could ever be paid for")
    if config.train.mode == "private" and config.train.search:
        problems.append(
            "[train] search: every candidate of a search spends privacy: delete the line that begins with `search =`; parameters are set in train.py"
        )
    if config.train.mode == "private" and config.train.nested:
        problems.append("[train] nested: every outer fold would spend privacy")
    if config.data.task == "regression" and config.train.mode != "plain":
        problems.append(f"[train] mode: {config.train.mode!r} is for classifiers, [data] task is regression")
    if config.train.model is not None and config.train.mode != "plain":
        problems.append(f"[train] model: an imported model is not trained here, so mode cannot be {config.train.mode!r}")
    problems += _impossible_wishes(config)
    if config.train.classes and config.train.model is None:
        problems.append("[train] classes: is for an imported model; classes of your own training are the table's")
    for behaviour in config.assess.behaviour:
        if (behaviour.add is None) == (behaviour.to is None):
            problems.append(f"[[assess.behaviour]] {behaviour.name}: give add (a number) or to (categories)")
        if behaviour.expect != "same" and behaviour.add is None:
            problems.append(f"[[assess.behaviour]] {behaviour.name}: up and down need add")
    return problems


def _impossible_wishes(config: Config) -> list[str]:
    """Costs and monotone effects where nothing keeps them."""
    data, train, problems = config.data, config.train, []
    if train.costs and data.task == "regression":
        problems.append("[train] costs: is for classes; of a quantity, weigh its errors by the estimator's loss")
    elif train.costs and len(train.costs) != 2:
        problems.append(f"[train] costs: names {len(train.costs)} classes, it decides between two: say what a row of each costs when it is missed")
    monotone = [name for name, column in data.columns.items() if column.monotone is not None]
    problems += [
        f"[data.columns] {name}: monotone, and it is no feature" for name in monotone if name in data.no_features or data.column(name).use is False
    ]
    if train.quantile is not None and (data.task != "regression" or len(data.targets) > 1):
        problems.append('[train] quantile: is of one quantity ([data] task = "regression" with one target)')
    if train.quantile is not None and train.metric not in (None, "neg_mean_pinball_loss"):
        problems.append(f"[train] metric: {train.metric!r} does not judge a quantile; leave it out, the pinball loss chooses")
    if data.ordinal and train.mode == "private":
        problems.append("[data] ordinal: private training takes classes in the order of [data.columns] categories")
    wishes = [("[train] costs", bool(train.costs)), *((f"[data.columns] {name}: monotone", True) for name in monotone)]
    if train.mode != "plain":
        problems += [f'{wish} needs [train] mode = "plain"' for wish, said in wishes if said]
    return problems


def _impossible_private(config: Config) -> list[str]:
    """What reads training rows before the noise, or tells something of them afterwards; each is refused before anything is spent."""
    if config.train.mode != "private":
        return []
    problems = []
    if config.train.split == "ordered":
        problems.append('[train] split: where the newest share begins depends on how many rows there are; private training needs "random"')
    if config.screen.quarantine == "exclude" or config.screen.exclude not in ([], ScreenTable().exclude):
        problems.append(
            "[screen] quarantine, exclude: a row that is left out for what the others look like tells of them; private training reports only"
        )
    if config.serve.guard.unusual == "refuse":
        problems.append('[serve.guard] unusual: a private model says nothing of what training rows are like; set "flag", limits are declared')
    figures = sorted(name for name in config.gates if name in ON_TRAINING_ROWS)
    limit = f"epsilon = {{ max = {config.privacy.epsilon:g} }}"
    instead = "" if "epsilon" in config.gates else f", and write `{limit}` in its place"
    problems += [
        f"[gates] {name}: training rows decide it, and private training tells nothing of them: delete that line{instead}" for name in figures
    ]
    if config.privacy.rows is not None and config.privacy.rows * (1 - config.train.test_share) < 1:
        problems.append("[privacy] rows: none is left to train on")
    return problems


def _impossible_audit(audit: AuditTable) -> list[str]:
    if audit.quorum > len(audit.witnesses):
        return [f"[audit] quorum: {audit.quorum} witnesses are required, {len(audit.witnesses)} are configured"]
    return []


def _impossible_access(access: AccessTable) -> list[str]:
    tables: dict[str, ProviderTable | WorkloadTable] = {f"providers.{name}": table for name, table in access.providers.items()}
    tables |= {f"workloads.{name}": table for name, table in access.workloads.items()}
    problems = [f"[access.{name}] issuer: {table.issuer} is not https" for name, table in tables.items() if not is_private(table.issuer)]
    problems += [
        f"[access.providers.{name}] roles and roles_from belong together"
        for name, table in access.providers.items()
        if bool(table.roles) != bool(table.roles_from)
    ]
    problems += [f"[access.providers.{name}] scopes: openid is missing" for name, table in access.providers.items() if "openid" not in table.scopes]
    problems += [
        f"[access.workloads.{name}] keys: {table.keys} is not https"
        for name, table in access.workloads.items()
        if "://" in (table.keys or "") and not is_private(str(table.keys))
    ]
    for name, place in access.places.items():
        for network in place.networks:
            try:
                ipaddress.ip_network(network)
            except ValueError:
                problems.append(f"[access.places.{name}] {network!r} is not a network, such as 10.1.0.0/16")
    return problems


def _bad_space(parameter: str, space: Any) -> list[str]:
    where = f"[train] search.{parameter}"
    if isinstance(space, list):
        return [] if space else [f"{where}: the list is empty"]
    if not isinstance(space, dict):
        return [f"{where}: give a list of values or a table with low and high"]
    unknown = set(space) - {"low", "high", "log", "int"}
    if unknown:
        return [f"{where}: unknown key {sorted(unknown)[0]!r}"]
    if not all(isinstance(space.get(bound), int | float) for bound in ("low", "high")) or space["low"] >= space["high"]:
        return [f"{where}: low and high must be numbers, low below high"]
    if space.get("log") and space["low"] <= 0:
        return [f"{where}: a log range must start above 0"]
    return []


def describe(table: type[Table], prefix: str = "") -> list[tuple[str, str, str, str, str]]:
    """(table, option, type, default, meaning) of every option, for `config schema` and the reference."""
    rows = []
    for field in msgspec.structs.fields(table):
        inner = _table_of(field.type)
        if inner is not None and table is Config:
            rows += describe(inner, field.encode_name + (".NAME" if field.name == "gates" else ""))
            continue
        meaning = next((part.description for part in getattr(field.type, "__metadata__", ()) if part.description), "")
        rows.append((prefix, field.encode_name, _type_name(field.type), _default_text(field), meaning))
        if inner is not None:
            single = _table_of(field.type) in get_args(field.type) or field.type is inner
            rows += describe(inner, f"{prefix}.{field.encode_name}" + ("" if single else "[]" if _is_list(field.type) else ".NAME"))
    return rows


def _table_of(kind: Any) -> type[Table] | None:
    candidates = [kind, *get_args(kind)]
    candidates += [nested for candidate in get_args(kind) for nested in get_args(candidate)]
    return next((c for c in candidates if isinstance(c, type) and issubclass(c, Table)), None)


def _is_list(kind: Any) -> bool:
    return any(get_origin(part) is list for part in [kind, *get_args(kind)])


def _type_name(kind: Any) -> str:
    if get_origin(kind) is Annotated:
        return _type_name(get_args(kind)[0])
    if get_origin(kind) is Literal:
        return " | ".join(f'"{value}"' for value in get_args(kind))
    if get_args(kind):
        inner = [_type_name(part) for part in get_args(kind) if part is not type(None)]
        origin = getattr(get_origin(kind), "__name__", "")
        return f"{origin}[{', '.join(inner)}]" if origin in ("list", "dict") else " | ".join(inner)
    return str(getattr(kind, "__name__", kind))


def _default_text(field: Any) -> str:
    if field.required:
        return "required"
    value = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    return "none" if value is None else "see below" if isinstance(value, Table) else json.dumps(value)
