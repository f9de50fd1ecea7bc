"""`casemate privacy retention`: how long each kind of thing is kept, by `[privacy.retention]`; what
would go, when and why; and that it went.

A term is counted in days of the calendar of `[access] timezone`, months as they are there: nothing
depends on how long a day is where the clock is changed. What is held stays, whatever its term, and
that is written down. The log says of everything that went what it was, by digest and count, before
it is gone; a process that is killed in between leaves it whole or gone, and the next time takes it.
"""

import datetime

import msgspec
import sqlalchemy as sa

from casemate.config.terms import TermTable
from casemate.core.errors import BusyError
from casemate.core.files import alone
from casemate.core.types import Record
from casemate.operations.acting import Acting, Noun, operation
from casemate.operations.calendar import today, zone
from casemate.operations.termed import records, versions
from casemate.operations.termed.found import Found
from casemate.respond.requests.laws import months_after
from casemate.wiring import Wiring

HELD = "retention:held"


class Due(Record, frozen=True, kw_only=True):
    """Something with a term."""

    what: str
    """As `[privacy.retention]` names it."""
    name: str
    """A version, or the kind of records."""
    since: str
    """The day from which it is counted; of records that of the oldest."""
    due: str
    """The day on which it goes, if nothing keeps it."""
    reason: str
    """Of the term."""
    count: int
    """Rows, records or files."""
    digest: str
    """SHA-256 by which it can be told what it was."""
    needs: list[str]
    """Released models whose evidence it is: their card and its digest stay."""
    kept: str
    """Why it stays although its term ended; empty: it goes."""
    is_held: bool
    """Whether that is a hold."""


class Kept(Record, frozen=True, kw_only=True):
    """What `[privacy.retention]` comes to today."""

    day: str
    going: list[Due]
    """What would go, or went."""
    staying: list[Due]
    """What stays although its term ended, and why."""
    later: list[Due]
    """What goes on another day, the next first."""
    without: list[str]
    """Kinds for which no term is named."""
    applied: bool


@operation("project:clean")
def plan(project: Wiring) -> Kept:
    """What would go today, what is kept and why, and what goes when; nothing is changed.

    Raises:
        AccessDenied: policy does not permit it.
    """
    plan.ask(project, unrecorded=True)
    return planned(project)


@operation("project:clean")
def apply(project: Wiring) -> Kept:
    """Remove what is over its term, and record what it was; and what a hold kept.

    Raises:
        AccessDenied: policy does not permit it.
        BusyError: a run, a backup or the like goes on, or a hold came just now.
    """
    acting = apply.ask(project)
    with alone(project.state / "lock", "removing what is over its term"):
        found = planned(project)
        for one in found.staying:
            if one.is_held:
                acting.record(HELD, _about(one), "refused", reason=one.kept, **_told(one))
        for one in found.going:
            _remove(acting, one)
        versions.sweep(project)
    return msgspec.structs.replace(found, applied=True)


def _remove(acting: Acting, one: Due) -> None:
    project = acting.project

    def write(tx: sa.Connection) -> int:
        _require_free(tx, project, one)
        log = project.log
        told = {"reason": one.reason, "needs": one.needs, **_told(one)}
        return log.append(tx, acting.uid, versions.ACTION, _about(one), "done", told)

    kind = one.what.partition(":")[0]
    remove = versions.REMOVE.get(kind) or records.REMOVE[kind]
    remove(project, one.name, _until(project, one), write)
    project.log.publish()


def _told(one: Due) -> dict[str, object]:
    return {"what": one.what, "since": one.since, "due": one.due, "count": one.count} | {
        "digest": one.digest
    }


def _about(one: Due) -> str:
    return f'Retention::"{one.name}"'


def _require_free(tx: sa.Connection, project: Wiring, one: Due) -> None:
    """BusyError where somebody placed a hold since it was planned."""
    if versions.hold_on(tx, project, one.what, one.name):
        raise BusyError(
            f"a hold on {one.name} was placed while it was about to go; it did not",
            hint="casemate privacy retention apply again: it keeps what is held",
        )


def planned(project: Wiring) -> Kept:
    """What `plan` says, for whoever has been asked."""
    day = today(project)
    due: list[Due] = []
    terms = project.config.privacy.retention
    for what, term in terms.items():
        kind, _, name = what.partition(":")
        if kind in versions.FIND:
            # what is named by itself has the term of its own
            others = {key.partition(":")[2] for key in terms if key.startswith(f"{kind}:")}
            found = [
                one
                for one in versions.FIND[kind](project, zone(project))
                if (one.of == name if name else one.of not in others)
            ]
        else:
            found = records.FIND[kind](project, zone(project), _cut(term, day))
        due += [_due(project, what, term, one) for one in found]
    past = [one for one in due if one.due <= day.isoformat()]
    return Kept(
        day=day.isoformat(),
        going=[one for one in past if not one.kept],
        staying=[one for one in past if one.kept],
        later=sorted((one for one in due if one.due > day.isoformat()), key=lambda one: one.due),
        without=[kind for kind in records.FIND | versions.FIND if not _named(kind, terms)],
        applied=False,
    )


def _named(kind: str, terms: dict[str, TermTable]) -> bool:
    return any(name.partition(":")[0] == kind for name in terms)


def _due(project: Wiring, what: str, term: TermTable, one: Found) -> Due:
    with project.database.reading() as tx:
        hold = versions.hold_on(tx, project, what, one.name)
    return Due(
        what=what,
        name=one.name,
        since=one.day.isoformat(),
        due=_ends(term, one.day).isoformat(),
        reason=term.reason,
        count=one.count,
        digest=one.digest,
        needs=one.needs,
        kept=hold or one.kept,
        is_held=bool(hold),
    )


def _ends(term: TermTable, day: datetime.date) -> datetime.date:
    """The first day on which something of that day is over its term: its last day is kept whole."""
    one = datetime.timedelta(days=1)
    if term.months is not None:
        return months_after(day, term.months) + one
    return day + datetime.timedelta(days=term.days or 0) + one


def _cut(term: TermTable, day: datetime.date) -> datetime.date:
    """The first day whose records are not yet over their term on a day."""
    # a month has at most 31 days, so what is older than that is over for sure
    found = day - datetime.timedelta(days=31 * term.months if term.months else term.days or 0)
    while _ends(term, found) <= day:
        found += datetime.timedelta(days=1)
    return found


def _until(project: Wiring, one: Due) -> datetime.date:
    term = project.config.privacy.retention[one.what]
    return _cut(term, today(project))


class Retention(Noun):
    """Terms of what a project keeps, by their verbs."""

    plan = plan
    apply = apply
