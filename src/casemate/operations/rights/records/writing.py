"""`casemate privacy record`: which records there are, what one says now, writing them signed."""

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from casemate.core.digest import sha256
from casemate.core.errors import ConfigError, VerificationError
from casemate.core.files import whole_folder
from casemate.core.types import Record
from casemate.operations.acting import Noun, operation, reading
from casemate.operations.rights.records import (
    breach,
    disclosures,
    impact,
    processing,
    safeguards,
    sheet,
    technical,
)
from casemate.operations.rights.records.croissant import croissant
from casemate.operations.rights.records.document import FORMS, Document, Form, Point, rendered
from casemate.operations.rights.records.facts import Facts, gather
from casemate.stages.release import card, evidence
from casemate.wiring import Wiring

STATEMENT = "records.dsse.json"
PREDICATE = "https://casemate.dev/records/v1"
WRITTEN = "record:written"
CARD = "model-card"


@dataclass(frozen=True)
class Kind:
    """One record that can be written."""

    name: str
    title: str
    law: str
    state: str
    points: Callable[[Facts], list[Point]]


KINDS = {
    one.name: one
    for one in (
        Kind(
            "processing",
            "Record of processing activities",
            f"{processing.LAW}, Art. 30(1)",
            processing.STATE,
            processing.record,
        ),
        Kind(
            impact.NAME,
            "Data protection impact assessment",
            impact.LAW,
            impact.STATE,
            impact.assessment,
        ),
        Kind(
            technical.NAME,
            "Technical documentation",
            technical.LAW,
            technical.STATE,
            technical.documentation,
        ),
        Kind(sheet.NAME, "Data sheet", sheet.LAW, sheet.STATE, sheet.sheet),
        Kind(
            safeguards.NAME,
            "HIPAA safeguards",
            safeguards.LAW,
            safeguards.STATE,
            safeguards.report,
        ),
        Kind(
            "notice",
            "Privacy notice",
            f"{processing.LAW}, Art. 13 and 14",
            processing.NOTICE_STATE,
            processing.notice,
        ),
        Kind(
            disclosures.NAME,
            "Accounting of disclosures",
            disclosures.LAW,
            disclosures.STATE,
            disclosures.accounting,
        ),
    )
}
"""Records of the project, by name; `breach` is of an incident, `model-card` of a model."""


class Listed(Record, frozen=True, kw_only=True):
    """One record as it would be written now."""

    name: str
    title: str
    law: str
    points: int
    to_complete: int
    unmeasured: int


class Written(Record, frozen=True, kw_only=True):
    """What was written."""

    folder: str
    files: dict[str, str]
    """SHA-256 by name."""
    to_complete: dict[str, int]
    """Points that people have to complete, by record."""


@reading("record:read")
def listing(project: Wiring, model: str = "") -> list[Listed]:
    """Every record of the project, with how much of it is left to people.

    Args:
        project: whose.
        model: `NAME@VERSION` that they speak of; default: the newest that passed.

    Raises:
        AccessDenied: policy. ConfigError: there is no such model, or `[controller.said]` names no
            point. VerificationError: something signed was changed.
    """
    facts = gather(project, model)
    documents = [made(facts, name) for name in KINDS]
    _require_known(facts, documents)
    return [
        Listed(
            name=one.name,
            title=one.title,
            law=one.law,
            points=len(one.points),
            to_complete=len(one.to_complete),
            unmeasured=len(one.unmeasured),
        )
        for one in documents
    ]


@reading("record:read")
def show(project: Wiring, name: str, *, model: str = "", incident: int = 0) -> Document:
    """What a record says now.

    Args:
        project: whose.
        name: of the record.
        model: `NAME@VERSION` that it speaks of; default: the newest that passed.
        incident: which one, of `breach`.

    Raises:
        AccessDenied: policy. ConfigError: there is no such record, model or incident.
            VerificationError: something signed was changed.
    """
    return made(gather(project, model), name, incident)


@operation("record:write")
def write(
    project: Wiring,
    names: Sequence[str],
    folder: Path | str,
    *,
    forms: Sequence[Form] = FORMS,
    model: str = "",
    incident: int = 0,
) -> Written:
    """Write records into a new folder, with a signature over all files; the log keeps its digest.

    Args:
        project: whose.
        names: of records; none: every one of the project.
        folder: a new one.
        forms: `html`, `md`, `json`.
        model: `NAME@VERSION` that they speak of; default: the newest that passed.
        incident: which one, of `breach`.

    Raises:
        AccessDenied: policy. ConfigError: there is no such record, model or incident, or the folder
            is there already. VerificationError: something signed was changed.
    """
    acting = write.ask(project, records=",".join(names)[:500])
    folder = Path(folder)
    if folder.exists():
        raise ConfigError(f"{folder} exists already", hint="name a new folder")
    facts = gather(project, model)
    files: dict[str, bytes] = {}
    documents = []
    for name in names or [*KINDS, *([CARD] if facts.model else [])]:
        if name == CARD:
            files |= _card(facts)
            continue
        document = made(facts, name, incident)
        documents.append(document)
        files |= {f"{name}.{form}": rendered(document, form) for form in forms}
        files |= _beside(facts, name)
    _require_known(facts, documents)
    digests = {name: sha256(content) for name, content in sorted(files.items())}
    said = {
        "project": project.config.project.id,
        "about": facts.about,
        "log": {"entries": facts.entries, "root": facts.checkpoint},
    }
    files[STATEMENT] = project.signer.sign_statement(digests, PREDICATE, said)
    with whole_folder(folder.absolute(), 0o755) as draft:
        for name, content in files.items():
            (draft / name).touch(mode=0o600)
            (draft / name).write_bytes(content)
        left = {one.name: len(one.to_complete) for one in documents}
        acting.record(
            WRITTEN,
            f'Project::"{project.config.project.id}"',
            files=digests,
            statement=sha256(files[STATEMENT]),
            to_complete=left,
        )
    return Written(folder=str(folder), files=digests, to_complete=left)


@reading("record:read")
def verify(project: Wiring, folder: Path | str) -> dict[str, Any]:
    """What the signature over a folder of records says, once every file was held against it.

    Raises:
        AccessDenied: policy. ConfigError: there is no such folder. VerificationError: it has no
            signature, or a file was changed, is missing or is extra.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ConfigError(f"no such folder: {folder}", hint="as `privacy record write` made it")
    if not (folder / STATEMENT).is_file():
        raise VerificationError(
            f"{folder} holds no signed records: there is no {STATEMENT}",
            hint="ask whoever wrote them for the whole folder",
        )
    statement = evidence.checked(folder, project.signer.verifier, STATEMENT, PREDICATE)
    return dict(statement.get("predicate", {}))


def made(facts: Facts, name: str, incident: int = 0) -> Document:
    """A record from what was gathered, without asking; for others that build on it.

    Raises:
        ConfigError: there is no such record or incident, or none is named.
    """
    if name == breach.NAME:
        if not incident:
            raise ConfigError("which incident?", hint="--incident N; casemate incident list")
        title, law, state = "Notices of a breach", breach.LAW, breach.STATE
        return _document(facts, name, title, law, state, breach.notices(facts, incident))
    kind = KINDS.get(name)
    if kind is None:
        near = difflib.get_close_matches(name, [*KINDS, breach.NAME, CARD], n=1)
        raise ConfigError(
            f"there is no record {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""),
            hint=f"{', '.join([*KINDS, breach.NAME])}; {CARD} can be written",
        )
    return _document(facts, name, kind.title, kind.law, kind.state, kind.points(facts))


def _document(
    facts: Facts, name: str, title: str, law: str, state: str, points: list[Point]
) -> Document:
    return Document(
        name=name,
        title=title,
        law=law,
        state=state,
        project=facts.config.project.name,
        project_id=facts.config.project.id,
        about=facts.about,
        written=facts.now.isoformat(timespec="seconds"),
        entries=facts.entries,
        checkpoint=facts.checkpoint,
        points=points,
    )


def _require_known(facts: Facts, documents: Sequence[Document]) -> None:
    """ConfigError: `[controller.said]` speaks of a point that no record has, as of one that is
    misspelt: it would stand nowhere.
    """
    names = {one.name for one in documents}
    known = {f"{one.name}/{point.id}" for one in documents for point in one.points}
    for key in facts.controller.said:
        record = key.partition("/")[0]
        if key in known or (record not in names and record in {*KINDS, breach.NAME}):
            continue
        near = difflib.get_close_matches(key, known, n=1)
        raise ConfigError(
            f"[controller.said] {key!r} is a point of no record"
            + (f"; did you mean {near[0]!r}?" if near else ""),
            hint="`casemate privacy record show RECORD` lists its points",
        )


def _card(facts: Facts) -> dict[str, bytes]:
    """The model card as the release stage wrote it, from the signed files."""
    if facts.model is None:
        raise ConfigError("there is no model yet", hint="casemate run")
    files = facts.model.release.files
    return {
        name: facts.project.objects.get(files[name])
        for name in (card.NAME, card.PAGE)
        if name in files
    }


def _beside(facts: Facts, name: str) -> dict[str, bytes]:
    """What belongs beside a record, for other people's tools."""
    if name == sheet.NAME and facts.dataset is not None:
        return {"croissant.json": croissant(facts, facts.dataset)}
    if name == disclosures.NAME:
        found = disclosures.disclosed(facts)
        listed = msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n"
        return {"disclosures.csv": disclosures.table(found), "disclosures-list.json": listed}
    return {}


class RecordsOf(Noun):
    """The records of a project, by their verbs."""

    list = listing
    show = show
    write = write
    verify = verify
