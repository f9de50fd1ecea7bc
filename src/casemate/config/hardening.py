"""`[train.adversarial]` and `[train.network]`: how models are hardened and networks trained."""

from typing import Annotated

from msgspec import Meta

from casemate.config.table import Table


class AdversarialTable(Table, frozen=True, kw_only=True):
    """How a model is hardened."""

    eps: Annotated[
        float,
        Meta(
            description=(
                "Attack size to train against, in standard deviations (networks: see `[robustness]"
                " unit`)."
            ),
            gt=0,
        ),
    ] = 0.1
    steps: Annotated[int, Meta(description="Steps of the attack.", ge=1, le=100)] = 7
    rounds: Annotated[
        int, Meta(description="scikit-learn: rounds of attacking and training again.", ge=1, le=20)
    ] = 3


class NetworkTable(Table, frozen=True, kw_only=True):
    """How a torch network is trained."""

    epochs: Annotated[int, Meta(description="Passes over the rows.", ge=1, le=10_000)] = 10
    batch: Annotated[
        int, Meta(description="Rows a step (private training: expected rows).", ge=1, le=1_000_000)
    ] = 128
    rate: Annotated[float, Meta(description="Learning rate.", gt=0)] = 0.001
    momentum: Annotated[
        float, Meta(description="Of SGD, used for private training.", ge=0, lt=1)
    ] = 0.9
