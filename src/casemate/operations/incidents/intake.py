"""Intake: what is heard of alerts becomes what is known of them, and who has to see to what.

A message is one transaction: whoever dies before its end has heard nothing, and the sender sends it
again; whoever dies behind it has heard it, and hearing it twice changes only counts.
"""

import datetime
from dataclasses import dataclass, field

import sqlalchemy as sa
from msgspec import structs

from casemate.core.types import Record
from casemate.operations.incidents.books import Books
from casemate.operations.incidents.lineages import Lineages
from casemate.respond import tables
from casemate.respond.alerts import Alert, joined, moment
from casemate.respond.causes import (
    DOWNSTREAM,
    Level,
    chain,
    common,
    is_spreading,
    level,
    worst,
)
from casemate.respond.readers import Post
from casemate.respond.states import ALERTS, MOST_NAMED, REROOTED, Change, Incident
from casemate.respond.tables import Known, Mute
from casemate.wiring import Wiring

AGAIN = datetime.timedelta(minutes=10)
"""After an end. Whoever then says that the same episode goes on is not late, but right: an
Alertmanager that lost its Prometheus for a while tells of an end, and later of the same beginning.
Its messages are five minutes late at most (`group_interval`); twice that. """
MOST_ADOPTED = 500
"""Standing alerts without an incident that one message looks at again."""


class Taken(Record, frozen=True, kw_only=True):
    """What a message came to."""

    alerts: int
    """That it told of."""
    new: int
    """Of these, episodes that began."""
    ended: int
    opened: list[int]
    """Incidents that began."""
    incidents: list[int]
    """Every incident that changed."""


@dataclass
class _Touched:
    """What one message does to one incident."""

    joined: list[str] = field(default_factory=list)
    again: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    latest: str = ""
    severity: Level = "low"


def take(project: Wiring, who: str, post: Post, *, is_own: bool = False) -> Taken:
    """Hear a message; `project.outbox.send` tells of what came of it.

    Args:
        project: whose.
        who: says so, as the log names them.
        post: the message.
        is_own: it is said anew at each look: that is no repetition, and is not counted.
    """
    with project.database.transaction() as tx:
        intake = _Intake(project, tx, who, is_own=is_own)
        taken = intake.hear(post)
        entries = intake.books.entries
    if entries:
        project.log.publish()
    return taken


class _Intake:
    """One message, within its transaction."""

    def __init__(self, project: Wiring, tx: sa.Connection, who: str, *, is_own: bool) -> None:
        self.project, self.tx, self.is_own = project, tx, is_own
        self.now = project.clock.now()
        self.books = Books(project, tx, who, self.now)
        self.lineages = Lineages(project)
        self.mutes: list[Mute] = tables.mutes(tx, self.now)
        self.touched: dict[int, _Touched] = {}
        self.incidents: dict[int, Incident] = {}
        self.by_root: dict[str, list[int]] = {}
        self.rooted: set[str] = set()
        """Causes that are an incident's only since this message."""
        self.opened: list[int] = []
        self.alive: dict[int, bool] = {}
        self.known: dict[str, Known] = {}
        self.seen: dict[str, Known] = {}
        """Alerts with a row that the message did not name."""

    def hear(self, post: Post) -> Taken:
        heard: dict[str, Alert] = {}
        counts: dict[str, int] = {}
        for alert in (*post.alerts, *post.over):
            key = alert.fingerprint
            heard[key] = joined(heard[key], alert) if key in heard else alert
            counts[key] = counts.get(key, 0) + 1
        before = tables.known(self.tx, list(heard))
        only_over = {one.fingerprint for one in post.over} - set(before)
        fresh, new, ended = [], 0, 0
        for key, alert in heard.items():
            if key in only_over:
                continue
            old = before.get(key)
            after = self._after(old, alert, counts[key])
            if self.is_own and old is not None and after.alert == old.alert:
                continue
            self.known[key] = after
            begins, ends = _turns(old, after.alert)
            new += begins
            ended += ends
            is_urgent = _is_urgent_now(old, after)
            # a note of an incident that is closed by now has none
            if begins or (is_urgent and self._incident_of(after.incident) is None):
                fresh.append(key)
            elif is_urgent and after.incident is not None:
                touched = self._touch(after.incident)
                touched.severity = worst(touched.severity, level(after.alert))
            if ends and after.incident is not None:
                self._touch(after.incident).ended.append(key)
        fresh += self._waited()
        self._place(fresh)
        self._adopt()
        self._write()
        tables.keep(self.tx, self.known, before | self.seen)
        return Taken(
            alerts=len(post.alerts),
            new=new,
            ended=ended,
            opened=self.opened,
            incidents=sorted(self.touched),
        )

    def _after(self, old: Known | None, alert: Alert, count: int) -> Known:
        now = self.books.now
        if old is None:
            return Known(alert=alert, heard=count, first=now, last=now)
        if _goes_on(old, alert, self.now):
            alert = structs.replace(alert, began=now)
        heard = old.heard + (0 if self.is_own else count)
        return structs.replace(old, alert=joined(old.alert, alert), heard=heard, last=now)

    def _waited(self) -> list[str]:
        """Alerts whose window of maintenance is over."""
        found = []
        waiting = tables.some_alerts(self.tx, tables.ALERTS.c.waiting.is_(True), most=MOST_ADOPTED)
        for key, row in waiting.items():
            one = self.known.get(key, row)
            if self._is_muted(one.alert):
                continue
            self.seen[key] = one
            self.known[key] = structs.replace(one, waiting=False)
            if one.alert.stands:
                found.append(key)
        return found

    def _is_muted(self, alert: Alert) -> bool:
        return any(mute.covers(alert, self.books.now) for mute in self.mutes)

    def _place(self, keys: list[str]) -> None:
        """Find the incidents of alerts that began, or open some."""
        chains = {}
        for key in dict.fromkeys(keys):
            alert = self.known[key].alert
            if self._is_muted(alert):
                self.known[key] = structs.replace(self.known[key], waiting=True)
            else:
                self.known[key] = structs.replace(self.known[key], waiting=False)
                chains[key] = chain(alert, self.lineages)
        roots = {one for steps in chains.values() for one in steps}
        kinds = {
            kind
            for steps in chains.values()
            if is_spreading(steps[0])
            for kind in DOWNSTREAM[steps[0].partition(":")[0]]
        }
        for found in (*tables.open_at(self.tx, roots), *tables.open_of(self.tx, kinds)):
            self._remember(found)
        # the oldest first, whatever their order in the message
        for key in sorted(chains, key=lambda one: (self.known[one].alert.began, one)):
            self._one(key, chains[key])

    def _remember(self, found: Incident) -> None:
        if found.id not in self.incidents:
            self.incidents[found.id] = found
            self.by_root.setdefault(found.root, []).append(found.id)

    def _one(self, key: str, steps: list[str]) -> None:
        known = self.known[key]
        alert = known.alert
        former = known.incident
        number = self._incident_of(former)
        if number is None:
            number = self._at(steps, alert)
        if number is None and alert.severity == "page":
            number = self._below(steps, alert)
        if number is None and (alert.severity == "page" or self._opens_notes):
            number = self._open(key, steps, former)
        elif number is not None:
            touched = self._touch(number)
            (touched.again if number == former else touched.joined).append(key)
            touched.latest = max(touched.latest, alert.began)
            touched.severity = worst(touched.severity, level(alert))
        if number is not None:
            self.known[key] = structs.replace(known, incident=number)

    @property
    def _opens_notes(self) -> bool:
        return self.project.config.incidents.opens == "note"

    def _incident_of(self, number: int | None) -> int | None:
        """The incident that an alert is of, if it is still open."""
        if number is None:
            return None
        if number not in self.incidents:
            found = tables.incident(self.tx, number)
            if not found.is_open:
                return None
            self._remember(found)
        return number

    def _at(self, steps: list[str], alert: Alert) -> int | None:
        """The open incident whose cause lies nearest in a chain."""
        for step in steps:
            for number in sorted(self.by_root.get(step, [])):
                if self._takes(number, alert):
                    return number
        return None

    def _below(self, steps: list[str], alert: Alert) -> int | None:
        """The oldest open incident whose cause depends on this subject, or is one of many of which
        this is another: now the cause is known better.
        """
        if is_spreading(steps[0]):
            root, upstream = steps[0], tuple(steps)
        elif common(steps):
            root, upstream = common(steps), (common(steps),)
        else:
            return None
        for number, found in sorted(self.incidents.items()):
            if root in found.chain and self._takes(number, alert):
                change = Change(at=self.books.now, root=root, chain=upstream)
                self.by_root[found.root].remove(number)
                self.incidents[number] = self.books.change(found, REROOTED, change, is_told=False)
                self.by_root.setdefault(root, []).append(number)
                self.rooted.add(root)
                self._gather(number, root, alert)
                return number
        return None

    def _gather(self, number: int, root: str, alert: Alert) -> None:
        """Others that depend on the same cause, and that nobody has taken up, become part of it."""
        for other, found in sorted(self.incidents.items()):
            if other == number or found.state != "new" or root not in found.chain:
                continue
            if not self._takes(other, alert):
                continue
            self.incidents[number] = self.books.absorb(found, self.incidents[number])
            del self.incidents[other]
            self.by_root[found.root].remove(other)
            gone = self.touched.pop(other, _Touched())
            touched = self._touch(number)
            touched.joined += gone.joined
            touched.again += gone.again
            touched.ended += gone.ended
            touched.latest = max(touched.latest, gone.latest)
            for key, one in self.known.items():
                if one.incident == other:
                    self.known[key] = structs.replace(one, incident=number)

    def _takes(self, number: int, alert: Alert) -> bool:
        """Whether an incident is so near in time that an alert may be of it."""
        latest = max(self.incidents[number].latest, self._touch_of(number).latest)
        hours = self.project.config.incidents.window_hours
        until = datetime.datetime.fromisoformat(latest) + datetime.timedelta(hours=hours)
        if alert.began <= moment(until):
            return True
        if number not in self.alive:
            self.alive[number] = tables.standing(self.tx, number) > 0
        return self.alive[number]

    def _open(self, key: str, steps: list[str], former: int | None) -> int:
        alert = self.known[key].alert
        change = Change(
            at=self.books.now,
            text=f"{alert.name}: {alert.text}"[:300] if alert.text else alert.name,
            root=steps[0],
            chain=tuple(steps),
            severity=level(alert),
            follows=former,
            joined=1,
            some=(key,),
            latest=alert.began,
        )
        found = self.books.opened(change)
        self._remember(found)
        self.opened.append(found.id)
        self.rooted.add(found.root)
        self._touch(found.id)
        return found.id

    def _adopt(self) -> None:
        """Notes that came before the incident that explains them."""
        if not self.rooted:
            return
        table = tables.ALERTS.c
        alone = (table.incident.is_(None), table.stands.is_(True), table.waiting.is_(False))
        found = tables.some_alerts(self.tx, *alone, most=MOST_ADOPTED)
        mine = {key: one for key, one in self.known.items() if one.incident is None}
        for key, row in (found | mine).items():
            one = self.known.get(key, row)
            if one.incident is not None or one.waiting or not one.alert.stands:
                continue
            number = self._at(
                [step for step in chain(one.alert, self.lineages) if step in self.rooted],
                one.alert,
            )
            if number is not None:
                if key in found:
                    self.seen[key] = one
                self.known[key] = structs.replace(one, incident=number)
                self._touch(number).joined.append(key)

    def _touch(self, number: int) -> _Touched:
        return self.touched.setdefault(number, _Touched())

    def _touch_of(self, number: int) -> _Touched:
        return self.touched.get(number) or _Touched()

    def _write(self) -> None:
        """One entry an incident, however many alerts there were."""
        for number, touched in self.touched.items():
            every = [*touched.joined, *touched.again, *touched.ended]
            found = self.incidents.get(number) or tables.incident(self.tx, number)
            graver = worst(found.severity, touched.severity) != found.severity
            if not found.is_open or not (every or graver):
                continue
            change = Change(
                at=self.books.now,
                severity=touched.severity,
                joined=len(touched.joined),
                again=len(touched.again),
                ended=len(touched.ended),
                some=tuple(every[:MOST_NAMED]),
                latest=touched.latest,
            )
            is_told = (graver and not found.is_graded) or found.state == "recovered"
            self.books.change(found, ALERTS, change, is_told=is_told)


def _goes_on(old: Known, alert: Alert, now: datetime.datetime) -> bool:
    """Whether somebody says of an episode that ended a while ago that it goes on."""
    if old.alert.stands or not alert.stands or alert.began != old.alert.began:
        return False
    return now - datetime.datetime.fromisoformat(old.last) > AGAIN


def _turns(old: Known | None, after: Alert) -> tuple[bool, bool]:
    """(whether an episode begins, whether one ends)."""
    stood = old is not None and old.alert.stands
    if after.is_moment:
        return old is None or after.began > old.alert.began, False
    return after.stands and not stood, stood and not after.stands


def _is_urgent_now(old: Known | None, after: Known) -> bool:
    """Whether a note became a page while it stood."""
    if old is None or old.alert.severity == "page" or after.alert.severity != "page":
        return False
    return after.alert.stands and not after.waiting
