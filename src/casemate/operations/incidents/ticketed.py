"""What one reading of a ticket does to its incident: the change, how far the ticket was read and
what is to be said there, in one transaction. Whoever dies before its end has read nothing.

A person who closes a ticket asks whether the condition is gone. The alerts answer: where none
stands the incident is closed, else the ticket is opened again and says what stands. An alert that
has no end (emergency access, a compromised signer) is never over by itself, so such an incident is
closed by whoever policy lets do that, and by no ticket.

What casemate has brought a ticket into is written down by whoever does it (`Tickets.moved`), so a
state is news only where it is another one. While something is still to be said there, no state is
judged: the ticket may be behind.
"""

import datetime
from collections import Counter

import sqlalchemy as sa
from msgspec import structs

from casemate.core.errors import ConfigError
from casemate.core.store import decode
from casemate.operations.incidents.books import KIND, Books
from casemate.operations.incidents.handling import person
from casemate.respond import states, tables
from casemate.respond.alerts import Alert
from casemate.respond.causes import KINDS, OTHER, named
from casemate.respond.states import MOST_NAMED, Change, Heard
from casemate.respond.telling import OPEN_AGAIN
from casemate.respond.trackers import Seen, followed
from casemate.respond.trackers.followed import Followed
from casemate.respond.trackers.guard import MAX_COMMENTS
from casemate.respond.trouble import pseudonym
from casemate.wiring import Wiring

WHO = "casemate"
"""A tracker does not say who closed a ticket, so nobody else can be held to it; what casemate does
then it would do for everybody. ADR 0054.
"""
LAG = datetime.timedelta(minutes=10)
"""How long the cursor stays behind: a client of Roundup makes a message first and puts it to its
issue later, so a smaller number can come into view after a greater one. Twice the longest that one
request of ours may take.
"""
MOST_REOPENED = 2
"""Closings after which a ticket is opened again. Whoever closes it once more has read both answers,
or is a program that closes what is old: two programs must not go on for ever.
"""


class Reading:
    """One reading of one ticket, within its transaction."""

    def __init__(
        self, project: Wiring, tx: sa.Connection, number: int, before: Followed, seen: Seen | None
    ) -> None:
        """Write nothing yet.

        Args:
            project: whose.
            tx: a write transaction.
            number: of the incident.
            before: as it was when the tracker was asked.
            seen: what it answered; None: the ticket is gone.
        """
        self.project, self.tx, self.number, self.seen = project, tx, number, seen
        self.books = Books(project, tx, WHO, project.clock.now())
        self.before = self.after = before
        self.comments = 0
        found, _ = KIND.history(project, tx, number)
        while found.merged is not None:  # into one that was open then, so this ends
            found, _ = KIND.history(project, tx, found.merged)
        self.is_own = found.id == number
        """Whether the ticket is still about an incident by itself."""
        self.incident = found

    def write(self) -> Followed | None:
        """The ticket as it is known now; None where somebody else read or moved it meanwhile, and
        nothing was written.
        """
        one = self.before
        if followed.tickets(self.tx, [one.mark], one.tracker) != [one]:
            return None
        if self.seen is None:
            self._lost()
        else:
            self._said(self.seen)
            self._assigned(self.seen)
            self._moved(self.seen)
            self.after = structs.replace(self._further(self.seen), lost=False)
        self.after = structs.replace(self.after, looked=self.books.now)
        followed.write(self.tx, self.after)
        return self.after

    def _change(self, action: str, change: Change, heard: Heard, *, is_told: bool = False) -> None:
        """Comments and notes are not told on: whoever is told of one in another ticket would be
        read there again, if its tracker named authors wrongly.
        """
        change = structs.replace(change, heard=heard)
        self.incident = self.books.change(self.incident, action, change, is_told=is_told)

    def _heard(self, *accounts: str) -> Heard:
        one = self.before
        known = [account for account in dict.fromkeys(accounts) if account]
        who = tuple(pseudonym(f"{one.tracker}:{account}") for account in known[:MOST_NAMED])
        return Heard(tracker=one.tracker, ticket=one.id, accounts=who)

    def _note(self, text: str, *accounts: str) -> None:
        self._change(states.NOTED, Change(at=self.books.now, text=text), self._heard(*accounts))

    def _lost(self) -> None:
        if not self.before.lost:
            self._note("its ticket is gone, was moved or may not be seen any more")
            self.after = structs.replace(self.after, lost=True)

    def _said(self, seen: Seen) -> None:
        fresh = followed.unheard(self.tx, self.before, seen.comments)
        if not fresh:
            return
        rows = followed.rows_of(self.before, fresh)
        heard = structs.replace(
            self._heard(*(row["account"] for row in rows)),
            comments=len(rows),
            digest=followed.digest_of(rows),
        )
        self._change(states.NOTED, Change(at=self.books.now), heard)
        here = {"incident": self.incident.id, "entry": self.books.entry}
        self.tx.execute(followed.COMMENTS.insert(), [{**row, **here} for row in rows])
        self.comments = len(rows)

    def _assigned(self, seen: Seen) -> None:
        if seen.assignee == self.before.assignee:
            return
        self.after = structs.replace(self.after, assignee=seen.assignee)
        if not seen.assignee:
            self._note("nobody is assigned to its ticket any more")
            return
        owner = self._owner(seen.assignee)
        if owner is None:
            table = f"[trackers.{self.before.tracker}] people"
            self._note(
                f"its ticket is assigned to an account that {table} does not name", seen.assignee
            )
        elif owner != self.incident.owner:
            change = Change(at=self.books.now, owner=owner)
            self._change(states.ASSIGNED, change, self._heard(seen.assignee), is_told=True)

    def _owner(self, account: str) -> str | None:
        """The user whom the configuration takes for an account, if there is one."""
        name = self.project.config.trackers[self.before.tracker].people.get(account)
        try:
            return None if name is None else person(self.project, name)
        except ConfigError:
            return None

    def _moved(self, seen: Seen) -> None:
        known = self.before.state
        if not self.incident.is_open:
            self.after = structs.replace(self.after, closings=0)
        if self._is_behind():
            return
        if known is None:  # it was not casemate that made it just now: nothing is news yet
            self.after = structs.replace(self.after, state=seen.state)
        elif seen.state == known:
            if self.after.closings > MOST_REOPENED and not self._stands():
                self._close()  # that it stayed closed still asks
        elif seen.state == "closed":
            self.after = structs.replace(self.after, state="closed")
            self._closed()
        else:
            self.after = structs.replace(self.after, state="open", closings=0)
            self._opened()

    def _is_behind(self) -> bool:
        """Whether something about it waits in the outbox, or died there."""
        target, key = f"tickets-{self.before.tracker}", f"incident/{self.number}/"
        return self.project.outbox.unsent(self.tx, target, key)

    def _opened(self) -> None:
        if not self.is_own:
            self._note("the ticket of an incident that is part of this one was opened again")
        elif not self.incident.is_open:
            change = Change(at=self.books.now, text="its ticket was opened again")
            self._change(states.REOPENED, change, self._heard(), is_told=True)

    def _closed(self) -> None:
        if not self.is_own or not self.incident.is_open:
            return
        stands = self._stands()
        if not stands:
            self._close()
            return
        closings = self.before.closings + 1
        self.after = structs.replace(self.after, closings=closings)
        if closings > MOST_REOPENED:
            self._note(f"its ticket was closed once more while {stands}; it stays closed")
            return
        self._note(f"its ticket was closed while {stands}; it is opened again")
        text = f"Closed while {stands}: casemate opens this ticket again ({self.books.now[:19]}Z)."
        if closings == MOST_REOPENED:
            text += (
                " Who may close incidents can close this one in any case: casemate incident close"
                f" {self.incident.id} --despite REASON. If this ticket is closed once more, it"
                " stays closed, and the incident open."
            )
        else:
            text += " Close it when that is over."
        self.project.outbox.enqueue(
            self.tx,
            OPEN_AGAIN,
            f"incident/{self.incident.id}/{self.books.entry}",
            {"incident": self.incident.id, "text": text},
            only=f"tickets-{self.before.tracker}",
        )

    def _stands(self) -> str:
        """What of the condition is not gone, in words that name nobody; empty: nothing."""
        found: Counter[str] = Counter()
        endless: Counter[str] = Counter()
        query = sa.select(tables.ALERTS.c.alert).where(tables.ALERTS.c.incident == self.incident.id)
        for content in self.tx.execute(query).scalars():
            alert = decode(bytes(content), Alert)
            kind = KINDS.get(named(alert)[0], OTHER).nature
            if alert.stands:
                found[kind] += 1
            elif alert.is_moment:
                endless[kind] += 1
        parts = [f"{_counted(found)} still stand"] if found else []
        if endless:
            parts.append(f"{_counted(endless)} tell of what has no end")
        return " and ".join(parts)

    def _close(self) -> None:
        text, heard = "its ticket was closed, and no alert stands", self._heard()
        now = self.books.now
        if self.incident.state == "new":
            taken = Change(at=now, owner=self.incident.owner)
            self._change(states.ACKNOWLEDGED, taken, heard)
        if self.incident.state != "recovered":
            self._change(states.RECOVERED, Change(at=now), heard)
        self._change(states.CLOSED, Change(at=now, text=text), heard, is_told=True)
        self.after = structs.replace(self.after, closings=0)

    def _further(self, seen: Seen) -> Followed:
        """How far it was read."""
        one, now = self.after, self.books.now
        if len(seen.comments) >= MAX_COMMENTS:  # more of them follow
            return structs.replace(one, cursor=seen.cursor, newest=seen.cursor, settled=now)
        if not one.settled or _is_past(one.settled, now):
            one = structs.replace(one, cursor=one.newest)
        if seen.cursor != one.newest:
            one = structs.replace(one, newest=seen.cursor, settled=now)
        return one


def is_news(before: Followed, seen: Seen, now: str) -> bool:
    """Whether a reading may change anything beside the time of it."""
    return bool(
        seen.state != before.state
        or seen.assignee != before.assignee
        or seen.cursor != before.newest
        or not all(comment.own for comment in seen.comments)
        or before.lost
        or before.closings > MOST_REOPENED
        or (before.cursor != before.newest and _is_past(before.settled, now))
    )


def _is_past(settled: str, now: str) -> bool:
    """Whether what was read then is all that there is up to it; also of a clock that leapt."""
    age = datetime.datetime.fromisoformat(now) - datetime.datetime.fromisoformat(settled)
    return abs(age) > LAG


def _counted(kinds: Counter[str]) -> str:
    return ", ".join(
        f"{count} alert{'s' if count > 1 else ''} of the kind {kind}"
        for kind, count in sorted(kinds.items())
    )
