"""`casemate privacy erase`: a person's erasure from the request to its certificate, as one verb."""

import datetime
from collections.abc import Callable, Sequence
from typing import Literal

from casemate.core.types import Record, TrainedModel
from casemate.operations import persons
from casemate.operations.acting import Acting, operation
from casemate.operations.calendar import today
from casemate.operations.keys.erasure import Erased
from casemate.operations.rights import erasing, requests
from casemate.operations.rights.affected import Affected, Made, trace
from casemate.operations.rights.register import change_of
from casemate.operations.rights.requests import ShownRequest, shown, step, words
from casemate.operations.subject import identifier_of
from casemate.respond.requests import states, tables
from casemate.respond.requests.states import Asked, Law
from casemate.wiring import Wiring

Models = Literal["retrain", "unlearn", "withdraw"]


class ErasedPerson(Record, frozen=True, kw_only=True):
    """What became of it."""

    request: ShownRequest
    affected: Affected
    erased: Erased | None
    """None: it was carried out before."""
    waiting: list[str]
    """What keeps it from being closed; empty: it is closed."""


@operation("request:handle", also=("keys:shred",))
def erase(
    project: Wiring,
    subject: str | Callable[[], str],
    *,
    aliases: Sequence[str | Callable[[], str]] = (),
    law: Law = "gdpr",
    received: datetime.date | None = None,
    models: Models = "retrain",
    until: datetime.date | None = None,
    reason: str = "",
) -> ErasedPerson:
    """Erase a person: take a request up or go on with the one that there is, grant it, decide about
    models that nothing is decided about, carry it out and close it, as far as nothing keeps it. The
    same words again go on where it stopped, and change nothing once it is closed.

    Args:
        project: whose.
        subject: the person's identifier, exactly as the table has it, or what asks for it.
        aliases: other identifiers of the same person; they are kept as that.
        law: under which law they asked.
        received: the day on which they did; default: today.
        models: what becomes of models that were made of their rows and are not decided about:
            `retrain` within `[privacy] retrain_days`; `unlearn` within the same, where the
            estimator can, else `retrain`; or `withdraw`.
        until: the last day on which a law wants the data kept; then it is carried out by itself.
        reason: which law that is, or what else is to be known; name nobody: it stays in the log.

    Raises:
        AccessDenied: policy. DataError: an identifier is empty or too long. RefusedError: a hold
            keeps them, or they can still be read after their key is destroyed; the request stays
            granted. BusyError: a run goes on. ConfigError: `until` has passed.
    """
    acting = erase.ask(project)
    erase.ask(project, "subjects", also="keys:shred", kind="Key", unrecorded=True)
    given = list(dict.fromkeys(identifier_of(one) for one in (subject, *aliases)))
    identifier = given[0]
    root = project.identifiers.root()
    pseudonym = root.pseudonym(identifier)
    asked = _running(project, pseudonym)
    if asked is None:
        others = [root.pseudonym(one) for one in given[1:]]
        closed = _closed(project, pseudonym, others)
        if closed is not None:
            return closed
        asked = requests.begin(
            project, identifier, _kind(law), law=law, received=received, reason=reason
        ).request
    for other in given[1:]:
        persons.alias(project, identifier, other)
    asked = _granted(acting, asked, until, reason)
    _decided(acting, asked, models)
    if asked.state == "granted" and asked.deferred >= today(project).isoformat():
        return ErasedPerson(
            request=shown(project, asked.id),
            affected=trace(project, pseudonym),
            erased=None,
            waiting=[f"the data is kept until {asked.deferred} because of {asked.floor}"],
        )
    done = erasing.carry_out(project, acting.uid, asked.id, given)
    return ErasedPerson(
        request=shown(project, asked.id),
        affected=done.affected,
        erased=done.erased,
        waiting=done.waiting,
    )


def _kind(law: Law) -> Literal["erasure", "delete"]:
    return "delete" if law == "ccpa" else "erasure"


def _of(project: Wiring, pseudonym: str) -> list[Asked]:
    """Erasures that one person asked for, the newest first."""
    with project.database.reading() as tx:
        people = project.aliases.of(tx, pseudonym)
        return tables.requests(
            tx,
            tables.REQUESTS.c.subject.in_(people),
            tables.REQUESTS.c.kind.in_(states.ERASING),
        )


def _running(project: Wiring, pseudonym: str) -> Asked | None:
    """The erasure that is not over."""
    return next((one for one in _of(project, pseudonym) if not one.is_over), None)


def _closed(project: Wiring, pseudonym: str, others: Sequence[str]) -> ErasedPerson | None:
    """What became of an erasure that was closed, if nothing came back since and no other identifier
    of theirs was left out of it.
    """
    done = next((one for one in _of(project, pseudonym) if one.state == "fulfilled"), None)
    force = project.erasures.erased()
    if done is None or not all(force.has(one) for one in (pseudonym, *others)):
        return None
    with project.database.reading() as tx:
        if any(project.log.subjects.state(tx, one) == "live" for one in (pseudonym, *others)):
            return None
        if project.told.count((pseudonym, *others), tx):
            return None  # told since
    return ErasedPerson(
        request=shown(project, done.id),
        affected=trace(project, pseudonym),
        erased=None,
        waiting=[],
    )


def _granted(acting: Acting, asked: Asked, until: datetime.date | None, reason: str) -> Asked:
    if until is not None and asked.state in ("open", "granted"):
        return requests.decide(acting.project, asked.id, "defer", reason, until).request
    if asked.state == "open":
        change = change_of(acting.project, text=words(reason), unattended=True)
        return step(acting, asked.id, states.GRANTED, change).request
    return asked


def _decided(acting: Acting, asked: Asked, how: Models) -> None:
    """Decide about every model that nothing is decided about."""
    project = acting.project
    if asked.state == "erased":
        return
    by = today(project) + datetime.timedelta(days=project.config.privacy.retrain_days)
    for one in persons.everybody(project, asked.subject):
        for model in trace(project, one, with_log=False).models:
            with project.database.reading() as tx:
                known = tables.request(tx, asked.id).models
            if model.model in known:
                continue
            day = "" if how == "withdraw" else by.isoformat()
            one_how = "retrain" if how == "unlearn" and not _can_unlearn(project, model) else how
            change = change_of(project, model=model.model, how=one_how, by=day)
            step(acting, asked.id, states.MODEL, change)


def _can_unlearn(project: Wiring, made: Made) -> bool:
    """Whether rows can be taken out of a model exactly."""
    trained = project.engine.record(made.run, "train", TrainedModel)
    return trained is not None and trained.unlearning is not None
