"""`[serve.guard]` and `[serve.outputs]`: rows and answers that are not like those of training."""

from typing import Annotated, Literal

from msgspec import Meta

from casemate.config.table import Digits, Reaction, Table


class GuardTable(Table, frozen=True, kw_only=True):
    """What happens to rows that are not like the training data; what is flagged is answered,
    counted and recorded.
    """

    outside: Annotated[
        Reaction, Meta(description="A number beyond `min` or `max` of the pinned schema.")
    ] = "flag"
    unknown: Annotated[
        Reaction, Meta(description="A category that the pinned schema does not list.")
    ] = "refuse"
    unusual: Annotated[
        Reaction,
        Meta(
            description=(
                "A row farther from the training rows than all but one in a thousand of them."
            )
        ),
    ] = "flag"


class OutputsTable(Table, frozen=True, kw_only=True):
    """How much of an answer callers see; policy may show them less: who may only
    `model:infer-label` sees the class.

    Who may only `model:infer-aggregate` is told how many rows of the request get which class, with
    noise.
    """

    show: Annotated[
        Literal["all", "top", "label", "aggregate"],
        Meta(
            description=(
                "All probabilities, those of the likeliest classes, the class alone, or noisy"
                " counts of a request's classes."
            )
        ),
    ] = "all"
    top: Annotated[int, Meta(description="How many classes `top` shows.", ge=1)] = 3
    digits: Annotated[
        Digits | None, Meta(description="Decimal places of probabilities; default: as computed.")
    ] = None
