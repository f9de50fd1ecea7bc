"""`[privacy]`: what private training may spend."""

from typing import Annotated

from msgspec import Meta

from casemate.config.table import Table


class PrivacyTable(Table, frozen=True, kw_only=True):
    """What private training may spend, and what a data set may give away in all."""

    min_group: Annotated[
        int,
        Meta(
            description=(
                "Fewest rows that a told figure may be about; smaller groups are told together as"
                " `(others)`."
            ),
            ge=1,
            le=1000,
        ),
    ] = 10

    epsilon: Annotated[float, Meta(description="Of one private training.", gt=0, le=100)] = 1.0
    delta: Annotated[
        float,
        Meta(
            description="Of one private training; well below one over the number of rows.",
            gt=0,
            lt=0.1,
        ),
    ] = 1e-5
    rows: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(
            description=(
                "About how many rows (or subjects) the table has, a round number from what you"
                " know; the sampling rate of private training follows from it. Needed for torch"
                " networks trained in batches; default: rows are counted with noise."
            )
        ),
    ] = None
    clip: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(
            description=(
                "Largest norm of one row's (or subject's) gradient; default: 0.2 for linear models,"
                " 1 for networks."
            )
        ),
    ] = None
    budget: Annotated[
        float,
        Meta(
            description=(
                "Epsilon that all trainings and statistics of one data set may spend together, per"
                " purpose."
            ),
            gt=0,
        ),
    ] = 8.0
    budget_delta: Annotated[
        float,
        Meta(
            description="Delta at which the ledger adds up; the deltas spent may not exceed it.",
            gt=0,
            lt=0.1,
        ),
    ] = 1e-4
