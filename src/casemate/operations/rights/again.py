"""Erasures carried out again, in a project that was restored from before them.

Nobody is needed for it who knows the people: the register says of each pseudonym in the catalogue
whether its person was erased, and so of each cell of older versions that holds an identifier under
a column's key only.
"""

import datetime
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from casemate.controls.keys import tables
from casemate.controls.keys.identifiers import TYPE, classes_of
from casemate.controls.keys.manifests import MANIFEST
from casemate.controls.keys.subjects import ROOT, SUBJECTS, Root
from casemate.controls.privacy.erasures import Erased, Erasure
from casemate.core.errors import BackendError, VerificationError
from casemate.core.types import Record, SealedDataset
from casemate.stages.data import schema as schemas
from casemate.wiring import Wiring

SUFFIX = ".erased"
"""Of the register beside a backup."""


class Again(Record, frozen=True, kw_only=True):
    """What was carried out again."""

    records: int
    """Of the register that the catalogue did not have."""
    people: int
    """Whose keys had come back, or would have."""
    cells: int
    """That were emptied because no key covers them."""
    predictions: int = 0
    """About these people that were taken out."""
    newest: str
    """Time of the newest record; empty: the register is empty."""


def erased_of(target: Path) -> Path:
    """The file beside a backup that holds the register of erasures."""
    return target.with_name(target.name + SUFFIX)


def registers_beside(project: Wiring, backup: Path) -> list[Erasure]:
    """Records of all registers of this project in a backup's folder, also of newer backups.

    Raises:
        VerificationError: one of this project was changed.
    """
    found: list[Erasure] = []
    for path in sorted(backup.absolute().parent.glob(f"*{SUFFIX}")):
        if path.is_file() and _begins_with(path, project.config.project.id):
            found += project.erasures.opened(path)
    return found


def _begins_with(path: Path, project: str) -> bool:
    """Whether a register names the project, which it does before everything long."""
    with path.open("rb") as file:
        return project.encode() in file.read(1000)


def carry_out(project: Wiring, who: str, more: Sequence[Erasure] = ()) -> Again:
    """Carry out again what the register says and the catalogue does not know; the same twice
    changes nothing.

    Args:
        project: whose.
        who: acts, as the log names them.
        more: records from elsewhere.

    Raises:
        VerificationError: the register, a version or the catalogue was changed.
    """
    erasures = project.erasures
    records = [*erasures.beside(), *more]
    known = [*records, *erasures.rows()]
    everybody = {one.digest for one in known if one.what == "erased"}
    cells = _emptied(project, Erased(erasures.key, frozenset(everybody)))
    predictions = _taken_out(project, who, known)
    with project.database.transaction() as tx:
        new = erasures.take(tx, records)
        people = _destroyed(project, tx, who, everybody)
        if new or people or cells or predictions:
            detail = {"records": new, "people": people, "cells": cells}
            if predictions:
                detail["predictions"] = predictions
            about = 'Project::"erasures"'
            project.log.append(tx, who, "erasure:repeated", about, "done", detail)
    project.log.publish()
    erasures.save(records)
    newest = max((one.time for one in erasures.all()), default="")
    return Again(records=new, people=people, cells=cells, predictions=predictions, newest=newest)


def catch_up(project: Wiring, who: str = "casemate") -> Again | None:
    """The same where the catalogue was put back by hand; None: it knows everything."""
    return carry_out(project, who) if project.erasures.missing() else None


def last(project: Wiring) -> Again | None:
    """What was carried out again when the project was restored; None: nothing had to be."""
    newest = max((one.time for one in project.erasures.all()), default="")
    found = None
    for entry in project.log.plain_entries():
        if entry.action == "backup:restored":
            found = None
        elif entry.action == "erasure:repeated":
            found = entry.detail
    if found is None and not newest:
        return None
    counts = found or {"records": 0, "people": 0, "cells": 0}
    return Again(**counts, newest=newest)


def _destroyed(project: Wiring, tx: sa.Connection, who: str, everybody: set[str]) -> int:
    """Destroy the keys of these people that are here, or that a file would bring back."""
    if not everybody:
        return 0
    query = sa.select(SUBJECTS.c.subject).where(SUBJECTS.c.shredded.is_(None))
    theirs = [
        one
        for one in tx.execute(query).scalars()
        if one != ROOT and project.erasures.digest(one) in everybody
    ]
    now = project.clock.now().isoformat()
    for one in theirs:
        gone = SUBJECTS.update().where(SUBJECTS.c.subject == one)
        tx.execute(gone.values(wrapped=None, shredded=now))
    again: dict[str, object] = {"again": True}
    told = [(who, "subject:shred", f'Subject::"{one}"', "done", again) for one in theirs]
    if told:
        project.log.append_many(tx, told)
    return len(theirs)


def _taken_out(project: Wiring, who: str, records: Sequence[Erasure]) -> int:
    """Take out what was told about people before they were erased."""
    until: dict[str, str] = {}
    for one in records:
        if one.what == "erased":
            until[one.digest] = max(one.time, until.get(one.digest, ""))
    if not until:
        return 0
    count = 0
    for pseudonym in project.told.everybody():
        if (time := until.get(project.erasures.digest(pseudonym))) is not None:
            then = datetime.datetime.fromisoformat(time)
            count += project.told.take_out(who, [pseudonym], then).predictions
    return count


def _emptied(project: Wiring, erased: Erased) -> int:
    """Take identifiers of erased people out of columns that no subject's key covers."""
    if not erased.digests:
        return 0
    try:
        root = project.identifiers.root(create=False)
    except (BackendError, VerificationError):
        return 0  # without the subjects' keys nobody is known by pseudonym: they come later
    count = 0
    for manifest in sorted((project.state / "datasets").glob(f"*/*/{MANIFEST}")):
        count += _emptied_in(project, manifest.parent, root, erased)
    return count


def _emptied_in(project: Wiring, folder: Path, root: Root, erased: Erased) -> int:
    verifier = project.signer.verifier
    columns = tables.columns_of(folder, project.provider, verifier)
    named = {*_identifying(project), *filter(None, [project.config.data.subject])}
    open_ = [
        one.name
        for one in columns
        if one.name in named and TYPE not in (one.metadata or {}) and pa.types.is_string(one.type)
    ]
    if not open_:
        return 0
    found: dict[str, list[pa.Array]] = {}
    for piece in tables.scan_all(folder, project.provider, verifier, open_):
        for name in piece.schema.names:
            values = _theirs(pa.chunked_array([piece[name]]), root, erased)
            found.setdefault(name, []).append(values)
    theirs = {name: pc.unique(pa.concat_arrays(parts)) for name, parts in found.items()}
    theirs = {name: values for name, values in theirs.items() if len(values)}
    if not theirs:
        return 0
    count = 0

    def change(rows: pa.Table) -> pa.Table:
        nonlocal count
        for name, values in theirs.items():
            if name not in rows.column_names:  # rows beside a sample have fewer columns
                continue
            count += int(pc.sum(pc.is_in(rows[name], values)).as_py() or 0)
            place = rows.column_names.index(name)
            field = rows.schema.field(place)
            kept = pc.if_else(pc.is_in(rows[name], values), pa.scalar(None, field.type), rows[name])
            rows = rows.set_column(place, field, kept)
        return rows

    record = _record(project, folder)
    known = {} if record is None else classes_of(record)
    classes = {name: known.get(name, "identifier") for name in columns.names}
    tables.seal_anew(folder, project.provider, project.signer, classes, change)
    return count


def _theirs(column: pa.ChunkedArray, root: Root, erased: Erased) -> pa.Array:
    values = pc.unique(column)
    return pa.array(
        [
            one
            for one in values.to_pylist()
            if one is not None and erased.has(root.pseudonym(one.strip()))
        ],
        pa.string(),
    )


def _identifying(project: Wiring) -> set[str]:
    """Columns that name people, by the pinned schema."""
    pinned = schemas.load(project.root / project.config.data.schema)
    return set() if pinned is None else set(pinned.identifiers)


def _record(project: Wiring, folder: Path) -> SealedDataset | None:
    name, version = folder.parent.name, folder.name
    for run in project.engine.runs():
        record = project.engine.record(run.id, "data", SealedDataset)
        if record is not None and (record.name, record.version) == (name, version):
            return record
    return None
