"""The steps of a run: how they are kept and told, and what the engine asks of others."""

from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import msgspec
import sqlalchemy as sa

from casemate.core.store import METADATA, explained
from casemate.core.types import Record

STEPS = sa.Table(
    "step",
    METADATA,
    sa.Column("run", sa.String, sa.ForeignKey("run.id"), primary_key=True),
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("record", sa.LargeBinary, nullable=False),
    sa.Column("digest", sa.String, nullable=False),
    sa.Column("finished", sa.String, nullable=False),
    sa.Column("seconds", sa.Float, nullable=False),
    sa.Column("inputs", sa.String, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="1"),
    sa.Column("origin", sa.String),
    sa.Column("principal", sa.String),
    info=explained("run", apart=("record", "seconds", "attempts")),
)
"""What a later run takes for done, and signs by: bound to the log. `digest` stands for `record`."""
STAGES = ("data", "train", "assess", "release")
ENDED = ("passed", "refused")
T = TypeVar("T", bound=Record)


class Journal(Protocol):
    """Where the engine's actions are recorded; the audit log is one."""

    def append(
        self,
        tx: sa.Connection,
        principal: str,
        action: str,
        resource: str,
        outcome: str,
        detail: dict[str, Any],
    ) -> int:
        """Append within the transaction."""

    def publish(self) -> None:
        """Make what was committed visible to outsiders."""


class Notices(Protocol):
    """Where the engine leaves what others must hear; the outbox is one."""

    def enqueue(self, tx: sa.Connection, event: str, key: str, content: dict[str, Any]) -> None:
        """Queue `content` for everybody who listens to `event`, within the transaction."""


class FinishedStep(Record, frozen=True, kw_only=True):
    """A step that is done, as the catalogue tells it beside its record."""

    name: str
    """Its stage."""
    seconds: float
    """How long it took."""
    attempts: int
    """How often it was tried, the last time included."""
    origin: str | None
    """The run that it was taken over from."""
    finished: str
    """When, RFC 3339 in UTC."""
    digest: str
    """SHA-256 of its record."""
    principal: str
    """Who did it."""


class RunRow(Record, frozen=True, kw_only=True):
    """A run as the catalogue tells it."""

    id: str
    """Sorts by the time of its start."""
    state: str
    """`running`, `stopped`, `interrupted`, or how it ended."""
    principal: str
    """Who started it."""
    started: str
    """When, RFC 3339 in UTC."""
    ended: str | None
    """When; None while it goes on, or may go on."""
    error: str | None
    """What ended it."""
    key: str | None
    """The idempotency key that it was started with."""
    where: str | msgspec.UnsetType = msgspec.UNSET
    """Which process has it, while it has not ended."""
    steps: dict[str, float]
    """Seconds of each finished step."""
    finished: list[FinishedStep]
    """The same steps in full, in the order in which they were finished."""


@dataclass(frozen=True)
class RetryPolicy:
    """How hard a step is tried."""

    retries: int = 2
    """Further attempts after a back end was away."""
    backoff: float = 1.0
    """Seconds before the second attempt; doubled each time, with jitter."""
    timeouts: dict[str, float] = field(default_factory=dict)
    """Seconds a stage may take."""
    memory: int | None = None
    """Bytes that this process may use in a stage."""
