"""Findings as incidents: one that is grave enough is an alert while it stands and nobody waived it,
which opens an incident, and tickets where there are trackers.

What is to be told is the difference between the findings and the alerts that stand, so it may be
told as often as anybody likes, by scans, waivers and the watcher, and whoever dies between tells it
the next time. An incident that is about a finding alone is closed once that is gone or waived, and
opened again when it is back, unless it was reviewed by then: what comes after that is a new one.
"""

import datetime
from collections.abc import Iterable, Mapping, Sequence

from msgspec import structs

from casemate.core.errors import ConfigError
from casemate.core.types.scan import GRADES
from casemate.operations.incidents.books import KIND, Books
from casemate.operations.incidents.handling import person
from casemate.operations.incidents.intake import take
from casemate.operations.scanned import Standing, standing_of, told
from casemate.respond import states, tables
from casemate.respond.alerts import Alert, fingerprint, made, moment
from casemate.respond.causes import chain
from casemate.respond.readers import OWN, Post
from casemate.respond.states import Change, Incident
from casemate.wiring import Wiring

WHO = "casemate"
NAMES = tuple(f"finding-{grade}" for grade in GRADES)
"""Of alerts, by severity: one that becomes graver is told anew."""
MOST_STANDING = 100_000
"""Alerts that are looked through."""
ROOTS = ("finding", "package")
"""Of causes that are findings."""
MOST = 500
"""Findings that are alerts at a time, the gravest; the others follow once these are mended."""
MOST_OVERDUE = 100
"""Overdue findings that are alarms at a time."""


def tell(project: Wiring) -> int:
    """Let alerts and incidents be what findings are now; how many incidents changed.

    Args:
        project: whose.
    """
    now = project.clock.now()
    standing = _standing(project)
    graded = _grave(project)
    wanted = {alert.fingerprint: alert for alert in _wanted(graded, standing, now)}
    begun = [alert for print_, alert in wanted.items() if print_ not in standing]
    over = [_ended(alert, now) for print_, alert in standing.items() if print_ not in wanted]
    changed = set(_reopened(project, begun, now)) if begun else set()
    if begun or over:
        changed |= set(take(project, WHO, Post(alerts=[*begun, *over]), is_own=True).incidents)
    changed |= _settled(project, graded, now)
    if changed:
        project.log.publish()
        project.outbox.send()
    return len(changed)


def overdue(project: Wiring) -> list[Standing]:
    """Findings past the day by which they were to be mended, the gravest first, at most
    `MOST_OVERDUE`.
    """
    return [one for one in standing_of(project) if one.open and one.overdue][:MOST_OVERDUE]


def labels(one: Standing) -> dict[str, str]:
    """What makes an alert about a finding this one."""
    finding = one.kept.finding
    found = {"finding": finding.fingerprint[:32]}
    return {**found, "package": finding.package} if finding.package else found


def _grave(project: Wiring) -> list[Standing]:
    """Findings that are to be incidents now."""
    least = project.config.scan.incidents
    if least == "none":
        return []
    grades = GRADES[: GRADES.index(least) + 1]
    return [one for one in standing_of(project) if one.open and one.kept.finding.severity in grades]


def _wanted(
    graded: Iterable[Standing], standing: Mapping[str, Alert], now: datetime.datetime
) -> list[Alert]:
    """Alerts that are to stand: those that do already, then the gravest."""
    every = [_alert(one, now) for one in graded]
    return sorted(every, key=lambda alert: alert.fingerprint not in standing)[:MOST]


def _alert(one: Standing, now: datetime.datetime) -> Alert:
    finding = one.kept.finding
    return made(
        source=OWN,
        name=f"finding-{finding.severity}",
        severity="page",
        labels=labels(one),
        began=now,
        now=now,
        text=f"{told(one)}; {one.owner} sees to it by {one.due}",
        hint=finding.mend or f"casemate scan show {finding.fingerprint[:12]}",
    )


def _ended(alert: Alert, now: datetime.datetime) -> Alert:
    # a clock that leapt must not keep it standing
    return structs.replace(alert, ended=max(moment(now), alert.began))


def _standing(project: Wiring) -> dict[str, Alert]:
    """Alerts about findings that stand, by fingerprint."""
    with project.database.reading() as tx:
        found = tables.some_alerts(tx, tables.ALERTS.c.stands.is_(True), most=MOST_STANDING)
    return {
        print_: one.alert
        for print_, one in found.items()
        if one.alert.source == OWN and one.alert.name in NAMES
    }


def _reopened(project: Wiring, begun: Sequence[Alert], now: datetime.datetime) -> list[int]:
    """Incidents that were closed and are about what is back, opened again."""
    again = []
    with project.database.transaction() as tx:
        books = Books(project, tx, WHO, now)
        names = {fingerprint(OWN, name, one.labels) for one in begun for name in NAMES}
        before = {known.incident for known in tables.known(tx, sorted(names)).values()}
        for number in sorted(number for number in before if number is not None):
            found = tables.incident(tx, number)
            if found.state == "closed" and found.merged is None:
                back = begun[0].began  # so that it takes these alerts
                change = Change(at=books.now, text="what was found is back", latest=back)
                books.change(found, states.REOPENED, change)
                again.append(found.id)
    return again


def _settled(project: Wiring, graded: Iterable[Standing], now: datetime.datetime) -> set[int]:
    """Incidents about findings that got an owner or a day, or were closed."""
    days: dict[str, list[Standing]] = {}
    for one in graded:
        days.setdefault(_subject(one, now), []).append(one)
    firsts = {root: min(mine, key=lambda one: one.due) for root, mine in days.items()}
    people = {name: _person(project, name) for name in {one.owner for one in firsts.values()}}
    with project.database.reading() as tx:  # a watcher asks at every look, and mostly nothing waits
        waiting = [
            found.id
            for found in tables.open_of(tx, ROOTS)
            if (
                _lacks(found, firsts[found.root], people)
                if found.root in firsts
                else not tables.standing(tx, found.id)
            )
        ]
    changed: set[int] = set()
    for number in waiting:
        with project.database.transaction() as tx:
            found, entries = KIND.history(project, tx, number)
            books = Books(project, tx, WHO, now)
            first = firsts.get(found.root)
            if first is not None:
                _promise(books, found, first, people[first.owner])
            elif entries[-1].action == states.ALERTS and not tables.standing(tx, number):
                _close(books, found)
            if books.entries:
                changed.add(number)
    return changed


def _person(project: Wiring, name: str) -> str | None:
    """Who is called so; nobody where it is a role: whoever has it takes it up."""
    try:
        return person(project, name)
    except ConfigError:
        return None


def _lacks(found: Incident, first: Standing, people: Mapping[str, str | None]) -> bool:
    """Whether `_promise` has something to say."""
    return found.due != first.due or (found.owner is None and people[first.owner] is not None)


def _subject(one: Standing, now: datetime.datetime) -> str:
    return chain(_alert(one, now), _NoModels())[0]


class _NoModels:
    """Findings are of no model."""

    def origin(self, _model: str) -> None:
        """See `respond.causes.Lineages`."""

    def served(self) -> list[str]:
        """See `respond.causes.Lineages`."""
        return []


def _promise(books: Books, found: Incident, first: Standing, owner: str | None) -> None:
    """Say until when it is to be mended, and hand a new one to who sees to it."""
    if found.due != first.due:
        text = f"{first.owner} sees to it by {first.due}"
        found = books.change(found, states.NOTED, Change(at=books.now, text=text, due=first.due))
    if found.owner is None and owner is not None:
        books.change(found, states.ASSIGNED, Change(at=books.now, owner=owner))


def _close(books: Books, found: Incident) -> None:
    """What nobody has touched since its findings went is over; where people's data may be
    concerned, people say so.
    """
    now, text = books.now, "what was found is mended or waived"
    if found.state == "new":
        found = books.change(
            found, states.ACKNOWLEDGED, Change(at=now, owner=found.owner), is_told=False
        )
    if found.state != "recovered":
        found = books.change(found, states.RECOVERED, Change(at=now, text=text), is_told=False)
    if not found.personal:
        books.change(found, states.CLOSED, Change(at=now, text=text))
