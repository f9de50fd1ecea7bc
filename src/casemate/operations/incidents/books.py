"""The books of incidents: a change is an entry of the log, a line that points to it, the row that
is a copy of both, and a message to whoever hears of it, in one transaction.
"""

import datetime

import msgspec
import sqlalchemy as sa
from msgspec import structs

from casemate.core.entry import Entry
from casemate.core.errors import VerificationError
from casemate.respond import tables
from casemate.respond.alerts import moment
from casemate.respond.states import (
    ABSORBED,
    MERGED,
    OPENED,
    OVERDUE,
    Change,
    Incident,
    applied,
    change_of,
    folded,
)
from casemate.wiring import Wiring

PREFIX = 'Incident::"'


def resource(number: int) -> str:
    """An incident's name in the log."""
    return f'{PREFIX}{number}"'


class Books:
    """Writes changes, within one transaction of the catalogue."""

    def __init__(
        self, project: Wiring, tx: sa.Connection, who: str, now: datetime.datetime
    ) -> None:
        """Write nothing yet.

        Args:
            project: whose.
            tx: a write transaction.
            who: acts, as the log names them.
            now: the time.
        """
        self.project, self.tx, self.who = project, tx, who
        self.now = moment(now)
        self.entries = 0
        self.entry = -1
        """The newest that was written."""

    def change(
        self,
        incident: Incident | int,
        action: str,
        change: Change,
        *,
        is_told: bool = True,
    ) -> Incident:
        """The incident after a change that is written.

        Args:
            incident: before; the number of one that opens.
            action: what happens.
            change: the rest of it.
            is_told: whether the outbox tells of it.

        Raises:
            RefusedError: this cannot happen in its state.
        """
        before = None if isinstance(incident, int) else incident
        number = incident if isinstance(incident, int) else incident.id
        after = applied(before, number, action, change)
        detail = msgspec.to_builtins(change)
        log = self.project.log
        entry = log.append(self.tx, self.who, action, resource(number), "done", detail)
        self.tx.execute(tables.LINES.insert().values(incident=number, entry=entry))
        tables.put(self.tx, after, is_new=before is None)
        if is_told:
            self._tell(action, after, change, entry)
        self.entries += 1
        self.entry = entry
        return after

    def _tell(self, action: str, after: Incident, change: Change, entry: int) -> None:
        content = {
            "incident": after.id,
            "what": action,
            "title": after.title,
            "state": after.state,
            "severity": after.severity,
            "root": after.root,
            "alerts": after.alerts,
            "entry": entry,
            "at": change.at,
        }
        if change.clock:
            content["clock"] = change.clock
        self.project.outbox.enqueue(
            self.tx,
            "incident:opened"
            if action == OPENED
            else "incident:overdue"
            if action == OVERDUE
            else "incident:changed",
            f"incident/{after.id}/{entry}",
            content,
        )

    def absorb(self, gone: Incident, into: Incident) -> Incident:
        """Another incident after one became part of it, with all its alerts."""
        change = Change(at=self.now, other=into.id)
        self.change(gone, MERGED, change)
        table = tables.ALERTS
        mine = table.c.incident == gone.id
        self.tx.execute(table.update().where(mine).values(incident=into.id))
        taken = Change(
            at=self.now,
            other=gone.id,
            joined=gone.alerts,
            severity=gone.severity,
            latest=gone.latest,
        )
        return self.change(into, ABSORBED, taken)

    def opened(self, change: Change) -> Incident:
        """A new incident."""
        number = tables.next_number(self.tx, tables.INCIDENTS.c.id)
        return self.change(number, OPENED, structs.replace(change, at=self.now))


def history(project: Wiring, tx: sa.Connection, number: int) -> tuple[Incident, list[Entry]]:
    """(incident, its entries), once the row was held against what they make.

    Raises:
        ConfigError: there is no such incident. VerificationError: the row says something else.
    """
    row = tables.incident(tx, number)
    query = sa.select(tables.LINES.c.entry).where(tables.LINES.c.incident == number)
    indexes = list(tx.execute(query.order_by(tables.LINES.c.entry)).scalars())
    entries = project.log.at(tx, indexes)
    if any(entry.resource != resource(number) for entry in entries):
        raise _changed(number)
    if folded(number, [(one.action, change_of(one.detail)) for one in entries]) != row:
        raise _changed(number)
    return row, entries


def contradicted(project: Wiring) -> tuple[int, dict[int, str]]:
    """(how many incidents there are, what is wrong with some by number): every entry of the log
    held against every row, also against those that are gone.

    Raises:
        VerificationError: a row or an entry cannot be read.
    """
    size = project.log.size()  # what is written meanwhile is nobody's fault
    with project.database.reading() as tx:
        rows = {one.id: one for one in tables.incidents(tx)}
    found: dict[int, Incident] = {}
    wrong: dict[int, str] = {}
    for entry in project.log.entries():
        if not entry.resource.startswith(PREFIX):
            continue
        number = int(entry.resource.removeprefix(PREFIX).removesuffix('"'))
        before, row = found.get(number), rows.get(number)
        if row is None or (before is not None and before.changes == row.changes):
            if entry.index < size:
                wrong[number] = f"the catalogue does not know entry {entry.index} of the log"
            continue
        found[number] = applied(before, number, entry.action, change_of(entry.detail))
    for number, row in rows.items():
        if found.get(number) != row and number not in wrong:
            wrong[number] = "the log says something else"
    return len(rows), wrong


def _changed(number: int) -> VerificationError:
    return VerificationError(
        f"the catalogue says something else of incident {number} than the log",
        hint="somebody else than casemate wrote it: casemate audit show says what happened",
    )
