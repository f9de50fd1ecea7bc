"""`[watch]`: what the watcher looks at, and when it says something."""

from typing import Annotated, Literal

from msgspec import Meta

from casemate.config.table import MOST_SECONDS, Days, Share, Table

LATENCIES = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Seconds by which the gateway counts how long requests take."""


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
            pattern=r"^\s*\d{1,6}\s+per\s+\d{1,6}(\.\d+)?\s+days?\s*$(?!\n)",
        ),
    ] = "1 per 90 days"
    window_hours: Annotated[
        int, Meta(description="Hours of answers that are judged together.", ge=1, le=24 * 31)
    ] = 24
    window_rows: Annotated[
        int,
        Meta(description="Rows that a window has at least: it goes on until it has them.", ge=20),
    ] = 100
    disk_days: Annotated[
        float,
        Meta(
            description="Days before a disk is full, or a privacy budget spent, that it is told.",
            gt=0,
            le=366,
        ),
    ] = 7.0
    certificate_days: Annotated[
        float, Meta(description="Days before a certificate ends.", gt=0, le=366)
    ] = 14.0
    budget_share: Annotated[
        Share, Meta(description="Share of a privacy budget that is spent when somebody is told.")
    ] = 0.8
    model_days: Annotated[
        Days | None, Meta(description="Age in days from which a live model is told to be old.")
    ] = None


class ObjectiveTable(Table, frozen=True, kw_only=True):
    """`[slo.NAME]`: one promise about the service, for the alert rules of `casemate deploy
    prometheus`.
    """

    kind: Annotated[
        Literal["availability", "latency", "freshness", "guarded", "quality"],
        Meta(
            description=(
                "`availability`: share of requests that did not fail for a fault of the service;"
                " `latency`: share that took at most `seconds`; `freshness`: age of live models;"
                " `guarded`: share of rows that a guard noticed; `quality`: an estimated figure."
            )
        ),
    ]
    target: Annotated[
        float,
        Meta(description="Share of good requests (availability, latency).", gt=0, lt=1),
    ] = 0.999
    days: Annotated[int, Meta(description="Days over which the target holds.", ge=1, le=90)] = 28
    seconds: Annotated[
        float, Meta(description="Latency: most seconds of a good request.", gt=0, le=MOST_SECONDS)
    ] = 0.1
    most: Annotated[
        float | None,
        Meta(description="Freshness: most days. Guarded: largest share of rows."),
    ] = None
    figure: Annotated[str, Meta(description="Quality: the figure.")] = "roc_auc"
    least: Annotated[
        float | None,
        Meta(description="Quality: told when the whole interval of the estimate lies below."),
    ] = None
