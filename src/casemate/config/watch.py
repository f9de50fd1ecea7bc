"""`[watch]`: what the watcher looks at, and when it says something."""

from typing import Annotated

from msgspec import Meta

from casemate.config.table import Count, Share, Table


class WatchTable(Table, frozen=True, kw_only=True):
    """The watcher: `casemate watch`."""

    every: Annotated[int, Meta(description="Seconds between two looks.", ge=1, le=86_400)] = 60
    false_alarms: Annotated[
        str,
        Meta(
            description=(
                "How often drift and anomalies may be told without a cause: over all features,"
                " series and windows of one model together."
            ),
            pattern=r"^\s*\d{1,6}\s+per\s+\d{1,6}(\.\d+)?\s+days?\s*$",
        ),
    ] = "1 per 90 days"
    window_hours: Annotated[
        int, Meta(description="Hours of answers that are judged together.", ge=1, le=24 * 31)
    ] = 24
    window_rows: Annotated[
        Count,
        Meta(description="Rows that a window has at least: it goes on until it has them."),
    ] = 100
    disk_days: Annotated[
        float,
        Meta(description="Days before the disk is full that somebody is told.", gt=0, le=366),
    ] = 7.0
    certificate_days: Annotated[
        float, Meta(description="Days before a certificate ends.", gt=0, le=366)
    ] = 14.0
    budget_share: Annotated[
        Share, Meta(description="Share of a privacy budget that is spent when somebody is told.")
    ] = 0.8
    model_days: Annotated[
        Count | None, Meta(description="Age in days from which a live model is told to be old.")
    ] = None
