"""Bringing a project back from its backup, checked and on record."""

import contextlib
import tempfile
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from casemate.config import FILE_NAME
from casemate.config import load as load_config
from casemate.controls.access.identity.principals import current_name
from casemate.controls.keys import keyfile
from casemate.controls.keys.sealedfile import Opener
from casemate.core.errors import AccessDenied, BackendError, ConfigError, VerificationError
from casemate.core.files import (
    DRAFT,
    fsync_folder,
    fsync_tree,
    make_folder,
    remove_tree,
    write_nameless,
)
from casemate.core.home import keystore_folder
from casemate.core.store import open_store
from casemate.core.store.interface import REVISION
from casemate.operations.backup.archive import (
    Contents,
    about,
    keys_of,
    members,
    read,
    subjects_of,
)
from casemate.operations.backup.subjects import bring_back, restore_subjects
from casemate.operations.rights import again
from casemate.operations.store import bring_up_to_date
from casemate.operations.toml import edited
from casemate.wiring import CATALOG, STATE, Wiring

OLD = "passphrase"
"""In place of a recipient, for backups of version 1."""
MAX_KEYS = 16 << 20
"""Bytes of a key store, which is opened in memory."""


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
    return Wiring.at(folder), contents


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
            for name, content in members(
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
    project = Wiring.at(root, check=False)
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
            project.log.append(tx, who, "backup:restored", about(project), "done", detail)
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
        # before keys of people who were erased since come back, and once more for those that the
        # catalogue did not know
        more = again.registers_beside(project, path)
        again.carry_out(project, who, more)
        if subjects_of(path).is_file():
            bring_back(project, subjects_of(path), opener)
            again.carry_out(project, who, more)
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
