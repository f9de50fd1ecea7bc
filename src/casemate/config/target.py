"""What of `[data]` says what is learned, and from which table."""

from typing import Annotated, Literal

from msgspec import Meta

from casemate.config.table import Name, Table


class TargetOptions(Table, frozen=True, kw_only=True):
    """What is learned, and from which table."""

    source: Annotated[
        str | Annotated[list[str], Meta(min_length=1, max_length=10_000)],
        Meta(
            description=(
                "File, relative to the project: delimited text, Parquet, Arrow, ORC, JSON, SQLite,"
                " DuckDB or a spreadsheet, by its content; a list of files or a folder of them with"
                " the same columns; `s3://BUCKET/KEY`, or `s3://BUCKET/PREFIX/` for a folder; or"
                " `postgresql://USER@HOST:PORT/DATABASE` with `query`."
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
