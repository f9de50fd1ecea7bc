"""Noisy counts: how many rows of a request get which class, so that nobody learns what the model says of one of them.

The caller knows the rows and not what the model says of them; of one row that moves two counts by one, so discrete Laplace noise of
scale 2 / epsilon on each count is epsilon-differentially private (Ghosh, Roughgarden, Sundararajan, STOC 2009; through OpenDP). Every
request is paid for before the model is asked, from a budget of its caller and model in the ledger that private training uses too. A
row that is sent again is paid for again; the same row twice in one request is refused, because it would count twice.
"""

import secrets

import numpy as np
import pandas as pd

from casemate.config import AggregateTable
from casemate.controls.privacy.budget import LEDGER, BudgetSpent, Engine, Ledger, Limit, Spending, spend
from casemate.controls.privacy.statistics import noisy_counts
from casemate.core.errors import RequestError
from casemate.core.frame import Rows
from casemate.serve.endpoint import Endpoint
from casemate.serve.quota import TooMany
from casemate.serve.types import Array

MOVED = 2
"""How much the counts change together when the model says something else of one row."""


class Unaggregated(RequestError):
    """The rows cannot be counted without giving one of them away."""

    code = "CM-AGGREGATE"
    http_status = 422


class Aggregates:
    """Takes payment, and adds the noise."""

    def __init__(self, engine: Engine, ledger: Ledger, table: AggregateTable) -> None:
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
            Unaggregated: there are too few rows, or two are alike. TooMany: the caller's budget is spent.
        """
        if count < self._table.rows:
            raise Unaggregated(f"noisy counts need {self._table.rows} rows in a request, this one has {count}")
        if _alike(rows):
            raise Unaggregated("two rows of the request are alike; noisy counts need rows of different people")
        wanted = Spending(
            id=secrets.token_hex(16),
            dataset=LEDGER + endpoint.name,
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
            spend(self._engine, self._ledger, wanted, Limit(self._table.budget, 1.0))
        except BudgetSpent as error:
            text = f"this caller's epsilon {self._table.budget:g} for noisy counts is spent; the privacy officer keeps [serve.aggregates] budget"
            raise TooMany(text, limit="privacy", wait=86400) from error

    def counted(self, endpoint: Endpoint, codes: list[int]) -> Array:
        """Noisy rows a class, int64 [k]; may be negative, because cutting at zero would be another statistic."""
        exact = np.bincount(codes, minlength=len(endpoint.classes)).tolist()
        return np.array(noisy_counts(exact, MOVED / self._table.epsilon), dtype=np.int64)


def _alike(rows: Rows) -> bool:
    """Whether a row comes twice."""
    return bool((pd.DataFrame(rows) if isinstance(rows, dict) else pd.DataFrame(rows + 0.0)).duplicated().any())
