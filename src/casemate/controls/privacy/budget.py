"""The ledger of differential privacy: what every training and statistic on a data set has spent,
over all runs and people.

A data set has one budget per purpose, over all its versions, because they hold the same people. A
spending is written before anything is computed, in the transaction that checks it against the
budget: of two runs that want the last of it one gets it, and a process that is killed has still
paid. Known Gaussian events are composed by privacy loss distributions at `budget_delta`; what is
known by its epsilon alone is added to that.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
import sqlalchemy as sa

from casemate.core.clock import Clock
from casemate.core.errors import RefusedError
from casemate.core.store import METADATA, Store, explained
from casemate.core.store.rowdigests import CHECKED
from casemate.ml.learn.accountant import Gaussians, epsilon

SPENDINGS = sa.Table(
    "spending",
    METADATA,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("dataset", sa.String, nullable=False, index=True),
    sa.Column("version", sa.String, nullable=False),
    sa.Column("purpose", sa.String, nullable=False),
    sa.Column("epsilon", sa.Float, nullable=False),
    sa.Column("delta", sa.Float, nullable=False),
    sa.Column("events", sa.JSON, nullable=False),
    sa.Column("run", sa.String, nullable=False),
    sa.Column("principal", sa.String, nullable=False),
    sa.Column("what", sa.String, nullable=False),
    sa.Column("time", sa.String, nullable=False),
    info=explained("dataset", "purpose"),
)
# sums of float64: a budget that was spent to the last digit must not be over by rounding
SLACK = 1e-9
ANSWERS = "answers of "
"""Comes before a model's name where a gateway's noisy counts are paid for: from a budget of the
caller, who is the purpose.
"""


class BudgetSpent(RefusedError):
    """A data set's privacy budget does not allow what was asked for."""

    code = "CM-BUDGET"
    who = "the privacy officer, who keeps the budgets"


@dataclass(frozen=True)
class Spending:
    """One line of the ledger."""

    id: str
    dataset: str
    version: str
    purpose: str
    epsilon: float
    delta: float
    events: list[Gaussians]
    run: str
    principal: str
    what: str
    time: str


@dataclass(frozen=True)
class Limit:
    """What a data set may give away for one purpose."""

    epsilon: float
    delta: float


class Ledger:
    """Spends, and shows what was spent."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.store, self.clock = store, clock

    def spend(self, tx: sa.Connection, wanted: Spending, limit: Limit) -> bool:
        """Write a spending if the budget allows it; False when this one (by its id) was paid
        before.

        Raises:
            BudgetSpent: epsilons or deltas would add up to more than the budget; nothing is
                written.
        """
        earlier = self._of(tx, wanted.dataset, wanted.purpose)
        if any(one.id == wanted.id for one in earlier):
            return False
        spent, delta = total(earlier, limit.delta), sum(one.delta for one in earlier)
        if (
            total([*earlier, wanted], limit.delta) > limit.epsilon + SLACK
            or delta + wanted.delta > limit.delta + SLACK * limit.delta
        ):
            raise BudgetSpent(
                f"data set {wanted.dataset!r} has spent epsilon {spent:.3f} of {limit.epsilon:g}"
                f" (delta {delta:.2g} of {limit.delta:g}) for {wanted.purpose!r}; {wanted.what}"
                f" wants {wanted.epsilon:g} (delta {wanted.delta:.2g}) more",
                hint=(
                    "ask for less, or let the privacy officer decide on [privacy] budget; `casemate"
                    " privacy budget` shows who spent what"
                ),
            )
        row = {
            **{name: getattr(wanted, name) for name in wanted.__dataclass_fields__},
            "events": msgspec.to_builtins(wanted.events),
        }
        tx.execute(SPENDINGS.insert().values(**row | {"time": self.clock.now().isoformat()}))
        return True

    def settle(self, tx: sa.Connection, id_: str, spent: float, events: list[Gaussians]) -> None:
        """Say what a paid spending really did; never more than was paid."""
        told = msgspec.to_builtins(events)
        tx.execute(
            SPENDINGS.update()
            .where(SPENDINGS.c.id == id_, SPENDINGS.c.epsilon >= spent - SLACK)
            .values(events=told)
        )

    def of(self, dataset: str | None = None, purpose: str | None = None) -> list[Spending]:
        """Every spending, oldest first."""
        with self.store.reading() as tx:
            return self._of(tx, dataset, purpose)

    def _of(self, tx: sa.Connection, dataset: str | None, purpose: str | None) -> list[Spending]:
        one = None if dataset is None or purpose is None else (dataset, purpose)
        self.store.row_digests.require(tx, SPENDINGS, one)
        query = sa.select(SPENDINGS)
        if dataset is not None:
            query = query.where(SPENDINGS.c.dataset == dataset)
        if purpose is not None:
            query = query.where(SPENDINGS.c.purpose == purpose)
        rows = (
            tx.execute(query.order_by(SPENDINGS.c.time, SPENDINGS.c.id), execution_options=CHECKED)
            .mappings()
            .all()
        )
        return [
            Spending(**{**dict(row), "events": msgspec.convert(row["events"], list[Gaussians])})
            for row in rows
        ]


class RunRecords(Protocol):
    """What of the step engine a spending needs."""

    store: Store
    journal: Any


def spend(
    engine: RunRecords, ledger: Ledger, wanted: Spending, limit: Limit, resource: str = ""
) -> None:
    """Pay and record it in one transaction, as done to `resource` (default: the data set); a
    refusal is recorded too.
    """
    resource = resource or f'Dataset::"{wanted.dataset}"'
    detail = {
        "epsilon": wanted.epsilon,
        "delta": wanted.delta,
        "for": wanted.what,
        "run": wanted.run,
    }
    try:
        with engine.store.transaction() as tx:
            if ledger.spend(tx, wanted, limit):
                engine.journal.append(
                    tx, wanted.principal, "budget:spent", resource, "done", detail
                )
    except BudgetSpent:
        # The transaction is rolled back, so the refusal has one of its own.
        engine.journal.record(wanted.principal, "budget:spent", resource, "denied", **detail)
        raise
    engine.journal.publish()


def totals(spendings: list[Spending], delta: float) -> dict[tuple[str, str], float]:
    """Epsilon at `delta` by data set and purpose, in their order."""
    kinds = sorted({(one.dataset, one.purpose) for one in spendings})
    return {
        kind: total([one for one in spendings if (one.dataset, one.purpose) == kind], delta)
        for kind in kinds
    }


def total(spendings: list[Spending], delta: float) -> float:
    """Epsilon of all of them together at `delta`: the less of plain addition and composition."""
    if not spendings:
        return 0.0
    plain = sum(one.epsilon for one in spendings)
    known: list[Any] = [event for one in spendings for event in one.events]
    if len(spendings) == 1 or not known:
        return plain
    # Whose noise is not known cannot be composed; it is added. Both bounds hold, so the smaller one
    # does.
    rest = sum(one.epsilon for one in spendings if not one.events)
    return min(plain, epsilon(known, delta) + rest)
