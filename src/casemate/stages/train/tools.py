"""What the train stage works with."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from casemate.config import Config
from casemate.controls.keys.objects import ObjectStore
from casemate.core.sandbox import conversation, feed
from casemate.core.sandbox import run as sandbox
from casemate.ml.learn.accountant import Gaussians


class BudgetPayment(Protocol):
    """Pays for private training."""

    def pay(self, epsilon: float, delta: float) -> None:
        """Take it from the data set's budget; BudgetSpent when there is not enough left."""

    def settle(self, epsilon: float, events: list[Gaussians]) -> None:
        """Say what the training really did."""


class Former(NamedTuple):
    """A model whose trees training may take over, where they are of the same rows."""

    reference: str
    content: bytes
    """Its `model.skops`."""
    rows: int
    data: str
    """What it was trained on, `DATASET@VERSION`."""


class Rest(NamedTuple):
    """Rows beside a sample that training goes on with."""

    rows: int
    pieces: feed.Pieces
    """Features, targets and weight, as of the sample's rows."""


@dataclass(frozen=True)
class TrainTools:
    """What the stage works with."""

    root: Path
    config: Config
    objects: ObjectStore
    scratch: Path
    study: Path
    hidden: list[Path]
    worker: sandbox.Worker | None
    """Trains; None for an imported model."""
    converter: sandbox.Worker
    """Reads what it left; see `convert`."""
    progress: conversation.Progress
    payment: BudgetPayment
    rehearsal: tuple[sandbox.Worker, sandbox.Worker] | None = None
    """Of private training: a process that trains on made-up rows, and one that reads what that
    left, before anything is paid.
    """
    former: Former | None = None
    charters: Callable[[], list[bytes]] = list
    """Signed charters that count in the project; see `together.owners_of`."""
    rest: Rest | None = None
    """What training goes on with after the sample; None: with nothing."""
