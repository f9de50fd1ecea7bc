"""Noisy counts: how many rows of a request get which class, and not what the model says of one of
them.

The caller knows the rows and not what the model says of them; of one row that moves two counts by
one, so discrete Laplace noise of scale 2 / epsilon on each count is epsilon-differentially private
(Ghosh, Roughgarden, Sundararajan, STOC 2009; through OpenDP). Every request is paid for before the
model is asked, from a budget of its caller and model in the ledger that private training uses too.

The promise is for one row. A row that is sent again is paid for again; rows that are nearly the
same (all numbers within a hundredth of a training deviation) are refused, because one person would
count several times. A caller who makes rows up can still place many around one person's, and learn
what the model says of that neighbourhood: this is for callers who are trusted to send the people
that they have.
"""

import secrets

import numpy as np
import pandas as pd

from casemate.config import AggregateTable
from casemate.controls.privacy.budget import (
    ANSWERS,
    BudgetSpent,
    Ledger,
    Limit,
    RunRecords,
    Spending,
    spend,
)
from casemate.controls.privacy.statistics import noisy_counts, require_opendp
from casemate.core.errors import RequestError
from casemate.core.types import Profile
from casemate.ml.frame import Rows
from casemate.serve.endpoint import Endpoint
from casemate.serve.types import Array

NEAR = 0.01
"""Deviations within which two rows are the same for `_alike`: who asks for counts over copies of
one row asks about that row. Chosen.
"""
MOVED = 2
"""How much the counts change together when the model says something else of one row."""


class Unaggregated(RequestError):
    """The rows cannot be counted without giving one of them away."""

    code = "CM-AGGREGATE"
    http_status = 422


class Spent(RequestError):
    """The caller's budget is used up, and no time refills it."""

    code = "CM-SPENT"
    http_status = 429
    who = "the privacy officer, who keeps the budgets"


class Aggregates:
    """Takes payment, and adds the noise."""

    def __init__(self, engine: RunRecords, ledger: Ledger, table: AggregateTable) -> None:
        """Wire it.

        Args:
            engine: whose store and log a payment goes to.
            ledger: what was paid before.
            table: the `[serve.aggregates]` table.
        """
        self._engine, self._ledger, self._table = engine, ledger, table

    def pay(self, uid: str, endpoint: Endpoint, rows: Rows, count: int) -> None:
        """Pay for one request; blocks until it is on record.

        Raises:
            Unaggregated: there are too few rows, or two are alike. Spent: the budget is used up.
                BackendError: OpenDP is not installed.
        """
        if endpoint.labels:
            raise Unaggregated(
                "noisy counts are for a model of one target, and this one answers with several"
                " labels: ask a model of one of them"
            )
        require_opendp()  # nobody pays for what could not be told
        if count < self._table.rows:
            raise Unaggregated(
                f"noisy counts need {self._table.rows} rows in a request, this one has {count}"
            )
        if _alike(rows, endpoint.profile):
            raise Unaggregated(
                "two rows of the request are alike; noisy counts need rows of different people"
            )
        marks, _ = endpoint.guard(rows)
        if (
            endpoint.guard.refuses(
                {name: int(mark.sum()) for name, mark in marks.items() if mark.any()}
            )
            is not None
        ):
            return  # the guard refuses these rows, and says so when their turn comes
        wanted = Spending(
            id=secrets.token_hex(16),
            dataset=ANSWERS + endpoint.name,
            version=endpoint.version,
            purpose=uid,
            epsilon=self._table.epsilon,
            delta=0.0,
            events=[],
            run="",
            principal=uid,
            what=f"noisy counts of {count} rows",
            time="",
        )
        try:
            spend(
                self._engine,
                self._ledger,
                wanted,
                Limit(self._table.budget, 1.0),
                f'Model::"{endpoint.name}"',
            )
        except BudgetSpent as error:
            text = (
                f"this caller's epsilon {self._table.budget:g} for noisy counts is spent; the"
                " privacy officer keeps [serve.aggregates] budget"
            )
            raise Spent(text) from error

    def counted(self, endpoint: Endpoint, codes: list[int]) -> Array:
        """Noisy rows a class, int64 [k]; may be negative, because cutting at zero would be another
        statistic.
        """
        exact = np.bincount(codes, minlength=len(endpoint.classes)).tolist()
        return np.array(noisy_counts(exact, MOVED / self._table.epsilon), dtype=np.int64)


def _alike(rows: Rows, profile: Profile | None) -> bool:
    """Whether a row comes twice, or nearly."""
    frame = pd.DataFrame(rows)
    numbers = frame.select_dtypes("number")
    scale = (
        np.array(profile.scale)
        if profile is not None and profile.scale
        else np.zeros(numbers.shape[1])
    )
    # What never varied in training is compared as it is, so that a constant does not make all rows
    # alike.
    near = (
        np.where(scale > 0, np.round(numbers.to_numpy() * scale / NEAR), numbers.to_numpy()) + 0.0
    )
    frame[numbers.columns] = near
    return bool(frame.duplicated().any())
