"""What was spent of the privacy budgets, and what concerns the people in the data."""

import datetime
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from casemate.controls.privacy.budget import Spending, totals
from casemate.core.types import Record
from casemate.operations.acting import Noun, reading
from casemate.wiring import Wiring

if TYPE_CHECKING:
    from casemate.operations.persons import Linked
    from casemate.operations.rights.affected import Affected
    from casemate.operations.rights.consent import ConsentOf
    from casemate.operations.rights.erase import ErasedPerson, Models
    from casemate.operations.rights.records.writing import RecordsOf
    from casemate.operations.rights.requestsof import RequestsOf
    from casemate.operations.terms import Retention
    from casemate.respond.requests.states import Law


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
    return spendings, sums(project, spendings)


def sums(project: Wiring, spendings: list[Spending]) -> list[Spent]:
    """What these come to by data set and purpose, at `[privacy] budget_delta`."""
    delta = project.config.privacy.budget_delta
    return [
        Spent(dataset=name, purpose=purpose, epsilon=epsilon)
        for (name, purpose), epsilon in totals(spendings, delta).items()
    ]


class Privacy(Noun):
    """Privacy budgets of a project and the people in its data, by their verbs."""

    budget = budget

    def affected(self, subject: str | Callable[[], str]) -> "Affected":
        """See `operations.rights.affected.affected`."""
        from casemate.operations.rights.affected import affected

        return affected(self.project, subject)

    def alias(self, subject: str | Callable[[], str], other: str | Callable[[], str]) -> "Linked":
        """See `operations.persons.alias`."""
        from casemate.operations.persons import alias

        return alias(self.project, subject, other)

    def erase(
        self,
        subject: str | Callable[[], str],
        *,
        aliases: Sequence[str | Callable[[], str]] = (),
        law: "Law" = "gdpr",
        received: datetime.date | None = None,
        models: "Models" = "retrain",
        until: datetime.date | None = None,
        reason: str = "",
    ) -> "ErasedPerson":
        """See `operations.rights.erase.erase`."""
        from casemate.operations.rights.erase import erase

        return erase(
            self.project,
            subject,
            aliases=aliases,
            law=law,
            received=received,
            models=models,
            until=until,
            reason=reason,
        )

    @property
    def consent(self) -> "ConsentOf":
        """The register of consent: add, show, withdraw, export."""
        from casemate.operations.rights.consent import ConsentOf

        return ConsentOf(self.project)

    @property
    def retention(self) -> "Retention":
        """Terms of what is kept: plan, apply."""
        from casemate.operations.terms import Retention

        return Retention(self.project)

    @property
    def requests(self) -> "RequestsOf":
        """Requests of people: begin, list, show, decide, fulfil, certificate."""
        from casemate.operations.rights.requestsof import RequestsOf

        return RequestsOf(self.project)

    @property
    def records(self) -> "RecordsOf":
        """Records that laws want: list, show, write, verify."""
        from casemate.operations.rights.records.writing import RecordsOf

        return RecordsOf(self.project)
