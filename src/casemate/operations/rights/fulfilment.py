"""Doing what a person asked for: a copy of their data with what was made of it, erasure, or a
correction that is to be seen.
"""

from collections.abc import Callable
from pathlib import Path

import msgspec

from casemate.core.errors import ConfigError
from casemate.core.types import Record
from casemate.operations.acting import Acting, operation
from casemate.operations.keys.erasure import Erased
from casemate.operations.persons import everybody
from casemate.operations.rights import erasing
from casemate.operations.rights.affected import Affected, trace_all
from casemate.operations.rights.copies import Copied, copy_for
from casemate.operations.rights.rectified import corrected
from casemate.operations.rights.register import REQUESTS, change_of
from casemate.operations.rights.requests import ShownRequest, shown, step, words
from casemate.respond.requests import states
from casemate.respond.requests.states import Asked
from casemate.wiring import Wiring


class Fulfilled(Record, frozen=True, kw_only=True):
    """What was done."""

    request: ShownRequest
    affected: Affected
    rows: int
    """Rows that are in the copy, that were erased, or as which they are kept after a correction."""
    withheld: list[str]
    """Columns that policy kept out of the copy."""
    withheld_rows: dict[str, int] = {}
    """Version -> rows of theirs that policy kept out of the copy."""
    sealed: str = ""
    """Fingerprint of the key that the copy is sealed to; empty: it lies open."""
    erased: Erased | None = None
    waiting: list[str] = []
    """Of an erasure that was carried out: what keeps it from being closed."""


@operation("request:handle", also=("keys:shred",))
def fulfil(
    project: Wiring,
    number: int,
    *,
    folder: Path | str | None = None,
    subject: str | Callable[[], str] | None = None,
    text: str = "",
    to: str = "",
) -> Fulfilled:
    """Do what was granted: write a copy, erase, or say what was done.

    Args:
        project: whose.
        number: of the request.
        folder: a new one for the copy, of access, portability and know; nobody else may read it.
            With `to`, a new file.
        subject: the person's identifier, or what asks for it: of erasure and delete, because only
            with it everything can be looked through. Other identifiers of theirs are those that
            `privacy alias` was told.
        text: what was done, of every other kind. Name nobody: it stays in the log.
        to: a public key, as `casemate backup keygen` writes it, to which the copy is sealed: it
            never lies on disk in the clear.

    Raises:
        AccessDenied: policy, also where it does not let whoever acts read rows or destroy keys.
            ConfigError: folder, identifier or text are missing or not those of the request.
            RefusedError: it was not granted, models are undecided, a hold or a law keeps the
            person, the identifier can still be read after the erasure, or what was to be corrected
            is as it was.
    """
    acting = fulfil.ask(project, request=number)
    with project.database.reading() as tx:
        asked, _ = REQUESTS.history(project, tx, number)
    if asked.kind in states.ERASING and not asked.is_over:
        return _erasure(acting, asked, subject, text)
    found = trace_all(project, asked.subject)
    rows, stale = 0, tuple(one.model for one in found.models)
    if asked.kind in states.RECTIFYING:
        rows, stale = corrected(project, asked, found)
    change = change_of(project, text=words(text), models=stale)
    states.applied(asked, number, states.FULFILLED, change)  # refused before anything is done
    copied = Copied()
    if asked.kind in states.COPIES:
        if folder is None:
            raise ConfigError(f"{asked.kind} needs a new folder for the copy", hint="--out FOLDER")
        copied = copy_for(project, asked, found, Path(folder), to)
        rows = copied.rows
    elif not change.text:
        raise ConfigError("say what was done", hint="--reason TEXT")
    after = step(acting, number, states.FULFILLED, msgspec.structs.replace(change, rows=rows))
    return Fulfilled(
        request=after,
        affected=found,
        rows=rows,
        withheld=copied.withheld,
        withheld_rows=copied.withheld_rows,
        sealed=copied.sealed,
    )


def _named(project: Wiring, asked: Asked, subject: str | Callable[[], str] | None) -> str:
    """The identifier of whom an erasure is about, given once more by whoever carries it out."""
    if subject is None:
        raise ConfigError(
            f"{asked.kind} needs the person's identifier once more", hint="--subject REF"
        )
    identifier = (subject if isinstance(subject, str) else subject()).strip()
    if project.identifiers.root().pseudonym(identifier) not in everybody(project, asked.subject):
        raise ConfigError(
            f"this is not whom request {asked.id} is about", hint="exactly as the table has it"
        )
    return identifier


def _erasure(
    acting: Acting, asked: Asked, subject: str | Callable[[], str] | None, text: str
) -> Fulfilled:
    """Erase, or close what was erased before."""
    project = acting.project
    given = []
    if asked.state != "erased":
        fulfil.ask(project, "subjects", also="keys:shred", kind="Key", unrecorded=True)
        given = [_named(project, asked, subject)]
    done = erasing.carry_out(project, acting.uid, asked.id, given, words(text))
    found = shown(project, asked.id)
    return Fulfilled(
        request=found,
        affected=done.affected,
        rows=found.request.rows,
        withheld=[],
        erased=done.erased,
        waiting=done.waiting,
    )


@operation("request:handle", also=("keys:shred",))
def fulfil_due(project: Wiring) -> list[int]:
    """Carry out erasures that were put off and are due now, and close those whose models are done;
    the requests that went on.

    Raises:
        AccessDenied: policy.
    """
    acting = fulfil_due.ask(project)
    fulfil_due.ask(project, "subjects", also="keys:shred", kind="Key", unrecorded=True)
    return erasing.complete(project, acting.uid)
