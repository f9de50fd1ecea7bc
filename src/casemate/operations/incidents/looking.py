"""Looking at incidents: which there are, what happened in one, and in a form for others."""

from typing import Literal

from casemate.core.errors import ConfigError
from casemate.core.types import Record
from casemate.operations.acting import reading
from casemate.operations.incidents.books import KIND
from casemate.respond import tables
from casemate.respond.clocks import Clock, clocks
from casemate.respond.report import Facts, Line, drafts, markdown
from casemate.respond.states import OPEN, Incident
from casemate.respond.tables import Known
from casemate.respond.telling import ticket_key
from casemate.respond.trackers import followed
from casemate.respond.trackers.followed import Followed, Said
from casemate.respond.trackers.guard import mark
from casemate.wiring import Wiring

MOST_SHOWN = 1_000
"""Alerts, or incidents, that are shown at once, the newest first."""
Format = Literal["json", "markdown", "ocsf"]


class Listed(Record, frozen=True, kw_only=True):
    """An incident in a list."""

    incident: Incident
    standing: int
    """Alerts of it that stand."""


class Shown(Record, frozen=True, kw_only=True):
    """An incident with all that is known of it."""

    incident: Incident
    standing: int
    clocks: list[Clock]
    lines: list[Line]
    """What happened, oldest first; each is an entry of the log: `casemate audit prove`."""
    alerts: list[Known]
    """The newest, at most `MOST_SHOWN`."""
    tickets: list[Followed]
    """Its tickets, wherever there are some."""
    comments: list[Said]
    """What people said on them, oldest first; the newest, at most `MOST_SHOWN`."""
    older: int
    """Comments before these."""


@reading("incident:read")
def listing(project: Wiring, state: str = "open", most: int = MOST_SHOWN) -> list[Listed]:
    """Incidents, newest first; AccessDenied: policy.

    Args:
        project: whose.
        state: one state, or `open`, or `all`.
        most: how many at most.
    """
    table = tables.INCIDENTS.c.state
    where = [] if state == "all" else [table.in_(OPEN) if state == "open" else table == state]
    with project.database.reading() as tx:
        found = tables.incidents(tx, *where, most=min(most, MOST_SHOWN))
        return [Listed(incident=one, standing=tables.standing(tx, one.id)) for one in found]


@reading("incident:read")
def show(project: Wiring, number: int) -> Shown:
    """An incident, once it was held against the log.

    Raises:
        AccessDenied: policy. ConfigError: there is no such incident. VerificationError: the
            catalogue says something else of it than the log.
    """
    return _shown(project, number)


def _shown(project: Wiring, number: int) -> Shown:
    with project.database.reading() as tx:
        found, entries = KIND.history(project, tx, number)
        lines = [
            Line(
                entry=one.index,
                time=one.time,
                who=one.principal,
                action=one.action,
                change=KIND.change_of(one.detail),
            )
            for one in entries
        ]
        mine = tables.ALERTS.c.incident == number
        digests = {
            line.entry: line.change.heard.digest
            for line in lines
            if line.change.heard is not None and line.change.heard.digest
        }
        comments, older = followed.heard(tx, number, digests, MOST_SHOWN)
        key = mark(ticket_key(project.config.project.id, number))
        return Shown(
            incident=found,
            standing=tables.standing(tx, number),
            clocks=clocks(found, project.config.incidents),
            lines=lines,
            alerts=list(tables.some_alerts(tx, mine, most=MOST_SHOWN).values()),
            tickets=followed.tickets(tx, [key]),
            comments=comments,
            older=older,
        )


@reading("incident:read")
def alerts(project: Wiring, *, everything: bool = False, most: int = MOST_SHOWN) -> list[Known]:
    """Alerts that stand, newest first; AccessDenied: policy.

    Args:
        project: whose.
        everything: those that ended too.
        most: how many at most.
    """
    where = [] if everything else [tables.ALERTS.c.stands.is_(True)]
    with project.database.reading() as tx:
        return list(tables.some_alerts(tx, *where, most=min(most, MOST_SHOWN)).values())


@reading("incident:read")
def export(project: Wiring, number: int, form: Format = "json") -> bytes:
    """An incident for others, without who did what: nothing personal, unless people wrote it.

    Args:
        project: whose.
        number: of the incident.
        form: `json`, `markdown` or `ocsf`: an Incident Finding of the Open Cybersecurity Schema
            Framework.

    Raises:
        AccessDenied: policy. ConfigError: there is no such incident or form. VerificationError: the
            catalogue says something else of it than the log.
    """
    facts = _facts(project, number)
    if form == "ocsf":
        from casemate.respond.ocsf import finding

        return finding(facts, project.clock.now())
    if form == "markdown":
        return markdown(facts).encode()
    if form != "json":
        raise ConfigError(f"there is no form {form!r}", hint="json, markdown or ocsf")
    return facts.to_json()


@reading("incident:read")
def draft(project: Wiring, number: int) -> str:
    """Notices for those who must be told by law, as far as the facts go; gaps say who fills them.

    Raises:
        AccessDenied: policy. ConfigError: there is no such incident, or no law is configured.
            VerificationError: the catalogue says something else of it than the log.
    """
    laws = project.config.incidents.laws
    if not laws:
        raise ConfigError(
            "no law is configured that wants a notice", hint='[incidents] laws = ["gdpr"]'
        )
    return drafts(_facts(project, number), list(laws))


def _facts(project: Wiring, number: int) -> Facts:
    shown = _shown(project, number)
    return Facts(
        project=project.config.project.name,
        project_id=project.config.project.id,
        incident=shown.incident,
        standing=shown.standing,
        clocks=shown.clocks,
        lines=shown.lines,
        alerts=[one.alert for one in shown.alerts],
    ).impersonal()
