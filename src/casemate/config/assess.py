"""`[assess]`: how a model is measured."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from casemate.config.table import MOST_SECONDS, Name, Share, Table


class BehaviourTable(Table, frozen=True, kw_only=True):
    """What the model must do when one feature changes and the others stay."""

    name: Annotated[
        str, Meta(description="What is expected, for reports.", min_length=1, max_length=200)
    ]
    feature: Annotated[str, Meta(description="The feature to change.")]
    add: Annotated[float | None, Meta(description="Added to a number.")] = None
    to: Annotated[
        list[str] | None, Meta(description="Categories that it is set to, one after the other.")
    ] = None
    expect: Annotated[
        Literal["same", "up", "down"],
        Meta(
            description=(
                "`same`: the label stays; `up`, `down`: the score of the positive class, or the"
                " quantity, does not fall, or rise."
            )
        ),
    ] = "same"
    tolerate: Annotated[Share, Meta(description="Share of the rows that may break it.")] = 0.0


class AssessTable(Table, frozen=True, kw_only=True):
    """What is measured on the hold-out."""

    slices: Annotated[
        list[str],
        Meta(
            description=(
                "Columns to slice by; numbers with more than 20 values are cut at quartiles."
                " Default: features with at most 20 values."
            )
        ),
    ] = []
    bootstrap: Annotated[
        int,
        Meta(
            description="Bootstrap resamples, where a figure has no interval in closed form.",
            ge=20,
            le=100_000,
        ),
    ] = 300
    attack_rows: Annotated[int, Meta(description="Hold-out rows to attack.", ge=10, le=100_000)] = (
        100
    )
    attack_steps: Annotated[int, Meta(description="Steps of the attacks.", ge=1, le=1000)] = 20
    eps: Annotated[
        list[float],
        Meta(description="Attack sizes of the curve, in standard deviations of each feature."),
    ] = msgspec.field(default_factory=lambda: [0.05, 0.1, 0.2])
    membership_rows: Annotated[
        int, Meta(description="Rows per side of the membership test.", ge=20)
    ] = 5000
    shadows: Annotated[
        int,
        Meta(
            description="Shadow models of the likelihood-ratio attack (LiRA); 0: none.",
            ge=0,
            le=1024,
        ),
    ] = 16
    shadow_rows: Annotated[
        int,
        Meta(
            description="Rows that each pair of shadow models shares out among members and others.",
            ge=40,
        ),
    ] = 1000
    shadow_size: Annotated[
        int,
        Meta(
            description=(
                "Up to so many training rows shadow models are trained on as many; above it on"
                " `shadow_rows`."
            ),
            ge=0,
        ),
    ] = 4000
    attribute_rows: Annotated[
        int, Meta(description="Rows per side of the attribute inference test.", ge=20)
    ] = 1000
    importance: Annotated[
        bool, Meta(description="How much each feature matters, by permutation.")
    ] = True
    tables: Annotated[
        dict[Name, str],
        Meta(
            description=(
                "Further labelled tables to measure on, such as a later year: name -> file, or"
                " `s3://BUCKET/KEY`. Gates name them: `later.roc_auc`."
            )
        ),
    ] = {}
    behaviour: Annotated[
        list[BehaviourTable], Meta(description="What the model must do when a feature changes.")
    ] = []
    timeout: Annotated[
        float,
        Meta(
            description=(
                "Seconds after which the assessment is stopped; its gates are then inconclusive."
            ),
            gt=0,
            le=MOST_SECONDS,
        ),
    ] = 3600.0
