"""The life of an incident: new, acknowledged, contained, recovered, closed, reviewed (after NIST SP
800-61r3, in which responding, recovering and improving follow detection).

An incident is what its entries of the audit log say, folded by `applied` from the first to the
last. The row of the catalogue is a copy of that, and whoever shows it compares the two.
"""

from typing import Literal

from msgspec import structs

from casemate.core.errors import RefusedError
from casemate.core.types import Record
from casemate.respond.causes import Level, worst

State = Literal["new", "acknowledged", "contained", "recovered", "closed", "reviewed"]
OPEN: tuple[State, ...] = ("new", "acknowledged", "contained", "recovered")
"""States in which an incident takes alerts."""
OPENED, ALERTS, REROOTED = "incident:opened", "incident:alerts", "incident:rerooted"
ACKNOWLEDGED, CONTAINED = "incident:acknowledged", "incident:contained"
RECOVERED, CLOSED, REVIEWED = "incident:recovered", "incident:closed", "incident:reviewed"
REOPENED, NOTED, ASSIGNED = "incident:reopened", "incident:noted", "incident:assigned"
SEVERITY, MERGED, ABSORBED = "incident:severity-set", "incident:merged", "incident:absorbed"
OVERDUE = "incident:overdue"
STEPS: dict[str, tuple[tuple[State, ...], State]] = {
    # a playbook may have contained it before anybody took it up: then it stays contained, or what
    # came of that
    ACKNOWLEDGED: (("new", "contained", "recovered"), "acknowledged"),
    CONTAINED: (("new", "acknowledged"), "contained"),
    # not everything can be contained, or needs it
    RECOVERED: (("acknowledged", "contained"), "recovered"),
    CLOSED: (("acknowledged", "contained", "recovered"), "closed"),
    REVIEWED: (("closed",), "reviewed"),
    # new, where nobody ever took it up
    REOPENED: (("closed", "reviewed"), "acknowledged"),
    MERGED: (OPEN, "closed"),
}
"""What people do -> (in which states, which state comes of it)."""
ANYTIME = (NOTED, ASSIGNED, SEVERITY, OVERDUE)
"""What can be said of an incident in any state, unless it is part of another one."""
WHILE_OPEN = (ALERTS, REROOTED, ABSORBED)


class Heard(Record, frozen=True, kw_only=True, omit_defaults=True):
    """What of a change came from a ticket. Words of people, and who they are, stay in the
    catalogue.
    """

    tracker: str
    ticket: str
    """As the tracker names it."""
    comments: int = 0
    """How many people's comments came with it."""
    accounts: tuple[str, ...] = ()
    """Pseudonyms of whoever is meant, at most `MOST_NAMED`."""
    digest: str = ""
    """Of the comments: `trackers.followed`."""


class Change(Record, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that happened to an incident: the detail of its entry in the log."""

    at: str
    """When, as `alerts.moment` writes it."""
    text: str = ""
    """Its title when it opens; later what people say about it."""
    root: str = ""
    """The cause, as far as it is known."""
    chain: tuple[str, ...] = ()
    """What the cause depends on."""
    severity: Level | None = None
    follows: int | None = None
    """An incident before that had the same alert."""
    joined: int = 0
    """Alerts that came to it."""
    again: int = 0
    """Alerts of it that had ended and began anew."""
    ended: int = 0
    """Alerts of it that ended."""
    some: tuple[str, ...] = ()
    """Fingerprints of these alerts, at most `MOST_NAMED`."""
    latest: str = ""
    """When the newest of them began."""
    owner: str | None = None
    due: str = ""
    """The day by which what it is about is to be mended."""
    other: int | None = None
    """The incident that takes this one, or that it took."""
    aware: str | None = None
    """From when the clocks of laws run."""
    personal: bool | None = None
    """Whether personal data is concerned."""
    standing: int = 0
    """Alerts that stood when it was closed."""
    clock: str = ""
    """Which one is overdue, or was served."""
    did: str = ""
    """What a playbook did, in words that name nobody: for tickets too."""
    heard: Heard | None = None
    """From which ticket it came."""


MOST_NAMED = 20
"""Fingerprints in one entry: enough to find the others, and it stays small in a storm."""


class Incident(Record, frozen=True, kw_only=True):
    """An incident as its entries make it."""

    id: int
    title: str
    root: str
    chain: tuple[str, ...]
    severity: Level
    state: State = "new"
    opened: str
    acknowledged: str | None = None
    contained: str | None = None
    recovered: str | None = None
    closed: str | None = None
    reviewed: str | None = None
    owner: str | None = None
    follows: int | None = None
    merged: int | None = None
    """Into which incident."""
    alerts: int = 0
    """That came to it so far."""
    latest: str = ""
    """When the newest alert began."""
    is_graded: bool = False
    """Whether a person said how severe it is: alerts do not change that any more."""
    aware: str | None = None
    personal: bool = False
    due: str = ""
    """The day by which what it is about is to be mended; empty: nobody said."""
    overdue: tuple[str, ...] = ()
    """Clocks that were told to be overdue."""
    served: tuple[str, ...] = ()
    """Clocks whose duty is done."""
    changes: int = 1
    """How many entries made it."""

    @property
    def is_open(self) -> bool:
        """Whether it takes alerts."""
        return self.state in OPEN


def applied(incident: Incident | None, number: int, action: str, change: Change) -> Incident:
    """The incident after one change.

    Args:
        incident: before; None before it opens.
        number: of the incident.
        action: of the entry.
        change: its detail.

    Raises:
        RefusedError: this cannot happen in its state.
    """
    if incident is None:
        return _opened(number, action, change)
    if incident.merged is not None:
        raise RefusedError(
            f"incident {number} is part of incident {incident.merged}",
            hint=f"casemate incident show {incident.merged}",
        )
    incident = structs.replace(incident, changes=incident.changes + 1)
    if action in STEPS:
        return _stepped(incident, action, change)
    if action in ANYTIME:
        return _said(incident, action, change)
    if action in WHILE_OPEN:
        if not incident.is_open:
            raise RefusedError(
                f"incident {number} is {incident.state}: it takes no alerts",
                hint=f"casemate incident reopen {number} --reason TEXT",
            )
        return _grown(incident, action, change)
    raise RefusedError(f"incident {number} is open already", hint="report this as a defect")


def _opened(number: int, action: str, change: Change) -> Incident:
    if action != OPENED or not change.root or change.severity is None:
        raise RefusedError(f"there is no incident {number}", hint="casemate incident list")
    return Incident(
        id=number,
        title=change.text,
        root=change.root,
        chain=change.chain,
        severity=change.severity,
        opened=change.at,
        follows=change.follows,
        alerts=change.joined,
        latest=change.latest,
    )


def _stepped(incident: Incident, action: str, change: Change) -> Incident:
    before, after = STEPS[action]
    if incident.state not in before:
        raise RefusedError(
            f"incident {incident.id} is {incident.state}: {action.partition(':')[2]} comes after"
            f" {' or '.join(before)}",
            hint=f"casemate incident show {incident.id}",
        )
    if action == CLOSED and change.standing and not change.text:
        raise RefusedError(
            f"{change.standing} alerts of incident {incident.id} still stand",
            hint="see to their cause, or say why: --despite REASON",
        )
    if action == ACKNOWLEDGED and incident.state != "new":
        if incident.acknowledged is not None:
            raise RefusedError(
                f"incident {incident.id} was acknowledged by {incident.owner}",
                hint=f"casemate incident assign {incident.id} NAME hands it over",
            )
        after = incident.state
    if action == REOPENED and incident.acknowledged is None:
        after = "new"
    incident = structs.replace(incident, state=after)
    if action == ACKNOWLEDGED:
        found = structs.replace(incident, acknowledged=change.at, owner=change.owner)
        return _known(found, change)
    if action == CONTAINED:
        return structs.replace(incident, contained=change.at)
    if action == RECOVERED:
        return structs.replace(incident, recovered=change.at)
    if action == CLOSED:
        return structs.replace(incident, closed=change.at)
    if action == REVIEWED:
        return structs.replace(incident, reviewed=change.at)
    if action == MERGED:
        return structs.replace(incident, closed=change.at, merged=change.other)
    latest = max(incident.latest, change.latest)
    incident = structs.replace(incident, contained=None, recovered=None, latest=latest)
    return structs.replace(incident, closed=None, reviewed=None)


def _said(incident: Incident, action: str, change: Change) -> Incident:
    if action == ASSIGNED:
        return structs.replace(incident, owner=change.owner)
    if action == SEVERITY and change.severity is not None:
        return structs.replace(incident, severity=change.severity, is_graded=True)
    if action == OVERDUE:
        return structs.replace(incident, overdue=(*incident.overdue, change.clock))
    served = (*incident.served, change.clock) if change.clock else incident.served
    due = change.due or incident.due
    return structs.replace(_known(incident, change), served=served, due=due)


def _known(incident: Incident, change: Change) -> Incident:
    """What makes the clocks of laws run; what a change leaves open stays as it was."""
    aware = incident.aware if change.aware is None else change.aware
    personal = incident.personal if change.personal is None else change.personal
    return structs.replace(incident, aware=aware, personal=personal)


def _grown(incident: Incident, action: str, change: Change) -> Incident:
    severity = incident.severity
    if change.severity is not None and not incident.is_graded:
        severity = worst(severity, change.severity)
    incident = structs.replace(
        incident,
        severity=severity,
        alerts=incident.alerts + change.joined,
        latest=max(incident.latest, change.latest),
    )
    if action == REROOTED:
        incident = structs.replace(incident, root=change.root, chain=change.chain)
    if incident.state == "recovered" and change.joined + change.again:
        state: State = "new" if incident.acknowledged is None else "acknowledged"
        return structs.replace(incident, state=state, recovered=None)  # it is not over
    return incident
