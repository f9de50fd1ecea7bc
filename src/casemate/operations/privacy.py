"""What was spent of the privacy budgets."""

from casemate.controls.privacy.budget import Spending, total
from casemate.core.types import Record
from casemate.operations.acting import Noun, reading
from casemate.wiring import Wiring


class Spent(Record, frozen=True, kw_only=True):
    """What one data set has spent for one purpose."""

    dataset: str
    purpose: str
    epsilon: float


@reading("budget:read")
def budget(project: Wiring, dataset: str | None = None) -> tuple[list[Spending], list[Spent]]:
    """(every spending, sums by data set and purpose at `[privacy] budget_delta`); AccessDenied:
    policy.
    """
    spendings = project.ledger.of(dataset)
    kinds = sorted({(one.dataset, one.purpose) for one in spendings})
    delta = project.config.privacy.budget_delta
    sums = [
        Spent(
            dataset=name,
            purpose=purpose,
            epsilon=total(
                [one for one in spendings if (one.dataset, one.purpose) == (name, purpose)], delta
            ),
        )
        for name, purpose in kinds
    ]
    return spendings, sums


class Privacy(Noun):
    """Privacy budgets of a project, by their verbs."""

    budget = budget
