"""`[privacy]`: what private training may spend, and on which basis data is processed."""

import datetime
from typing import Annotated, Literal

from msgspec import Meta

from casemate.config.basis import BasisTable
from casemate.config.table import Table
from casemate.config.terms import KEPT, TermTable
from casemate.core.errors import ConfigError

Day = Annotated[str, Meta(pattern=r"^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$(?!\n)")]


class PrivacyTable(Table, frozen=True, kw_only=True):
    """What private training may spend, and what a data set may give away in all."""

    min_group: Annotated[
        int,
        Meta(
            description=(
                "Fewest rows that a told figure may be about; smaller groups are told together as"
                " `(others)`."
            ),
            ge=1,
            le=1000,
        ),
    ] = 10

    epsilon: Annotated[float, Meta(description="Of one private training.", gt=0, le=100)] = 1.0
    delta: Annotated[
        float,
        Meta(
            description="Of one private training; well below one over the number of rows.",
            gt=0,
            lt=0.1,
        ),
    ] = 1e-5
    rows: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(
            description=(
                "About how many rows (or subjects) the table has, a round number from what you"
                " know; the sampling rate of private training follows from it. Needed for torch"
                " networks trained in batches; default: rows are counted with noise."
            )
        ),
    ] = None
    clip: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(
            description=(
                "Largest norm of one row's (or subject's) gradient; default: 0.2 for linear models,"
                " 1 for networks."
            )
        ),
    ] = None
    budget: Annotated[
        float,
        Meta(
            description=(
                "Epsilon that all trainings and statistics of one data set may spend together, per"
                " purpose."
            ),
            gt=0,
        ),
    ] = 8.0
    budget_delta: Annotated[
        float,
        Meta(
            description="Delta at which the ledger adds up; the deltas spent may not exceed it.",
            gt=0,
            lt=0.1,
        ),
    ] = 1e-4
    basis: Annotated[
        dict[Annotated[str, Meta(min_length=1, max_length=200)], BasisTable],
        Meta(
            description=(
                "Per purpose, why personal data may be processed; empty: nothing is asked. Where"
                " any is named, a run needs one for `[project] purpose`."
            )
        ),
    ] = {}

    erased: Annotated[
        Literal["leave-out", "refuse"],
        Meta(
            description=(
                "What a run does with rows of people who were erased and who are in its table"
                " again: leave them out and say how many, or refuse the table."
            )
        ),
    ] = "leave-out"
    retrain_days: Annotated[
        int,
        Meta(
            description=(
                "Days after which a model that was made of an erased person's rows is not promoted"
                " any more, where `casemate privacy erase` decides about it."
            ),
            ge=0,
            le=365,
        ),
    ] = 30
    holidays: Annotated[
        list[Day],
        Meta(
            description=(
                "Days, such as `2026-12-25`, that are no working days beside Saturday and Sunday;"
                " the terms of requests are counted with them."
            ),
            max_length=2000,
        ),
    ] = []
    remind_days: Annotated[
        int,
        Meta(description="Days before a request's term ends at which it is told.", ge=0, le=60),
    ] = 7
    identity: Annotated[
        bool,
        Meta(
            description=(
                "Whether a request is granted only after somebody wrote down how it was checked"
                " that the person themselves asks: `privacy request decide N identify`."
            )
        ),
    ] = False

    retention: Annotated[
        dict[Annotated[str, Meta(min_length=1, max_length=200)], TermTable],
        Meta(
            description=(
                "Terms by what they are about: `data` or `data:NAME`, rows of sealed versions;"
                " `model` or `model:NAME`, versions that are not served; `predictions`, `inputs`"
                " (rows kept with them), `feedback`, `outbox` (what messages said), `logs` and"
                " `telemetry`. `casemate privacy retention` keeps them."
            )
        ),
    ] = {}

    @property
    def days_off(self) -> frozenset[datetime.date]:
        """`holidays` as days; ConfigError: one is in no calendar."""
        try:
            return frozenset(map(datetime.date.fromisoformat, self.holidays))
        except ValueError as error:
            raise ConfigError(
                f"[privacy] holidays: {error}", hint="YEAR-MONTH-DAY, such as 2026-12-25"
            ) from error

    def impossible_terms(self) -> list[str]:
        """What of `retention` is no term, or of nothing."""
        problems = []
        for name, term in self.retention.items():
            what, colon, rest = name.partition(":")
            if what not in KEPT or (colon and (what not in ("data", "model") or not rest)):
                problems.append(
                    f"[privacy.retention] {name}: one of {', '.join(KEPT)}, data:NAME or model:NAME"
                )
            if (term.days is None) == (term.months is None):
                problems.append(f"[privacy.retention] {name}: either days or months")
        return problems

    def basis_of(self, purpose: str) -> BasisTable | None:
        """The basis for a purpose; None where the file names none at all.

        Raises:
            ConfigError: it names others only, or one without its record.
        """
        if not self.basis:
            return None
        found = self.basis.get(purpose)
        if found is None:
            raise ConfigError(
                f"[privacy.basis] has none for the purpose {purpose!r}",
                hint=f"it has: {', '.join(self.basis)}; [project] purpose says what a run is for",
            )
        if found.legal != "consent" and not found.record.strip():
            raise ConfigError(
                f"[privacy.basis] {purpose!r}: {found.legal} needs its record",
                hint="record = WHERE says where the decision is written down",
            )
        return found
