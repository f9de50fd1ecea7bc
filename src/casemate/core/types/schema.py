"""The shape of a table, and how its cells were written."""

from typing import Literal

from msgspec import structs

from casemate.core.types.record import FORMAT, Record

ColumnType = Literal["number", "category", "time", "text"]
ColumnClass = Literal["general", "sensitive", "identifier"]
MISSING_CATEGORY = "(missing)"


class ColumnSchema(Record, frozen=True, kw_only=True):
    """What one column must look like, pinned in `schema.toml`."""

    name: str
    """Column name."""
    type: ColumnType
    """`number` (float64), `category` (text from a closed list), `time` or `text`."""
    column_class: ColumnClass = "general"
    """Which key seals it; identifiers are never features."""
    use: bool = True
    """Whether the column is a feature."""
    nullable: bool = False
    """Whether missing values are allowed."""
    min: float | None = None
    """Least allowed number."""
    max: float | None = None
    """Greatest allowed number."""
    categories: list[str] | None = None
    """Allowed categories, sorted."""
    declared: list[str] = []
    """Which of `min`, `max`, `categories` and `nullable` casemate.toml declares: those are law, the
    others expectations.
    """
    once: int = 0
    """Categories that one row had when they were learnt: how much is to be expected that nobody has
    seen.
    """
    made_of: str = ""
    """The column that this feature is made of, row by row; empty: it is a column itself."""
    part: str = ""
    """Which part of it: `month`, `weekday`, `words` and so on."""


class Schema(Record, frozen=True, kw_only=True):
    """The pinned shape of a table."""

    target: str
    """Column to predict, the first one where there are several."""
    classes: list[str]
    """Target classes as text, in the order of the model's outputs; none: the target is a quantity
    and the model a regressor, or there are `labels`.
    """
    columns: list[ColumnSchema]
    """All columns in the table's order, the target included."""
    rows: int = 0
    """Rows that limits were learnt from; 0: every limit is law."""
    further: list[str] = []
    """Further columns to predict: quantities, or labels."""
    labels: list[list[str]] = []
    """Where a row carries several labels at once, the two classes of each of `targets`, the one
    that means yes last; none: there is one target, or quantities. `classes` is empty then.
    """
    version: int = FORMAT
    """Version of this format."""

    @property
    def regression(self) -> bool:
        """Whether quantities are predicted."""
        return not self.classes and not self.labels

    @property
    def targets(self) -> list[str]:
        """Every column to predict, in the order of the model's outputs."""
        return [self.target, *self.further]

    def one(self, label: str) -> "Schema":
        """The same table with one of its labels as the only target: what every measurement of two
        classes sees.
        """
        others = {*self.targets} - {label}
        return structs.replace(
            self,
            target=label,
            classes=self.labels[self.targets.index(label)],
            columns=[column for column in self.columns if column.name not in others],
            further=[],
            labels=[],
        )

    def answer(self, code: int) -> str:
        """What the class number `code` says of a row; of several labels, whose bits it is, those
        that the row carries. IndexError: there is no such class.
        """
        if not self.labels:
            return self.classes[code]
        carried = [name for place, name in enumerate(self.targets) if code >> place & 1]
        return "+".join(carried) or "(none)"

    @property
    def views(self) -> list["Schema"]:
        """One schema a label, in the order of `targets`."""
        return [self.one(name) for name in self.targets] if self.labels else []

    @property
    def features(self) -> list[ColumnSchema]:
        """The columns that the estimator sees, in order."""
        targets = self.targets
        return [
            column
            for column in self.columns
            if column.use and column.name not in targets and column.column_class != "identifier"
        ]

    @property
    def identifiers(self) -> list[str]:
        """Names of the columns that say who somebody is."""
        return [column.name for column in self.columns if column.column_class == "identifier"]

    @property
    def categories(self) -> list[ColumnSchema]:
        """The features that are categories."""
        return [column for column in self.features if column.type == "category"]

    def column(self, name: str) -> ColumnSchema:
        """The column called `name`; KeyError when there is none."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)


class RawColumn(Record, frozen=True, kw_only=True):
    """How one column of the table was written that the model's features are read from, or
    made of.
    """

    name: str
    """Column name."""
    type: ColumnType
    """What its cells are once read; a `time` or `text` is no feature itself."""
    decimal: str | None = None
    """Decimal sign of amounts, `.` or `,`: currency signs, percent and thousands separators are
    taken off.
    """
    censored: bool = False
    """Whether `<0.1` is read as .1."""
    format: str | None = None
    """How a time is written, as `[data.columns]` says it."""
    missing: list[str] = []
    """Cells that mean missing, beside `Reading.null_values`."""
    parts: list[str] = []
    """What is made of it, row by row."""
    since: str | None = None
    """What `days` counts to: another raw column, or a date."""


class Reading(Record, frozen=True, kw_only=True):
    """How callers' cells are read where they come as the training table had them."""

    columns: list[RawColumn]
    """In the table's order."""
    null_values: list[str]
    """Cells that mean missing."""
    trim: bool = True
    """Whether white space around a text means nothing."""
