"""Incidents as tickets: what a tracker is told when one opens and each time that it changes.

A ticket says which incident, how grave, in which state, what about and how often; what alerts and
people said stays here, because it may name somebody.
"""

import re

from casemate.core.outbox import Message
from casemate.core.types import Severity
from casemate.respond.causes import Level
from casemate.respond.states import OPEN, REOPENED, Incident
from casemate.respond.trackers import Ticket, Tracker

EVENTS = ("incident:opened", "incident:changed", "incident:overdue")
"""Of the outbox, that tickets follow."""
OPEN_AGAIN = "ticket:open-again"
"""Of the outbox, for one tracker: a person closed a ticket whose incident is not over."""
GRADES: dict[Level, Severity] = {
    "critical": "high",
    "high": "high",
    "medium": "medium",
    "low": "low",
}
"""How grave an incident is, as trackers say it."""
SHOWN = {"source", "dataset", "run", "model", "endpoint", "gateway", "machine", "key", "log",
         "finding", "package"}  # fmt: skip
"""Kinds of causes whose names are casemate's own; others may name a person or her machine."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,80}")


def ticket_key(project: str, number: int) -> str:
    """The key of an incident's ticket."""
    return f"{project}/incident/{number}"


def ticket_of(incident: Incident) -> Ticket:
    """What a ticket says of an incident."""
    cause = _shown(incident.root)
    until = f"To be mended by: {incident.due}\n" if incident.due else ""
    body = (
        f"Cause as far as it is known: {cause}\n"
        f"State: {incident.state}, {incident.severity}, {incident.alerts} alerts\n{until}\n"
        f"casemate incident show {incident.id} has the rest, each line with its proof."
    )
    return Ticket(
        title=f"casemate incident {incident.id}: {cause}",
        body=body,
        severity=GRADES[incident.severity],
        state="open" if incident.state in OPEN else "closed",
    )


def tell(tracker: Tracker, key: str, message: Message, incident: Incident) -> None:
    """Make the ticket of an incident, or say in it what has changed; the same message twice changes
    nothing, and a late one leaves the ticket as the incident is now.

    Args:
        tracker: where.
        key: of the ticket.
        message: of the outbox, one of `EVENTS`, or `OPEN_AGAIN`.
        incident: as it is now.

    Raises:
        BackendError: the tracker is away; try again. ConfigError: somebody must act first.
    """
    ticket, said = ticket_of(incident), message.content
    reference = tracker.create(key, ticket)
    if message.event == EVENTS[0]:
        return
    if message.event == OPEN_AGAIN:
        if ticket.state == "open":  # it may be over by now
            tracker.reopen(reference, said["text"])
        return
    what = said.get("did") or said["what"].partition(":")[2].replace("-", " ")
    comment = f"{what} at {said['at']}; now {incident.state}"
    if ticket.state == "closed":
        tracker.close(reference, comment)
    elif said["what"] == REOPENED:
        tracker.reopen(reference, comment)
    else:
        tracker.update(reference, ticket, comment)


def _shown(root: str) -> str:
    kind, _, name = root.partition(":")
    return root if kind in SHOWN and NAME.fullmatch(name) else kind
