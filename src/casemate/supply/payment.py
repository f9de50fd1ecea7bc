"""How private training is paid for."""

from casemate.controls.privacy.budget import Limit, Spending, spend
from casemate.core.run import Run
from casemate.core.types import SealedDataset
from casemate.ml.learn.accountant import Gaussians
from casemate.supply.context import RunContext


class BudgetPayment:
    """Pays for a run's private training from its data set's budget, once however often the run is
    resumed.
    """

    def __init__(
        self, context: RunContext, work: Run, dataset: SealedDataset, principal: str
    ) -> None:
        self.context, self.work, self.dataset, self.principal = context, work, dataset, principal

    def pay(self, epsilon: float, delta: float) -> None:
        """See `train.tools.BudgetPayment`."""
        context, table = self.context, self.context.config.privacy
        wanted = Spending(
            id=f"{self.work.id}/train",
            dataset=self.dataset.name,
            version=self.dataset.version,
            purpose=context.config.project.purpose,
            epsilon=epsilon,
            delta=delta,
            events=[],
            run=self.work.id,
            principal=self.principal,
            what="private training",
            time="",
        )
        spend(context.engine, context.ledger, wanted, Limit(table.budget, table.budget_delta))

    def settle(self, epsilon: float, events: list[Gaussians]) -> None:
        """See `train.tools.BudgetPayment`."""
        with self.context.engine.store.transaction() as tx:
            self.context.ledger.settle(tx, f"{self.work.id}/train", epsilon, events)
