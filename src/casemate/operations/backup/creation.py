"""Writing a backup, consistent while runs and the gateway go on."""

import hashlib
import tarfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from casemate.config import FILE_NAME
from casemate.controls.audit.entries import HEAD
from casemate.controls.audit.verify import WITNESSED
from casemate.controls.keys import sealedfile
from casemate.controls.keys.recipients import Recipient
from casemate.core.blobs import S3Blobs
from casemate.core.digest import sha256_file
from casemate.core.errors import ConfigError
from casemate.core.files import (
    DRAFT,
    below,
    scratch_folder,
    shared_lock,
    write_atomic,
)
from casemate.core.store.move import copy_rows
from casemate.core.store.sqlite import SqliteStore
from casemate.operations.acting import operation
from casemate.operations.backup.archive import MANIFEST, Contents, about, add, keys_of, subjects_of
from casemate.operations.backup.subjects import Person, without_subjects
from casemate.operations.rights.again import erased_of
from casemate.watch.sinks.spool import PLACE as SPOOL
from casemate.wiring import CATALOG, STATE, Wiring

HEADS = ("checkpoint", WITNESSED)
SKIPPED = {
    "audit",
    "tmp",
    "studies",
    "logs",
    CATALOG,
    f"{CATALOG}-wal",
    f"{CATALOG}-shm",
    "lock",
    ".lock",
}


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
    paths["erased"] = erased_of(target)
    for path in paths.values():
        if path.exists():
            raise ConfigError(f"{path} exists already", hint="name a new file")
    made: list[Path] = []
    try:
        contents = _create(project, paths, everybody, holders if with_keys else [], made)
    # Also of Ctrl-C: half a backup that looks whole is worse than none.
    except BaseException:
        for path in made:
            path.unlink()
        raise
    detail = {
        "entries": contents.entries,
        "files": len(contents.files),
        "to": [one.name for one in everybody],
        "keys": with_keys,
        "file": target.name,
        "sha256": sha256_file(target),
    }
    acting.record("backup:created", about(project), **detail)
    return contents


def _create(
    project: Wiring,
    paths: dict[str, Path],
    everybody: list[Recipient],
    holders: list[Recipient],
    made: list[Path],
) -> Contents:
    people: list[Person] = []
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
                    add(tar, name, path.read_bytes())
            made.append(paths["keys"])
    if records := project.erasures.all():
        write_atomic(paths["erased"], project.erasures.encoded(records))
        made.append(paths["erased"])
    return contents


def _write(project: Wiring, sink: Any, people: list["Person"]) -> Contents:
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
        people += without_subjects(snapshot)
        for name, content in heads.items():
            digests[f"project/{STATE}/audit/{name}"] = hashlib.sha256(content).hexdigest()
            total += len(content)
            add(tar, f"project/{STATE}/audit/{name}", content)
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
            add(tar, name, content)
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
        add(tar, MANIFEST, contents.to_json())
    return contents


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
        parts = path.relative_to(project.state).parts
        # what waits in the spool changes while this reads, and the log that it is made from is here
        if parts[0] not in SKIPPED and not parts[0].startswith("moved-") and parts[:2] != SPOOL:
            yield name, path


def _below(root: Path, prefix: str) -> Iterator[tuple[str, Path]]:
    for path in below(root):
        if (
            path.is_file()
            and not path.is_symlink()
            and not path.name.startswith((DRAFT, ".tls-", ".lock"))
        ):
            yield f"{prefix}/{path.relative_to(root).as_posix()}", path
