"""The books of incidents: a change is what `folded` writes and a message to whoever hears of it, in
one transaction.
"""

import datetime

import sqlalchemy as sa
from msgspec import structs

from casemate.operations.folded import Kind
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
)
from casemate.wiring import Wiring

KIND = Kind(
    "incident",
    'Incident::"',
    Change,
    applied,
    tables.LINES,
    lambda tx, found, is_new: tables.put(tx, found, is_new=is_new),
    tables.incident,
    tables.incidents,
)


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
        after, entry = KIND.written(self.project, self.tx, self.who, incident, action, change)
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
        if change.did:
            content["did"] = change.did
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
