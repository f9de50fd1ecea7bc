"""What people do with incidents."""

import datetime

from msgspec import structs

from casemate.core.errors import ConfigError, RefusedError
from casemate.core.text import clean
from casemate.operations.acting import Acting, operation
from casemate.operations.incidents.books import KIND, Books
from casemate.operations.incidents.intake import Taken, take
from casemate.respond import readers, states, tables
from casemate.respond.alerts import moment
from casemate.respond.causes import LEVELS, Level
from casemate.respond.clocks import DUTIES
from casemate.respond.states import Change, Incident
from casemate.respond.tables import Mute
from casemate.wiring import Wiring

MOST_WORDS = 2_000
"""Characters of what people say: a paragraph, which every reader of the log gets."""
LONGEST_MUTE = datetime.timedelta(days=31)
"""Who wants silence for longer changes the rule that makes the noise."""


@operation("incident:report")
def report(project: Wiring, content: bytes) -> Taken:
    """Hear a message of an alerting system; see `respond.readers`.

    Args:
        project: whose.
        content: the message, JSON.

    Raises:
        AccessDenied: policy. RequestError: it is no such message.
    """
    acting = report.ask(project)
    taken = take(project, acting.uid, readers.read(content, project.clock.now()))
    project.outbox.send()
    return taken


@operation("incident:handle")
def acknowledge(
    project: Wiring,
    number: int,
    owner: str | None = None,
    *,
    aware: datetime.datetime | None = None,
    personal_data: bool = False,
) -> Incident:
    """Take an incident up.

    Args:
        project: whose.
        number: of the incident.
        owner: who sees to it; default: whoever acts.
        aware: since when somebody knows what makes the clocks of `[incidents] laws` run; default
            with personal data: now.
        personal_data: whether personal data is concerned.

    Raises:
        AccessDenied: policy. ConfigError: there is no such incident, or the time lies ahead.
        RefusedError: it was taken up already.
    """
    acting = acknowledge.ask(project, incident=number)
    now = project.clock.now()
    since = _past(aware, now) or (now if personal_data else None)
    change = Change(
        at=moment(now),
        owner=person(project, owner or acting.uid),
        aware=None if since is None else moment(since),
        personal=personal_data or None,
    )
    return _step(acting, number, states.ACKNOWLEDGED, change)


def _past(aware: datetime.datetime | None, now: datetime.datetime) -> datetime.datetime | None:
    if aware is not None and aware > now:
        raise ConfigError("nobody can be aware of it already", hint="--aware TIME, in the past")
    return aware


@operation("incident:handle")
def contain(project: Wiring, number: int, text: str = "") -> Incident:
    """Say that an incident does no more harm, and how that was reached; a playbook may, before
    anybody takes it up.

    Raises:
        AccessDenied: policy. ConfigError: there is no such incident. RefusedError: that was said
            already, or it is over.
    """
    return _said(contain.ask(project, incident=number), number, states.CONTAINED, text)


@operation("incident:handle")
def recover(project: Wiring, number: int, text: str = "") -> Incident:
    """Say that everything works as before an incident.

    Raises:
        AccessDenied: policy. ConfigError: there is no such incident. RefusedError: it is new, or
            over.
    """
    return _said(recover.ask(project, incident=number), number, states.RECOVERED, text)


@operation("incident:close")
def close(project: Wiring, number: int, despite: str = "") -> Incident:
    """Close an incident.

    Args:
        project: whose.
        number: of the incident.
        despite: why, although alerts of it stand.

    Raises:
        AccessDenied: policy. ConfigError: there is no such incident. RefusedError: it is
            new or closed already, or an alert of it stands.
    """
    acting = close.ask(project, incident=number)
    with acting.transaction() as tx:
        books = Books(project, tx, acting.uid, project.clock.now())
        found, _ = KIND.history(project, tx, number)
        count = tables.standing(tx, number)
        change = Change(at=books.now, text=_words(despite), standing=count)
        after = books.change(found, states.CLOSED, change)
    project.outbox.send()
    return after


@operation("incident:close")
def review(project: Wiring, number: int, text: str) -> Incident:
    """Say what was learnt from a closed incident.

    Raises:
        AccessDenied: policy. ConfigError: there is no such incident, or nothing is said.
        RefusedError: it is not closed.
    """
    acting = review.ask(project, incident=number)
    return _said(acting, number, states.REVIEWED, text, needed=True)


@operation("incident:close")
def reopen(project: Wiring, number: int, text: str) -> Incident:
    """Take a closed incident up again.

    Raises:
        AccessDenied: policy. ConfigError: there is no such incident, or no reason. RefusedError: it
            is open, or part of another one.
    """
    acting = reopen.ask(project, incident=number)
    return _said(acting, number, states.REOPENED, text, needed=True)


@operation("incident:handle")
def note(
    project: Wiring,
    number: int,
    text: str,
    *,
    served: str = "",
    aware: datetime.datetime | None = None,
    personal_data: bool | None = None,
) -> Incident:
    """Say something about an incident.

    Args:
        project: whose.
        number: of the incident.
        text: for everybody who reads it; no personal data.
        served: the duty of a law that was done: its clock stops.
        aware: since when somebody knows what makes the clocks of laws run.
        personal_data: whether personal data is concerned, as is known by now.

    Raises:
        AccessDenied: policy. ConfigError: there is no such incident or duty, nothing is said, or
            the time lies ahead.
    """
    acting = note.ask(project, incident=number)
    if served and served not in {duty.id for duty in DUTIES}:
        raise ConfigError(
            f"there is no duty {served!r}", hint=f"one of {', '.join(one.id for one in DUTIES)}"
        )
    now = project.clock.now()
    since = _past(aware, now)
    change = Change(
        at=moment(now),
        text=_needed(text),
        clock=served,
        aware=None if since is None else moment(since),
        personal=personal_data,
    )
    return _step(acting, number, states.NOTED, change)


@operation("incident:handle")
def assign(project: Wiring, number: int, owner: str) -> Incident:
    """Hand an incident over.

    Args:
        project: whose.
        number: of the incident.
        owner: a person of the project, by name.

    Raises:
        AccessDenied: policy. ConfigError: there is no such incident or person.
    """
    acting = assign.ask(project, incident=number)
    change = Change(at=moment(project.clock.now()), owner=person(project, owner))
    return _step(acting, number, states.ASSIGNED, change)


@operation("incident:handle")
def grade(project: Wiring, number: int, severity: Level, text: str = "") -> Incident:
    """Say how severe an incident is; alerts do not change it any more.

    Raises:
        AccessDenied: policy. ConfigError: there is no such incident or severity.
    """
    acting = grade.ask(project, incident=number)
    if severity not in LEVELS:
        raise ConfigError(f"no severity {severity!r}", hint=f"one of {', '.join(LEVELS)}")
    change = Change(at=moment(project.clock.now()), severity=severity, text=_words(text))
    return _step(acting, number, states.SEVERITY, change)


@operation("incident:close")
def merge(project: Wiring, number: int, into: int) -> Incident:
    """Let an incident, with all its alerts, be part of another one; returns that.

    Raises:
        AccessDenied: policy. ConfigError: there is no such incident. RefusedError: one of them is
            not open, or both are the same.
    """
    acting = merge.ask(project, incident=number, into=into)
    if number == into:
        raise RefusedError(
            f"incident {number} is itself already", hint="name the one that it is part of"
        )
    with acting.transaction() as tx:
        books = Books(project, tx, acting.uid, project.clock.now())
        gone, _ = KIND.history(project, tx, number)
        other, _ = KIND.history(project, tx, into)
        after = books.absorb(gone, other)
    project.outbox.send()
    return after


@operation("incident:handle")
def tell(project: Wiring, key: str, text: str, why: str) -> None:
    """Tell whoever hears `playbook:notice` a sentence about an incident, once a key.

    Raises:
        AccessDenied: policy.
    """
    acting = tell.ask(project, key=key[:200])
    with acting.transaction() as tx:
        content = {"text": _needed(text), "reason": why[:500]}
        project.outbox.enqueue(tx, "playbook:notice", key, content)
        acting.append(tx, "playbook:notice", f'Project::"{project.config.project.id}"', **content)
    project.outbox.send()


@operation("incident:handle")
def open_ticket(project: Wiring, number: int, tracker: str) -> None:
    """Make an incident's ticket in a tracker, however low its severity, if there is none.

    Raises:
        AccessDenied: policy. ConfigError: there is no such incident or tracker, or somebody must
            act there first. BackendError: the tracker is away.
    """
    open_ticket.ask(project, incident=number, tracker=tracker)
    with project.database.reading() as tx:
        found = tables.lasting(tx, number)
    project.open_ticket(tracker, found)


@operation("incident:mute")
def mute(
    project: Wiring,
    since: datetime.datetime,
    until: datetime.datetime,
    matching: dict[str, str],
    reason: str,
) -> Mute:
    """Announce a window of maintenance: alerts in it are kept and open nothing; what still stands
    at its end is judged then.

    Args:
        project: whose.
        since: its beginning.
        until: its end; at most 31 days later.
        matching: what alerts must have: `name`, `source` or a label -> its value.
        reason: why.

    Raises:
        AccessDenied: policy. ConfigError: the times are not possible, nothing is matched, or there
            is no reason.
    """
    acting = mute.ask(project)
    now = project.clock.now()
    if not now < until or not since < until <= since + LONGEST_MUTE:
        raise ConfigError(
            "a window of maintenance ends in the future, at most 31 days after it began",
            hint="--from TIME --until TIME",
        )
    if not matching or any(not key or not value for key, value in matching.items()):
        raise ConfigError("say which alerts are meant", hint="--matching name=CasemateDown")
    words = _needed(reason)
    with acting.transaction() as tx:
        made = Mute(
            id=tables.next_number(tx, tables.MUTES.c.id),
            since=moment(since),
            until=moment(until),
            matching=matching,
        )
        tx.execute(tables.MUTES.insert().values(**structs.asdict(made)))
        about = f'Project::"{project.config.project.id}"'
        acting.append(tx, "incident:muted", about, **structs.asdict(made), reason=words)
    return made


def _step(acting: Acting, number: int, action: str, change: Change) -> Incident:
    project = acting.project
    with acting.transaction() as tx:
        books = Books(project, tx, acting.uid, project.clock.now())
        found, _ = KIND.history(project, tx, number)
        after = books.change(found, action, change)
    project.outbox.send()
    return after


def _said(acting: Acting, number: int, action: str, text: str, *, needed: bool = False) -> Incident:
    words = _needed(text) if needed else _words(text)
    change = Change(at=moment(acting.project.clock.now()), text=words)
    return _step(acting, number, action, change)


def _words(text: str) -> str:
    text = clean(text.strip(), lines=True)
    if len(text) > MOST_WORDS:
        raise ConfigError(f"at most {MOST_WORDS} characters", hint="put the rest into a file")
    return text


def _needed(text: str) -> str:
    words = _words(text)
    if not words:
        raise ConfigError("nothing is said", hint="a sentence that others understand")
    return words


def person(project: Wiring, name: str) -> str:
    """A person of the project as the log names them; ConfigError when there is none."""
    bare = name.removeprefix('User::"').removesuffix('"')
    found = project.point.directory.find("User", bare)
    if found is None:
        raise ConfigError(f"there is no user {bare!r}", hint="casemate access list")
    return found.uid
