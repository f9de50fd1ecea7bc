"""`[privacy.retention]`: how long what is kept."""

from typing import Annotated

from msgspec import Meta

from casemate.config.table import Table


class TermTable(Table, frozen=True, kw_only=True):
    """`[privacy.retention.WHAT]`: how long one kind of thing is kept, and why so long."""

    days: Annotated[
        Annotated[int, Meta(ge=1, le=36_600)] | None, Meta(description="Days, or `months`.")
    ] = None
    months: Annotated[
        Annotated[int, Meta(ge=1, le=1200)] | None,
        Meta(
            description=(
                "Months of the calendar: to the same date so many months later, else that month's"
                " last day."
            )
        ),
    ] = None
    reason: Annotated[
        str,
        Meta(
            description="The law, contract or decision that the term comes from.",
            min_length=1,
            max_length=500,
        ),
    ]


KEPT = ("data", "model", "predictions", "inputs", "feedback", "outbox", "logs", "telemetry")
"""What `[privacy.retention]` knows; the first two also by name, as `data:NAME`."""
