"""`[drill]`: attacks on a copy of the project."""

from typing import Annotated

from msgspec import Meta

from casemate.config.table import Days, Name, Table


class DrillTable(Table, frozen=True, kw_only=True):
    """Drills: `casemate drill`."""

    every_days: Annotated[
        Days, Meta(description="Days after which `casemate drill --if-due` plays again.")
    ] = 7
    minutes: Annotated[
        float,
        Meta(
            description="Minutes after which what is not played yet is not played.", gt=0, le=1440
        ),
    ] = 20.0
    rows: Annotated[
        int,
        Meta(description="Rows of the table that the copy has, evenly from all.", ge=100),
    ] = 20_000
    leave_out: Annotated[
        dict[Name, Annotated[str, Meta(min_length=1, max_length=200)]],
        Meta(
            description=(
                'Attacks that are not played, and why, such as `{ label-flips = "the target is a'
                ' quantity" }`; every report says it.'
            )
        ),
    ] = {}
