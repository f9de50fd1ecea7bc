"""Incidents as tickets: what a tracker is told when one opens and each time that it changes.

A ticket says which incident, how grave, in which state, what about and how often; what alerts and
people said stays here, because it may name somebody.
"""

from collections.abc import Sequence

from casemate.core.outbox import Message
from casemate.core.types import Severity
from casemate.respond.causes import Level
from casemate.respond.states import REOPENED
from casemate.respond.trackers import Ticket, Tracker

EVENTS = ("incident:opened", "incident:changed", "incident:overdue")
"""Of the outbox, that tickets follow."""
GRADES: dict[Level, Severity] = {
    "critical": "high",
    "high": "high",
    "medium": "medium",
    "low": "low",
}
"""How grave an incident is, as trackers say it."""
ENDED = ("closed", "reviewed")


def tell(tracker: Tracker, project: str, severities: Sequence[Severity], message: Message) -> None:
    """Make the ticket of an incident, or say in it what has changed; the same message twice changes
    nothing.

    Args:
        tracker: where.
        project: identifier of the project, which keeps its tickets apart from others'.
        severities: incidents below have no ticket there.
        message: of the outbox, one of `EVENTS`.

    Raises:
        BackendError: the tracker is away; try again. ConfigError: somebody must act first.
    """
    said = message.content
    severity = GRADES[said["severity"]]
    if severity not in severities:
        return
    number = said["incident"]
    is_over = said["state"] in ENDED
    body = (
        f"Cause as far as it is known: {said['root']}\n"
        f"State: {said['state']}, {said['severity']}, {said['alerts']} alerts\n\n"
        f"casemate incident show {number} has the rest, each line with its proof."
    )
    ticket = Ticket(
        title=f"casemate incident {number}: {said['root']}",
        body=body,
        severity=severity,
        state="closed" if is_over else "open",
    )
    reference = tracker.create(f"{project}/incident/{number}", ticket)
    if message.event == EVENTS[0]:
        return
    what = said["what"].partition(":")[2].replace("-", " ")
    comment = f"{what} at {said['at']}; now {said['state']}"
    if said["what"] == REOPENED:
        tracker.reopen(reference, comment)
    elif is_over:
        tracker.close(reference, comment)
    else:
        tracker.update(reference, ticket, comment)
