"""`[data.columns]`: what is known about one column."""

from typing import Annotated, Literal

from msgspec import Meta

from casemate.config.table import Mask, Part, Table
from casemate.core.types import ColumnClass, ColumnType


class ColumnTable(Table, frozen=True, kw_only=True, rename={"column_class": "class"}):
    """What is known about one column."""

    column_class: Annotated[
        ColumnClass | None,
        Meta(
            description=(
                "`identifier` and `sensitive` columns are sealed under keys of their own; an"
                " identifier is never a feature and is read as text. Default: what the pinned"
                " schema says, in a new one `general`."
            )
        ),
    ] = None
    type: Annotated[
        ColumnType | None, Meta(description="Fixes the type instead of inferring it.")
    ] = None
    coerce: Annotated[
        bool,
        Meta(
            description=(
                "Cells that are not of the type become missing, and a finding names the rows;"
                " otherwise they are an error."
            )
        ),
    ] = False
    use: Annotated[
        bool | None,
        Meta(
            description=(
                "Whether the column is a feature. Default: what the pinned schema says, in a new"
                " one yes."
            )
        ),
    ] = None
    min: Annotated[
        float | None,
        Meta(
            description=(
                "Least number that is possible, whatever the data shows; needed for private"
                " training."
            )
        ),
    ] = None
    max: Annotated[
        float | None,
        Meta(description="Greatest number that is possible; needed for private training."),
    ] = None
    categories: Annotated[
        list[str] | None,
        Meta(
            description=(
                "All categories that are possible, whatever the data shows; needed for private"
                " training, of the target too (its classes)."
            )
        ),
    ] = None
    nullable: Annotated[
        bool | None,
        Meta(
            description=(
                "Whether a cell may be missing. Default: what the pinned schema says, in a new one"
                " what the data shows; private: yes."
            )
        ),
    ] = None
    decimal: Annotated[
        Literal[".", ","] | None,
        Meta(
            description=(
                "Numbers are written as amounts with this decimal sign: currency signs, `%` and"
                " thousands separators are taken off (`$1,234.50`, `35%`; with a comma `1.234,50"
                " €`)."
            )
        ),
    ] = None
    censored: Annotated[
        bool,
        Meta(
            description=(
                "Cells such as `> 89` or `<0.1` are read as the number, and a feature"
                " `NAME_censored` (-1 below, 0 exact, 1 above) is added."
            )
        ),
    ] = False
    format: Annotated[
        str | None,
        Meta(
            description=(
                "How a time is written: `%d.%m.%Y` and so on (strptime), `iso`, or the unit of"
                " numbers since 1970: `epoch-s`, `epoch-ms`. Of a number: `clock` (times of day as"
                " hours: `08:15`, `8:15 pm`), `duration` (seconds: `1h 30m`, `26:10:00`,"
                " `PT1H30M`)."
            )
        ),
    ] = None
    parts: Annotated[
        list[Part],
        Meta(
            description=(
                "Features made of the column, row by row: of a time `year`, `month`, `weekday` (0"
                " is Monday), `hour`, `days` (until `since`); of text `words` (16 counts of hashed"
                " words)."
            )
        ),
    ] = []
    since: Annotated[
        str | None,
        Meta(
            description=(
                "What `days` counts from the column to: another time column, or a date such as"
                " 2026-01-31."
            )
        ),
    ] = None
    missing: Annotated[
        list[str],
        Meta(
            description=(
                "Cells of this column that mean missing, beside `null_values`: `-1`, `999`, `?`."
            )
        ),
    ] = []
    monotone: Annotated[
        Literal["increasing", "decreasing"] | None,
        Meta(
            description=(
                "Which way the prediction may go when this number rises and nothing else changes:"
                " the positive class's probability, or the quantities. Boosted trees keep it;"
                " models that cannot are not trained."
            )
        ),
    ] = None
    unit: Annotated[
        str | None,
        Meta(
            description=(
                "Unit of a number, such as `kg` or `degC`; rows that look like another unit are"
                " found."
            )
        ),
    ] = None
    protected: Annotated[
        bool,
        Meta(
            description=(
                "A protected attribute, such as sex: fairness is measured by each of its values."
            )
        ),
    ] = False
    mask: Annotated[
        Mask | None,
        Meta(
            description=(
                "What is left of a value for whoever policy lets see it masked only: `redact`,"
                " `year`, `first-N` or `round-N`."
            )
        ),
    ] = None
