"""Erasing a person who asked for it: under every identifier of theirs, all of it or nothing, and
closed only once it was seen to be done.

Cells that no key covers are emptied first and recorded predictions about the person taken out,
which may be done twice; everything is looked through;
then all keys go, the register of erasures gets the person and the request its entry in one
transaction. Whoever dies before it leaves a request that is carried out again, and whoever dies
after it one that is only to be closed. It is closed, with a certificate, once each model that was
made of their rows is withdrawn, or trained without them, or kept under differential privacy.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
import sqlalchemy as sa

from casemate.controls.audit.people import Taken
from casemate.core.errors import ConfigError, Error, RefusedError
from casemate.core.files import alone
from casemate.core.types import Record
from casemate.operations.calendar import today
from casemate.operations.keys.erasure import (
    Erased,
    beyond,
    require_certain,
    require_current,
)
from casemate.operations.keys.place import Place
from casemate.operations.keys.search import Search, Version
from casemate.operations.persons import everybody, hold_over, kept_by, places_of
from casemate.operations.rights import models
from casemate.operations.rights.affected import Affected, trace
from casemate.operations.rights.kept import digest_of
from casemate.operations.rights.register import REQUESTS, change_of
from casemate.operations.rights.requests import WHO
from casemate.respond.requests import states, tables
from casemate.respond.requests.states import Asked, Change, Closing
from casemate.wiring import Wiring

NOTHING = "nothing is held of this person"


class Outcome(Record, frozen=True, kw_only=True):
    """What an attempt to erase came to."""

    affected: Affected
    erased: Erased | None
    """None: the keys were destroyed before."""
    waiting: list[str]
    """What keeps it from being closed; empty: it is."""


@dataclass
class _Part:
    """One identifier of the person, and where it is."""

    identifier: str
    search: Search
    key: str
    versions: list[Version]
    told: int
    """Predictions about them that are recorded, or were taken out for this request."""
    readable: list[Place] = field(default_factory=list)

    @property
    def rows(self) -> int:
        return sum(one.rows or sum((one.cells | one.unsure).values()) for one in self.versions)

    @property
    def is_held(self) -> bool:
        return self.key != "unknown" or self.rows > 0 or self.told > 0


def carry_out(
    project: Wiring, who: str, number: int, given: Sequence[str], text: str = ""
) -> Outcome:
    """Erase whom a request is about, as far as that is not done, and close the request if nothing
    is left to do.

    Args:
        project: whose.
        who: acts, as the log names them.
        number: of the request.
        given: identifiers of theirs; those that are kept sealed need not be given.
        text: what else is to be said; name nobody.

    Raises:
        ConfigError: an identifier is missing. RefusedError: a hold or a law keeps the person, the
            request was not granted, models are undecided, or the person can still be read.
            BusyError: a run goes on.
    """
    with project.database.reading() as tx:
        asked, _ = REQUESTS.history(project, tx, number)
    people = everybody(project, asked.subject)
    found = [trace(project, one, with_log=False) for one in people]
    erased = None
    if asked.state != "erased":
        _require_free(project, who, asked, people)
        change = change_of(project, text=text, models=_models(found))
        states.applied(asked, number, states.ERASED, change)  # refused before anything is done
        identifiers = _identifiers(project, people, given)
        with alone(project.state / "lock", "erasing a person"):
            erased = _erased(project, who, asked, identifiers, change)
    return _closed(project, who, number, found, erased)


def _models(found: Sequence[Affected]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one.model for each in found for one in each.models))


def _require_free(project: Wiring, who: str, asked: Asked, people: list[str]) -> None:
    """RefusedError, on record, while a hold or a law keeps the person."""
    day = today(project).isoformat()
    if asked.deferred and day <= asked.deferred:
        raise RefusedError(
            f"request {asked.id}: the data is kept until {asked.deferred} because of {asked.floor}",
            hint="`casemate watch` completes it afterwards, or request fulfil --due",
        )
    held = hold_over(
        project, people, [place for one in people for place in places_of(project, one)]
    )
    if held is None or asked.is_over:
        return
    said = f"{held.what} since {held.since}: {held.reason}"
    if asked.held != said:
        with project.database.transaction() as tx:
            REQUESTS.written(project, tx, who, asked, states.HELD, change_of(project, text=said))
        project.log.publish()
    raise kept_by(held)


def _identifiers(project: Wiring, people: list[str], given: Sequence[str]) -> list[str]:
    """Every identifier of a person, those that were given and those that are kept sealed.

    Raises:
        ConfigError: one is neither.
    """
    root = project.identifiers.root()
    known = {root.pseudonym(one): one for one in given}
    if unknown := set(known) - set(people):
        raise ConfigError(
            f"{len(unknown)} of the identifiers are not known to be this person's",
            hint="casemate privacy alias SUBJECT OTHER",
        )
    with project.database.reading() as tx:
        for one in people:
            if one not in known and (kept := project.aliases.identifier(tx, one)) is not None:
                known[one] = kept
    if missing := [one for one in people if one not in known]:
        raise ConfigError(
            f"{len(missing)} identifiers of this person are needed once more",
            hint="casemate privacy erase SUBJECT --alias OTHER",
        )
    return [known[one] for one in people]


def _erased(
    project: Wiring, who: str, asked: Asked, identifiers: list[str], change: Change
) -> Erased:
    require_current(project)
    with project.database.reading() as tx:
        began = REQUESTS.history(project, tx, asked.id)[1][0].index
    parts = []
    for identifier in identifiers:
        search = Search(project, identifier)
        mine = [search.pseudonym]
        told = project.told.count(mine) + project.told.taken_since(mine, began).predictions
        parts.append(_Part(identifier, search, search.state(), search.versions(), told))
    for part in parts:
        require_certain(part.versions, blank=False)
    _require_not_misspelt(asked, parts, change.text)
    theirs = [part.search.pseudonym for part in parts]
    where = [place for one in theirs for place in places_of(project, one)]
    # looking takes minutes, in which somebody may have placed a hold
    _require_unheld(project, theirs, where)
    project.told.take_out(who, theirs)
    for part in parts:
        for version in part.versions:
            part.search.empty(version)
    for part in parts:  # what the key does not take with it
        part.readable = part.search.left(part.search.versions(), look=True)
    change = _told(change, parts, project.told.taken_since(theirs, began))
    is_clean = not any(part.readable for part in parts)
    with project.database.transaction() as tx:
        _require_unheld(project, theirs, where, tx)
        for part in parts:
            _shred(project, tx, who, part)
        if any(part.is_held for part in parts):
            barred = _barred(project, asked)
            why = f"request {asked.id}"
            # also of somebody erased before: a backup may have what was told of them since
            anew = any(part.told for part in parts)
            project.erasures.add(tx, theirs, "erased", why, barred, anew=anew)
        while (late := project.told.take_some_out(tx, who, theirs)).predictions:  # told meanwhile
            change = msgspec.structs.replace(
                change,
                predictions=change.predictions + late.predictions,
                shared=change.shared + late.shared,
            )
        if is_clean:
            REQUESTS.written(project, tx, who, asked, states.ERASED, change)
            project.aliases.forget(tx, theirs)
    project.log.publish()
    project.erasures.save()
    done = _summed(project, parts, change)
    if not is_clean:
        before = all(part.key == "shredded" for part in parts if part.is_held)
        raise RefusedError(
            f"the key {'was shredded before' if before else 'is destroyed'}, and the person can"
            f" still be read in {len(done.readable)} places: {done.readable[0].where}",
            hint="`casemate keys shred REF --look` names them; then fulfil again",
        )
    return done


def _require_not_misspelt(asked: Asked, parts: list[_Part], text: str) -> None:
    """RefusedError: nothing is held under an identifier, and something is under one that is written
    almost like it; unless somebody says that this is another person.
    """
    lost = [one for one in parts if not one.is_held]
    if not text and any(one.search.is_near(one.versions) for one in lost):
        raise RefusedError(
            "nothing is held under this identifier, and one that differs in leading zeros, case or"
            " white space only is sealed; nothing was erased",
            hint=(
                "give it to the last character as the table has it; if that is somebody else:"
                f" casemate privacy request fulfil {asked.id} --subject REF --reason TEXT"
            ),
        )


def _require_unheld(
    project: Wiring, people: list[str], where: list[str], tx: sa.Connection | None = None
) -> None:
    """RefusedError: a hold was placed while the person was looked for, or keeps somebody else about
    whom the same predictions are.
    """
    if (held := hold_over(project, people, where, tx)) is not None:
        raise kept_by(held)
    if hold_over(project, project.told.others(people, tx), (), tx) is not None:
        raise RefusedError(
            "a recorded prediction about this person is about somebody else too, whom a hold keeps",
            hint="casemate hold list",
        )


def _told(change: Change, parts: list[_Part], taken: Taken) -> Change:
    looked: dict[str, int] = {}
    for part in parts:
        looked |= {name: max(n, looked.get(name, 0)) for name, n in part.search.looked.items()}
    return msgspec.structs.replace(
        change,
        rows=sum(part.rows for part in parts),
        keys=sum(part.key != "unknown" for part in parts),
        identifiers=len(parts),
        predictions=taken.predictions,
        shared=taken.shared,
        looked=looked,
    )


def _shred(project: Wiring, tx: sa.Connection, who: str, part: _Part) -> None:
    """Destroy the key of one identifier, and say what was done, within a transaction."""
    about = f'Subject::"{part.search.pseudonym}"'
    if part.key == "live":
        project.log.subjects.shred(tx, part.identifier)
        project.log.append(tx, who, "subject:shred", about, "done", {})
    emptied = {
        one.name: count
        for one in part.versions
        if (count := sum((one.cells | one.unsure).values()))
    }
    detail = {
        "looked": part.search.looked,
        "emptied": emptied,
        "readable": len(part.readable),
    }
    outcome = "failed" if part.readable else "done"
    project.log.append(tx, who, "subject:erased", about, outcome, detail)


def _barred(project: Wiring, asked: Asked) -> dict[str, str]:
    """Models that must not come back with an old backup: digest -> the last day on which each may
    be promoted, or "".
    """
    known = {one.reference: one for one in project.registry.list()}
    return {
        digest_of(known[name]): decided.by
        for name, decided in asked.models.items()
        if decided.how != "keep" and name in known
    }


def _summed(project: Wiring, parts: list[_Part], change: Change) -> Erased:
    emptied: dict[str, int] = {}
    sealed: dict[str, int] = {}
    for part in parts:
        for one in part.versions:
            if count := sum((one.cells | one.unsure).values()):
                emptied[one.name] = emptied.get(one.name, 0) + count
            if one.rows and part.key == "live":
                sealed[one.name] = sealed.get(one.name, 0) + one.rows
    is_short = any(part.search.needle is None for part in parts)
    return Erased(
        subject=parts[0].search.pseudonym,
        key=any(part.key == "live" for part in parts),
        looked=change.looked,
        sealed=sealed,
        emptied=emptied,
        readable=[place for part in parts for place in part.readable],
        beyond=beyond(project, emptied=bool(emptied), short=is_short),
    )


def _closed(
    project: Wiring, who: str, number: int, found: list[Affected], erased: Erased | None
) -> Outcome:
    """Close a request if nothing is left to do; else say what is."""
    project.erasures.save()  # whoever carried it out may have ended before
    with project.database.reading() as tx:
        asked, _ = REQUESTS.history(project, tx, number)
    outcomes, waiting = models.outcomes(project, asked, found)
    if not waiting:
        unknown = {f"{gap.what}: {gap.reason}" for each in found for gap in each.unknown}
        closing = Closing(
            held=bool(asked.keys or asked.rows or asked.predictions),
            identifiers=asked.identifiers,
            keys=asked.keys,
            rows=asked.rows,
            predictions=asked.predictions,
            shared=asked.shared,
            looked=asked.looked,
            looked_at=asked.erased or "",
            not_known=tuple(sorted(unknown))[: models.MOST],
            models=outcomes,
        )
        text = "" if closing.held or closing.not_known else NOTHING
        change = change_of(
            project, text=text, models=_models(found), rows=asked.rows, closing=closing
        )
        with project.database.transaction() as tx:
            asked, _ = REQUESTS.history(project, tx, number)
            REQUESTS.written(project, tx, who, asked, states.FULFILLED, change)
        project.log.publish()
    return Outcome(affected=found[0], erased=erased, waiting=waiting)


def complete(project: Wiring, who: str = WHO) -> list[int]:
    """Carry out what was put off and is due now, and close what waited for models; the requests
    that went on. What still keeps one stays with it.
    """
    with project.database.reading() as tx:
        running = [one for one in tables.running(tx) if one.kind in states.ERASING]
    day, went_on = today(project).isoformat(), []
    for asked in running:
        is_due = asked.state == "granted" and asked.unattended and day > asked.deferred
        if not (is_due or asked.state == "erased"):
            continue
        try:
            outcome = carry_out(project, who, asked.id, [])
        except Error:
            continue
        if outcome.erased is not None or not outcome.waiting:
            went_on.append(asked.id)
    return went_on
