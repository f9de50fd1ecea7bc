"""`[serve.canary]`: when a version on trial is taken on, or back."""

from typing import Annotated

from msgspec import Meta

from casemate.config.table import Table


class CanaryTable(Table, frozen=True, kw_only=True):
    """When a canary is rolled back by itself."""

    errors: Annotated[float, Meta(description="Share of failed answers.", ge=0, le=1)] = 0.01
    refusals: Annotated[
        float,
        Meta(
            description="Share of rows that guards refuse, beyond that of the live version.",
            ge=0,
            le=1,
        ),
    ] = 0.05
    latency: Annotated[
        float,
        Meta(description="Mean time of its answers, as a multiple of the live version's.", ge=1),
    ] = 3.0
    drift: Annotated[
        float,
        Meta(
            description=(
                "Largest difference in the share of any class, beyond chance, from the live"
                " version."
            ),
            ge=0,
            le=1,
        ),
    ] = 0.1
    requests: Annotated[int, Meta(description="Answers before it is judged.", ge=10)] = 50
