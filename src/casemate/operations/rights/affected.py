"""`casemate privacy affected`: everything that was made of one person's data, as far as lineage
goes.

From the identifier to the pseudonym, to the sealed versions with rows of that pseudonym, to the
runs that sealed or used them, to the models, to where those are served, were exported or promoted;
and to the predictions whose callers said whom they were about.
What cannot be known is listed as that: a version without subjects, rows that came from feedback.
"""

from collections.abc import Callable, Iterator
from typing import Literal

import sqlalchemy as sa
from msgspec import structs

from casemate.controls.audit.feedback import FIRST, OTHER
from casemate.controls.keys import tables
from casemate.controls.keys.identifiers import PSEUDONYM, TYPE
from casemate.controls.keys.subjectrows import Held
from casemate.controls.privacy.consents import Consent
from casemate.core.errors import Error
from casemate.core.steps import STEPS
from casemate.core.store import decode
from casemate.core.types import Record, SealedDataset
from casemate.operations.acting import operation
from casemate.operations.persons import everybody
from casemate.operations.rights import predictions
from casemate.operations.rights.consent import withdrawn_since
from casemate.operations.rights.predictions import Told
from casemate.operations.rights.restricted import restricted_since, restrictions
from casemate.operations.subject import identifier_of
from casemate.stages.release.registry import Registered
from casemate.wiring import Wiring

EXPORTED = "model:export"
NUMBERS = ("double", "int64")
"""Types of identifiers of old versions, whose pseudonyms are of the number and not of the text."""


class Version(Record, frozen=True, kw_only=True):
    """Rows of the person in a sealed version."""

    dataset: str
    version: str
    rows: int
    of: int
    """Rows of the version."""
    runs: list[str]
    """Runs that worked on it."""


class Made(Record, frozen=True, kw_only=True):
    """A model that was made of such a version."""

    model: str
    """`NAME@VERSION`."""
    run: str
    data: str
    """`DATASET@VERSION`."""
    outcome: str
    parts: list[str]
    """As what it is served now: `live`, `canary`, `shadow`; `former`: what a rollback brings
    back.
    """
    exports: list[int]
    """Log entries of its exports; of exports by older versions of casemate every one of that
    name.
    """
    feedback: int
    """How often something was told of its answers."""
    withdrawn: int
    """People, this one or others, whose rows it was made of and who withdrew consent since."""
    restricted: int = 0
    """People, this one or others, whose rows it was made of and whose processing is restricted."""


class Unknown(Record, frozen=True, kw_only=True):
    """Where lineage ends: it may hold the person or not."""

    what: str
    reason: str


class Affected(Record, frozen=True, kw_only=True):
    """What was made of one person's data."""

    subject: str
    """Pseudonym."""
    key: Literal["live", "shredded", "unknown"]
    """Of the person's key; `unknown`: nobody was ever sealed under this identifier."""
    versions: list[Version]
    runs: list[str]
    models: list[Made]
    consent: list[Consent]
    """Every record of theirs."""
    entries: list[int]
    """Log entries that are about the person by their pseudonym."""
    unknown: list[Unknown]
    predictions: list[Told] = []
    """Recorded predictions whose callers said that they are about the person."""

    @property
    def rows(self) -> int:
        """Rows of the person in all versions."""
        return sum(one.rows for one in self.versions)


@operation("privacy:affected")
def affected(project: Wiring, subject: str | Callable[[], str]) -> Affected:
    """Everything that was made of a person's data; asking is recorded, by pseudonym.

    Args:
        project: whose.
        subject: the person's identifier, exactly as the table has it, or what asks for it.

    Raises:
        AccessDenied: policy. DataError: the identifier is empty or too long.
            VerificationError: a sealed version or the log was changed.
    """
    acting = affected.ask(project)
    identifier = identifier_of(subject)
    found = trace(project, project.identifiers.root().pseudonym(identifier))
    told = sum(one.count for one in found.predictions)
    counts = {"versions": len(found.versions), "models": len(found.models), "predictions": told}
    about = f'Subject::"{found.subject}"'
    acting.record("subject:traced", about, **counts, unknown=len(found.unknown))
    return found


def trace(project: Wiring, pseudonym: str, *, with_log: bool = True) -> Affected:
    """The same for a pseudonym, without asking and recording.

    Args:
        project: whose.
        pseudonym: of the person.
        with_log: read the whole log for exports, feedback and entries about them, and the
            predictions.
    """
    sealed = _sealed(project)
    unknown = [*_indexed(project, {name: record for name, (record, _) in sealed.items()})]
    held = project.identifiers.rows.of(pseudonym)
    versions = [
        Version(
            dataset=one.dataset,
            version=one.version,
            rows=one.rows,
            of=one.of,
            runs=sealed.get((one.dataset, one.version), (None, []))[1],
        )
        for one in held
    ]
    models, barred = _models(project, held), restrictions(project)
    exports, told, entries = (
        _logged(project, pseudonym, {one.reference for one in models}) if with_log else ({}, {}, [])
    )
    parts = _parts(project)
    with project.database.reading() as tx:
        key = project.log.subjects.state(tx, pseudonym)
    return Affected(
        subject=pseudonym,
        key=key,
        versions=versions,
        runs=sorted({run for one in versions for run in one.runs}),
        models=[
            structs.replace(
                _made(one, parts, exports, told, withdrawn_since(project, one) or 0),
                restricted=restricted_since(project, one, barred) or 0,
            )
            for one in models
        ],
        consent=project.consents.of(pseudonym),
        entries=entries,
        unknown=unknown,
        predictions=predictions.told(project, [pseudonym]) if with_log else [],
    )


def trace_all(project: Wiring, pseudonym: str, *, with_log: bool = True) -> Affected:
    """The same under every identifier that is known to be theirs, as one."""
    people = everybody(project, pseudonym)
    each = [trace(project, one, with_log=with_log) for one in people]
    versions: dict[tuple[str, str], Version] = {}
    for one in (one for found in each for one in found.versions):
        key = one.dataset, one.version
        before = versions[key].rows if key in versions else 0
        versions[key] = structs.replace(one, rows=one.rows + before)
    models = {one.model: one for found in each for one in found.models}
    return structs.replace(
        each[0],
        versions=[versions[key] for key in sorted(versions)],
        runs=sorted({run for found in each for run in found.runs}),
        models=list(models.values()),
        consent=[one for found in each for one in found.consent],
        entries=sorted({entry for found in each for entry in found.entries}),
        # one may be about several of their identifiers
        predictions=predictions.told(project, people)
        if with_log and len(people) > 1
        else each[0].predictions,
    )


def _made(
    one: Registered,
    parts: dict[str, list[str]],
    exports: dict[str, list[int]],
    told: dict[str, int],
    withdrawn: int,
) -> Made:
    lineage = one.release.lineage
    return Made(
        model=one.reference,
        run=lineage.run,
        data=f"{lineage.dataset}@{lineage.dataset_version}",
        outcome=one.release.verdict.outcome,
        parts=parts.get(one.reference, []),
        exports=exports.get(one.reference, []),
        feedback=told.get(one.reference, 0),
        withdrawn=withdrawn,
    )


def _sealed(project: Wiring) -> dict[tuple[str, str], tuple[SealedDataset, list[str]]]:
    """Every version that a run sealed or took over: its record, and the runs."""
    found: dict[tuple[str, str], tuple[SealedDataset, list[str]]] = {}
    query = sa.select(STEPS.c.run, STEPS.c.record, STEPS.c.digest).where(STEPS.c.name == "data")
    with project.database.reading() as tx:
        for run, content, digest in tx.execute(query.order_by(STEPS.c.run)):
            record = decode(content, SealedDataset, digest)
            found.setdefault((record.name, record.version), (record, []))[1].append(run)
    return found


def _indexed(project: Wiring, records: dict[tuple[str, str], SealedDataset]) -> Iterator[Unknown]:
    """See that every version is in the index; those that cannot be, and why."""
    known = project.identifiers.rows.known()
    folders = (project.state / "datasets").glob("*/*/")
    here = {(path.parent.name, path.name) for path in folders if not path.name.startswith(".")}
    for dataset, version in sorted(here | records.keys()):
        name = f"{dataset}@{version}"
        record = records.get((dataset, version))
        if record is not None and record.taught is not None:
            yield Unknown(
                what=f"{record.taught.rows} rows of {name}",
                reason="they came from feedback: whose they are is not known",
            )
        if (dataset, version) in known:
            continue
        reason = _index(project, dataset, version)
        if reason:
            yield Unknown(what=name, reason=reason)


def _index(project: Wiring, dataset: str, version: str) -> str:
    """Take a version of before into the index; why not, if that cannot be."""
    folder = project.state / "datasets" / dataset / version
    keys, verifier = project.provider, project.signer.verifier
    try:
        columns = tables.columns_of(folder, keys, verifier)
        if PSEUDONYM not in columns.names:
            return "it was sealed without [data] subject: whose rows it has is not known"
        if any((one.metadata or {}).get(TYPE, b"").decode() in NUMBERS for one in columns):
            return "identifiers were read as numbers there: several people may look like one"
        held = list(tables.column(folder, keys, verifier, PSEUDONYM))
    except Error as error:
        return f"it cannot be read: {error.message}"
    project.identifiers.rows.note(dataset, version, held)
    return ""


def _models(project: Wiring, held: list[Held]) -> list[Registered]:
    theirs = {(one.dataset, one.version) for one in held}
    return [
        one
        for one in project.registry.list()
        if (one.release.lineage.dataset, one.release.lineage.dataset_version) in theirs
    ]


def _parts(project: Wiring) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for one in project.rollouts.all():
        found.setdefault(one.reference, []).append(one.part)
        if one.former is not None:
            found.setdefault(f"{one.model}@{one.former}", []).append("former")
    return found


def _logged(
    project: Wiring, pseudonym: str, models: set[str]
) -> tuple[dict[str, list[int]], dict[str, int], list[int]]:
    """(exports by model, what was told of answers by model, entries about the person)."""
    exports: dict[str, list[int]] = {}
    told: dict[str, int] = {}
    about: list[int] = []
    mine = f'Subject::"{pseudonym}"'
    by_name: dict[str, list[str]] = {}
    for reference in models:
        by_name.setdefault(reference.partition("@")[0], []).append(reference)
    for entry in project.log.plain_entries():
        if entry.resource == mine or _is_about(entry.detail.get("personal"), pseudonym):
            about.append(entry.index)
        elif entry.action == EXPORTED and entry.outcome == "allowed":
            name = entry.resource.removeprefix('Model::"').removesuffix('"')
            version = entry.detail.get("version")
            for reference in by_name.get(name, []):
                if version is None or reference == f"{name}@{version}":
                    exports.setdefault(reference, []).append(entry.index)
        elif entry.action in (FIRST, OTHER):
            reference = entry.resource.removeprefix('Model::"').removesuffix('"')
            if reference in models:
                told[reference] = told.get(reference, 0) + 1
    return exports, told, about


def _is_about(personal: object, pseudonym: str) -> bool:
    return isinstance(personal, dict) and personal.get("subject") == pseudonym
