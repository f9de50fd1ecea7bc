"""Encrypted backups of a whole project, keys included, consistent while runs and the gateway go on.

Format (version 1): the line `casemate-backup/v1`, a JSON line with the Argon2id parameters (RFC 9106), then a
Cobblestone-256 stream (chunked AEAD: no bit can change and no end can be missing) of a tar file. Its last member,
`MANIFEST.json`, lists the SHA-256 of every other one. The catalogue is copied first, in one snapshot; what it refers to
is content-addressed or written once, so that copying those files afterwards is consistent. The subjects' keys are not in
it: they go into a second file beside it, of which only the newest copy need ever be kept.
"""

import contextlib
import hashlib
import io
import os
import shutil
import sqlite3
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any

import msgspec
import sqlalchemy as sa
from cryptography.cobblestone import Cobblestone256Decryptor, Cobblestone256Encryptor
from cryptography.exceptions import InvalidTag

from casemate.config import FILE_NAME
from casemate.config import load as load_config
from casemate.controls.audit.log import HEAD
from casemate.controls.audit.verify import WITNESSED
from casemate.controls.keys import slots
from casemate.controls.keys.store import keystore_folder
from casemate.controls.keys.subjects import ROOT, SUBJECTS, SubjectKeys
from casemate.core.blobs import S3Blobs
from casemate.core.errors import BackendError, ConfigError, VerificationError
from casemate.core.files import DRAFT, fsync_folder, fsync_tree, make_folder, remove_tree, scratch_folder, shared_lock
from casemate.core.store import open_store
from casemate.core.store.move import copy_rows
from casemate.core.store.sqlite import SqliteStore
from casemate.core.types import Record
from casemate.project import CATALOG, STATE, Project, open_project

MAGIC = b"casemate-backup/v1\n"
MAGIC_SUBJECTS = b"casemate-subjects/v1\n"
MANIFEST = "MANIFEST.json"
HEADS = ("checkpoint", WITNESSED)
SKIPPED = {"audit", "tmp", "studies", CATALOG, f"{CATALOG}-wal", f"{CATALOG}-shm", "lock", ".lock"}
CHUNK = 1 << 20
MAX_HEADER = 4096


class _Header(msgspec.Struct, forbid_unknown_fields=True):
    kdf: str
    salt: bytes
    iterations: int
    lanes: int
    memory_kib: int


class _Person(msgspec.Struct, forbid_unknown_fields=True, array_like=True):
    subject: str
    wrapped: bytes | None
    created: str
    shredded: str | None


class Contents(Record, frozen=True, kw_only=True):
    """What a backup holds."""

    project: str
    """Project id."""
    created: str
    """When, RFC 3339 in UTC."""
    entries: int
    """Entries of the audit log in it."""
    files: dict[str, str]
    """SHA-256 of every file, by name."""
    size: int
    """Bytes before encryption."""


def _key(passphrase: str, header: _Header) -> bytes:
    if header.kdf != "argon2id":
        raise VerificationError("the backup's key derivation is unknown", hint="it was changed, or a newer casemate wrote it")
    return slots.Kdf(salt=header.salt, iterations=header.iterations, lanes=header.lanes, memory_kib=header.memory_kib).derive(passphrase)


def create(project: Project, target: Path, passphrase: str) -> Contents:
    """Write a backup of `project` to the new file `target`.

    Raises:
        ConfigError: the passphrase is shorter than 12 characters, or the file exists.
    """
    slots.check(passphrase)
    for path in (target, subjects_of(target)):
        if path.exists():
            raise ConfigError(f"{path} exists already", hint="name a new file")
    people: list[_Person] = []
    with shared_lock(project.state / "lock", lambda: None), _sealing(target, passphrase, MAGIC) as sink:
        contents = _write(project, sink, people)
    if people:
        with _sealing(subjects_of(target), passphrase, MAGIC_SUBJECTS) as sink:
            sink.write(msgspec.json.encode(people))
    return contents


def subjects_of(target: Path) -> Path:
    """The file beside a backup that holds the subjects' keys."""
    return target.with_name(target.name + ".subjects")


@contextlib.contextmanager
def _sealing(target: Path, passphrase: str, magic: bytes) -> Iterator["_Sealing"]:
    header = _Header("argon2id", os.urandom(16), 3, 4, 1 << 16)
    line = msgspec.json.encode(header)
    make_folder(target.absolute().parent, 0o755)
    descriptor, draft = tempfile.mkstemp(dir=target.absolute().parent, prefix=DRAFT)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(magic + line + b"\n")
            sealed = _Sealing(file, Cobblestone256Encryptor(_key(passphrase, header), line))
            yield sealed
            sealed.finish()
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, target)  # never over an existing file
    finally:
        os.unlink(draft)
    fsync_folder(target.absolute().parent)


def _write(project: Project, sink: Any, people: list["_Person"]) -> Contents:
    digests: dict[str, str] = {}
    total = 0
    with scratch_folder(project.state / "tmp") as scratch, tarfile.open(fileobj=sink, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        snapshot = scratch / CATALOG
        # Heads first: what was published before the snapshot is in it. Tiles are derived from the catalogue when it comes back.
        heads = {name: (project.audit.folder / name).read_bytes() for name in HEADS if (project.audit.folder / name).is_file()}
        _snapshot(project, snapshot)
        people += _without_subjects(snapshot)
        for name, content in heads.items():
            digests[f"project/{STATE}/audit/{name}"] = hashlib.sha256(content).hexdigest()
            total += len(content)
            _add(tar, f"project/{STATE}/audit/{name}", content)
        files = [(name, path.read_bytes) for name, path in [(f"project/{STATE}/{CATALOG}", snapshot), *_files(project)]]
        blobs = project.objects.blobs
        if isinstance(blobs, S3Blobs):
            files += [(f"project/{STATE}/objects/{name}", partial(blobs.read, name)) for name in blobs.names()]
        for name, read_bytes in files:
            content = read_bytes()
            digests[name] = hashlib.sha256(content).hexdigest()
            total += len(content)
            _add(tar, name, content)
        store = SqliteStore(snapshot)
        try:
            with store.reading() as tx:
                entries = int(tx.execute(HEAD.select()).one().size)
        finally:
            store.close()
        contents = Contents(project=project.config.project.id, created=project.clock.now().isoformat(), entries=entries, files=digests, size=total)
        _add(tar, MANIFEST, contents.to_json())
    return contents


def _without_subjects(snapshot: Path) -> list["_Person"]:
    """Take the subjects' keys out of a copy of the catalogue, so that shredding one reaches every backup of the data."""
    store = SqliteStore(snapshot)
    try:
        with store.transaction() as tx:
            rows = tx.execute(sa.select(SUBJECTS)).all()
            tx.execute(SUBJECTS.update().values(wrapped=None))
    finally:
        store.close()
    with contextlib.closing(sqlite3.connect(snapshot, isolation_level=None)) as connection:
        connection.execute("VACUUM")  # nothing of them stays in free pages
    return [_Person(row.subject, row.wrapped, row.created, row.shredded) for row in rows]


def _snapshot(project: Project, target: Path) -> None:
    if isinstance(project.store, SqliteStore):
        project.store.snapshot(target)
        return
    copy = SqliteStore(target)
    try:
        copy.upgrade()
        copy_rows(project.store, copy)
    finally:
        copy.close()


def _files(project: Project) -> Iterator[tuple[str, Path]]:
    """The project's own files, its state and its keys; not the source table, which is sealed in the state already."""
    named = [FILE_NAME, project.config.data.schema, project.config.train.entry.partition(":")[0], *project.config.train.files]
    for name in dict.fromkeys(named):
        if (project.root / name).is_file():
            yield f"project/{name}", project.root / name
    for root, prefix in (
        (project.root / project.config.access.policies, f"project/{project.config.access.policies}"),
        (project.state, f"project/{STATE}"),
        (project.keys.folder, "keys"),
    ):
        for path in sorted(root.rglob("*")):
            parts = path.relative_to(root).parts
            if (
                path.is_file()
                and not path.is_symlink()
                and not (root == project.state and (parts[0] in SKIPPED or parts[0].startswith("moved-")))
                and not path.name.startswith((DRAFT, ".tls-"))
            ):
                yield f"{prefix}/{'/'.join(parts)}", path


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), 0o600
    tar.addfile(member, io.BytesIO(content))


class _Sealing:
    """The writing end of the encrypted stream."""

    def __init__(self, file: IO[bytes], stream: Any) -> None:
        self.file, self.stream = file, stream

    def write(self, content: bytes) -> int:
        self.file.write(self.stream.update(content))
        return len(content)

    def finish(self) -> None:
        self.file.write(self.stream.finalize())


class _Opening:
    """The reading end: nothing leaves it that was not authenticated."""

    def __init__(self, file: IO[bytes], stream: Any) -> None:
        self.file, self.stream, self.ready, self.done = file, stream, bytearray(), False

    def read(self, count: int) -> bytes:
        while len(self.ready) < count and not self.done:
            chunk = self.file.read(CHUNK)
            try:
                self.ready += self.stream.update(chunk) if chunk else self.stream.finalize()
            except (InvalidTag, ValueError) as error:
                raise VerificationError("the backup was changed or cut, or the passphrase is wrong", hint="try another copy of it") from error
            self.done = not chunk
        out = bytes(self.ready[:count])
        del self.ready[:count]
        return out


def restore_subjects(project: Project, path: Path, passphrase: str) -> int:
    """Bring the subjects' keys back from `FILE.subjects`; who was shredded here or there stays shredded. Returns how many rows changed.

    Raises:
        VerificationError: the file was changed or cut, the passphrase is wrong, or it is another project's.
    """
    with path.open("rb") as file:
        stream = _opening(path, file, passphrase, MAGIC_SUBJECTS)
        content = bytearray()
        while chunk := stream.read(CHUNK):
            content += chunk
    try:
        people = msgspec.json.decode(bytes(content), type=list[_Person])
        (root,) = [person.wrapped for person in people if person.subject == ROOT and person.wrapped is not None]
    except (msgspec.MsgspecError, ValueError) as error:
        raise VerificationError(f"{path} holds no subjects' keys", hint="try another copy of it") from error
    opened = SubjectKeys.opened(root, project.provider, "restore of the subjects' keys")
    count = 0
    with project.store.transaction() as tx:
        here = tx.execute(sa.select(SUBJECTS.c.wrapped).where(SUBJECTS.c.subject == ROOT)).scalar()
        if here is not None and SubjectKeys.opened(here, project.keys.provider).pseudonyms != opened.pseudonyms:
            raise VerificationError(f"{path} holds the subjects' keys of another project", hint="take this project's")
        for person in people:
            known = tx.execute(sa.select(SUBJECTS).where(SUBJECTS.c.subject == person.subject)).first()
            values = {"wrapped": person.wrapped, "shredded": person.shredded}
            if known is None:
                tx.execute(SUBJECTS.insert().values(subject=person.subject, created=person.created, **values))
            elif known.shredded is None and (known.wrapped is None or person.shredded is not None):
                tx.execute(SUBJECTS.update().where(SUBJECTS.c.subject == person.subject).values(**values))
            else:
                continue
            count += 1
    return count


def _opening(path: Path, file: IO[bytes], passphrase: str, magic: bytes) -> "_Opening":
    if file.readline(len(magic)) != magic:
        raise VerificationError(f"{path} is no casemate backup", hint="check the path")
    line = file.readline(MAX_HEADER)
    try:
        header = msgspec.json.decode(line, type=_Header)
        return _Opening(file, Cobblestone256Decryptor(_key(passphrase, header), line.removesuffix(b"\n")))
    except (msgspec.MsgspecError, ValueError) as error:
        raise VerificationError(f"{path} was changed", hint="try another copy of it") from error


def _members(path: Path, passphrase: str) -> Iterator[tuple[str, bytes]]:
    with path.open("rb") as file:
        stream = _opening(path, file, passphrase, MAGIC)
        try:
            with tarfile.open(fileobj=stream, mode="r|") as tar:  # type: ignore[call-overload]
                for member in tar:
                    extracted = tar.extractfile(member)
                    if extracted is None or not _inside(member.name):
                        raise VerificationError(f"the backup holds {member.name!r}, which is no plain file", hint="do not use it")
                    yield member.name, extracted.read()
        except tarfile.TarError as error:
            raise VerificationError(f"{path} was changed or cut, or the passphrase is wrong", hint="try another copy of it") from error
        while stream.read(CHUNK):
            continue  # to the authenticated end


def _inside(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and (name == MANIFEST or path.parts[0] in {"project", "keys"})


def read(path: Path, passphrase: str, take: Callable[[str, bytes], None] = lambda _name, _content: None) -> Contents:
    """Read a backup to its end, give every file to `take`, and check all of them against the manifest.

    Raises:
        VerificationError: it was changed or cut, or the passphrase is wrong.
    """
    digests: dict[str, str] = {}
    manifest: bytes | None = None
    for name, content in _members(path, passphrase):
        if manifest is not None or name in digests:
            raise VerificationError("the backup holds more than its manifest says", hint="do not use it")
        if name == MANIFEST:
            manifest = content
        else:
            digests[name] = hashlib.sha256(content).hexdigest()
            take(name, content)
    if manifest is None:
        raise VerificationError(f"{path} ends before its manifest", hint="try another copy of it")
    contents = msgspec.json.decode(manifest, type=Contents)
    if contents.files != digests:
        raise VerificationError(f"{path}: a file does not match the manifest", hint="do not use it")
    return contents


def restore(path: Path, folder: Path, passphrase: str) -> tuple[Project, Contents]:
    """Bring the project back into the new folder `folder`, its keys into the key store, and check everything.

    A catalogue that lived in PostgreSQL comes back as SQLite, objects that lived in a bucket as files; `casemate store migrate` and
    `store objects` move them on. The subjects' keys come
    from the file beside the backup, if it is there.

    Raises:
        ConfigError: the folder is not empty, or other keys of this project lie in the key store.
        VerificationError: the backup or what it holds does not verify; nothing is left behind.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} is not empty", hint="name a new folder")
    parent = make_folder(folder.absolute().parent, 0o755)
    draft = Path(tempfile.mkdtemp(dir=parent, prefix=DRAFT))
    fresh_keys: Path | None = None
    try:
        contents = read(path, passphrase, partial(_unpack, draft))
        _use_sqlite(draft / "project")
        (draft / "project").chmod(0o755)
        if load_config(draft / "project" / FILE_NAME).project.id != contents.project:
            raise VerificationError(f"{path}: its manifest names another project than its {FILE_NAME}", hint="do not use it")
        fsync_tree(draft)
        keys = keystore_folder(contents.project)
        if not keys.exists():
            fresh_keys = keys
            make_folder(keys.parent)
            shutil.copytree(draft / "keys", keys)  # it may lie on another file system
            fsync_tree(keys)
        elif (keys / "keystore.json").read_bytes() != (draft / "keys" / "keystore.json").read_bytes():
            raise ConfigError(
                f"{keys} holds other keys than the backup", hint="the keys were changed since; move that folder away if the backup's count"
            )
        if folder.exists():
            folder.rmdir()
        (draft / "project").rename(folder)
        fsync_folder(parent)
    except BaseException:
        if fresh_keys:
            remove_tree(fresh_keys)
        raise
    finally:
        remove_tree(draft)
    project = open_project(folder)
    if subjects_of(path).is_file():
        restore_subjects(project, subjects_of(path), passphrase)
    project.audit.publish(anew=True)
    project.audit.check()
    return project, contents


def _unpack(draft: Path, name: str, content: bytes) -> None:
    target = draft / name
    make_folder(target.parent)
    target.write_bytes(content)
    target.chmod(0o644 if "/public/" in name or (name.startswith("project/") and not name.startswith(f"project/{STATE}/")) else 0o600)


def _use_sqlite(root: Path) -> None:
    """The catalogue in a backup is SQLite, whatever it was."""
    import tomlkit

    document = tomlkit.parse((root / FILE_NAME).read_text(encoding="utf-8"))
    if document.get("store"):
        document.remove("store")
        (root / FILE_NAME).write_text(tomlkit.dumps(document), encoding="utf-8")
    store = open_store("", root / STATE / CATALOG)
    try:
        store.check()
        if store.damage():
            raise BackendError("the catalogue in the backup is damaged", hint="try an older backup")
    finally:
        store.close()
