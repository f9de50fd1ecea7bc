"""`[logs]`: what is kept to be searched."""

from typing import Annotated

from msgspec import Meta

from casemate.config.table import MOST_MB, Days, Table


class LogsTable(Table, frozen=True, kw_only=True):
    """The log store: `casemate logs`. Needs `casemate[logs]`."""

    requests: Annotated[
        bool, Meta(description="Whether the gateway tells every request, without rows or answers.")
    ] = True
    days: Annotated[Days, Meta(description="Days that lines are kept, beside today.")] = 90
    max_megabytes: Annotated[
        int,
        Meta(
            description="Megabytes of all lines together: beyond it the oldest days go first.",
            ge=100,
            le=MOST_MB,
        ),
    ] = 2048
