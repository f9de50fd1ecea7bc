"""`[serve.limits]` and `[serve.aggregates]`: what one caller may ask for."""

from typing import Annotated

from msgspec import Meta

from casemate.config.table import Count, Table


class AggregateTable(Table, frozen=True, kw_only=True):
    """Noisy counts for callers who are told no more; see `[serve.outputs]`. Needs
    `casemate[private]`.
    """

    epsilon: Annotated[
        float,
        Meta(
            description=(
                "Of one request: how well it hides what the model says of any one of its rows."
            ),
            gt=0,
            le=100,
        ),
    ] = 0.5
    budget: Annotated[
        float,
        Meta(description="Epsilon of all requests of one caller to one model, for ever.", gt=0),
    ] = 8.0
    rows: Annotated[
        int, Meta(description="Least rows of a request, all of them different.", ge=2)
    ] = 20


class LimitsTable(Table, frozen=True, kw_only=True):
    """What each caller may use of a model; kept in the catalogue, so a restart or another gateway
    forgives nothing.
    """

    requests_per_minute: Annotated[
        Count | None, Meta(description="Per caller; a token may be narrower.")
    ] = None
    concurrent: Annotated[
        int,
        Meta(description="Requests of one caller that are being answered at the same time.", ge=1),
    ] = 256
    rows: Annotated[
        Count | None,
        Meta(
            description=(
                "Rows that a caller may ask a model about within `days`; to copy one takes more."
            )
        ),
    ] = None
    days: Annotated[int, Meta(description="Length of that window.", ge=1, le=366)] = 30
    probing: Annotated[
        float,
        Meta(
            description=(
                "A caller with more than this share of rows that look like probing becomes a"
                " finding (`model-probing`)."
            ),
            gt=0,
            le=1,
        ),
    ] = 0.5
