"""What a run works with, and who hears how it goes."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from casemate.config import Config
from casemate.config.figures import SCAN
from casemate.controls.keys.identifiers import Identifiers
from casemate.controls.keys.interface import KeyProvider
from casemate.controls.keys.objects import ObjectStore
from casemate.controls.privacy.budget import Ledger
from casemate.controls.privacy.consents import Usable
from casemate.controls.privacy.erasures import Erased
from casemate.core.engine import Engine
from casemate.core.run import Run
from casemate.core.signatures import Signer
from casemate.core.types import SealedDataset
from casemate.core.types.scan import ScanStanding
from casemate.stages.data import files
from casemate.stages.data.review import Reviews
from casemate.stages.release.registry import Registry
from casemate.stages.release.waiver import Waivers

if TYPE_CHECKING:
    from casemate.core.sandbox.run import Worker
    from casemate.stages.assess.stage import AssessTools, Previous


class Reporter(Protocol):
    """Hears how a run goes."""

    def begin(self, run: Run) -> None:
        """The run starts or resumes."""

    def progress(self, text: str, done: int, total: int) -> None:
        """Work goes on inside a stage."""

    def stage(self, name: str, record: Any) -> None:
        """A stage is finished."""


@dataclass(frozen=True)
class RunContext:
    """Everything a run works with; `operations.contexts.context_of` builds it."""

    root: Path
    state: Path
    config: Config
    engine: Engine
    registry: Registry
    objects: ObjectStore
    keys: KeyProvider
    identifiers: Identifiers
    signer: Signer
    secret: Path
    reporter: Reporter
    waivers: Waivers
    reviews: Reviews
    ledger: Ledger
    hears: Callable[[SealedDataset], bool]
    """Whether whoever acts may hear what training code says, which may quote the rows that
    it saw.
    """
    scan: Callable[[], ScanStanding | None] = lambda: None
    """How the project stands by its last scans."""
    charters: Callable[[], list[bytes]] = list
    """Signed charters of owners who train together that count here."""
    lessons: str = ""
    """Object digest of the rows of feedback that this run learns from too; empty: none."""
    incumbent: str = ""
    """The model to compare with, `NAME@VERSION`; empty: the one that passed last."""
    usable: Usable = field(default_factory=Usable)
    """Whose rows may be taken, as of the run's start."""
    erased: Erased | None = None
    """Whose rows may not be taken, as of the run's start; None: nobody was erased."""

    def required_scan(self) -> ScanStanding | None:
        """How the project stands by its last scans, where `[gates] scan` asks; else None."""
        return self.scan() if SCAN in self.config.gates else None

    @property
    def hidden(self) -> list[Path]:
        """What no confined process may be able to read."""
        where = files.place(self.root, self.config.data.source)
        return [
            self.secret,
            self.root,
            *([] if isinstance(where, str) else where if isinstance(where, list) else [where]),
        ]

    def assess_tools(
        self, worker: "Worker", previous: "Previous | None" = None, only: Iterable[str] = ()
    ) -> "AssessTools":
        """What the assessment works with.

        Args:
            worker: a sandbox for it.
            previous: a model to compare with.
            only: measurements to run; none: all.
        """
        from casemate.stages.assess.stage import AssessTools

        return AssessTools(
            self.config,
            self.objects,
            self.state / "tmp",
            self.hidden,
            worker,
            self.reporter.progress,
            previous,
            tuple(only),
        )
