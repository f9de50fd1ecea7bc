"""Holds: placed at once, by people and playbooks; lifted by people."""

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from casemate.config.terms import KEPT
from casemate.core.errors import ConfigError, RefusedError
from casemate.operations.acting import Noun, operation, reading
from casemate.operations.reasons import reason_of
from casemate.operations.subject import identifier_of
from casemate.respond.holds import KINDS, WHAT, Hold, What
from casemate.wiring import Wiring

MOST_NAME = 200
"""Characters of a name: sources are called by their name and who speaks for them."""


@reading("hold:read")
def listing(project: Wiring) -> list[Hold]:
    """Every hold that stands, the oldest first; AccessDenied: policy."""
    return project.holds_kept.all()


@operation("hold:place")
def place(project: Wiring, what: What, of: str | Callable[[], str], reason: str) -> bool:
    """Keep something from happening until the hold is lifted; whether it is new.

    Args:
        project: whose.
        what: `releases`: nothing of the model is promoted; `answers`: gateways do not let it
            answer; `probabilities`: callers see the label alone; `teaching`: feedback of the source
            is held back; `deletion`: `gc` and `privacy retention` keep it; `erasure`: a person is
            not erased, under none of their identifiers.
        of: a model as `NAME` or `NAME@VERSION`; a source of feedback as `casemate feedback sources`
            names it; of `deletion` a run with its models and data, a model, a data set, or a kind
            of records as `[privacy.retention]` names it, such as `predictions`; of `erasure` a
            person's identifier, or what asks for it, kept as pseudonym.
        reason: why, for the record.

    Raises:
        AccessDenied: policy. ConfigError: there is no such hold, model or run, or no reason.
    """
    acting = place.ask(project, what=what, **_told(what, of))
    words = reason_of(reason, ConfigError)
    of = _named(project, what, of)
    require_known(project, what, of)
    with acting.transaction() as tx:
        is_new = project.holds_kept.place(tx, what, of, acting.uid, words)
        if is_new:
            acting.append(tx, "hold:placed", about(what, of), what=what, reason=words)
    return is_new


@operation("hold:lift")
def lift(project: Wiring, what: What, of: str | Callable[[], str], reason: str) -> None:
    """Let it happen again.

    Raises:
        AccessDenied: policy, and for every service. ConfigError: there is no such hold, or no
            reason.
    """
    acting = lift.ask(project, what=what, **_told(what, of))
    words = reason_of(reason, ConfigError)
    of = _named(project, what, of)
    with acting.transaction() as tx:
        project.holds_kept.lift(tx, what, of)
        acting.append(tx, "hold:lifted", about(what, of), what=what, reason=words)


def _told(what: What, of: str | Callable[[], str]) -> dict[str, Any]:
    """What a decision about it is recorded with: never a person's identifier."""
    return {} if what == "erasure" or not isinstance(of, str) else {"of": of[:200]}


def _named(project: Wiring, what: What, of: str | Callable[[], str]) -> str:
    """What a hold is kept under: of a person their pseudonym, which `hold list` shows."""
    if what != "erasure":
        return of if isinstance(of, str) else of()
    if isinstance(of, str) and is_pseudonym(of):
        return of
    return project.identifiers.root().pseudonym(identifier_of(of))


def is_pseudonym(text: str) -> bool:
    """Whether it looks like one."""
    return len(text) == 64 and not set(text) - set("0123456789abcdef")


def about(what: What, of: str) -> str:
    """What a hold is on, as the log names it."""
    kind = KINDS[what] if what != "deletion" or of[:8].isdigit() else "kept"
    return f'{kind.capitalize()}::"{of}"'


def require_none(
    project: Wiring, what: What, reference: str, tx: sa.Connection | None = None
) -> None:
    """RefusedError while a hold keeps `what` from happening with it."""
    found = project.holds_kept.over(what, reference, tx)
    if found is not None:
        raise RefusedError(
            f"a hold of {found.principal} keeps {what} of {found.of} since {found.since}:"
            f" {found.reason}",
            hint=f"see to its reason, then: casemate hold lift {what} {found.of} --reason TEXT",
        )


def require_known(project: Wiring, what: What, of: str) -> None:
    """ConfigError where there is no such hold, model or run."""
    if what not in WHAT:
        raise ConfigError(f"nothing called {what!r} can be held", hint=f"one of {', '.join(WHAT)}")
    if not of.strip() or len(of) > MOST_NAME or not of.isprintable():
        raise ConfigError(f"{of[:80]!r} is no name", hint=f"a {KINDS[what]}")
    if KINDS[what] == "model":
        known = project.registry.list()
        if of not in {one.reference for one in known} | {one.release.model for one in known}:
            raise ConfigError(f"there is no model {of!r}", hint="casemate model list")
    if KINDS[what] == "source" and of not in {
        *project.config.feedback.sources,
        *(one.who for one in project.feedback_kept.all()),
    }:
        raise ConfigError(f"{of[:80]!r} is no source of feedback", hint="casemate feedback sources")
    if what == "deletion" and of not in KEPT and not _is_kept(project, of):
        raise ConfigError(
            f"there is no run, model, data set or kind of records {of!r}", hint="casemate runs"
        )


def _is_kept(project: Wiring, of: str) -> bool:
    """Whether it is a run, or a model or data set with or without its version."""
    if of in {run.id for run in project.engine.runs()}:
        return True
    name, _, version = of.partition("@")
    if any(of in (one.reference, one.release.model) for one in project.registry.list()):
        return True
    sealed = project.state / "datasets" / name / version
    return "/" not in of and not of.startswith(".") and sealed.is_dir()


class Holds(Noun):
    """What is kept from happening: list, place, lift."""

    list = listing
    place = place
    lift = lift
