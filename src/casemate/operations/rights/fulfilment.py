"""Doing what a person asked for: a copy of their data with what was made of it, erasure, or a
correction that is to be seen.
"""

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.csv as pacsv

from casemate.core.errors import ConfigError, RefusedError
from casemate.core.files import whole_folder
from casemate.core.types import Record
from casemate.operations.acting import operation
from casemate.operations.keys.erasure import Erased, erase
from casemate.operations.rights.affected import Affected, trace
from casemate.operations.rights.personrows import newest_of, rows_of
from casemate.operations.rights.rectified import corrected
from casemate.operations.rights.register import REQUESTS
from casemate.operations.rights.requests import ShownRequest, step, today, words
from casemate.respond.requests import states
from casemate.respond.requests.states import Asked, Change
from casemate.wiring import Wiring

FORM = "casemate-copy-1"
NOT_IN_IT = (
    "predictions: a recorded answer does not say whom it was about; its caller has its number",
    "log lines, backups, and files outside of casemate",
    "mentions of the person in other people's rows: `casemate keys shred REF --look` finds them",
)


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
    erased: Erased | None = None


@operation("request:handle")
def fulfil(
    project: Wiring,
    number: int,
    *,
    folder: Path | str | None = None,
    subject: str | Callable[[], str] | None = None,
    text: str = "",
) -> Fulfilled:
    """Do what was granted: write a copy, erase, or say what was done.

    Args:
        project: whose.
        number: of the request.
        folder: a new one for the copy, of access, portability and know; nobody else may read it.
        subject: the person's identifier, or what asks for it: of erasure and delete, because only
            with it everything can be looked through.
        text: what was done, of every other kind. Name nobody: it stays in the log.

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
    erased = None
    withheld: list[str] = []
    fewer: dict[str, int] = {}
    if asked.kind in states.COPIES:
        if folder is None:
            raise ConfigError(f"{asked.kind} needs a new folder for the copy", hint="--out FOLDER")
        rows, withheld, fewer = _copy(project, asked, found, Path(folder))
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
        withheld=withheld,
        withheld_rows=fewer,
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


def _copy(
    project: Wiring, asked: Asked, found: Affected, folder: Path
) -> tuple[int, list[str], dict[str, int]]:
    """Write the copy, all of it or nothing; (rows, columns that policy withheld, rows that it
    withheld by version).
    """
    if folder.exists():
        raise ConfigError(f"{folder} exists already", hint="name a new folder")
    with whole_folder(folder.absolute(), 0o755) as draft:
        theirs = {f"{one.dataset}@{one.version}": one.rows for one in found.versions}
        rows, withheld, fewer, versions = 0, set[str](), dict[str, int](), []
        for name, dataset in newest_of(project, found).items():
            table, hidden = rows_of(dataset, asked.subject)
            rows, withheld = rows + table.num_rows, withheld | hidden
            if missing := theirs[dataset.reference] - table.num_rows:
                fewer[dataset.reference] = missing
            _table(draft, name, table)
            versions.append({"version": dataset.reference, "rows": table.num_rows})
        about = _about(project, asked, found, versions)
        about |= {"withheld_columns": sorted(withheld), "withheld_rows": fewer}
        _write(draft / "about.json", about)
    return rows, sorted(withheld), fewer


def _table(folder: Path, name: str, table: pa.Table) -> None:
    schema = {field.name: str(field.type) for field in table.schema}
    rows = {"form": FORM, "dataset": name, "schema": schema, "rows": table.to_pylist()}
    _write(folder / f"{name}.json", rows)
    sink = pa.BufferOutputStream()
    pacsv.write_csv(table, sink)
    _write(folder / f"{name}.csv", sink.getvalue().to_pybytes())


def _write(path: Path, content: Any) -> None:
    if not isinstance(content, bytes):
        content = msgspec.json.format(msgspec.json.encode(content, enc_hook=str)) + b"\n"
    path.touch(mode=0o600)
    path.write_bytes(content)


def _about(
    project: Wiring,
    asked: Asked,
    found: Affected,
    versions: list[dict[str, Any]],
) -> dict[str, Any]:
    """What a person is to know of their data beside the rows, as far as casemate knows it."""
    config = project.config
    purpose = config.project.purpose
    basis = config.privacy.basis.get(purpose)
    return {
        "form": FORM,
        "request": asked.id,
        "kind": asked.kind,
        "law": asked.law,
        "received": asked.received,
        "project": config.project.name,
        "purpose": purpose,
        "basis": None if basis is None else basis.legal,
        "copied": versions,
        "every_version": found.versions,
        "models": found.models,
        "recipients": _recipients(project, found),
        "consent": found.consent,
        "not_known": found.unknown,
        "not_in_it": NOT_IN_IT,
    }


def _recipients(project: Wiring, found: Affected) -> list[dict[str, str]]:
    """Who got a model that was made of the rows; nobody gets rows."""
    indexes = sorted({index for one in found.models for index in one.exports})
    with project.database.reading() as tx:
        entries = project.log.at(tx, indexes)
    return [
        {"what": one.resource, "time": one.time, "by": one.principal, "entry": str(one.index)}
        for one in entries
    ]
