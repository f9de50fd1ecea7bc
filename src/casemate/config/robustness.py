"""`[robustness]`: what an attacker could change, and how hard attacks try."""

import fnmatch
from typing import Annotated, Literal

from msgspec import Meta

from casemate.config.table import Table, is_pattern


class FeatureTable(Table, frozen=True, kw_only=True):
    """What an attacker can do to one feature."""

    change: Annotated[
        Literal["any", "up", "down", "none"],
        Meta(
            description=(
                "`none`: cannot be changed at all, such as a birth date; `up`, `down`: one way"
                " only."
            )
        ),
    ] = "any"
    integer: Annotated[bool, Meta(description="Only whole numbers make sense.")] = False
    budget: Annotated[
        Annotated[float, Meta(ge=0)] | None,
        Meta(description="Most that it can be moved, in its own unit, whatever eps allows."),
    ] = None
    to: Annotated[
        list[str] | None,
        Meta(description="Categories that an attacker can choose; a category without this stays."),
    ] = None


class RobustnessTable(Table, frozen=True, kw_only=True):
    """What an evasion attacker can do."""

    features: Annotated[
        dict[str, FeatureTable],
        Meta(
            description=(
                "Per feature (`px*` stands for all that match): change, integer, budget, to."
            )
        ),
    ] = {}
    unit: Annotated[
        Literal["deviation", "range"],
        Meta(
            description=(
                "What eps 1 is: a standard deviation of each feature, or its pinned range (images)."
            )
        ),
    ] = "deviation"
    tolerance: Annotated[
        float,
        Meta(
            description=(
                "Regression: how far a prediction may lie from the truth, in deviations of the"
                " target, and count as right."
            ),
            gt=0,
        ),
    ] = 1.0
    second_opinion: Annotated[
        Literal["none", "art"],
        Meta(
            description=(
                "`art`: attacks of the Adversarial Robustness Toolbox run in the same box, and the"
                " worse figure counts (`casemate[art]`)."
            )
        ),
    ] = "none"
    decision_rows: Annotated[
        int,
        Meta(description="Rows of the attack that sees labels only (HopSkipJump); 0: none.", ge=0),
    ] = 5
    restarts: Annotated[
        int, Meta(description="Random starts of the gradient attack.", ge=1, le=100)
    ] = 2
    certify_rows: Annotated[
        int,
        Meta(
            description=(
                "Rows that smoothing certifies (exact bounds of linear models and trees cover every"
                " attacked row); 0: no bounds."
            ),
            ge=0,
        ),
    ] = 50
    smoothing: Annotated[
        float,
        Meta(
            description=(
                "Standard deviation, in units of eps, of the noise of the smoothed model that"
                " certifies a general model; 0: none."
            ),
            ge=0,
        ),
    ] = 0.0
    samples: Annotated[
        int,
        Meta(description="Noisy copies a row for certification by smoothing.", ge=100, le=100_000),
    ] = 1000

    def feature(self, name: str) -> FeatureTable:
        """What an attacker can do to a feature: its own entry, else the first pattern that
        matches.
        """
        if name in self.features:
            return self.features[name]
        return next(
            (
                table
                for pattern, table in self.features.items()
                if is_pattern(pattern) and fnmatch.fnmatchcase(name, pattern)
            ),
            FeatureTable(),
        )
