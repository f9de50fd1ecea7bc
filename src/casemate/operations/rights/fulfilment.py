"""Doing what a person asked for: a copy of their data with what was made of it, erasure, or a
correction that is to be seen.
"""

import datetime
from collections.abc import Callable
from pathlib import Path

import msgspec

from casemate.core.errors import ConfigError, RefusedError
from casemate.core.types import Record
from casemate.operations.acting import operation
from casemate.operations.keys.erasure import Erased, erase
from casemate.operations.rights.affected import Affected, trace
from casemate.operations.rights.copies import Copied, copy_for
from casemate.operations.rights.rectified import corrected
from casemate.operations.rights.register import REQUESTS
from casemate.operations.rights.requests import ShownRequest, step, today, words
from casemate.respond.requests import states
from casemate.respond.requests.states import Asked, Change
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


@operation("request:handle")
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
            with it everything can be looked through.
        text: what was done, of every other kind. Name nobody: it stays in the log.
        to: a public key, as `casemate backup keygen` writes it, to which the copy is sealed: it
            never lies on disk in the clear.

    Raises:
        AccessDenied: policy, also where it does not let whoever acts read rows or destroy keys.
            ConfigError: folder, identifier or text are missing or not those of the request.
            RefusedError: it was not granted, models are undecided, the identifier can still be
            read after the erasure, or what was to be corrected is as it was.
    """
    acting = fulfil.ask(project, request=number)
    with project.database.reading() as tx:
        asked, _ = REQUESTS.history(project, tx, number)
    found = trace(project, asked.subject)
    now = project.clock.now().astimezone(datetime.UTC).isoformat(timespec="seconds")
    rows, stale = 0, tuple(one.model for one in found.models)
    if asked.kind in states.RECTIFYING:
        rows, stale = corrected(project, asked, found)
    change = Change(at=now, day=today(project).isoformat(), text=words(text), models=stale)
    states.applied(asked, number, states.FULFILLED, change)  # refused before anything is done
    erased, copied = None, Copied()
    if asked.kind in states.COPIES:
        if folder is None:
            raise ConfigError(f"{asked.kind} needs a new folder for the copy", hint="--out FOLDER")
        copied = copy_for(project, asked, found, Path(folder), to)
        rows = copied.rows
    elif asked.kind in states.ERASING:
        erased = _erased(project, asked, subject, was_shredded=found.key == "shredded")
        rows = found.rows
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
        erased=erased,
    )


def _erased(
    project: Wiring,
    asked: Asked,
    subject: str | Callable[[], str] | None,
    *,
    was_shredded: bool,
) -> Erased:
    if subject is None:
        raise ConfigError(
            f"{asked.kind} needs the person's identifier once more", hint="--subject REF"
        )
    identifier = (subject if isinstance(subject, str) else subject()).strip()
    if project.identifiers.root().pseudonym(identifier) != asked.subject:
        raise ConfigError(
            f"this is not whom request {asked.id} is about", hint="exactly as the table has it"
        )
    # by `keys shred`, or by a process that ended before it wrote that the request is fulfilled
    done = erase(project, identifier, look=was_shredded)
    if was_shredded and done.readable:  # what tables hold is emptied; else it says why it cannot
        done = erase(project, identifier)
    if done.readable:
        raise RefusedError(
            f"the key is destroyed, and the person can still be read in {len(done.readable)}"
            f" places: {done.readable[0].where}",
            hint="`casemate keys shred REF --look` names them; then fulfil again",
        )
    return done
