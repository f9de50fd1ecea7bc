"""`casemate keys shred`: a person's key is destroyed, and everything kept is looked through for
their identifier.

Sealed per subject, an identifier is gone with its key, in every version and in every backup. That
is not all there can be: versions that were sealed before the subject was named hold it under a
column's key, another person's row may name it, and evidence or a model can list it as a category.
Cells of tables are emptied, the version sealed anew; what is signed or written in the log is not
changed but named, and then nobody says "erased".
"""

import html
import io
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from casemate.controls.keys import tables
from casemate.controls.keys.identifiers import PSEUDONYM, TYPE, classes_of
from casemate.controls.keys.manifests import MANIFEST
from casemate.core.errors import ConfigError, RefusedError
from casemate.core.files import alone
from casemate.core.store import METADATA
from casemate.core.types import Record, SealedDataset
from casemate.operations.acting import operation
from casemate.stages.data import schema as schemas
from casemate.wiring import Wiring

SHORTEST = 6
"""Shorter identifiers are looked for as whole cells of tables only, such as 42 in their own columns
only: elsewhere they are there by chance.
"""
MOST_MEMBER = 2**30
"""Largest member of an archive that is looked into, in bytes."""
_TABLES = "datasets"


class Place(Record, frozen=True, kw_only=True):
    """Where a person can still be found, and what to do about it."""

    where: str
    advice: str


class Erased(Record, frozen=True, kw_only=True):
    """What an erasure did and what it looked through."""

    subject: str
    """The person's pseudonym."""
    key: bool
    """Whether there was a key, which is destroyed now."""
    looked: dict[str, int]
    """How much was looked through, by kind."""
    sealed: dict[str, int]
    """Version -> rows whose identifiers went with the key (to `look`: would go)."""
    emptied: dict[str, int]
    """Version -> cells that were taken out, because the key does not cover them."""
    readable: list[Place]
    """Where the identifier can still be read."""
    beyond: list[Place]
    """What was not looked through, or is not casemate's to change."""


@dataclass
class _Version:
    """A sealed version and where the person is in it."""

    folder: Path
    record: SealedDataset | None
    schema: pa.Schema
    rows: int = 0
    """Rows that are theirs by pseudonym, identifiers as text."""
    cells: dict[str, int] = field(default_factory=dict)
    """Column -> cells with their identifier that their key does not cover."""
    unsure: dict[str, int] = field(default_factory=dict)
    """Column -> cells that may be theirs: what was read as a number."""
    texts: list[str] = field(default_factory=list)
    """Other columns in which it stands."""

    @property
    def name(self) -> str:
        return f"{self.folder.parent.name}@{self.folder.name}"

    @property
    def classes(self) -> dict[str, str]:
        """Class per column; what no record tells is sealed most strictly."""
        known = {} if self.record is None else classes_of(self.record)
        return {name: known.get(name, "identifier") for name in self.schema.names}


@operation("keys:shred", "Key")
def erase(
    project: Wiring, subject: str | Callable[[], str], *, look: bool = False, blank: bool = False
) -> Erased:
    """Destroy a person's key, empty what it does not cover, and look for what is left.

    Args:
        project: whose.
        subject: the person's identifier, exactly as the table has it (without white space around
            it), or what asks for it.
        look: change nothing.
        blank: where identifiers were read as numbers, so that several people may have become one,
            empty every cell that may be theirs.

    Raises:
        AccessDenied: policy does not permit it.
        ConfigError: nobody is sealed under this identifier.
        RefusedError: their key was shredded before and nothing else is here, or a version does not
            tell people apart and `blank` is off.
        BusyError: a run goes on.
    """
    acting = erase.ask(project, "subjects", look=look)
    identifier = subject if isinstance(subject, str) else subject()
    with alone(project.state / "lock", "erasing a person"):
        if not look:
            _require_current(project)
        search = _Search(project, identifier.strip())
        state = search.state()
        versions = search.versions()
        _require_something(search, state, versions, look)
        if not look:
            _require_certain(versions, blank)
            for version in versions:
                search.empty(version)
            if state == "live":
                project.log.shred(acting.uid, search.subject)
        emptied = {
            version.name: count
            for version in versions
            if (count := sum((version.cells | version.unsure).values()))
        }
        readable = search.left(versions if look else search.versions(), look)
        if not look:
            outcome, told = (
                "failed" if readable else "done",
                {
                    "looked": search.looked,
                    "emptied": emptied,
                    "readable": len(readable),
                },
            )
            acting.record("subject:erased", f'Subject::"{search.pseudonym}"', outcome, **told)
    sealed = {
        version.name: version.rows
        for version in versions
        if version.rows and (state == "live" or look)
    }
    return Erased(
        subject=search.pseudonym,
        key=state == "live" and not look,
        looked=search.looked,
        sealed=sealed,
        emptied={} if look else emptied,
        readable=readable,
        beyond=_beyond(project, emptied=bool(emptied), short=search.needle is None),
    )


def _require_current(project: Wiring) -> None:
    """A version that is in use must not get gaps because its subject is not sealed yet."""
    subject, newest = project.config.data.subject, project.engine.newest_step("data", SealedDataset)
    if newest is not None and subject is not None and newest.subject != subject:
        raise ConfigError(
            f"{newest.name}@{newest.version} was sealed before [data] subject named {subject!r}:"
            " nothing was destroyed",
            hint="`casemate run` seals it anew, then shred",
        )


def _require_something(search: "_Search", state: str, versions: list[_Version], look: bool) -> None:
    """The identifier must be here at all."""
    if state == "live" or any(version.cells or version.unsure for version in versions):
        return
    if state == "shredded":
        if not look:
            raise RefusedError(
                "this subject's key was shredded before, and no table holds their identifier",
                hint="`casemate keys shred REF --look` looks through everything",
            )
        return
    raise ConfigError(
        "nobody is sealed under this identifier: nothing was destroyed",
        hint=search.written_how(versions),
    )


def _require_certain(versions: list[_Version], blank: bool) -> None:
    unsure = [version.name for version in versions if version.unsure]
    if unsure and not blank:
        raise RefusedError(
            f"{', '.join(unsure[:5])}: identifiers were read as numbers there, so several people"
            " may look like this one; nothing was destroyed",
            hint=(
                "`casemate run` seals the newest version anew as text; then --blank empties every"
                " cell of the older ones that may be theirs"
            ),
        )


def _beyond(project: Wiring, *, emptied: bool, short: bool) -> list[Place]:
    """What was not looked through: the sources, the backups that the log knows of, and everything
    but tables for a short identifier.
    """
    said = project.config.data.source
    sources = [
        *(said if isinstance(said, list) else [said]),
        *project.config.assess.tables.values(),
    ]
    found = [
        Place(
            where=str(source),
            advice="the next run reads it again: take the person out of the source too",
        )
        for source in sources
    ]
    made = [
        entry
        for entry in project.log.entries()
        if entry.action == "backup:create" and entry.outcome == "allowed"
    ]
    if made:
        newest = (
            f"{len(made)} backups, the newest {made[-1].detail.get('file', '')} of"
            f" {made[-1].time[:10]}"
        )
        advice = (
            "remove all but the newest .subjects file"
            if not emptied
            else "they hold what was taken out of the tables here: make a new one and remove them"
        )
        found.append(Place(where=newest, advice=advice))
    if short:
        where = "objects, evidence, catalogue and log"
        advice = (
            f"not looked through: fewer than {SHORTEST} characters are in any bytes by chance; no"
            " column of a sealed table should list them"
        )
        found.append(Place(where=where, advice=advice))
    return found


class _Search:
    """Looks for one person everywhere."""

    def __init__(self, project: Wiring, subject: str) -> None:
        self.project, self.subject = project, subject
        self.root = project.identifiers.root()
        self.pseudonym = self.root.pseudonym(subject)
        self.looked: dict[str, int] = {}
        self.number = _number(subject)
        self.needle = _needle(subject)
        records = [
            project.engine.record(run.id, "data", SealedDataset) for run in project.engine.runs()
        ]
        self.records = {
            (record.name, record.version): record for record in records if record is not None
        }
        pinned = schemas.load(project.root / project.config.data.schema)
        now = (
            []
            if pinned is None
            else [
                column.name
                for column in pinned.columns
                if project.config.data.identifies(column.name)
            ]
        )
        self.columns = {
            *now,
            *(pinned.identifiers if pinned else ()),
            *filter(None, [project.config.data.subject]),
        }
        for record in self.records.values():
            self.columns |= {*record.schema.identifiers, *filter(None, [record.subject])}

    def state(self) -> str:
        with self.project.database.reading() as tx:
            return self.project.log.subjects.state(tx, self.pseudonym)

    def versions(self) -> list[_Version]:
        """Every sealed version, looked through; also such as no run knows."""
        folders = sorted(
            path.parent for path in (self.project.state / _TABLES).glob(f"*/*/{MANIFEST}")
        )
        self.looked["versions"] = len(folders)
        return [self._version(folder) for folder in folders]

    def _version(self, folder: Path) -> _Version:
        project, verifier = self.project, self.project.signer.verifier
        schema = tables.columns_of(folder, project.provider, verifier)
        version = _Version(folder, self.records.get((folder.parent.name, folder.name)), schema)
        texts = [item.name for item in schema if pa.types.is_string(item.type)]
        ours = [name for name in schema.names if name in self.columns]
        people = [PSEUDONYM] if PSEUDONYM in schema.names else []
        table = tables.read(
            folder, project.provider, verifier, [*dict.fromkeys([*ours, *texts, *people])]
        )
        theirs = (
            _is(table[PSEUDONYM], bytes.fromhex(self.pseudonym))
            if people
            else pa.chunked_array([pa.nulls(table.num_rows, pa.bool_())])
        )
        opened = project.identifiers.open(table, self.root)
        for name in ours:
            sealed = TYPE in (schema.field(name).metadata or {})
            if pa.types.is_floating(opened[name].type):
                version.unsure |= _counted(name, _is(opened[name], self.number))
                continue
            cells = _is(pc.cast(opened[name], pa.string()), self.subject)
            if sealed:
                version.rows = max(version.rows, _count(theirs))
                cells = pc.and_not(cells, pc.fill_null(theirs, False))
            version.cells |= _counted(name, cells)
        if (self.subject and not self.subject.isdecimal()) or self.needle is not None:
            word = re.escape(self.subject)
            pattern = rf"(^|\W){word}(\W|$)" if self.needle is not None else rf"^\s*{word}\s*$"
            version.texts = [
                name
                for name in texts
                if name not in ours
                and pc.any(pc.match_substring_regex(opened[name], pattern)).as_py()
            ]
        return version

    def empty(self, version: _Version) -> None:
        """Take the cells that the key does not cover out of a version, which is replaced as a
        whole.
        """
        names = [*version.cells, *version.unsure]
        if not names:
            return
        people = version.schema.names

        def change(rows: pa.Table) -> pa.Table:
            opened = self.project.identifiers.open(rows, self.root) if PSEUDONYM in people else rows
            for name in names:
                wrong = (
                    _is(opened[name], self.number)
                    if name in version.unsure
                    else _is(pc.cast(opened[name], pa.string()), self.subject)
                )
                place = rows.column_names.index(name)
                kept = pc.if_else(wrong, pa.scalar(None, rows.schema.field(place).type), rows[name])
                rows = rows.set_column(place, rows.schema.field(place), kept)
            return rows

        tables.seal_anew(
            version.folder, self.project.provider, self.project.signer, version.classes, change
        )

    def written_how(self, versions: list[_Version]) -> str:
        """How identifiers look, without telling one; and whether a similar one is there."""
        name = self.project.config.data.subject
        known = [version for version in versions if name in version.schema.names]
        if name is None or not known:
            return "no column is sealed per person: name it in [data] subject, then `casemate run`"
        newest = self.project.engine.newest_step("data", SealedDataset)
        version = next(
            (one for one in known if newest and one.folder.name == newest.version), known[-1]
        )
        names = [name, PSEUDONYM] if PSEUDONYM in version.schema.names else [name]
        table = tables.read(
            version.folder, self.project.provider, self.project.signer.verifier, names
        )
        values = [
            value
            for value in pc.unique(
                self.project.identifiers.open(table, self.root)[name]
            ).to_pylist()
            if isinstance(value, str)
        ]
        if any(_loose(value) == _loose(self.subject) for value in values):
            return (
                "one that differs in leading zeros, case or white space only is sealed: give it to"
                " the last character as the table has it"
            )
        shape = Counter(
            re.sub(r"[^\W\d_]", "A", re.sub(r"\d", "9", value)) for value in values
        ).most_common(1)
        return (
            f"identifiers in {name!r} are written like {shape[0][0]} (9: a digit, A: a letter)"
            if shape
            else "nobody is sealed in the newest version"
        )

    def left(self, versions: list[_Version], look: bool) -> list[Place]:
        """Where the identifier can be read now; without `look` the key is gone already."""
        anew = "its subject column is not covered: shred again"
        found = [
            Place(
                where=f"table {one.name}, column {name!r}",
                advice="`casemate keys shred` empties it" if look else anew,
            )
            for one in versions
            for name in [*one.cells, *one.unsure]
        ]
        found += [
            Place(
                where=f"table {one.name}, column {name!r}",
                advice=f'[data.columns] {name} = {{ class = "identifier" }}, run, and shred again',
            )
            for one in versions
            for name in one.texts
        ]
        return found + self._listed() + list(self._bytes(look))

    def _listed(self) -> list[Place]:
        """Schemas that list it as a category: of the records, and pinned."""
        found = []
        pinned = schemas.load(self.project.root / self.project.config.data.schema)
        listed = {
            f"the record of {name}@{version}": record.schema
            for (name, version), record in self.records.items()
        }
        for where, schema in (
            listed | ({self.project.config.data.schema: pinned} if pinned else {})
        ).items():
            for column in schema.columns:
                if column.name in self.columns and self.subject in (column.categories or []):
                    advice = (
                        "it was no identifier then: models and evidence of that version list it;"
                        " train anew and delete them"
                    )
                    found.append(
                        Place(where=f"{where}, categories of {column.name!r}", advice=advice)
                    )
        return found

    def _bytes(self, look: bool) -> Iterator[Place]:
        """Everything else that is kept, decrypted where it is sealed; to `look`, without what the
        log seals under the person's key.
        """
        if self.needle is None:
            return
        advice = (
            "it was made before the identifier was sealed per person: delete it, or treat it as"
            " personal data"
        )
        objects = self.project.objects
        digests = objects.digests()
        self.looked["objects"] = len(digests)
        for digest in digests:
            if self._holds(b"".join(objects.pieces(digest))):
                yield Place(where=f"object {digest[:12]}", advice=advice)
        files = [
            path
            for path in sorted(self.project.state.rglob("*"))
            if path.is_file() and self._plain(path)
        ]
        self.looked["files"] = len(files)
        for path in files:
            if self._holds(path.read_bytes()):
                yield Place(where=str(path.relative_to(self.project.root)), advice=advice)
        with self.project.database.reading() as tx:
            self.looked["catalogue tables"] = len(METADATA.sorted_tables)
            for table in METADATA.sorted_tables:
                if any(
                    self._holds(_raw(value))
                    for row in tx.execute(sa.select(table))
                    for value in row
                ):
                    yield Place(where=f"catalogue, table {table.name}", advice=advice)
        self.looked["predictions and requests"] = 0
        beside = set()
        for index, content in self.project.decisions.contents():
            self.looked["predictions and requests"] += 1
            beside |= {index} if self._holds(content) else set()
        for index in sorted(beside):
            yield Place(
                where=f"requests beside log entry {index}",
                advice="[serve] inputs_days and keep_days end their time",
            )
        self.looked["log entries"] = 0
        for entry in self.project.log.entries():
            self.looked["log entries"] += 1
            told = {
                name: value
                for name, value in entry.detail.items()
                if not look or name != "personal"
            }
            if self._holds(msgspec.json.encode([entry.resource, told])):
                yield Place(
                    where=f"audit log, entry {entry.index}",
                    advice="what is logged stays; it should have been given as `personal`",
                )

    def _plain(self, path: Path) -> bool:
        """Not a sealed table, object or catalogue, which are read in other ways."""
        top = path.relative_to(self.project.state).parts[0]
        return top not in (_TABLES, "objects") and not top.startswith("catalog.db")

    def _holds(self, content: bytes) -> bool:
        if self.needle is None:
            return False
        if self.needle.search(content):
            return True
        if not content.startswith(b"PK"):
            return False
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                return any(
                    self.needle.search(archive.read(item))
                    for item in archive.infolist()
                    if item.file_size <= MOST_MEMBER
                )
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError):
            return False


def _number(subject: str) -> float | None:
    try:
        return float(subject) if subject.isascii() else None
    except ValueError:
        return None


def _needle(subject: str) -> re.Pattern[bytes] | None:
    """What the identifier looks like in bytes; None when it is too short to be looked for there."""
    if len(subject) < SHORTEST:
        return None
    forms = {
        subject.encode(),
        *(
            msgspec.json.encode(subject)[1:-1],
            subject.encode("unicode_escape"),
            html.escape(subject).encode(),
        ),
    }
    # as a tool writes it that read a number
    if (number := _number(subject)) is not None and len(subject.lstrip("0")) >= SHORTEST:
        forms |= {repr(number).encode(), msgspec.json.encode(number)}
    # NumPy's text
    arrays = [
        _bounded(re.escape(subject.encode(encoding)), b"\0" * more)
        for encoding, more in (("utf-16-le", 1), ("utf-32-le", 3))
    ]
    return re.compile(b"|".join([_bounded(b"|".join(map(re.escape, sorted(forms)))), *arrays]))


def _bounded(pattern: bytes, more: bytes = b"") -> bytes:
    """The pattern where no letter, digit or underscore goes on with it; each has `more` bytes
    behind it.
    """
    letter = b"[0-9A-Za-z_]" + more
    return b"(?<!" + letter + b")(?:" + pattern + b")(?!" + letter + b")"


def _is(column: pa.ChunkedArray, value: Any) -> pa.ChunkedArray:
    """Where a column holds `value`; nowhere when it is None."""
    if value is None:
        return pa.chunked_array([pa.array([False] * len(column), pa.bool_())])
    return pc.fill_null(pc.equal(column, pa.scalar(value, column.type)), False)


def _count(mask: pa.ChunkedArray) -> int:
    return int(pc.sum(mask).as_py() or 0)


def _counted(name: str, mask: pa.ChunkedArray) -> dict[str, int]:
    count = _count(mask)
    return {name: count} if count else {}


def _loose(text: str) -> str:
    return text.strip().casefold().lstrip("0")


def _raw(value: Any) -> bytes:
    return (
        value
        if isinstance(value, bytes)
        else str(value).encode()
        if isinstance(value, str)
        else b""
    )
