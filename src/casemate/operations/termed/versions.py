"""Sealed versions of data sets, whose rows go, and versions of models, which go with their runs."""

import contextlib
import datetime
from collections.abc import Callable
from pathlib import Path
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from casemate.controls.keys.manifests import MANIFEST, REMOVED
from casemate.core.digest import sha256_file
from casemate.core.errors import VerificationError
from casemate.core.files import DRAFT, exchange, remove_tree, whole_folder, write_atomic
from casemate.core.steps import STEPS
from casemate.core.store import decode
from casemate.core.types import Record, SealedDataset
from casemate.operations import retention
from casemate.operations.calendar import day_of
from casemate.operations.termed.found import Found, Remove, Write
from casemate.respond.requests import tables as requests
from casemate.stages.release.registry import MODELS
from casemate.wiring import Wiring

ACTION = "retention:removed"
NEWEST = "it is the newest version: what comes next is compared with it"
SERVED = "it is served, or a rollback brings it back"
WRONG = "it has the rows of which request {} says that they are wrong"
NEEDED = "a run that stays took something over from its run"


class Marker(Record, frozen=True, kw_only=True):
    """What stands in place of rows."""

    version: str
    manifest: str
    """SHA-256 of the manifest that was signed over them."""
    entry: int
    """Of the log."""


def hold_on(tx: sa.Connection, project: Wiring, what: str, name: str) -> str:
    """Which hold keeps it; empty: none."""
    names = {*project.config.retention.hold, *retention.on_deletion(tx)}
    with_it = {"inputs"} if what == "predictions" else set()
    mine = {what, what.partition(":")[0], name, name.partition("@")[0], *with_it} & names
    if not mine and "@" in name:
        mine = retention.held(tx, names) & _runs_of(tx, what, name)
    return f"a hold on {min(mine)}" if mine else ""


def _runs_of(tx: sa.Connection, what: str, name: str) -> set[str]:
    if what.startswith("data"):
        return {run for run, _, record in _sealed(tx) if f"{record.name}@{record.version}" == name}
    model, _, version = name.partition("@")
    query = sa.select(MODELS.c.run).where(MODELS.c.name == model, MODELS.c.version == int(version))
    return set(tx.execute(query).scalars())


def _sealed(tx: sa.Connection) -> list[tuple[str, str, SealedDataset]]:
    """(run, when it was sealed, its record), the oldest first."""
    query = sa.select(STEPS.c.run, STEPS.c.finished, STEPS.c.record, STEPS.c.digest)
    rows = tx.execute(query.where(STEPS.c.name == "data").order_by(STEPS.c.finished))
    return [(row.run, row.finished, decode(row.record, SealedDataset, row.digest)) for row in rows]


def find_data(project: Wiring, zone: ZoneInfo) -> list[Found]:
    """Sealed versions whose rows are still here."""
    with project.database.reading() as tx:
        sealed = _sealed(tx)
        wrong = {name: one.id for one in requests.running(tx) for name in one.versions}
    latest = {record.name: record.version for _, _, record in sealed}
    served = _served(project)
    found: dict[str, Found] = {}
    for _, finished, record in sealed:  # taken over by a later run, its rows are that new
        name = f"{record.name}@{record.version}"
        manifest = project.state / "datasets" / record.name / record.version / MANIFEST
        if not manifest.exists():
            continue
        found[name] = Found(
            of=record.name,
            name=name,
            day=day_of(finished, zone),
            count=record.rows + record.rest,
            digest=sha256_file(manifest),
            needs=served.get(name, []),
            kept=(
                NEWEST
                if latest[record.name] == record.version
                else WRONG.format(wrong[name])  # with nothing to compare, it would seem corrected
                if name in wrong
                else ""
            ),
        )
    return list(found.values())


def _served(project: Wiring) -> dict[str, list[str]]:
    """Data set -> models that are released and were trained on it."""
    found: dict[str, list[str]] = {}
    known = {one.reference: one.release.lineage for one in project.registry.list()}
    for reference in _released(project):
        if (lineage := known.get(reference)) is not None:
            data = f"{lineage.dataset}@{lineage.dataset_version}"
            found.setdefault(data, []).append(reference)
    return found


def _released(project: Wiring) -> list[str]:
    found = {one.reference for one in project.rollouts.all()}
    found |= {f"{one.model}@{one.former}" for one in project.rollouts.all() if one.former}
    return sorted(found)


def remove_data(project: Wiring, name: str, _: datetime.date, write: Write) -> None:
    """Remove the rows at once: the folder with them changes places with one that says so."""
    dataset, version = name.split("@")
    folder = project.state / "datasets" / dataset / version
    digest = sha256_file(folder / MANIFEST)
    with project.database.transaction() as tx:
        entry = write(tx)
        project.identifiers.rows.drop(tx, [(dataset, version)])
    draft = folder.with_name(f"{DRAFT}{version}")
    remove_tree(draft)  # of a process that was killed
    with whole_folder(draft) as made:
        said = Marker(version=name, manifest=digest, entry=entry)
        write_atomic(made / REMOVED, said.to_json())
    exchange(draft, folder)
    remove_tree(draft)


def require_told(project: Wiring, folder: Path) -> None:
    """VerificationError where the log does not say that a version's rows were removed."""
    name = f"{folder.parent.name}@{folder.name}"
    said = decode((folder / REMOVED).read_bytes(), Marker)
    entry = next(iter(project.log.entries(said.entry)), None)
    told = None if entry is None or entry.action != ACTION else entry.detail.get("digest")
    about = "" if entry is None else entry.resource
    if (said.version, told, about) != (name, said.manifest, f'Retention::"{name}"'):
        raise VerificationError(
            f"the rows of {name} are gone, and the log says nothing of it",
            hint="restore them from a backup",
        )


def find_models(project: Wiring, zone: ZoneInfo) -> list[Found]:
    """Every version of a model."""
    released = _released(project)
    known = project.registry.list()
    with project.database.reading() as tx:
        newest = retention.newest(tx)
        runs = {one.release.lineage.run for one in known}
        free, _ = retention.closed(tx, runs, set())
    found = []
    for one in known:
        run = one.release.lineage.run
        why = SERVED if one.reference in released else NEWEST if run in newest else ""
        found.append(
            Found(
                of=one.release.model,
                name=one.reference,
                day=day_of(one.created, zone),
                count=len(one.release.files),
                digest=one.release.bundle or one.release.lineage.train_digest,
                kept=why or ("" if run in free else NEEDED),
            )
        )
    return found


def remove_model(project: Wiring, name: str, _: datetime.date, write: Write) -> None:
    """Remove its run with all that only this mentions; files go in `sweep`."""
    with project.database.transaction() as tx:
        runs = sorted(_runs_of(tx, "model", name))
        write(tx)
        retention.forget(tx, runs)


def sweep(project: Wiring) -> None:
    """Remove files that no row mentions any more, and what a killed process left."""
    for draft in (project.state / "datasets").glob(f"*/{DRAFT}*"):
        remove_tree(draft)
    with contextlib.suppress(FileNotFoundError):
        retention.sweep(project)


FIND: dict[str, Callable[[Wiring, ZoneInfo], list[Found]]] = {
    "data": find_data,
    "model": find_models,
}
REMOVE: dict[str, Remove] = {"data": remove_data, "model": remove_model}
