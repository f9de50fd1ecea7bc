"""Encrypted backups of a whole project, consistent while runs and the gateway go on, and who can
open them.

A backup is sealed to the recipients that an owner has set (`controls.keys.recipients`), not to
whoever makes it, in up to three files: `FILE` is a tar of the project, whose last member,
`MANIFEST.json`, lists the SHA-256 of every other one; `FILE.subjects` holds the subjects' keys, of
which only the newest copy need ever be kept; `FILE.keys`, on demand, is a tar of the key store,
sealed to those recipients alone that may open keys. The catalogue is copied first, in one snapshot;
what it refers to is content-addressed or written once, so that copying those files afterwards is
consistent.
"""

import contextlib
import hashlib
import io
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
import sqlalchemy as sa

from casemate.config import FILE_NAME
from casemate.config import load as load_config
from casemate.controls.access.identity.principals import current_name
from casemate.controls.audit.log import HEAD
from casemate.controls.audit.verify import WITNESSED
from casemate.controls.keys import keyfile, recipients, sealedfile
from casemate.controls.keys.recipients import Recipient
from casemate.controls.keys.sealedfile import CHUNK, Kind, Opener
from casemate.controls.keys.store import keystore_folder
from casemate.controls.keys.subjects import ROOT, SUBJECTS, SubjectKeys
from casemate.core.blobs import S3Blobs
from casemate.core.errors import AccessDenied, BackendError, ConfigError, VerificationError
from casemate.core.files import (
    DRAFT,
    fsync_folder,
    fsync_tree,
    make_folder,
    remove_tree,
    scratch_folder,
    shared_lock,
    write_nameless,
)
from casemate.core.store import open_store
from casemate.core.store.interface import REVISION
from casemate.core.store.move import copy_rows
from casemate.core.store.sqlite import SqliteStore, vacuum
from casemate.core.types import Record
from casemate.operations.acting import Noun, operation, reading
from casemate.operations.store import bring_up_to_date
from casemate.operations.toml import edited
from casemate.wiring import CATALOG, STATE, Wiring, locate

MANIFEST = "MANIFEST.json"
OLD = "passphrase"
"""In place of a recipient, for backups of version 1."""
HEADS = ("checkpoint", WITNESSED)
SKIPPED = {"audit", "tmp", "studies", CATALOG, f"{CATALOG}-wal", f"{CATALOG}-shm", "lock", ".lock"}
MAX_KEYS = 16 << 20
"""Bytes of a key store, which is opened in memory."""


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


@reading("keys:read", "Key")
def receivers(project: Wiring) -> list[Recipient]:
    """Everybody whom backups are sealed to; AccessDenied: policy."""
    return project.recipients.all()


@operation("backup:recipients")
def add_recipient(
    project: Wiring,
    name: str,
    *,
    public: str | None = None,
    passphrase: str | None = None,
    keys: bool = False,
) -> Recipient:
    """Let every backup from now on be opened by one more.

    Args:
        project: whose backups.
        name: of the recipient, for people.
        public: their public key, as `casemate backup keygen` wrote it.
        passphrase: instead of a public key: makes a pair and locks the private key under it.
        keys: they may open backups of the key store too, and so everything.

    Raises:
        AccessDenied: policy. ConfigError: the name is taken, or there is no key.
    """
    acting = add_recipient.ask(project, recipient=name, keys=keys)
    if (public is None) == (passphrase is None):
        raise ConfigError(
            "a recipient has a public key, or a passphrase",
            hint="--public FILE, or --passphrase prompt",
        )
    raw, locked = (
        (recipients.read_public(public), None)
        if public is not None
        else recipients.generate_locked(passphrase or "")
    )
    with project.database.transaction() as tx:
        project.recipients.add(tx, name, raw, acting.uid, keys=keys, locked=locked)
        detail = {
            "recipient": name,
            "keys": keys,
            "fingerprint": recipients.fingerprint(raw),
            "passphrase": locked is not None,
        }
        acting.append(tx, "backup:recipient-added", _about(project), **detail)
    project.log.publish()
    return next(one for one in project.recipients.all() if one.name == name)


@operation("backup:recipients")
def remove_recipient(project: Wiring, name: str) -> None:
    """Seal no backup to them any more; those that there are stay open to them. AccessDenied, or
    ConfigError when there is none.
    """
    acting = remove_recipient.ask(project, recipient=name)
    with project.database.transaction() as tx:
        project.recipients.remove(tx, name)
        acting.append(tx, "backup:recipient-removed", _about(project), recipient=name)
    project.log.publish()


def _about(project: Wiring) -> str:
    return f'Project::"{project.config.project.id}"'


@operation("backup:create", also=("backup:keys",))
def create(project: Wiring, target: Path, *, with_keys: bool = False) -> Contents:
    """Write a backup of `project` to the new file `target` and what belongs beside it.

    Args:
        project: what is saved.
        target: its file.
        with_keys: save the key store too, in `FILE.keys`, for the recipients that may open keys.

    Raises:
        AccessDenied: policy does not permit it; keys are the custodian's and the owner's.
        ConfigError: nobody could open it, or a file exists.
    """
    acting = create.ask(project, file=target.name, keys=with_keys)
    if with_keys:
        create.ask(project, also="backup:keys", file=target.name)
    everybody = project.recipients.all()
    holders = [one for one in everybody if one.keys]
    if not everybody or (with_keys and not holders):
        raise ConfigError(
            (
                "nobody could open the keys of this backup"
                if everybody
                else "nobody could open this backup: the project has no recipients"
            ),
            hint=(
                "an owner: casemate backup recipients add NAME --passphrase"
                f" prompt{' --keys' if with_keys else ''}"
            ),
        )
    paths = {"data": target, "subjects": subjects_of(target), "keys": keys_of(target)}
    for path in paths.values():
        if path.exists():
            raise ConfigError(f"{path} exists already", hint="name a new file")
    made: list[Path] = []
    try:
        contents = _create(project, paths, everybody, holders if with_keys else [], made)
    except BaseException:
        for path in made:
            path.unlink()
        raise
    detail = {
        "entries": contents.entries,
        "files": len(contents.files),
        "to": [one.name for one in everybody],
        "keys": with_keys,
    }
    acting.record("backup:created", _about(project), **detail)
    return contents


def _create(
    project: Wiring,
    paths: dict[str, Path],
    everybody: list[Recipient],
    holders: list[Recipient],
    made: list[Path],
) -> Contents:
    people: list[_Person] = []
    identifier = project.config.project.id
    with (
        shared_lock(project.state / "lock", lambda: None),
        sealedfile.sealing(paths["data"], "data", identifier, everybody) as sink,
    ):
        contents = _write(project, sink, people)
        if people:
            with sealedfile.sealing(paths["subjects"], "subjects", identifier, everybody) as beside:
                beside.write(msgspec.json.encode(people))
            made.append(paths["subjects"])
        if holders:
            with (
                sealedfile.sealing(paths["keys"], "keys", identifier, holders) as beside,
                tarfile.open(fileobj=beside, mode="w|", format=tarfile.PAX_FORMAT) as tar,  # type: ignore[call-overload]
            ):
                for name, path in _below(project.keystore.folder, "keys"):
                    _add(tar, name, path.read_bytes())
            made.append(paths["keys"])
    return contents


def keys_of(target: Path) -> Path:
    """The file beside a backup that holds the key store."""
    return target.with_name(target.name + ".keys")


def subjects_of(target: Path) -> Path:
    """The file beside a backup that holds the subjects' keys."""
    return target.with_name(target.name + ".subjects")


def _write(project: Wiring, sink: Any, people: list["_Person"]) -> Contents:
    digests: dict[str, str] = {}
    total = 0
    with (
        scratch_folder(project.state / "tmp") as scratch,
        tarfile.open(fileobj=sink, mode="w|", format=tarfile.PAX_FORMAT) as tar,
    ):
        snapshot = scratch / CATALOG
        # Heads first: what was published before the snapshot is in it. Tiles are derived from the
        # catalogue when it comes back.
        heads = {
            name: (project.log.folder / name).read_bytes()
            for name in HEADS
            if (project.log.folder / name).is_file()
        }
        _snapshot(project, snapshot)
        people += _without_subjects(snapshot)
        for name, content in heads.items():
            digests[f"project/{STATE}/audit/{name}"] = hashlib.sha256(content).hexdigest()
            total += len(content)
            _add(tar, f"project/{STATE}/audit/{name}", content)
        files = [
            (name, path.read_bytes)
            for name, path in [(f"project/{STATE}/{CATALOG}", snapshot), *_files(project)]
        ]
        blobs = project.objects.blobs
        if isinstance(blobs, S3Blobs):
            files += [
                (f"project/{STATE}/objects/{name}", partial(blobs.read, name))
                for name in blobs.names()
            ]
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
        contents = Contents(
            project=project.config.project.id,
            created=project.clock.now().isoformat(),
            entries=entries,
            files=digests,
            size=total,
        )
        _add(tar, MANIFEST, contents.to_json())
    return contents


def _without_subjects(snapshot: Path) -> list["_Person"]:
    """Take the subjects' keys out of a copy of the catalogue, so that shredding one reaches every
    backup of the data.
    """
    store = SqliteStore(snapshot)
    try:
        with store.transaction() as tx:
            rows = tx.execute(sa.select(SUBJECTS)).all()
            tx.execute(SUBJECTS.update().values(wrapped=None))
    finally:
        store.close()
    vacuum(snapshot)  # nothing of them stays in free pages
    return [_Person(row.subject, row.wrapped, row.created, row.shredded) for row in rows]


def _snapshot(project: Wiring, target: Path) -> None:
    if isinstance(project.database, SqliteStore):
        project.database.snapshot(target)
        return
    copy = SqliteStore(target)
    try:
        copy.upgrade()
        copy_rows(project.database, copy)
    finally:
        copy.close()


def _files(project: Wiring) -> Iterator[tuple[str, Path]]:
    """The project's own files and its state; not the source table, which is sealed in the state
    already, and no keys.
    """
    named = [
        FILE_NAME,
        project.config.data.schema,
        project.config.train.entry.partition(":")[0],
        *project.config.train.files,
    ]
    for name in dict.fromkeys(named):
        if (project.root / name).is_file():
            yield f"project/{name}", project.root / name
    yield from _below(
        project.root / project.config.access.policies, f"project/{project.config.access.policies}"
    )
    for name, path in _below(project.state, f"project/{STATE}"):
        part = path.relative_to(project.state).parts[0]
        if part not in SKIPPED and not part.startswith("moved-"):
            yield name, path


def _below(root: Path, prefix: str) -> Iterator[tuple[str, Path]]:
    for path in sorted(root.rglob("*")):
        if (
            path.is_file()
            and not path.is_symlink()
            and not path.name.startswith((DRAFT, ".tls-", ".lock"))
        ):
            yield f"{prefix}/{path.relative_to(root).as_posix()}", path


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), 0o600
    tar.addfile(member, io.BytesIO(content))


@operation("backup:restore")
def restore_subjects(project: Wiring, path: Path, opener: Opener) -> int:
    """Bring the subjects' keys back from `FILE.subjects`; who was shredded here or there stays
    shredded. Returns how many rows changed.

    Raises:
        AccessDenied: policy, or the file is sealed to others.
        VerificationError: the file was changed or cut, the passphrase is wrong, or it is another
            project's.
    """
    acting = restore_subjects.ask(project, file=path.name)
    count = _restore_subjects(project, path, opener)
    acting.record("backup:subjects", _about(project), keys=count)
    return count


def _restore_subjects(project: Wiring, path: Path, opener: Opener) -> int:
    with sealedfile.opening(path, "subjects", opener) as stream:
        content = stream.rest()
    try:
        people = msgspec.json.decode(content, type=list[_Person])
        (root,) = [
            person.wrapped
            for person in people
            if person.subject == ROOT and person.wrapped is not None
        ]
    except (msgspec.MsgspecError, ValueError) as error:
        raise VerificationError(
            f"{path} holds no subjects' keys", hint="try another copy of it"
        ) from error
    opened = SubjectKeys.opened(root, project.provider, "restore of the subjects' keys")
    count = 0
    with project.database.transaction() as tx:
        here = tx.execute(sa.select(SUBJECTS.c.wrapped).where(SUBJECTS.c.subject == ROOT)).scalar()
        if (
            here is not None
            and SubjectKeys.opened(here, project.keystore.provider).pseudonyms != opened.pseudonyms
        ):
            raise VerificationError(
                f"{path} holds the subjects' keys of another project", hint="take this project's"
            )
        for person in people:
            known = tx.execute(
                sa.select(SUBJECTS).where(SUBJECTS.c.subject == person.subject)
            ).first()
            values = {"wrapped": person.wrapped, "shredded": person.shredded}
            if known is None:
                tx.execute(
                    SUBJECTS.insert().values(
                        subject=person.subject, created=person.created, **values
                    )
                )
            elif known.shredded is None and (known.wrapped is None or person.shredded is not None):
                tx.execute(
                    SUBJECTS.update().where(SUBJECTS.c.subject == person.subject).values(**values)
                )
            else:
                continue
            count += 1
    return count


def _members(
    path: Path, kind: Kind, opener: Opener, opened: Callable[[str | None], None]
) -> Iterator[tuple[str, bytes]]:
    with sealedfile.opening(path, kind, opener) as stream:
        opened(stream.recipient)
        try:
            with tarfile.open(fileobj=stream, mode="r|") as tar:  # type: ignore[call-overload]
                for member in tar:
                    extracted = tar.extractfile(member)
                    if extracted is None or not _inside(member.name):
                        raise VerificationError(
                            f"the backup holds {member.name!r}, which is no plain file",
                            hint="do not use it",
                        )
                    yield member.name, extracted.read()
        except tarfile.TarError as error:
            raise VerificationError(
                f"{path} {sealedfile.CHANGED}", hint="try another copy of it"
            ) from error
        while stream.read(CHUNK):
            continue  # to the authenticated end


def _inside(name: str) -> bool:
    path = PurePosixPath(name)
    return (
        not path.is_absolute()
        and ".." not in path.parts
        and (name == MANIFEST or path.parts[0] in {"project", "keys"})
    )


def read(
    path: Path,
    opener: Opener,
    take: Callable[[str, bytes], None] = lambda _name, _content: None,
    opened: Callable[[str | None], None] = lambda _recipient: None,
) -> Contents:
    """Read a backup to its end, give every file to `take`, and check all of them against the
    manifest.

    Args:
        path: the backup.
        opener: what it is opened with.
        take: gets (name, content) of every file.
        opened: hears which recipient's key opened it; None for a backup of version 1.

    Raises:
        AccessDenied: it is sealed to others. VerificationError: it was changed or cut, or the
            passphrase is wrong.
    """
    digests: dict[str, str] = {}
    manifest: bytes | None = None
    for name, content in _members(path, "data", opener, opened):
        if manifest is not None or name in digests:
            raise VerificationError(
                "the backup holds more than its manifest says", hint="do not use it"
            )
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


@dataclass
class _Found:
    """What a backup turned out to hold, beside what was unpacked."""

    recipient: str | None = None
    keys: dict[str, bytes] = field(default_factory=dict)
    """Of the key store, by name; never on a disk before everything was checked."""
    holder: str | None = None
    """Whose key opened the key store's backup."""


def restore(
    path: Path, folder: Path, opener: Opener, *, owner: bool = False, code: str | None = None
) -> tuple[Wiring, Contents]:
    """Bring the project back into the new folder `folder`, its keys into the key store, check
    everything, and record who did.

    A catalogue that lived in PostgreSQL comes back as SQLite, objects that lived in a bucket as
    files; `casemate store migrate` and `store objects` move them on. The subjects' keys and the key
    store come from the files beside the backup, if they are there. Nobody gets a right by it:
    owners are those of the log. Who is not known to the project must hold a key that opens its key
    store.

    Args:
        path: the backup.
        folder: new.
        opener: what it is opened with.
        owner: make the user of this machine, who is not known to the project, an owner; for whoever
            may open its keys.
        code: of a second factor, where policy asks for a fresh one and nobody can be logged in yet.

    Raises:
        AccessDenied: it is sealed to others, or policy does not let whoever acts restore it;
            nothing is left behind.
        ConfigError: the folder is not empty, or the keys are not there, or other keys of this
            project lie in the key store.
        VerificationError: the backup or what it holds does not verify; nothing is left behind.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} is not empty", hint="name a new folder")
    parent = make_folder(folder.absolute().parent, 0o755)
    draft = Path(tempfile.mkdtemp(dir=parent, prefix=DRAFT))
    fresh_keys: Path | None = None
    try:
        found = _Found()
        contents = _unpacked(path, draft, opener, found)
        keys = keystore_folder(contents.project)
        if _keys_needed(keys, found.keys):
            fresh_keys = keys
            _write_keys(keys, found.keys)
        _checked(path, draft / "project", opener, found, contents, owner, code)
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
    return Wiring(*locate(folder)), contents


def _unpacked(path: Path, draft: Path, opener: Opener, found: _Found) -> Contents:
    """Everything of a backup: the project in `draft`, the keys in memory."""

    def take(name: str, content: bytes) -> None:
        if not name.startswith("keys/"):
            _unpack(draft, name, content)
        elif sum(map(len, found.keys.values())) + len(content) > MAX_KEYS:
            raise VerificationError(
                f"{path}: the key store in it is larger than {MAX_KEYS >> 20} MiB",
                hint="do not use it",
            )
        else:
            found.keys[name.removeprefix("keys/")] = content

    contents = read(path, opener, take, partial(setattr, found, "recipient"))
    if found.keys:
        found.holder = OLD  # version 1: whoever had its passphrase had the keys
    elif keys_of(path).is_file():
        here = (keystore_folder(contents.project) / keyfile.FILE).exists()
        with contextlib.suppress(*[AccessDenied] if here else []):  # then nobody needs to open them
            for name, content in _members(
                keys_of(path), "keys", opener, partial(setattr, found, "holder")
            ):
                take(name, content)
    _use_sqlite(draft / "project")
    (draft / "project").chmod(0o755)
    if load_config(draft / "project" / FILE_NAME).project.id != contents.project:
        raise VerificationError(
            f"{path}: its manifest names another project than its {FILE_NAME}", hint="do not use it"
        )
    fsync_tree(draft)
    return contents


def _keys_needed(folder: Path, keys: dict[str, bytes]) -> bool:
    """Whether the key store must be written; ConfigError when there is none to write, or another
    one lies there.
    """
    there = folder / keyfile.FILE
    if not there.exists():
        if not keys:
            raise ConfigError(
                f"the keys of this project are not in {folder}",
                hint="put FILE.keys beside the backup, or first: casemate keys restore",
            )
        return True
    if keys and there.read_bytes() != keys.get(keyfile.FILE):
        raise ConfigError(
            f"{folder} holds other keys than the backup",
            hint="the keys were changed since; move that folder away if the backup's count",
        )
    return False


def _write_keys(folder: Path, keys: dict[str, bytes]) -> None:
    """The key store's files, its document last: with it, it is whole."""
    make_folder(folder)
    for name in sorted(keys, key=lambda name: name == keyfile.FILE):
        make_folder((folder / name).parent)
        (folder / name).unlink(missing_ok=True)  # what a killed restore left
        write_nameless(folder / name, keys[name], 0o644 if name.startswith("public/") else 0o600)


def _checked(
    path: Path,
    root: Path,
    opener: Opener,
    found: _Found,
    contents: Contents,
    owner: bool,
    code: str | None,
) -> None:
    """Check the unpacked project, let policy decide in it, and record that it was restored."""
    project = Wiring(*locate(root), check=False)
    try:
        if (project.database.revision() or "") < REVISION:
            bring_up_to_date(project)
        project.database.check()
        project.log.publish(anew=True)
        project.log.check()
        holder = found.holder == OLD or any(
            one.keys and one.name in (found.holder, found.recipient)
            for one in project.recipients.all()
        )
        who, known = _restorer(project, holder, code)
        detail = {
            "created": contents.created,
            "recipient": found.recipient,
            "keys": found.holder,
            "user": current_name(),
        }
        with project.database.transaction() as tx:
            project.log.append(tx, who, "backup:restored", _about(project), "done", detail)
            if owner and not known:
                made = project.point.directory.add(tx, current_name(), ["owner"])
                project.log.append(
                    tx,
                    who,
                    "user:add",
                    made.uid,
                    "done",
                    {"roles": ["owner"], "restored": contents.created},
                )
        if subjects_of(path).is_file():
            _restore_subjects(project, subjects_of(path), opener)
        project.log.publish()
    finally:
        project.database.close()


def _restorer(project: Wiring, holder: bool, code: str | None) -> tuple[str, bool]:
    """(who restores, for the log; whether the project knows them); AccessDenied when they
    may not.
    """
    try:
        identity = project.point.identify()
    except AccessDenied as error:
        if not holder:
            raise AccessDenied(
                f"{error.message}, and this backup was opened by somebody who may not open its"
                " keys",
                hint=(
                    "restore it as somebody whom the project knows, or with a recipient's key for"
                    " keys"
                ),
            ) from error
        return f"a recipient of backups, as {current_name()!r} of another machine", False
    if code is not None:
        project.point.factors.verify(identity.principal.name, code)
    return restore_subjects.ask(project, fresh=code is not None, unrecorded=True).uid, True


def _unpack(draft: Path, name: str, content: bytes) -> None:
    target = draft / name
    make_folder(target.parent)
    target.write_bytes(content)
    target.chmod(
        0o644
        if "/public/" in name
        or (name.startswith("project/") and not name.startswith(f"project/{STATE}/"))
        else 0o600
    )


def _use_sqlite(root: Path) -> None:
    """The catalogue in a backup is SQLite, whatever it was."""
    with edited(root) as document:
        document.pop("store", None)
    store = open_store("", root / STATE / CATALOG)
    try:
        if store.damage():
            raise BackendError("the catalogue in the backup is damaged", hint="try an older backup")
    finally:
        store.close()


class Backups(Noun):
    """Backups of a project, by their verbs."""

    create = create
    restore_subjects = restore_subjects
    recipients = receivers
    add_recipient = add_recipient
    remove_recipient = remove_recipient
