"""What a project tells a container that serves one of its models, and what callers may send it."""

from typing import Annotated, Literal

from msgspec import Meta

from casemate.config.guard import GuardTable, OutputsTable
from casemate.config.table import MOST_MB, MOST_SECONDS, Count, Name, Table

SETTING = "CASEMATE_CONTAINER"
"""The variable of the container in which that stands."""
JSON_LINES_TYPES = (
    "application/jsonlines",
    "application/jsonl",
    "application/x-ndjson",
    "application/x-jsonlines",
)
"""JSON lines have no registered name; SageMaker says the first."""


class ContainerTable(Table, frozen=True, kw_only=True):
    """What a container without a project is told of one, as JSON in a variable."""

    bundle: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$(?!\n)")]
    """SHA-256 of the `model.sig` that is meant: it starts no other model."""
    stage: Name
    """That the model must be signed for."""
    approvals: Annotated[int, Meta(ge=1, le=10)] = 1
    """Different people who must have approved it."""
    missing: list[str] = []
    """Texts that mean a missing value."""
    guard: GuardTable = GuardTable()
    outputs: OutputsTable = OutputsTable()
    extra: Literal["ignore", "refuse"] = "ignore"
    max_rows: Count = 10_000
    max_body_mb: Annotated[float, Meta(gt=0, le=MOST_MB)] = 6.0
    """SageMaker itself takes 25 MiB."""
    deadline: Annotated[float, Meta(gt=0, le=MOST_SECONDS)] = 10.0
    """Seconds; SageMaker waits for 60."""
