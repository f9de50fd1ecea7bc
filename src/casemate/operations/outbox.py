"""What is to leave: look, deliver, try again."""

from casemate.core.errors import Error
from casemate.core.outbox import Message
from casemate.operations.acting import Noun, operation, reading
from casemate.wiring import Wiring


@reading("outbox:read")
def listing(project: Wiring, state: str | None = None) -> list[dict[str, object]]:
    """Messages, oldest first, or those of one state: `pending`, `sent` or `dead`; AccessDenied:
    policy.
    """
    return project.outbox.messages(*([state] if state else []))


@reading("outbox:read")
def show(project: Wiring, number: int) -> Message:
    """One message with its content; AccessDenied: policy. ConfigError: there is none of that
    number.
    """
    return project.outbox.message(number)


@operation("outbox:send")
def deliver(project: Wiring, retry: list[int] | None = None) -> list[tuple[Message, Error | None]]:
    """Send what waits and is due; (message, what went wrong) of each.

    Args:
        project: whose outbox.
        retry: give these dead messages new attempts first; empty for all of them.

    Raises:
        AccessDenied: policy.
    """
    acting = deliver.ask(project)
    if retry is not None:
        with project.database.transaction() as tx:
            count = project.outbox.retry(tx, retry)
            acting.append(
                tx, "outbox:retry", f'Project::"{project.config.project.id}"', messages=count
            )
    return project.outbox.send()


class Outgoing(Noun):
    """The outbox of a project, by its verbs."""

    list = listing
    show = show
    deliver = deliver
