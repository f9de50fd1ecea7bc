"""`casemate gc`: what nothing refers to any more goes, once its time is over: runs, models that
were refused, data sets, objects, evidence.

What counts is the catalogue. First, in one transaction, the rows of runs that may go are deleted
and that is recorded in the log; then whatever no row mentions is removed from the disk. A crash in
between leaves files that nothing refers to, and the next time takes them. A digest, version or run
that stands anywhere in a row that stays is kept, whoever wrote it there and why: the rule errs on
the side of keeping. The log is never touched.
"""

import contextlib
import datetime
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from casemate.core.errors import BusyError, Error
from casemate.core.files import alone, remove_tree
from casemate.core.lease import RUNS
from casemate.core.steps import STEPS
from casemate.core.store import decode, every_table
from casemate.core.types import Record, Release, SealedDataset
from casemate.operations.acting import operation
from casemate.respond.holds import HOLDS
from casemate.respond.requests import tables as requests
from casemate.stages.release.registry import MODELS
from casemate.stages.release.retrainings import RETRAININGS
from casemate.wiring import Wiring

OVER = ("passed", "refused", "failed", "abandoned", "cancelled")
SEALED = {
    *("audit_entry", "audit_head", "audit_key", "decision_group", "subject_key", "row_digest"),
    *("subject_version", "subject_rows", "prediction_subject", requests.REQUESTS.name),
}
"""Tables without names in clear, digests and indexes of rows, which go with them, and requests,
which keep what they name while they run (`to_compare`).
"""
TOLD = {(RETRAININGS.name, "run")}
"""Columns that keep no run: what came of a retraining is told for ever, its callers' rows go."""
SHOWN = 200
"""Names in the log's entry: it takes 32 KiB."""
_DIGEST = re.compile(r"[0-9a-f]{64}")


class Plan(Record, frozen=True, kw_only=True):
    """What would go, or went."""

    runs: list[str]
    """Runs, with their steps and evidence."""
    models: list[str]
    """Versions that no gate let through, as `NAME@VERSION`."""
    datasets: list[str]
    """Sealed versions, as `NAME/VERSION`."""
    objects: int
    """Sealed objects."""
    folders: list[str]
    """Evidence of runs that the catalogue does not know."""
    size: int
    """Bytes on this machine's disk; objects in a bucket are not counted."""
    held: list[str]
    """Runs that would go, and that `[retention] hold`, `casemate hold` or a request for correction
    keeps.
    """
    applied: bool
    """Whether it went."""

    @property
    def empty(self) -> bool:
        """Whether there is nothing to remove."""
        return not (self.runs or self.models or self.datasets or self.objects or self.folders)


@operation("project:clean")
def collect(
    project: Wiring, *, apply: bool = False, progress: Callable[[str], None] = lambda _: None
) -> Plan:
    """Say what may go by `[retention]`, and with `apply` remove it.

    Args:
        project: whose.
        apply: remove; else nothing is changed.
        progress: hears what is looked at.

    Raises:
        AccessDenied: policy does not permit it.
        BusyError: with `apply`: a run, a backup or the like goes on, or a hold came just now.
    """
    if not apply:
        collect.ask(project, unrecorded=True)
        return _look(project, progress)
    acting = collect.ask(project)
    with alone(project.state / "lock", "removing what is not needed"):
        plan = _look(project, progress)
        with acting.transaction() as tx:
            _require_free(tx, plan)
            forget(tx, plan.runs)
            gone = (name.partition("/") for name in plan.datasets)
            project.identifiers.rows.drop(tx, [(name, version) for name, _, version in gone])
            if not plan.empty:
                detail = {
                    "runs": plan.runs[:SHOWN],
                    "models": plan.models[:SHOWN],
                    "datasets": plan.datasets[:SHOWN],
                    "objects": plan.objects,
                }
                detail |= {"count": len(plan.runs), "bytes": plan.size}
                acting.append(tx, "project:cleaned", 'Project::"retention"', **detail)
        progress("files")
        sweep(project)
    return Plan(
        **{name: getattr(plan, name) for name in plan.__struct_fields__} | {"applied": True}
    )


def leftover(project: Wiring) -> set[str]:
    """Runs that would go now; whoever asks has been asked about."""
    with project.database.reading() as tx:
        return _runs(tx, project)[0]


def _look(project: Wiring, progress: Callable[[str], None]) -> Plan:
    progress("runs")
    with project.database.reading() as tx:
        runs, kept = _runs(tx, project)
        models = [
            f"{row.name}@{row.version}"
            for row in tx.execute(sa.select(MODELS).where(MODELS.c.run.in_(runs)))
        ]
    progress("files")
    folders = list(_files(project, runs))
    objects = list(_objects(project, runs))
    size = sum(
        file.lstat().st_size
        for folder in folders
        for file in folder.rglob("*")
        if not file.is_dir()
    )
    for name in objects:
        with contextlib.suppress(OSError):
            size += (project.state / "objects" / name).stat().st_size
    sealed, evidence = project.state / "datasets", project.state / "runs"
    return Plan(
        runs=sorted(runs),
        models=models,
        datasets=[
            str(folder.relative_to(sealed)) for folder in folders if folder.is_relative_to(sealed)
        ],
        objects=sum("." not in name for name in objects),
        folders=[
            folder.name
            for folder in folders
            if folder.is_relative_to(evidence) and folder.name not in runs
        ],
        size=size,
        held=kept,
        applied=False,
    )


def sweep(project: Wiring) -> None:
    """Remove every file that no row mentions; only whoever holds the project's lock may."""
    for path in _files(project):
        remove_tree(path)
    for name in _objects(project):
        project.objects.blobs.remove(name)


def _require_free(tx: sa.Connection, plan: Plan) -> None:
    """BusyError where somebody placed a hold on a run of the plan since it was made."""
    if found := sorted(held(tx, on_deletion(tx) | to_compare(tx)).intersection(plan.runs)):
        raise BusyError(
            f"a hold on run {found[0]}, or a request about its rows, came while it was about to"
            " go; nothing went",
            hint="casemate gc again: it keeps what is held",
        )


def forget(tx: sa.Connection, runs: list[str]) -> None:
    """Delete the rows of runs, with their steps and models."""
    for start in range(0, len(runs), 100):
        some = runs[start : start + 100]
        for table, column in ((STEPS, STEPS.c.run), (MODELS, MODELS.c.run), (RUNS, RUNS.c.id)):
            tx.execute(table.delete().where(column.in_(some)))


def _runs(tx: sa.Connection, project: Wiring) -> tuple[set[str], list[str]]:
    """(runs that may go, those that only a hold keeps)."""
    table, now = project.config.retention, project.clock.now()
    oldest = (now - datetime.timedelta(days=table.keep_days)).isoformat()
    rows = tx.execute(
        sa.select(RUNS.c.id, RUNS.c.state, RUNS.c.started, RUNS.c.ended).order_by(
            RUNS.c.started.desc()
        )
    ).all()
    finished = [row for row in rows if row.state in OVER]
    old = {row.id for row in finished[table.keep_runs :] if (row.ended or row.started) < oldest}
    old -= _signed_or_newest(tx)
    return closed(tx, old, {*table.hold, *on_deletion(tx), *to_compare(tx)})


def closed(tx: sa.Connection, old: set[str], hold: set[str]) -> tuple[set[str], list[str]]:
    """(of these runs those that may go, those that only a hold keeps): what is mentioned by a row
    that stays does not go.
    """
    kept = sorted(old & held(tx, hold))
    going = old - set(kept)
    while True:  # what a row that stays mentions stays, and may itself mention more
        text = "\n".join(_texts(tx, going))
        mentioned = {run for run in going if run in text}
        if not mentioned:
            return going, kept
        going -= mentioned


def _signed_or_newest(tx: sa.Connection) -> set[str]:
    """Runs that made a signed model, the newest version of a model or data set, or a version that
    somebody may still ask for.
    """
    query = sa.select(MODELS.c.run, MODELS.c.release)
    signed = {run for run, release in tx.execute(query) if decode(release, Release).bundle}
    return signed | newest(tx)


def newest(tx: sa.Connection) -> set[str]:
    """Runs that made the newest version of a model or data set."""
    latest: dict[str, tuple[int, str]] = {}
    for name, version, run in tx.execute(sa.select(MODELS.c.name, MODELS.c.version, MODELS.c.run)):
        latest[name] = max(latest.get(name, (0, "")), (version, run))
    kept = {run for _, run in latest.values()}  # its number must not be given to another one
    sealed: dict[str, str] = {}
    query = (
        sa.select(STEPS.c.run, STEPS.c.record, STEPS.c.digest)
        .where(STEPS.c.name == "data")
        .order_by(STEPS.c.finished)
    )
    for run, record, digest in tx.execute(query):
        sealed[decode(record, SealedDataset, digest).name] = run
    return kept | set(sealed.values())


def held(tx: sa.Connection, hold: set[str]) -> set[str]:
    """Runs that a hold names: by id, or by a model or data set of theirs, with or without its
    version.
    """
    found = {run for run in tx.execute(sa.select(RUNS.c.id)).scalars() if run in hold}
    for name, version, run in tx.execute(sa.select(MODELS.c.name, MODELS.c.version, MODELS.c.run)):
        if {name, f"{name}@{version}"} & hold:
            found.add(run)
    for run, content, digest in tx.execute(
        sa.select(STEPS.c.run, STEPS.c.record, STEPS.c.digest).where(STEPS.c.name == "data")
    ):
        record = decode(content, SealedDataset, digest)
        if {record.name, f"{record.name}@{record.version}"} & hold:
            found.add(run)
    return found


def on_deletion(tx: sa.Connection) -> set[str]:
    """What somebody keeps from being removed."""
    return set(tx.execute(sa.select(HOLDS.c.of).where(HOLDS.c.what == "deletion")).scalars())


def to_compare(tx: sa.Connection) -> set[str]:
    """`DATASET@VERSION`s with rows that somebody says are wrong: corrected ones are held against
    them.
    """
    return {name for one in requests.running(tx) for name in one.versions}


def held_names(project: Wiring) -> set[str]:
    """What holds and `[retention] hold` keep: runs, models, data sets, kinds of records."""
    with project.database.reading() as tx:
        return {*project.config.retention.hold, *on_deletion(tx)}


def _texts(tx: sa.Connection, without: set[str]) -> Iterator[str]:
    """Every text of the catalogue, but of the rows of these runs."""
    own = {RUNS.name: "id", STEPS.name: "run", MODELS.name: "run"}
    for table in every_table():
        if table.name in SEALED:
            continue
        for row in tx.execute(sa.select(table)).mappings():
            if row.get(own.get(table.name, ""), None) not in without:
                yield from (
                    _text(value)
                    for name, value in row.items()
                    if value is not None and (table.name, name) not in TOLD
                )


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _mentioned(project: Wiring, going: set[str]) -> str:
    with project.database.reading() as tx:
        return "\n".join([*_texts(tx, going), *project.config.retention.hold])


def _files(project: Wiring, going: frozenset[str] | set[str] = frozenset()) -> Iterator[Path]:
    """Folders of evidence and of sealed tables that no row mentions once these runs are gone."""
    text = _mentioned(project, set(going))
    folders = [*(project.state / "runs").glob("*"), *(project.state / "datasets").glob("*/*")]
    yield from sorted(
        folder
        for folder in folders
        if folder.is_dir() and not folder.name.startswith(".") and folder.name not in text
    )


def _objects(project: Wiring, going: frozenset[str] | set[str] = frozenset()) -> Iterator[str]:
    """Files of objects that no row mentions once these runs are gone, an object before its keys."""
    used = set(_DIGEST.findall(_mentioned(project, set(going))))
    names = project.objects.blobs.names()
    yield from sorted(
        (name for name in names if _digest(name) not in used),
        key=lambda name: (_digest(name), "." in name),
    )


def _digest(name: str) -> str:
    digest = name.partition(".")[0].replace("/", "")
    if not _DIGEST.fullmatch(digest):
        raise Error(f"{name!r} is no object", hint="see who put it among the objects")
    return digest
