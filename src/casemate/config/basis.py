"""`[privacy.basis]`: why personal data may be processed."""

from typing import Annotated, Literal

from msgspec import Meta

from casemate.config.table import Table

Legal = Literal[
    "consent",
    "contract",
    "legal-obligation",
    "vital-interests",
    "public-task",
    "legitimate-interests",
]
"""The bases of Art. 6(1)(a) to (f) of Regulation (EU) 2016/679, in their order."""


class BasisTable(Table, frozen=True, kw_only=True):
    """`[privacy.basis.PURPOSE]`: why personal data may be processed for one purpose."""

    legal: Annotated[
        Legal,
        Meta(
            description=(
                "`consent`: a run takes the rows of people whom `casemate privacy consent` knows to"
                " be covered, and no others; or another basis, which `record` explains: `contract`,"
                " `legal-obligation`, `vital-interests`, `public-task`, `legitimate-interests`."
            )
        ),
    ]
    record: Annotated[
        str,
        Meta(
            description=(
                "Where the decision for this basis is written down: a file, an address, a number;"
                " needed for every basis but consent."
            ),
            max_length=500,
        ),
    ] = ""
    texts: Annotated[
        list[str],
        Meta(description="Versions of the text of consent that count; empty: every one."),
    ] = []
