"""`[data.columns]`: what is known about one column."""

import re
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from casemate.config.table import SPANS, Mask, Part, Table
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


def line_of(path: Path, column: str) -> str:
    """`casemate.toml:12: `, the line that says something of a column; `-s: ` when none does."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    name = re.escape(column)
    quoted = f"({name}|\"{name}\"|'{name}')"
    said = re.compile(
        rf"\s*(\[data\.columns\.{quoted}\]|{quoted}\s*[=.]|data\.columns\.{quoted}\s*[=.])"
    )
    inside = False
    for number, line in enumerate(text.splitlines(), 1):
        inside = (
            line.strip().startswith("[data.columns") if line.lstrip().startswith("[") else inside
        )
        if inside and said.match(line):
            return f"{path.name}:{number}: "
    return "-s: "


def impossible_column(column: ColumnTable) -> list[str]:
    """What a column's entry says that its own `type` makes meaningless: nothing that is written is
    ignored.
    """
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
    problems = [
        f'{key} says nothing of type = "{column.type}"'
        for key, wrong in meaningless.items()
        if wrong and key != "since"
    ]
    if meaningless["since"]:
        problems.append('since needs parts = ["days"]')
    if "days" in column.parts and column.since is None:
        problems.append('parts = ["days"] needs since')
    if "words" in column.parts and (
        column.type not in (None, "text", "category") or len(column.parts) > 1
    ):
        problems.append("words are made of text, and of nothing else beside")
    if column.parts and "words" not in column.parts and column.type != "time":
        problems.append('calendar parts need type = "time"')
    if column.column_class == "identifier":
        said = (
            "min",
            "max",
            "unit",
            "monotone",
            "decimal",
            "censored",
            "coerce",
            "categories",
            "format",
            "parts",
        )
        problems += [
            f"{key} says nothing of an identifier"
            for key in said
            if getattr(column, key) not in (None, False, [])
        ]
        problems += ["an identifier is never a feature: use = true"] if column.use else []
    return problems
