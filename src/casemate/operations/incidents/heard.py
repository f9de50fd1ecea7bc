"""Reading the tickets of incidents: of those that are open, and of those that were closed lately.

A tracker that is away, refuses the token or asks for a pause is told once, as an alarm of the
watcher, and asked again after pauses; it never keeps a look from going on. What is wrong with one
ticket keeps no other from being read.
"""

import datetime
import time

from casemate.core.errors import Error
from casemate.core.text import clean
from casemate.core.types import Record
from casemate.operations.incidents.ticketed import Reading, is_news
from casemate.respond import tables
from casemate.respond.alerts import moment
from casemate.respond.states import OPEN
from casemate.respond.telling import ticket_key
from casemate.respond.trackers import Reference, Seen, Tracker, followed
from casemate.respond.trackers.followed import Fault, Followed
from casemate.respond.trackers.guard import MAX_COMMENTS, mark
from casemate.respond.trackers.web import Elsewhere, NotDone, Nothing, OutOfTime
from casemate.wiring import Wiring

DAYS = 14
"""After closing in which a ticket is still read: two weeks, in which a review should come."""
MOST_CLOSED = 1_000
"""Closed incidents that are looked through, the newest first."""
SECONDS = 30.0
"""Of one look, for all trackers together: the watcher has more to see. One request that has begun
is waited for.
"""
ROUNDS = 50
"""Readings of one ticket in a look, each of at most `MAX_COMMENTS` comments: more than trackers
are asked for (`web.MAX_PAGES`).
"""
AWAY = 2
"""Tickets in a row that cannot be read: one may be at fault by itself, of two it is the tracker."""
PAUSE, LONGEST = 60.0, 3600.0
"""Seconds until a tracker that was away is asked again, doubled each time: at most an hour, so that
one that was away for a day is heard within an hour.
"""


class TicketsRead(Record, frozen=True, kw_only=True):
    """What reading one tracker came to."""

    tracker: str
    tickets: int
    """That were read."""
    comments: int
    """Of people, that are new."""
    changed: tuple[int, ...]
    """Incidents that changed."""
    left: int
    """Tickets that were not read, for lack of time or because of `fault`."""
    fault: str = ""
    """What kept some from being read."""
    due: str = ""
    """When it is asked again, ISO 8601; empty: at the next look."""


def hear(project: Wiring, *, is_asked: bool = False, seconds: float = SECONDS) -> list[TicketsRead]:
    """Read the tickets of every tracker that can be read; `project.outbox.send` tells of what came
    of it.

    Args:
        project: whose.
        is_asked: a person wants it now, whatever pause is on.
        seconds: for all of them.

    Raises:
        BackendError: the catalogue cannot be read or written.
    """
    names = list(project.config.trackers)
    end, done = time.monotonic() + seconds, []
    with project.database.reading() as tx:
        known = followed.faults(tx)
    for left, name in zip(range(len(names), 0, -1), names, strict=True):
        fault = known.get(name)
        if fault is not None and not is_asked and _is_pausing(project, fault):
            done.append(_nothing(name, fault))
            continue
        share = max(0.0, end - time.monotonic()) / left
        found = _Tracker(project, name, share, fault).read()
        if found is not None:
            done.append(found)
    if any(one.changed for one in done):
        project.log.publish()
    return done


def _is_pausing(project: Wiring, fault: Fault) -> bool:
    left = datetime.datetime.fromisoformat(fault.due) - project.clock.now()
    # a clock that was set back must not make a pause longer
    return 0 < left.total_seconds() <= LONGEST


def _nothing(name: str, fault: Fault) -> TicketsRead:
    return TicketsRead(
        tracker=name, tickets=0, comments=0, changed=(), left=0, fault=fault.text, due=fault.due
    )


class _Tracker:
    """One tracker, at one look."""

    def __init__(self, project: Wiring, name: str, seconds: float, before: Fault | None) -> None:
        self.project, self.name, self.before = project, name, before
        self.seconds, self.end = seconds, time.monotonic() + seconds
        self.fault, self.wait = "", 0.0
        self.done, self.comments, self.changed = 0, 0, set[int]()
        self.quiet: list[Followed] = []
        """Tickets in which nothing was new, or could be read."""

    def read(self) -> TicketsRead | None:
        """Read what there is; None where messages go one way."""
        rows = list[tuple[int, Followed]]()
        try:
            tracker = self.project.tracker(self.name, self.seconds)
            if not tracker.reads:
                return None
            rows = self._rows()
            self._all(tracker, rows)
        except NotDone as error:
            self._failed(error, max(PAUSE, error.wait))
        except Error as error:  # of its table
            self._failed(error, PAUSE)
        self._remember()
        return TicketsRead(
            tracker=self.name,
            tickets=self.done,
            comments=self.comments,
            changed=tuple(sorted(self.changed)),
            left=len(rows) - self.done,
            fault=self.fault,
        )

    def _all(self, tracker: Tracker, rows: list[tuple[int, Followed]]) -> None:
        """Read one after the other, as long as there is time and the tracker answers.

        Raises:
            NotDone: it asks for a pause.
        """
        failures = 0
        for number, row in rows:
            if time.monotonic() > self.end:
                return
            # also one that fails, or takes all the time, goes behind the others
            self.quiet.append(row)
            try:
                is_new = self._one(tracker, number, row)
            except OutOfTime:
                return  # the next look goes on
            except NotDone:
                raise
            except Error as error:
                failures += 1
                self._failed(error, 0.0 if self.done and failures < AWAY else PAUSE)
                if failures >= AWAY:
                    return
                continue
            failures = 0
            self.done += 1
            if is_new:
                self.quiet.pop()

    def _rows(self) -> list[tuple[int, Followed]]:
        """(incident, its ticket), those first that were not read for the longest time."""
        project = self.project
        oldest = moment(project.clock.now() - datetime.timedelta(days=DAYS))
        state = tables.INCIDENTS.c.state
        with project.database.reading() as tx:
            found = tables.incidents(tx, state.in_(OPEN))
            closed = tables.incidents(tx, state.not_in(OPEN), most=MOST_CLOSED)
            found += [one for one in closed if (one.closed or "") > oldest]
            marks = {mark(ticket_key(project.config.project.id, one.id)): one.id for one in found}
            rows = followed.tickets(tx, marks, self.name)
        return sorted(
            ((marks[row.mark], row) for row in rows), key=lambda one: (one[1].looked, one[0])
        )

    def _one(self, tracker: Tracker, number: int, row: Followed) -> bool:
        """Read a ticket; whether something was new.

        Raises:
            Error: the tracker, the ticket or its incident is at fault.
        """
        for _ in range(ROUNDS):
            seen = self._seen(tracker, row)
            if seen is None and row.lost:
                return False
            if seen is not None and not is_news(row, seen, moment(self.project.clock.now())):
                return False
            after = self._written(number, row, seen)
            is_more = seen is not None and len(seen.comments) >= MAX_COMMENTS
            if after is None or not is_more or after.cursor == row.cursor:
                break
            row = after
        return True

    @staticmethod
    def _seen(tracker: Tracker, row: Followed) -> Seen | None:
        try:
            return tracker.read(Reference(id=row.id, url=row.url), row.cursor)
        except (Nothing, Elsewhere):
            return None

    def _written(self, number: int, row: Followed, seen: Seen | None) -> Followed | None:
        with self.project.database.transaction() as tx:
            reading = Reading(self.project, tx, number, row, seen)
            after = reading.write()
        if reading.books.entries:
            self.changed.add(reading.incident.id)
            self.comments += reading.comments
        return after

    def _failed(self, error: Error, pause: float) -> None:
        self.fault = self.fault or f"{error.code}: {clean(error.message, 500)}"
        self.wait = max(self.wait, pause)

    def _remember(self) -> None:
        """How it went, if that is another thing than before."""
        if not (self.quiet or self.fault or self.before):
            return
        now = self.project.clock.now()
        with self.project.database.transaction() as tx:
            followed.looked(tx, self.quiet, moment(now))
            if self.fault or self.before:
                followed.put_fault(tx, self.name, self._fault(now))

    def _fault(self, now: datetime.datetime) -> Fault | None:
        if not self.fault:
            return None
        tries = 1 if self.before is None else self.before.tries + 1
        wait = min(self.wait * 2.0 ** min(tries - 1, 20), LONGEST)
        return Fault(
            tracker=self.name,
            since=moment(now) if self.before is None else self.before.since,
            tries=tries,
            due=moment(now + datetime.timedelta(seconds=wait)),
            text=self.fault,
        )
