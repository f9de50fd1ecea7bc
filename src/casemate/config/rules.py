"""`[[data.rules]]`: what must hold in every row."""

from typing import Annotated

from msgspec import Meta

from casemate.config.table import Share, Table
from casemate.core.types import Severity


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
