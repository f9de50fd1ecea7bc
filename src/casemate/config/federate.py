"""`[federate]`: what others may have this project's rows asked, whatever a job says."""

import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from casemate.config.table import MOST_SECONDS, Count, Table
from casemate.core.types import NoiseUnit

Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$(?!\n)")]
Trainable = Literal[
    "LogisticRegression",
    "LinearRegression",
    "Ridge",
    "NetworkClassifier",
    "HistGradientBoostingClassifier",
    "HistGradientBoostingRegressor",
]
"""Estimators that sites can train together: `stages.train.sites.TRAINABLE`, and boosted trees."""
Hours = Annotated[
    str, Meta(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]-([01][0-9]|2[0-3]):[0-5][0-9]$(?!\n)")
]


class FederateTable(Table, frozen=True, kw_only=True):
    """What owners who train together may ask of this project's rows; no job can ask for more."""

    coordinators: Annotated[
        list[Digest],
        Meta(
            description=(
                "Fingerprints of the cards of coordinators whose charters may be approved here and"
                " whose jobs are answered; empty: nobody's."
            )
        ),
    ] = []
    code: Annotated[
        list[Digest],
        Meta(
            description=(
                "SHA-256 digests of training code from elsewhere that may run here, in the sandbox;"
                " what is refused is laid into `federated/NAME/code/` to be read. Empty: none."
            )
        ),
    ] = []
    models: Annotated[
        list[Trainable],
        Meta(
            description=(
                "Estimators that may be trained on this project's rows; a network remembers more"
                " of a row than a linear model does, boosted trees are grown from sums over few"
                " rows, and neither is among them unless it is named."
            )
        ),
    ] = msgspec.field(default_factory=lambda: ["LogisticRegression", "LinearRegression", "Ridge"])
    purposes: Annotated[
        list[Annotated[str, Meta(min_length=1, max_length=200)]],
        Meta(
            description=(
                "Purposes that a charter may have; empty: that of `[project] purpose` alone."
            )
        ),
    ] = []
    least_rows: Annotated[
        Count,
        Meta(
            description=(
                "Rows that must be there before anything is computed of them, and never fewer than"
                " `[privacy] min_group`."
            )
        ),
    ] = 50
    least_sites: Annotated[
        int,
        Meta(
            description=(
                "Sites that a charter must want to hear of in a round, and of which a sum under"
                " masks must be."
            ),
            ge=2,
            le=256,
        ),
    ] = 3
    masked: Annotated[
        bool,
        Meta(
            description=(
                "Whether answers leave under masks only, so that the coordinator sees sums of"
                " several sites and no site's own."
            )
        ),
    ] = True
    noise: Annotated[bool, Meta(description="Whether only rounds with noise are answered.")] = False
    noise_unit: Annotated[
        NoiseUnit,
        Meta(
            description=(
                "Whom noise must cover at least: each row, or all rows of one subject; or all rows"
                " of this site together, so that nothing tells whose they are."
            )
        ),
    ] = "subject"
    epsilon_round: Annotated[
        float,
        Meta(
            description=(
                "Epsilon that one round with noise may cost; the budget of the data set bounds"
                " what all of them cost."
            ),
            gt=0,
            le=100,
        ),
    ] = 1.0
    rounds_a_day: Annotated[
        Count,
        Meta(description="Rounds that are answered in 24 hours, of all federations together."),
    ] = 200
    patience: Annotated[
        float,
        Meta(
            description=(
                "Seconds that a coordinator who does not answer is called again, before a site"
                " gives up: as long as a machine takes to start again."
            ),
            gt=0,
            le=MOST_SECONDS,
        ),
    ] = 900.0
    hours: Annotated[
        Hours | None,
        Meta(
            description=(
                'When rounds are answered, such as `"22:00-06:00"`, in UTC; default: always.'
            )
        ),
    ] = None

    def is_open(self, moment: datetime.datetime) -> bool:
        """Whether rounds are answered at this moment, which has a time zone."""
        if self.hours is None:
            return True
        begin, _, end = self.hours.partition("-")
        now = moment.astimezone(datetime.UTC).strftime("%H:%M")
        return begin <= now < end if begin < end else now >= begin or now < end


def impossible_federate(table: FederateTable) -> list[str]:
    """What of `[federate]` does not go together."""
    if table.hours is not None and table.hours[:5] == table.hours[6:]:
        return ["[federate] hours: it ends when it begins; leave it out for always"]
    return []
