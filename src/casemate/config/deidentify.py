"""What `casemate privacy deidentify --plan FILE` reads: how one table loses its identifiers."""

from typing import Annotated, Literal

from msgspec import Meta

from casemate.config.table import Share, Table

Identifier = Literal[
    "name",
    "place",
    "zip",
    "date",
    "age",
    "phone",
    "fax",
    "email",
    "ssn",
    "mrn",
    "health-plan",
    "account",
    "licence",
    "vehicle",
    "device",
    "url",
    "ip",
    "biometric",
    "photo",
    "other-id",
]
"""What tells who somebody is: the kinds of 45 CFR 164.514(b)(2)(i)."""
Reason = Annotated[str, Meta(min_length=3, max_length=500)]


class DeidentifyTable(Table, frozen=True, kw_only=True):
    """How one table loses its identifiers."""

    method: Annotated[
        Literal["safe-harbor", "k-anonymity"],
        Meta(
            description=(
                "`safe-harbor`: the 18 kinds of 45 CFR 164.514(b)(2)(i) go; `k-anonymity`: direct"
                " identifiers go, and quasi-identifiers are generalised until `k` people share each"
                " combination."
            )
        ),
    ] = "safe-harbor"
    header: Annotated[
        list[str] | None, Meta(description="Column names of a text file that has no header line.")
    ] = None
    subject: Annotated[
        str | None,
        Meta(description="Column that says whose row it is; with a key it becomes a pseudonym."),
    ] = None
    columns: Annotated[
        dict[str, Identifier | Literal["text", "none"]],
        Meta(
            description=(
                "What a column is, instead of what its name and cells say; `text` is free text,"
                " `none` no identifier: its cells are still looked at."
            )
        ),
    ] = {}
    pseudonyms: Annotated[
        dict[str, str],
        Meta(
            description=(
                "Columns that become pseudonyms, each with the name under which tables join:"
                " equal cells of one name give equal pseudonyms."
            )
        ),
    ] = {}
    drop: Annotated[list[str], Meta(description="Columns that go whatever they hold.")] = []
    keep: Annotated[
        dict[str, Reason],
        Meta(
            description=(
                "Columns that may keep what is still found in them, each with the reason; the"
                " report says it."
            )
        ),
    ] = {}
    dates: Annotated[
        Literal["year", "shift"],
        Meta(
            description=(
                "`year`: only the year stays; `shift`: all dates of a subject move by the same"
                " secret number of days, which Safe Harbor does not allow."
            )
        ),
    ] = "year"
    few_people: Annotated[
        list[Annotated[str, Meta(pattern=r"^\d{3}$(?!\n)")]] | None,
        Meta(
            description=(
                "First three digits of ZIP codes under which at most 20,000 people live. Default:"
                " the 17 of the census of 2000."
            )
        ),
    ] = None
    quasi: Annotated[
        list[str], Meta(description="Columns that together may tell who somebody is.")
    ] = []
    sensitive: Annotated[
        list[str], Meta(description="Columns that nobody should learn of a person.")
    ] = []
    k: Annotated[int, Meta(description="Fewest people who share a combination.", ge=2)] = 5
    l: Annotated[  # noqa: E741 - the field's name for it
        int, Meta(description="Fewest different sensitive values in each combination.", ge=1)
    ] = 1
    t: Annotated[
        Share,
        Meta(
            description=(
                "Greatest distance between a combination's sensitive values and the table's."
            )
        ),
    ] = 1.0
    suppress: Annotated[
        Share, Meta(description="Greatest share of rows that may be left out to reach it.")
    ] = 0.05
    widths: Annotated[
        dict[str, list[Annotated[float, Meta(gt=0)]]],
        Meta(description="Widths of a number's intervals, the narrowest first."),
    ] = {}
    hierarchies: Annotated[
        dict[str, dict[str, list[str]]],
        Meta(
            description=(
                "Of a category: each value with what it becomes, step by step; all with equally"
                " many steps."
            )
        ),
    ] = {}
