"""`[screen]`: what is looked for in the rows."""

from typing import Annotated, Literal

from msgspec import Meta

from casemate.config.table import DetectorId, Share, Table


class ScreenTable(Table, frozen=True, kw_only=True):
    """What is looked for in the rows before anything learns from them."""

    label_noise: Annotated[
        bool, Meta(description="Suspected wrong labels by out-of-fold probabilities.")
    ] = True
    outliers: Annotated[bool, Meta(description="Cells far outside their column's spread.")] = True
    duplicates: Annotated[
        bool,
        Meta(
            description=(
                "Rows equal in every feature and the target, more of them than chance makes."
            )
        ),
    ] = True
    neighbours: Annotated[
        bool, Meta(description="Rows whose nearest rows nearly all have another label.")
    ] = True
    floods: Annotated[
        bool,
        Meta(
            description=(
                "Many near-copies of one row with one label, far more of them than chance makes."
            )
        ),
    ] = True
    provenance: Annotated[
        bool,
        Meta(
            description=(
                "Sources and times at which labels or suspicious rows are unusually frequent."
            )
        ),
    ] = True
    triggers: Annotated[
        bool,
        Meta(description="Rare values of one to three features that decide the label (backdoors)."),
    ] = True
    spectral: Annotated[
        bool,
        Meta(
            description="Small groups inside a class that stand apart from it (spectral signature)."
        ),
    ] = True
    influence: Annotated[
        bool,
        Meta(
            description=(
                "How much the rows under suspicion change a model: trained with and without them."
            )
        ),
    ] = True
    rows: Annotated[
        int,
        Meta(
            description=(
                "Rows that the detectors with a cost above n log n look at; larger tables are"
                " sampled."
            ),
            ge=100,
        ),
    ] = 50_000
    folds: Annotated[int, Meta(description="Folds of the label screen.", ge=2, le=20)] = 5
    outlier_deviations: Annotated[
        float,
        Meta(description="Robust deviations (median, MAD) from which a cell is an outlier.", gt=0),
    ] = 12.0
    quarantine: Annotated[
        Literal["report", "exclude"],
        Meta(
            description=(
                "`exclude` leaves suspicious training rows out; they stay sealed and listed. The"
                " hold-out keeps its rows in any case."
            )
        ),
    ] = "report"
    exclude: Annotated[
        list[DetectorId],
        Meta(
            description=(
                "Detectors whose training rows are left out even with `report`, such as `trigger`,"
                " before anybody looked at them."
            )
        ),
    ] = []
    cap: Annotated[
        Share,
        Meta(description="Largest share of rows under suspicion; above it the run is refused."),
    ] = 0.25
