"""`[feedback]` and `[retrain]`: who may teach the model, and when it learns again."""

from typing import Annotated, Literal

from msgspec import Meta

from casemate.config.table import MOST_DAYS, Count, Name, Share, Table

Trust = Literal["none", "usual", "full"]


class SourceTable(Table, frozen=True, kw_only=True):
    """`[feedback.sources.NAME]`: one place that tells what really was."""

    trust: Annotated[
        Trust,
        Meta(
            description=(
                "`none`: kept and never learnt from; `usual`: learnt from what the screens find"
                " nothing against; `full`: single rows that look odd are learnt from too."
            )
        ),
    ] = "usual"
    principals: Annotated[
        list[str],
        Meta(
            description=(
                'Who may speak for it, such as `User::"ana"`; empty: whoever may tell at all.'
            )
        ),
    ] = []


class FeedbackTable(Table, frozen=True, kw_only=True):
    """What callers and people say of answers, and what it takes until it teaches."""

    sources: Annotated[
        dict[Name, SourceTable],
        Meta(description="Named sources; who names none is a source by their own name."),
    ] = {}
    trust: Annotated[Trust, Meta(description="Trust of sources without a name.")] = "usual"
    source_share: Annotated[
        Share,
        Meta(
            description=(
                "Largest share of the rows that one source may teach where there are others; the"
                " rest of its rows is held back."
            )
        ),
    ] = 0.5


class RetrainTable(Table, frozen=True, kw_only=True):
    """When `casemate retrain run` trains again, with what, and how often at most."""

    figure: Annotated[
        str | None,
        Meta(
            description=(
                "The figure of quality that is looked at; default: `accuracy`, of quantities"
                " `rmse`."
            )
        ),
    ] = None
    below: Annotated[
        float | None,
        Meta(
            description=(
                "Due when the whole interval of the figure, realised or estimated by the watcher,"
                " lies below this."
            )
        ),
    ] = None
    drift: Annotated[
        bool, Meta(description="Due when the watcher says that drift costs quality.")
    ] = False
    labels: Annotated[
        Count | None, Meta(description="Due with so many new rows that may teach.")
    ] = None
    days: Annotated[
        Annotated[float, Meta(gt=0, le=MOST_DAYS)] | None,
        Meta(description="Due so many days after the last retraining."),
    ] = None
    share: Annotated[
        Share, Meta(description="Largest share of the training table that feedback may be.")
    ] = 0.3
    weight: Annotated[
        float,
        Meta(
            description=(
                "What a row of feedback weighs beside the others' mean, where `[data] weight` names"
                " a column."
            ),
            gt=0,
            le=100,
        ),
    ] = 1.0
    margin: Annotated[
        float,
        Meta(
            description=(
                "How much worse in the figure than the incumbent a new model may be, on the same"
                " held-out rows, by the bad end of the paired interval."
            ),
            ge=0,
        ),
    ] = 0.02
    promote: Annotated[
        Literal["no", "shadow", "canary", "live"],
        Meta(description="What becomes of a model that passed, if policy lets whoever retrains."),
    ] = "no"
    canary_share: Annotated[Share, Meta(description="Share of requests of a canary.")] = 0.1
    period_days: Annotated[
        float, Meta(description="Days that the budgets are about.", gt=0, le=3660)
    ] = 30.0
    most_runs: Annotated[Count, Meta(description="Retrainings in a period.")] = 4
    hours: Annotated[
        float, Meta(description="Hours of retraining in a period.", gt=0, le=24 * 3660)
    ] = 24.0
    epsilon: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(
            description=(
                "Privacy that retrainings may spend in a period; the budget of the data set holds"
                " in any case."
            ),
        ),
    ] = None
    refusals: Annotated[
        Count,
        Meta(description="Refused in a row, after which a person must say that it may go on."),
    ] = 2
