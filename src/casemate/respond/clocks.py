"""Clocks of an incident: the project's own for acknowledging and containing, and those of laws.

What a law asks for is data with its source and its state. Whether one applies is for people to say:
`[incidents] laws` names them, and an incident's clocks run once somebody is aware.
"""

import datetime
from typing import Literal

from casemate.config import IncidentsTable
from casemate.core.types import Record
from casemate.respond.states import Incident

HOUR, DAY = 1, 24


class Duty(Record, frozen=True, kw_only=True):
    """Something that a law wants done within a time."""

    id: str
    law: str
    """As `[incidents] laws` names it."""
    article: str
    what: str
    hours: int
    after: Literal["aware", "recovered"] = "aware"
    """From when it runs."""
    is_of_people: bool = False
    """Whether it runs only where personal data is concerned."""
    state: str
    """In force since when, and what is about to change; as of November 2026."""
    source: str


DUTIES = (
    Duty(
        id="gdpr-33",
        law="gdpr",
        article="Art. 33(1)",
        what="notify the supervisory authority of a personal data breach",
        hours=72 * HOUR,
        is_of_people=True,
        state="in force since 25 May 2018; 96 h were proposed on 19 November 2025 and are no law",
        source="Regulation (EU) 2016/679",
    ),
    Duty(
        id="hipaa-404",
        law="hipaa",
        article="45 CFR 164.404, 164.408",
        what="notify individuals, and the Secretary, of a breach of unsecured health information",
        hours=60 * DAY,
        is_of_people=True,
        state="in force since 2009, as of today since 2013: without unreasonable delay, in 60 days",
        source="45 CFR Part 164 Subpart D",
    ),
    Duty(
        id="ai-act-73-2",
        law="ai-act",
        article="Art. 73(3)",
        what="report a widespread infringement or a disruption of critical infrastructure",
        hours=2 * DAY,
        state="of high-risk systems: from 2 December 2027 (Annex III) as adopted in June 2026",
        source="Regulation (EU) 2024/1689",
    ),
    Duty(
        id="ai-act-73-10",
        law="ai-act",
        article="Art. 73(4)",
        what="report a serious incident in which somebody died",
        hours=10 * DAY,
        state="of high-risk systems: from 2 December 2027 (Annex III) as adopted in June 2026",
        source="Regulation (EU) 2024/1689",
    ),
    Duty(
        id="ai-act-73-15",
        law="ai-act",
        article="Art. 73(2)",
        what="report any other serious incident",
        hours=15 * DAY,
        state="of high-risk systems: from 2 December 2027 (Annex III) as adopted in June 2026",
        source="Regulation (EU) 2024/1689",
    ),
    Duty(
        id="cra-14-24h",
        law="cra",
        article="Art. 14(2)(a), 14(4)(a)",
        what="early warning of an exploited vulnerability or a severe incident",
        hours=24 * HOUR,
        state="in force since 11 September 2026",
        source="Regulation (EU) 2024/2847",
    ),
    Duty(
        id="cra-14-72h",
        law="cra",
        article="Art. 14(2)(b), 14(4)(b)",
        what="notification of it",
        hours=72 * HOUR,
        state="in force since 11 September 2026",
        source="Regulation (EU) 2024/2847",
    ),
    Duty(
        id="cra-14-14d",
        law="cra",
        article="Art. 14(2)(c)",
        what="final report on a vulnerability, after a corrective measure is available",
        hours=14 * DAY,
        after="recovered",
        state="in force since 11 September 2026; of a severe incident one month",
        source="Regulation (EU) 2024/2847",
    ),
)
"""Every duty that is known; docs/how-to/incidents.md shows them."""


class Clock(Record, frozen=True, kw_only=True):
    """One clock of an incident that runs, or ran."""

    id: str
    """`acknowledge`, `contain` or a duty's."""
    what: str
    due: str
    """ISO 8601."""
    done: bool
    """Whether it was done; the clocks of people stop by themselves, those of laws are told."""

    def is_overdue(self, now: datetime.datetime) -> bool:
        """Whether it is late and not done."""
        return not self.done and datetime.datetime.fromisoformat(self.due) < now


def clocks(incident: Incident, table: IncidentsTable) -> list[Clock]:
    """Every clock of an incident that has begun to run.

    Args:
        incident: in any state.
        table: how fast people are to be, and which laws count.
    """
    if incident.merged is not None:
        return []  # those of the other one run
    over = incident.closed is not None
    found = [
        Clock(
            id="acknowledge",
            what="somebody takes it up",
            due=_due(incident.opened, getattr(table.acknowledge_hours, incident.severity)),
            done=incident.acknowledged is not None or over,
        ),
        Clock(
            id="contain",
            what="it does no more harm",
            due=_due(incident.opened, getattr(table.contain_hours, incident.severity)),
            done=(incident.contained or incident.recovered) is not None or over,
        ),
    ]
    for duty in DUTIES:
        since = incident.aware if duty.after == "aware" else incident.recovered
        is_meant = duty.law in table.laws and (incident.personal or not duty.is_of_people)
        if is_meant and since is not None and incident.aware is not None:
            due, done = _due(since, duty.hours), duty.id in incident.served
            found.append(Clock(id=duty.id, what=duty.what, due=due, done=done))
    return found


def _due(since: str, hours: float) -> str:
    due = datetime.datetime.fromisoformat(since) + datetime.timedelta(hours=hours)
    return due.isoformat(timespec="seconds")
