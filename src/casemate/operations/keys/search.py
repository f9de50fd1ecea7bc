"""Looking for one person in everything that a project keeps."""

import io
import itertools
import re
import zipfile
from collections import Counter
from collections.abc import Iterator
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
from casemate.core.files import below
from casemate.core.store import every_table
from casemate.core.types import SealedDataset
from casemate.operations.keys import packed
from casemate.operations.keys.needle import as_number, needle_of
from casemate.operations.keys.place import Place
from casemate.stages.data import schema as schemas
from casemate.wiring import Wiring

MOST_MEMBER = 2**30
"""Largest member of an archive that is looked into, in bytes."""
_TABLES = "datasets"


@dataclass
class Version:
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
        """How a version is asked for."""
        return f"{self.folder.parent.name}@{self.folder.name}"

    @property
    def classes(self) -> dict[str, str]:
        """Class per column; what no record tells is sealed most strictly."""
        known = {} if self.record is None else classes_of(self.record)
        return {name: known.get(name, "identifier") for name in self.schema.names}


class Search:
    """Looks for one person everywhere."""

    def __init__(self, project: Wiring, subject: str) -> None:
        self.project, self.subject = project, subject
        self.root = project.identifiers.root()
        self.pseudonym = self.root.pseudonym(subject)
        self.looked: dict[str, int] = {}
        self.number = as_number(subject)
        self.needle = needle_of(subject)
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
        """Whether there is a key, or there was one."""
        with self.project.database.reading() as tx:
            return self.project.log.subjects.state(tx, self.pseudonym)

    def versions(self) -> list[Version]:
        """Every sealed version, looked through; also such as no run knows."""
        folders = sorted(
            path.parent for path in (self.project.state / _TABLES).glob(f"*/*/{MANIFEST}")
        )
        self.looked["versions"] = len(folders)
        return [self._version(folder) for folder in folders]

    def _version(self, folder: Path) -> Version:
        project, verifier = self.project, self.project.signer.verifier
        schema = tables.columns_of(folder, project.provider, verifier)
        version = Version(folder, self.records.get((folder.parent.name, folder.name)), schema)
        texts = [item.name for item in schema if pa.types.is_string(item.type)]
        ours = [name for name in schema.names if name in self.columns]
        people = [PSEUDONYM] if PSEUDONYM in schema.names else []
        wanted = [*dict.fromkeys([*ours, *texts, *people])]
        self._look_at(version, tables.read(folder, project.provider, verifier, wanted))
        rest = (
            tables.columns_of(folder, project.provider, verifier, tables.REST).names
            if any(folder.glob(f"{tables.REST}-*.parquet"))
            else []
        )
        wanted = [name for name in wanted if name in rest]
        for piece in tables.scan(folder, project.provider, verifier, wanted, kind=tables.REST):
            self._look_at(version, pa.Table.from_batches([piece]))
        return version

    def _look_at(self, version: Version, table: pa.Table) -> None:
        """Add what rows of a version show, of those of its columns that they have."""
        schema = version.schema
        ours = [name for name in table.column_names if name in self.columns]
        theirs = (
            _is(table[PSEUDONYM], bytes.fromhex(self.pseudonym))
            if PSEUDONYM in table.column_names
            else pa.chunked_array([pa.nulls(table.num_rows, pa.bool_())])
        )
        opened = self.project.identifiers.open(table, self.root)
        rows = 0
        for name in ours:
            sealed = TYPE in (schema.field(name).metadata or {})
            if pa.types.is_floating(opened[name].type):
                _add(version.unsure, name, _is(opened[name], self.number))
                continue
            cells = _is(pc.cast(opened[name], pa.string()), self.subject)
            if sealed:
                rows = max(rows, _count(theirs))
                cells = pc.and_not(cells, pc.fill_null(theirs, False))
            _add(version.cells, name, cells)
        version.rows += rows
        if (self.subject and not self.subject.isdecimal()) or self.needle is not None:
            word = re.escape(self.subject)
            pattern = rf"(^|\W){word}(\W|$)" if self.needle is not None else rf"^\s*{word}\s*$"
            version.texts += [
                item.name
                for item in opened.schema
                if pa.types.is_string(item.type)
                and item.name not in [*ours, *version.texts]
                and pc.any(pc.match_substring_regex(opened[item.name], pattern)).as_py()
            ]

    def empty(self, version: Version) -> None:
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
                if name not in rows.column_names:  # rows beside a sample have fewer columns
                    continue
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

    def is_near(self, versions: list[Version]) -> bool:
        """Whether the newest version has an identifier that differs in leading zeros, case or white
        space only.
        """
        return self._is_similar(self._sealed_as(versions) or [])

    def _is_similar(self, values: list[str]) -> bool:
        return any(_loose(value) == _loose(self.subject) for value in values)

    def _sealed_as(self, versions: list[Version]) -> list[str] | None:
        """Identifiers of the newest version that can be read; None: none names people."""
        name = self.project.config.data.subject
        known = [version for version in versions if name in version.schema.names]
        if name is None or not known:
            return None
        newest = self.project.engine.newest_step("data", SealedDataset)
        version = next(
            (one for one in known if newest and one.folder.name == newest.version), known[-1]
        )
        names = [name, PSEUDONYM] if PSEUDONYM in version.schema.names else [name]
        table = tables.read(
            version.folder, self.project.provider, self.project.signer.verifier, names
        )
        opened = self.project.identifiers.open(table, self.root)[name]
        return [value for value in pc.unique(opened).to_pylist() if isinstance(value, str)]

    def written_how(self, versions: list[Version]) -> str:
        """How identifiers look, without telling one; and whether a similar one is there."""
        values = self._sealed_as(versions)
        if values is None:
            return "no column is sealed per person: name it in [data] subject, then `casemate run`"
        if self._is_similar(values):
            return (
                "one that differs in leading zeros, case or white space only is sealed: give it to"
                " the last character as the table has it"
            )
        name = self.project.config.data.subject
        shape = Counter(
            re.sub(r"[^\W\d_]", "A", re.sub(r"\d", "9", value)) for value in values
        ).most_common(1)
        return (
            f"identifiers in {name!r} are written like {shape[0][0]} (9: a digit, A: a letter)"
            if shape
            else "nobody is sealed in the newest version"
        )

    def left(self, versions: list[Version], look: bool) -> list[Place]:
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
        files = [path for path in below(self.project.state) if path.is_file() and self._plain(path)]
        self.looked["files"] = len(files)
        for path in files:
            if self._holds(path.read_bytes()):
                yield Place(where=str(path.relative_to(self.project.root)), advice=advice)
        yield from packed.places(self.project, self.needle, self._holds, self.looked)
        with self.project.database.reading() as tx:
            every = every_table()
            self.looked["catalogue tables"] = len(every)
            for table in every:
                if any(
                    self._holds(_raw(value))
                    for row in tx.execute(sa.select(table))
                    for value in row
                ):
                    yield Place(where=f"catalogue, table {table.name}", advice=advice)
        self.looked["predictions and requests"] = 0
        beside = set()
        kept = self.project.decisions.contents(), self.project.feedback_kept.contents()
        for index, content in itertools.chain(*kept):
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


def _is(column: pa.ChunkedArray, value: Any) -> pa.ChunkedArray:
    """Where a column holds `value`; nowhere when it is None."""
    if value is None:
        return pa.chunked_array([pa.array([False] * len(column), pa.bool_())])
    return pc.fill_null(pc.equal(column, pa.scalar(value, column.type)), False)


def _count(mask: pa.ChunkedArray) -> int:
    return int(pc.sum(mask).as_py() or 0)


def _add(found: dict[str, int], name: str, mask: pa.ChunkedArray) -> None:
    """Count what was found in one more piece of a column; what has none is not among them."""
    count = found.get(name, 0) + _count(mask)
    if count:
        found[name] = count


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
