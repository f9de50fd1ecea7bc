"""Casemate's own alerts: alarms of the watcher, entries of the log that mean trouble, and clocks
that ran out; looked at after each look of the watcher.
"""

import datetime
from collections.abc import Iterable
from typing import Protocol

from casemate.config import IncidentsTable
from casemate.operations.incidents.books import Books
from casemate.operations.incidents.intake import take
from casemate.respond import tables
from casemate.respond.alerts import Alert, Urgency, made
from casemate.respond.clocks import clocks
from casemate.respond.readers import OWN, Post
from casemate.respond.states import OVERDUE, Change, Incident
from casemate.respond.trouble import alert_of, pseudonym
from casemate.wiring import Wiring

WHO = "casemate"
RULE = "log-rule"
"""Name of alarms by rules over log lines; see `watching.ruled`."""
AT_ONCE = 1_000
"""Alerts of entries in one transaction."""


class Cause(Protocol):
    """What an alarm of the watcher is about; see `watching.alarms`."""

    @property
    def name(self) -> str:
        """What kind."""

    @property
    def labels(self) -> dict[str, str]:
        """Of what."""

    @property
    def severity(self) -> Urgency:
        """How urgent."""

    @property
    def text(self) -> str:
        """What was seen."""

    @property
    def hint(self) -> str:
        """What to do."""


class Alarm(Protocol):
    """An alarm of the watcher."""

    @property
    def cause(self) -> Cause:
        """What is wrong."""

    @property
    def began(self) -> str:
        """ISO 8601."""

    @property
    def ended(self) -> str | None:
        """The same, or that it stands."""


def look(project: Wiring, alarms: Iterable[Alarm], start: int) -> tuple[int, int]:
    """Hear what the watcher and the log say, and tell which clocks ran out; (how many incidents
    changed, the last entry that was read). All of it can be done again: nothing is heard or told
    twice.

    Args:
        project: whose.
        alarms: of the watcher: those that stand, and those that ended.
        start: the first entry that was not read yet; with 0, what is older than the window in which
            alerts belong together is left alone.
    """
    now, last = project.clock.now(), start - 1
    hours = project.config.incidents.window_hours
    oldest = now - datetime.timedelta(hours=hours) if start == 0 else None
    changed = take(project, WHO, Post(alerts=[_alert(one, now) for one in alarms]), is_own=True)
    count = len(changed.incidents)
    found: list[Alert] = []
    for entry in project.log.entries(start):
        last = entry.index
        if oldest is not None and datetime.datetime.fromisoformat(entry.time) < oldest:
            continue
        alert = alert_of(entry, now)
        if alert is not None:
            found.append(alert)
        if len(found) >= AT_ONCE:
            count += len(take(project, WHO, Post(alerts=found), is_own=True).incidents)
            found = []
    if found:
        count += len(take(project, WHO, Post(alerts=found), is_own=True).incidents)
    return count + overdue(project), last


def _alert(alarm: Alarm, now: datetime.datetime) -> Alert:
    cause = alarm.cause
    labels, text = cause.labels, cause.text
    if cause.name == RULE:  # groups of lines are of people and addresses
        labels = {
            key: value if key in ("rule", "model") else pseudonym(value)
            for key, value in labels.items()
        }
        text = f"{labels.get('rule', '')}: casemate watch show says of whom"
    # a clock that leapt must not keep the others from being heard
    began = min(datetime.datetime.fromisoformat(alarm.began), now)
    ended = None if alarm.ended is None else datetime.datetime.fromisoformat(alarm.ended)
    return made(
        source=OWN,
        name=cause.name,
        severity=cause.severity,
        labels=labels,
        began=began,
        ended=None if ended is None else min(max(ended, began), now),
        now=now,
        text=text,
        hint=cause.hint,
    )


def overdue(project: Wiring) -> int:
    """Tell of every clock that ran out, once; how many incidents that was of."""
    now, table = project.clock.now(), project.config.incidents
    with project.database.reading() as tx:
        # of a closed one the clocks of laws may still run
        unreviewed = tables.INCIDENTS.c.state != "reviewed"
        late = [one.id for one in tables.incidents(tx, unreviewed) if _late(one, now, table)]
    for number in late:
        with project.database.transaction() as tx:
            books = Books(project, tx, WHO, now)
            found = tables.incident(tx, number)
            for clock in _late(found, now, table):
                change = Change(at=books.now, clock=clock)
                found = books.change(found, OVERDUE, change)
    if late:
        project.log.publish()
    return len(late)


def _late(found: Incident, now: datetime.datetime, table: IncidentsTable) -> list[str]:
    """Clocks of an incident that ran out and were not told."""
    return [
        clock.id
        for clock in clocks(found, table)
        if clock.is_overdue(now) and clock.id not in found.overdue
    ]
