"""A person's copy of their data: rows, and a page about them with what was made of it, on which
basis, and who saw it; in a folder, or sealed to one recipient without ever lying open on disk.
"""

import io
import re
import tarfile
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.csv as pacsv

from casemate.controls.keys import recipients, sealedfile
from casemate.controls.keys.recipients import Recipient
from casemate.controls.keys.sealedfile import CHUNK, Opener
from casemate.core.errors import ConfigError, VerificationError
from casemate.core.files import whole_folder
from casemate.core.page import Section, page
from casemate.core.text import clean
from casemate.core.types import Record
from casemate.operations.dataset import Datasets
from casemate.operations.persons import everybody
from casemate.operations.rights import predictions
from casemate.operations.rights.affected import Affected
from casemate.operations.rights.personrows import newest_of, rows_of
from casemate.operations.rights.records import disclosures, processing
from casemate.operations.rights.records.disclosures import Disclosure
from casemate.operations.rights.records.facts import gather
from casemate.respond.requests.states import Asked
from casemate.wiring import Wiring

FORM = "casemate-copy-1"
NOT_IN_IT = (
    "predictions whose callers did not say whom they were about; these have their numbers",
    "log lines, backups, and files outside of casemate",
    "mentions of the person in other people's rows: `casemate keys shred REF --look` finds them",
)
PAGES = ("about", "disclosures", "predictions")
"""Files of a copy that are of no data set, without their endings."""
MOST_FILES = 10_000
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,200}")
"""Of a file in a sealed copy: it is written nowhere but into the new folder."""
LEAD = (
    "What is held about you in this project, why, what was made of it and who saw it, as far as"
    " casemate knows it. The rows themselves lie beside this page."
)


class Copied(Record, frozen=True, kw_only=True):
    """What is in a copy, and what is not."""

    rows: int = 0
    withheld: list[str] = []
    """Columns that policy withheld."""
    withheld_rows: dict[str, int] = {}
    """Version -> rows that policy withheld."""
    sealed: str = ""
    """Fingerprint of the key that it is sealed to."""


def copy_for(project: Wiring, asked: Asked, found: Affected, target: Path, to: str) -> Copied:
    """Write a copy, all of it or nothing.

    Args:
        project: whose.
        asked: the request.
        found: what was made of the person's data.
        target: a new folder, or a new file that is sealed.
        to: a recipient's public key as text; empty: a folder that nobody else may read.

    Raises:
        ConfigError: there is something at the target, or the key is none.
    """
    if target.exists():
        raise ConfigError(f"{target} exists already", hint="name a new folder")
    public = recipients.read_public(to) if to else b""
    files, copied = _files(project, asked, found)
    if not public:
        with whole_folder(target.absolute(), 0o755) as draft:
            _write(draft, files)
        return copied
    who = Recipient("recipient", keys=False, public=public, locked=None, by="", since="")
    with (
        sealedfile.sealing(target, "copy", project.config.project.id, [who]) as sink,
        tarfile.open(fileobj=sink, mode="w|", format=tarfile.PAX_FORMAT) as tar,  # type: ignore[call-overload]
    ):
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o600
            tar.addfile(member, io.BytesIO(content))
    return msgspec.structs.replace(copied, sealed=who.fingerprint)


def open_copy(path: Path, folder: Path, opener: Opener) -> list[str]:
    """Open a sealed copy into a new folder; the names of its files.

    Args:
        path: the copy.
        folder: a new one.
        opener: has the recipient's private key.

    Raises:
        ConfigError: the folder is there already. AccessDenied: it is sealed to others.
            VerificationError: it is no copy, or was changed or cut.
    """
    if folder.exists():
        raise ConfigError(f"{folder} exists already", hint="name a new folder")
    names: list[str] = []
    with (
        whole_folder(folder.absolute(), 0o755) as draft,
        sealedfile.opening(path, "copy", opener) as stream,
    ):
        try:
            with tarfile.open(fileobj=stream, mode="r|") as tar:  # type: ignore[call-overload]
                for member in tar:
                    content = tar.extractfile(member)
                    known = NAME.fullmatch(member.name) and member.name not in names
                    if content is None or not known or len(names) >= MOST_FILES:
                        raise VerificationError(
                            "the copy holds what no copy holds", hint="do not use it"
                        )
                    names.append(member.name)
                    with (draft / member.name).open("xb") as file:
                        while chunk := content.read(CHUNK):
                            file.write(chunk)
        except tarfile.TarError as error:
            raise VerificationError(
                f"{path} {sealedfile.CHANGED}", hint="ask for another copy"
            ) from error
        while stream.read(CHUNK):
            continue  # to the authenticated end
    return names


def _files(project: Wiring, asked: Asked, found: Affected) -> tuple[dict[str, bytes], Copied]:
    theirs = {f"{one.dataset}@{one.version}": one.rows for one in found.versions}
    people = everybody(project, asked.subject)
    rows, withheld, fewer = 0, set[str](), dict[str, int]()
    versions: list[dict[str, Any]] = []
    files: dict[str, bytes] = {}
    # before the rows are read: this reading is whoever answers the request, at the person's wish
    seen = disclosures.disclosed(
        gather(project), [(one.dataset, one.version) for one in found.versions]
    )
    for name, dataset in newest_of(Datasets(project).all(), found).items():
        table, hidden = rows_of(dataset, people)
        rows, withheld = rows + table.num_rows, withheld | hidden
        if missing := theirs[dataset.reference] - table.num_rows:
            fewer[dataset.reference] = missing
        files |= _table(name, table)
        versions.append({"version": dataset.reference, "rows": table.num_rows})
    answered = list(predictions.answers(project, people))
    about = _about(project, asked, found, versions, seen)
    about |= {"withheld_columns": sorted(withheld), "withheld_rows": fewer}
    files["about.json"] = _json(about)
    files["about.html"] = page("About your data", LEAD, _sections(about, found, seen))
    if answered:
        shown = [msgspec.structs.replace(one, by=_staff(one.by)) for one in answered]
        files["predictions.json"] = _json({"form": FORM, "predictions": shown})
    files["disclosures.csv"] = disclosures.table(list(map(_nobody, seen)))
    return files, Copied(rows=rows, withheld=sorted(withheld), withheld_rows=fewer)


def _table(name: str, table: pa.Table) -> dict[str, bytes]:
    schema = {field.name: str(field.type) for field in table.schema}
    rows = {"form": FORM, "dataset": name, "schema": schema, "rows": table.to_pylist()}
    sink = pa.BufferOutputStream()
    pacsv.write_csv(table, sink)
    file = f"{name}-rows" if name.lower() in PAGES else name
    return {f"{file}.json": _json(rows), f"{file}.csv": sink.getvalue().to_pybytes()}


def _json(content: Any) -> bytes:
    return msgspec.json.format(msgspec.json.encode(content, enc_hook=str)) + b"\n"


def _write(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).touch(mode=0o600)
        (folder / name).write_bytes(content)


def _about(
    project: Wiring,
    asked: Asked,
    found: Affected,
    versions: list[dict[str, Any]],
    seen: list[Disclosure],
) -> dict[str, Any]:
    """What a person is to know of their data beside the rows, as far as casemate knows it."""
    config = project.config
    purpose = config.project.purpose
    basis = config.privacy.basis.get(purpose)
    controller = config.controller
    return {
        "form": FORM,
        "request": asked.id,
        "kind": asked.kind,
        "law": asked.law,
        "received": asked.received,
        "project": config.project.name,
        "controller": {
            name: getattr(controller, name)
            for name in ("name", "contact", "officer", "authority", "origin", "erasure")
        },
        "categories_of_recipients": controller.recipients,
        "transfers": controller.transfers,
        "purpose": purpose,
        "purpose_in_words": controller.purpose,
        "basis": None if basis is None else basis.legal,
        "basis_record": "" if basis is None else basis.record,
        "rights": processing.RIGHTS,
        "copied": versions,
        "every_version": found.versions,
        "models": found.models,
        "predictions": [
            msgspec.structs.replace(one, by=_staff(one.by)) for one in found.predictions
        ],
        "recipients": _recipients(project, found),
        "seen": list(map(_nobody, seen)),
        "consent": found.consent,
        "not_known": found.unknown,
        "not_in_it": NOT_IN_IT,
    }


def _nobody(one: Disclosure) -> Disclosure:
    """The same without the name of whoever works for the controller, which is theirs."""
    return msgspec.structs.replace(one, by=_staff(one.by))


def _staff(by: str) -> str:
    return "a service" if by.startswith("Service") else "a person of the controller"


def _sections(about: dict[str, Any], found: Affected, seen: list[Disclosure]) -> list[Section]:
    unsaid = "not stated by the controller"
    controller = about["controller"]
    said = [
        ["who is answerable", controller["name"], controller["contact"]],
        ["data protection officer", controller["officer"], ""],
        ["what for", about["purpose_in_words"] or about["purpose"], ""],
        ["legal basis", about["basis"] or "", about["basis_record"]],
        ["where the data comes from", controller["origin"], ""],
        ["how long it is kept", controller["erasure"], ""],
        ["who receives data", *_listed(about["categories_of_recipients"])],
        ["third countries", *_listed(about["transfers"])],
        ["where to complain", controller["authority"], ""],
    ]
    return [
        Section(
            "Why your data is processed",
            heads=["", "", ""],
            rows=[[name, clean(text) or unsaid, clean(more)] for name, text, more in said],
        ),
        Section("Your rights", points=list(about["rights"])),
        Section(
            "What is held",
            heads=["data set", "version", "your rows"],
            rows=[[clean(one.dataset), one.version, one.rows] for one in found.versions],
        ),
        Section(
            "Models that were made of it",
            "" if found.models else "None that is known.",
            heads=["model", "made of", "served as", "exports"],
            rows=[
                [clean(one.model), clean(one.data), ", ".join(one.parts) or "no", len(one.exports)]
                for one in found.models
            ],
        ),
        Section(
            "What models said of you",
            "" if found.predictions else "Nothing of which the caller said that it is about you.",
            heads=["model", "asked by", "purpose", "times", "first", "last (UTC)"],
            rows=[
                [
                    *(clean(one.model), _staff(one.by), clean(one.purpose)),
                    *(one.count, one.first, one.last),
                ]
                for one in found.predictions
                if one.part != "shadow"
            ],
        ),
        Section(
            "What you consented to",
            "" if found.consent else "Nothing is on record.",
            heads=["purpose", "time (UTC)", "", "text"],
            rows=[
                [
                    clean(one.purpose),
                    one.time,
                    "given" if one.given else "withdrawn",
                    clean(one.text),
                ]
                for one in found.consent
            ],
        ),
        Section(
            "Who saw it, and what left",
            "" if seen else "Nothing is on record.",
            heads=["time (UTC)", "what", "of", "by"],
            rows=[
                [one.time, one.what, clean(f"{one.of} {one.version}"), one.by]
                for one in map(_nobody, seen)
            ],
        ),
        Section(
            "Not known, and not in this copy",
            points=[
                *(clean(f"{one.what}: {one.reason}") for one in found.unknown),
                *NOT_IN_IT,
                *(f"column {clean(one)}: withheld by policy" for one in about["withheld_columns"]),
            ],
        ),
    ]


def _listed(told: list[str] | None) -> tuple[str, str]:
    return ("" if told is None else "; ".join(told) or "none"), ""


def _recipients(project: Wiring, found: Affected) -> list[dict[str, str]]:
    """Who got a model that was made of the rows; nobody gets rows."""
    indexes = sorted({index for one in found.models for index in one.exports})
    with project.database.reading() as tx:
        entries = project.log.at(tx, indexes)
    return [
        {"what": one.resource, "time": one.time, "by": one.principal, "entry": str(one.index)}
        for one in entries
    ]
