"""What of `[data]` says how the source is read."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from casemate.config.target import TargetOptions


class ReadingOptions(TargetOptions, frozen=True, kw_only=True):
    """How the source is read; it follows what is learned, in the order of the reference."""

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
