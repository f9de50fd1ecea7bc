"""`[gates]`, `[release]`, `[run]` and `[retention]`: what a model must reach, and what is kept."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from casemate.config.engine import DaskTable
from casemate.config.table import MOST_GB, MOST_SECONDS, Days, Name, Table


class GateTable(Table, frozen=True, kw_only=True):
    """One limit on one measured figure: passed if its whole 95 % interval keeps it, refused if none
    of it does, else inconclusive.
    """

    min: Annotated[float | None, Meta(description="Least value that passes.")] = None
    max: Annotated[float | None, Meta(description="Greatest value that passes.")] = None
    eps: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(description="Attack size, for `robust_accuracy` and `certified_accuracy` only."),
    ] = None
    no_worse_than: Annotated[
        Literal["previous"] | None,
        Meta(
            description=(
                "The model that passed last, measured on the same rows, which neither saw; quality"
                " figures only."
            )
        ),
    ] = None
    margin: Annotated[float, Meta(description="How much worse than that one it may be.", ge=0)] = (
        0.01
    )
    max_severity: Annotated[
        Literal["high", "medium", "low", "none"] | None,
        Meta(
            description=(
                "Of `scan` only: the gravest finding of `casemate scan` that may stand; `none`: no"
                " finding may."
            )
        ),
    ] = None


class RunTable(Table, frozen=True, kw_only=True):
    """Who computes, and how a run behaves when something is away or takes too long."""

    engine: Annotated[
        Literal["local", "dask"],
        Meta(
            description=(
                "Who does the trials of a search and shadow models: processes of this machine, or"
                " a Dask cluster (`[run.dask]`), with the same result."
            )
        ),
    ] = "local"
    dask: Annotated[DaskTable, Meta(description='The cluster, where `engine = "dask"`.')] = (
        DaskTable()
    )

    retries: Annotated[
        int,
        Meta(
            description="Further attempts at a stage when a back end was away for a moment.",
            ge=0,
            le=20,
        ),
    ] = 2
    backoff: Annotated[
        float,
        Meta(
            description="Seconds before the second attempt; doubled each time, with jitter.",
            ge=0,
            le=3600,
        ),
    ] = 1.0
    timeouts: Annotated[
        dict[
            Literal["data", "train", "assess", "release"],
            Annotated[float, Meta(gt=0, le=MOST_SECONDS)],
        ],
        Meta(
            description=(
                "Seconds a stage may take, such as `{ data = 600 }`; the run then ends as failed."
                " Default: no limit."
            )
        ),
    ] = {}
    memory_gb: Annotated[
        Annotated[float, Meta(gt=0, le=MOST_GB)] | None,
        Meta(
            description=(
                "Memory of the run's own process, in GiB: a table that would need more is refused"
                " before it is read, and a stage that takes more ends as failed. Training and"
                " measuring have processes with `[train] memory_gb`. Default: no limit."
            )
        ),
    ] = None


class ReleaseTable(Table, frozen=True, kw_only=True):
    """What a signed model is for."""

    stage: Annotated[
        Name,
        Meta(
            description=(
                "The stage that a passed model is signed for, such as `staging`; a policy may say"
                " who signs for which."
            )
        ),
    ] = "production"
    licence: Annotated[
        str,
        Meta(
            description=(
                "Under which terms others may use the model, such as an SPDX expression; its bill"
                " of materials says so."
            ),
            max_length=200,
        ),
    ] = ""
    approvals: Annotated[
        int,
        Meta(
            description="People who must approve a model before it is served or exported.",
            ge=0,
            le=10,
        ),
    ] = 0
    separate: Annotated[
        list[Literal["trainer", "steward"]],
        Meta(description="Who may not approve: who ran the training, who sealed the data."),
    ] = msgspec.field(default_factory=lambda: ["trainer", "steward"])


class RetentionTable(Table, frozen=True, kw_only=True):
    """What `casemate gc` must leave."""

    keep_days: Annotated[
        Days,
        Meta(
            description=(
                "Days that an ended run stays, with its evidence and what only it refers to."
            ),
        ),
    ] = 90
    keep_runs: Annotated[
        int, Meta(description="So many of the newest ended runs stay however old they are.", ge=1)
    ] = 10
    hold: Annotated[
        list[str],
        Meta(
            description=(
                "Legal hold: ids of runs, and names of models and data sets with or without"
                " `@VERSION`, that stay in any case."
            )
        ),
    ] = []
