"""What casemate remembers of its tickets: that one was begun, where it is, what was written last.

It is written before a tracker is asked to make one. A tracker has no way to make something once
only, and its search may not see what it made a minute ago; so whoever finds a ticket begun waits
until a search can be believed.
"""

import datetime
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from casemate.core.clock import Clock
from casemate.core.errors import TransientError
from casemate.core.store import METADATA, Store
from casemate.respond.trackers.interface import Reference, State

TICKETS = sa.Table(
    "ticket",
    METADATA,
    sa.Column("tracker", sa.String, primary_key=True),
    sa.Column("mark", sa.String, primary_key=True),
    sa.Column("begun", sa.String, nullable=False),
    sa.Column("id", sa.String),
    sa.Column("url", sa.String),
    sa.Column("title", sa.String),
    sa.Column("body", sa.String),
    sa.Column("state", sa.String),
    sa.Column("moves", sa.Integer),
    sa.Column("assignee", sa.String),
    sa.Column("cursor", sa.String),
    sa.Column("newest", sa.String),
    sa.Column("settled", sa.String),
    sa.Column("lost", sa.Boolean),
    sa.Column("closings", sa.Integer),
    sa.Column("looked", sa.String),
)
"""Columns after `body` are what was read: `followed.Followed`."""


@dataclass(frozen=True)
class Written:
    """Digests of what casemate wrote last; empty: not known."""

    title: str = ""
    body: str = ""


class Tickets:
    """The tickets of one tracker."""

    def __init__(self, store: Store, clock: Clock, tracker: str) -> None:
        self._store, self._clock, self._tracker = store, clock, tracker

    def _row(self, mark: str) -> sa.ColumnElement[bool]:
        return (TICKETS.c.tracker == self._tracker) & (TICKETS.c.mark == mark)

    def made(self, mark: str) -> Reference | None:
        """The ticket of this mark, if it is known to exist."""
        with self._store.reading() as tx:
            row = tx.execute(sa.select(TICKETS).where(self._row(mark))).first()
        return None if row is None or row.id is None else Reference(id=row.id, url=row.url or "")

    def begin(self, mark: str, settles: float) -> Reference | None:
        """Say that one is being made; a reference where somebody else was faster.

        Args:
            mark: of its key.
            settles: seconds after which a search sees what was made.

        Raises:
            TransientError: one was begun less than that ago.
        """
        now = self._clock.now()
        with self._store.transaction() as tx:
            row = tx.execute(sa.select(TICKETS).where(self._row(mark))).first()
            if row is None:
                values = {"tracker": self._tracker, "mark": mark, "begun": now.isoformat()}
                tx.execute(TICKETS.insert().values(**values))
                return None
            if row.id is not None:
                return Reference(id=row.id, url=row.url or "")
            age = (now - datetime.datetime.fromisoformat(row.begun)).total_seconds()
            if abs(age) < settles:  # also of a clock that was set back
                raise TransientError(
                    f"[trackers.{self._tracker}]: a ticket was begun {age:.0f} seconds ago and"
                    " nothing is known of it; another one now could be a second one",
                    hint=f"{settles:.0f} seconds after it the tracker's search can be believed",
                )
            tx.execute(TICKETS.update().where(self._row(mark)).values(begun=now.isoformat()))
        return None

    def forget(self, mark: str) -> None:
        """The tracker has refused: nothing was made."""
        with self._store.transaction() as tx:
            tx.execute(TICKETS.delete().where(self._row(mark), TICKETS.c.id.is_(None)))

    def keep(
        self, mark: str, reference: Reference, written: Written, state: State | None = None
    ) -> None:
        """It is there; in which state, if that is known."""
        values: dict[str, Any] = {"id": reference.id, "url": reference.url, "state": state}
        values |= {"title": written.title, "body": written.body}
        with self._store.transaction() as tx:
            known = self._row(mark)
            if tx.execute(sa.select(TICKETS.c.mark).where(known)).first() is None:
                begun = self._clock.now().isoformat()
                row = {"tracker": self._tracker, "mark": mark, "begun": begun}
                tx.execute(TICKETS.insert().values(**row, **values))
            else:
                tx.execute(TICKETS.update().where(known).values(**values))

    def written(self, identifier: str) -> tuple[str, Written]:
        """(mark, what was written last) of a ticket; empty ones where nothing is known of it."""
        with self._store.reading() as tx:
            row = tx.execute(sa.select(TICKETS).where(self._of(identifier))).first()
        return ("", Written()) if row is None else (row.mark, Written(row.title, row.body))

    def _of(self, identifier: str) -> sa.ColumnElement[bool]:
        return (TICKETS.c.tracker == self._tracker) & (TICKETS.c.id == identifier)

    def rewrite(self, identifier: str, written: Written) -> None:
        """What casemate has just written."""
        with self._store.transaction() as tx:
            values = {"title": written.title, "body": written.body}
            tx.execute(TICKETS.update().where(self._of(identifier)).values(**values))

    def moved(self, identifier: str, state: State) -> None:
        """Into which state casemate has brought it: whoever reads it later sees whether that was
        somebody else.
        """
        moves = sa.func.coalesce(TICKETS.c.moves, 0) + 1
        with self._store.transaction() as tx:
            moved = TICKETS.update().where(self._of(identifier))
            tx.execute(moved.values(state=state, moves=moves))
