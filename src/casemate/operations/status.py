"""Where a project stands."""

from casemate.core.types import Record
from casemate.operations.acting import reading
from casemate.wiring import Wiring


class Status(Record, frozen=True, kw_only=True):
    """A project at a glance."""

    project: str
    purpose: str
    last_run: dict[str, str] | None
    """Its id and state."""
    serving_candidate: str | None
    """The newest signed model."""
    models: int
    datasets: list[str]
    audit_entries: int
    undelivered: int
    """Messages that wait or are dead."""


@reading("run:read")
def status(project: Wiring) -> Status:
    """What the project holds now; AccessDenied: policy."""
    from casemate.operations.dataset import Datasets  # not at start-up: it reads tables

    runs = project.engine.runs()
    models = project.registry.list()
    return Status(
        project=project.config.project.id,
        purpose=project.config.project.purpose,
        last_run=None if not runs else {"id": runs[0].id, "state": runs[0].state},
        serving_candidate=next((model.reference for model in models if model.release.bundle), None),
        models=len(models),
        datasets=list(Datasets(project)),
        audit_entries=project.log.size(),
        undelivered=len(project.outbox.messages("pending", "dead")),
    )
