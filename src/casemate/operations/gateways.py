"""What the gateway asks for on its own behalf: to start, to end, to tell that a model needs
people.
"""

from casemate.operations.acting import Acting, operation
from casemate.wiring import Wiring


@operation("gateway:start")
def begin(project: Wiring, workers: int) -> Acting:
    """Whoever starts a gateway, if policy lets them; `ended` records its end. AccessDenied:
    policy.
    """
    return begin.ask(project, workers=workers)


def ended(acting: Acting) -> None:
    """Record that a gateway was stopped."""
    acting.record("gateway:stop", f'Project::"{acting.project.config.project.id}"')


def incident(project: Wiring, model: str, event: str, message: str) -> None:
    """Tell people, in the log and through the outbox, that a model needs them."""
    with project.database.transaction() as tx:
        project.log.append(
            tx, "casemate", event, f'Model::"{model}"', "failed", {"reason": message}
        )
        key = f"{model}/{event}/{project.clock.now().isoformat()}"
        project.outbox.enqueue(tx, event, key, {"model": model, "reason": message})
    project.log.publish()
    project.outbox.send()
