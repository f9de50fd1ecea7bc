"""What stages work with, for whoever runs or measures."""

from typing import TYPE_CHECKING, Any

from casemate.controls.privacy.consents import Usable
from casemate.core import progress
from casemate.core.run import Run
from casemate.wiring import Wiring

if TYPE_CHECKING:
    from casemate.supply.context import Reporter, RunContext


class Silent:
    """A reporter that says nothing."""

    def begin(self, run: Run) -> None:
        """See `supply.context.Reporter`."""

    def progress(self, text: str, done: int, total: int) -> None:
        """See `supply.context.Reporter`."""

    def stage(self, name: str, record: Any) -> None:
        """See `supply.context.Reporter`."""


def context_of(project: Wiring, usable: Usable, reporter: "Reporter | None" = None) -> "RunContext":
    """Everything that the stages work with.

    Args:
        project: whose.
        usable: whose rows may be taken.
        reporter: hears how it goes.
    """
    from casemate.operations.dataset import Dataset
    from casemate.operations.scanned import standing
    from casemate.supply.context import RunContext

    return RunContext(
        root=project.root,
        state=project.state,
        config=project.config,
        engine=project.engine,
        registry=project.registry,
        objects=project.objects,
        keys=project.provider,
        identifiers=project.identifiers,
        signer=project.signer,
        secret=project.keystore.folder,
        reporter=reporter or progress.watching() or Silent(),
        waivers=project.waivers,
        reviews=project.reviews,
        ledger=project.ledger,
        hears=lambda dataset: Dataset(project, dataset).hears_code(),
        scan=lambda: standing(project, of_run=True),
        charters=lambda: [one.content for one in project.federation.charters()],
        usable=usable,
        erased=project.erased(),
    )
