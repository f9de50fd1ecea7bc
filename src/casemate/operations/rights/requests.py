"""`casemate privacy request`: what people asked for, until when they must be answered, and how they
were.
"""

import datetime
from collections.abc import Callable

from casemate.core.errors import ConfigError, RefusedError
from casemate.core.text import clean
from casemate.core.types import Record, TrainedModel
from casemate.operations.acting import Acting, operation, reading
from casemate.operations.calendar import today
from casemate.operations.rights.affected import trace_all
from casemate.operations.rights.rectified import as_it_was
from casemate.operations.rights.register import REQUESTS, change_of
from casemate.operations.subject import identifier_of
from casemate.respond.requests import states, tables
from casemate.respond.requests.laws import Clock, clocks, own_words, terms_of
from casemate.respond.requests.states import Asked, Change, How, Kind, Law, What
from casemate.respond.tables import next_number
from casemate.stages.release.registry import Registered
from casemate.wiring import Wiring

MOST_WORDS = 2_000
"""Characters of a reason: a paragraph, which every reader of the log gets."""
WHO = "casemate"
STEPS: dict[What, str] = {
    "confirm": states.CONFIRMED,
    "extend": states.EXTENDED,
    "grant": states.GRANTED,
    "refuse": states.REFUSED,
    "defer": states.DEFERRED,
    "lift": states.LIFTED,
    "identify": states.IDENTIFIED,
}


class Line(Record, frozen=True, kw_only=True):
    """One thing that happened to a request."""

    entry: int
    """Of the log: `casemate audit prove`."""
    time: str
    who: str
    action: str
    change: Change


class ShownRequest(Record, frozen=True, kw_only=True):
    """A request with all that is known of it."""

    request: Asked
    clocks: list[Clock]
    holidays: int
    """Days beside weekends that were counted as not worked: `[privacy] holidays`."""
    lines: list[Line]


def clocks_of(project: Wiring, asked: Asked) -> list[Clock]:
    """Every term of a request."""
    return clocks(asked, project.config.privacy.days_off)


@operation("request:handle")
def begin(
    project: Wiring,
    subject: str | Callable[[], str],
    kind: Kind,
    *,
    law: Law = "gdpr",
    received: datetime.date | None = None,
    reason: str = "",
) -> ShownRequest:
    """Write down that somebody asked for something; the clocks of the law run from the day on
    which it came. Where the law sets none, the request is kept without.

    Args:
        project: whose.
        subject: the person's identifier, exactly as the table has it, or what asks for it; kept as
            pseudonym.
        kind: what they want.
        law: under which law.
        received: the day, in `[access] timezone`; default: today.
        reason: what else is to be known; name nobody: it stays in the log.

    Raises:
        AccessDenied: policy. ConfigError: the law has another word for it, or the day lies ahead.
            DataError: the identifier is empty or too long.
    """
    acting = begin.ask(project)
    if own := own_words(law, kind):
        raise ConfigError(f"{law} knows no {kind}", hint="there it is " + ", ".join(own))
    day = received or today(project)
    if day > today(project):
        raise ConfigError("the day lies ahead", hint="--received says when the request came")
    identifier = identifier_of(subject)
    pseudonym = project.identifiers.root().pseudonym(identifier)
    was: tuple[str, ...] = ()
    if kind in states.RECTIFYING:
        was = as_it_was(project, trace_all(project, pseudonym, with_log=False), day)
    change = change_of(
        project,
        text=words(reason),
        subject=pseudonym,
        kind=kind,
        law=law,
        received=day.isoformat(),
        versions=was,
    )
    with acting.transaction() as tx:
        number = next_number(tx, tables.REQUESTS.c.id)
        REQUESTS.written(project, tx, acting.uid, number, states.OPENED, change)
        if kind in states.ERASING and project.log.subjects.state(tx, pseudonym) == "live":
            # sealed under their own key: an erasure that is put off completes without anybody
            project.aliases.keep(tx, identifier, acting.uid, change.at)
    return shown(project, number)


def words(text: str) -> str:
    """What somebody says, as it is kept; ConfigError: it is too long."""
    text = clean(text.strip(), lines=True)
    if len(text) > MOST_WORDS:
        raise ConfigError(f"at most {MOST_WORDS} characters", hint="put the rest into a file")
    return text


@reading("request:read")
def listing(project: Wiring, state: str = "running") -> list[tuple[Asked, list[Clock]]]:
    """(request, its terms), newest first; AccessDenied: policy.

    Args:
        project: whose.
        state: one state, or `running`, or `all`.
    """
    column = tables.REQUESTS.c.state
    where = [] if state == "all" else [column == state]
    if state == "running":
        where = [column.not_in(states.OVER)]
    with project.database.reading() as tx:
        return [(one, clocks_of(project, one)) for one in tables.requests(tx, *where)]


@reading("request:read")
def show(project: Wiring, number: int) -> ShownRequest:
    """A request, once it was held against the log.

    Raises:
        AccessDenied: policy. ConfigError: there is no such request. VerificationError: the
            catalogue says something else of it than the log.
    """
    return shown(project, number)


def shown(project: Wiring, number: int) -> ShownRequest:
    """The same, without asking."""
    with project.database.reading() as tx:
        asked, entries = REQUESTS.history(project, tx, number)
    lines = [
        Line(
            entry=one.index,
            time=one.time,
            who=one.principal,
            action=one.action,
            change=REQUESTS.change_of(one.detail),
        )
        for one in entries
    ]
    return ShownRequest(
        request=asked,
        clocks=clocks_of(project, asked),
        holidays=len(project.config.privacy.days_off),
        lines=lines,
    )


@operation("request:handle", also=("keys:shred",))
def decide(
    project: Wiring,
    number: int,
    what: What,
    reason: str = "",
    until: datetime.date | None = None,
) -> ShownRequest:
    """Confirm that a request came, write down how it was checked who asks, grant or refuse it, take
    the longer time that the law gives, or lift a restriction or an objection: from the next run on
    the person's rows are taken again. Put an erasure off as long as a law wants the data kept.

    Args:
        project: whose.
        number: of the request.
        what: `confirm`, `identify`, `grant`, `refuse`, `extend`, `lift`, or `defer`, after which
            the erasure is carried out by itself.
        reason: why; a refusal, an extension and lifting need one, `defer` the law, and `identify`
            how it was checked. Name nobody: it stays in the log.
        until: of `defer`, the last day on which the data is kept.

    Raises:
        AccessDenied: policy. ConfigError: there is no such request. RefusedError: this cannot
            happen in its state, a reason is missing, it is too late to extend, or it was not
            checked who asks, and `[privacy] identity` wants that.
    """
    acting = decide.ask(project, request=number)
    if what not in STEPS:
        raise ConfigError(f"{what!r} is no decision", hint="one of " + ", ".join(STEPS))
    with project.database.reading() as tx:
        asked, _ = REQUESTS.history(project, tx, number)
    first = ""
    if what == "extend":
        longer = [one for one in terms_of(asked.law, asked.kind) if one.extended]
        if not longer:
            raise RefusedError(
                f"{asked.law} gives no longer time for {asked.kind}", hint="answer the request"
            )
        known = {one.id: one.first for one in clocks_of(project, asked)}
        first = min(known[one.id] for one in longer)
    day = "" if until is None else until.isoformat()
    if what == "defer":
        # who grants that keys are destroyed later, by nobody, must be let destroy them
        decide.ask(project, "subjects", also="keys:shred", kind="Key", unrecorded=True)
        if until is not None and until <= today(project):
            raise ConfigError("the day has passed", hint="--until says how long the data is kept")
        if asked.kind in states.ERASING:
            _require_kept_sealed(project, asked.subject)
    change = change_of(project, text=words(reason), first=first, by=day)
    return step(acting, number, STEPS[what], change)


def _require_kept_sealed(project: Wiring, pseudonym: str) -> None:
    """RefusedError: an erasure that is put off would not know later what to look for."""
    with project.database.reading() as tx:
        if project.aliases.identifier(tx, pseudonym) is not None:
            return
    raise RefusedError(
        "this person has no key under which their identifier could wait for it",
        hint="[data] subject and `casemate run` seal it; or extend the request instead",
    )


@operation("request:handle")
def decide_model(
    project: Wiring,
    number: int,
    how: How,
    model: str,
    *,
    by: datetime.date | None = None,
    reason: str = "",
) -> ShownRequest:
    """Say what becomes of a model that was made of rows that are erased, or that were wrong.

    Args:
        project: whose.
        number: of the request, an erasure or a rectification.
        how: `retrain`: without them, until a day, after which it is not promoted any more;
            `unlearn`: the same, of a model from which rows can be taken exactly, so that the next
            run is quick and equal to training anew; `keep`: for a reason, such as a small epsilon
            with an assessment; `withdraw`: it is not promoted any more at once.
        model: `NAME@VERSION`.
        by: until which day, of `retrain` and `unlearn`.
        reason: why.

    Raises:
        AccessDenied: policy. ConfigError: there is no such request or model. RefusedError: day or
            reason are missing, it is neither erasure nor rectification, or the model cannot be
            unlearnt exactly.
    """
    acting = decide_model.ask(project, request=number, model=model)
    known = project.registry.get(model)
    if known.reference != model:
        raise ConfigError("name the version too", hint=known.reference)
    if how == "unlearn":
        _require_unlearnable(project, known)
    day = "" if by is None else by.isoformat()
    change = change_of(project, text=words(reason), model=model, how=how, by=day)
    return step(acting, number, states.MODEL, change)


def _require_unlearnable(project: Wiring, known: Registered) -> None:
    """RefusedError: nothing but training anew takes rows out of this model."""
    model = project.engine.record(known.release.lineage.run, "train", TrainedModel)
    if model is None or model.unlearning is None:
        estimator = "" if model is None else f" ({model.estimator})"
        raise RefusedError(
            f"{known.reference}{estimator} cannot be unlearnt exactly",
            hint="decide retrain; casemate.estimators has forests that can be unlearnt",
        )


def step(acting: Acting, number: int, action: str, change: Change) -> ShownRequest:
    """A request after one change, which is written; RefusedError: it cannot happen, or is to be
    granted before it was checked who asks.
    """
    project = acting.project
    with acting.transaction() as tx:
        asked, _ = REQUESTS.history(project, tx, number)
        binds = action in (states.GRANTED, states.DEFERRED)
        if binds and project.config.privacy.identity and asked.identified is None:
            raise RefusedError(
                f"nobody wrote down how it was checked who sent request {number}",
                hint=f"casemate privacy request decide {number} identify --reason HOW",
            )
        REQUESTS.written(project, tx, acting.uid, asked, action, change)
    return shown(project, number)


def remind(project: Wiring) -> int:
    """Tell of terms that are about to run out, and of those that did, each once; how many."""
    with project.database.reading() as tx:
        running = tables.running(tx)
    count, day = 0, today(project)
    for one in running:
        for clock in clocks_of(project, one):
            count += _remind(project, one.id, clock, day)
    if count:
        project.log.publish()
    return count


def _remind(project: Wiring, number: int, clock: Clock, day: datetime.date) -> bool:
    left = clock.left(day)
    if clock.done or left > project.config.privacy.remind_days:
        return False
    late = left < 0
    # with an extension the same term has another day, of which people are told again
    mark = f"{clock.id}/{clock.due}"
    with project.database.transaction() as tx:
        asked, _ = REQUESTS.history(project, tx, number)
        if mark in (asked.overdue if late else asked.reminded) or asked.is_over:
            return False
        action = states.OVERDUE if late else states.REMINDED
        change = change_of(project, clock=mark)
        after, entry = REQUESTS.written(project, tx, WHO, asked, action, change)
        content = {
            "request": number,
            "kind": after.kind,
            "law": after.law,
            "term": clock.id,
            "what": clock.what,
            "due": clock.due,
            "entry": entry,
        }
        project.outbox.enqueue(
            tx,
            "request:overdue" if late else "request:due",
            f"request/{number}/{entry}",
            content,
        )
    return True
