"""`casemate keys rotate` and `destroy`: where wrapped keys lie, and how they come under another
version.

A rotation makes a new version of a key-encryption key, then wraps every data key anew, one place
after another; no data byte is touched. It can be interrupted anywhere: the next one goes on with
what is still under an older version.
"""

import contextlib
import datetime
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from casemate.config import KeysTable
from casemate.controls.audit.bodies import KEK as AUDIT
from casemate.controls.keys import keyfile, objects
from casemate.controls.keys.interface import PURPOSES, KeyKeeper
from casemate.controls.keys.keyfile import Document
from casemate.controls.keys.manifests import MANIFEST
from casemate.controls.keys.signers import SignerRecord
from casemate.controls.keys.store import IDENTITY, keystore_folder
from casemate.controls.keys.subjects import KEK as SUBJECTS
from casemate.core.errors import (
    BackendError,
    BusyError,
    ConfigError,
    RefusedError,
    VerificationError,
)
from casemate.core.files import alone
from casemate.core.types import Record, SealedDataset
from casemate.operations.acting import Operation, operation
from casemate.operations.toml import edited
from casemate.wiring import Wiring

BATCH = 400
TABLE_KEYS = ("footer", "general", "sensitive", "identifier")
Progress = Callable[[str, int, int], None]


class Rotated(Record, frozen=True, kw_only=True):
    """What a rotation did."""

    keys: dict[str, int]
    """The active version of every key that was rotated."""
    rewrapped: dict[str, int]
    """How many wrapped keys were wrapped anew, by place."""
    sealed_anew: dict[str, int]
    """With `compromised`: what was encrypted again, by place."""


@operation("keys:rotate", "Key")
def rotate(
    project: Wiring,
    keys: list[str],
    *,
    compromised: bool = False,
    resume: bool = False,
    progress: Progress = lambda _text, _done, _total: None,
) -> Rotated:
    """Make a new version of these keys and bring everything under it.

    Args:
        project: whose keys.
        keys: purposes; none means all.
        compromised: encrypt the data itself again too, under new data keys.
        resume: make no new version: only bring under the active one what is not yet.
        progress: hears (place, done, total).

    Raises:
        AccessDenied: policy.
        ConfigError: there is no such key.
        BackendError: the provider is away; run it again with `resume`.
    """
    acting = rotate.ask(project, ",".join(keys) or "all", compromised=compromised)
    chosen = keys or list(PURPOSES)
    for key in chosen:
        _known(key)
    with (
        alone(project.state / "lock", "encrypting the data again")
        if compromised
        else contextlib.nullcontext()
    ):
        done = _rotate(project, chosen, compromised, resume, progress)
    acting.record(
        "keys:rotated",
        'Key::"all"',
        versions=done.keys,
        rewrapped=done.rewrapped,
        sealed_anew=done.sealed_anew,
    )
    return done


def _rotate(
    project: Wiring, chosen: list[str], compromised: bool, resume: bool, progress: Progress
) -> Rotated:
    if not resume:
        for key in chosen:
            project.keystore.provider.rotate(key)
    newest = {
        key: versions[-1].number
        for key, versions in project.keystore.provider.versions().items()
        if key in chosen
    }
    rotation = _Rotation(project, newest, progress)
    rewrapped = rotation.rewrap()
    if IDENTITY in newest and project.keystore.rewrap_identity():
        rewrapped["private keys"] = 1
    anew = rotation.seal_anew() if compromised else {}
    return Rotated(keys=newest, rewrapped=rewrapped, sealed_anew=anew)


def _known(key: str) -> None:
    if key not in PURPOSES:
        raise ConfigError(f"there is no key {key!r}", hint="keys: " + ", ".join(PURPOSES))


@operation("keys:signer", "Key")
def new_signer(project: Wiring, compromised: datetime.datetime | None = None) -> SignerRecord:
    """Sign with new keys from now on; what the former signer signed stays valid, but for a
    compromise.

    Args:
        project: whose signer.
        compromised: since when somebody else may have had the present private keys.

    Raises:
        AccessDenied: policy. BusyError: a run goes on.
    """
    acting = new_signer.ask(project, "signer", change="rotate")
    with alone(project.state / "lock", "changing the signer"):
        if compromised is not None:
            project.compromises.declare(
                project.log, acting.uid, project.keystore.signers[-1], compromised
            )
        fresh = project.keystore.rotate_signer(project.clock.now(), compromised)
        project.signer_changed()
        detail = {"number": fresh.number, "fingerprint": project.signer.verifier.fingerprint}
        acting.record(
            "signer:rotated",
            'Key::"signer"',
            compromised=compromised and compromised.isoformat(),
            **detail,
        )
    return fresh


@operation("keys:signer", "Key")
def distrust(project: Wiring, number: int, since: datetime.datetime) -> None:
    """Say that a former signer's keys may have been in other hands: of its signatures only those
    count that the log shows to be older.

    Args:
        project: whose signer.
        number: of the signer. The present one is declared by `new_signer`.
        since: when that may have begun.

    Raises:
        AccessDenied: policy. BusyError: a run goes on.
        ConfigError: there is no such former signer, an earlier compromise is declared already.
    """
    acting = distrust.ask(project, "signer", change="distrust")
    with alone(project.state / "lock", "declaring a compromise"):
        project.keystore.distrust(number, since)
        project.compromises.declare(
            project.log, acting.uid, project.keystore.signers[number - 1], since
        )
        project.signer_changed()


@operation("keys:destroy", "Key")
def destroy(project: Wiring, key: str, version: int) -> None:
    """Destroy a version and all older ones, once nothing is under them any more.

    Raises:
        AccessDenied: policy.
        RefusedError: something is, or the subjects' keys are away.
        BusyError: a run goes on.
        ConfigError: it is the active version, or there is none such.
    """
    with _changing(destroy, project, key, version):
        _destroy(project, key, version)


@contextlib.contextmanager
def _changing(
    change: Operation[..., None], project: Wiring, key: str, version: int
) -> Iterator[None]:
    """Ask for a change of one version, and record it once it is done."""
    acting = change.ask(project, key, version=version)
    _known(key)
    yield
    acting.record(change.action, f'Key::"{key}"', version=version)


def _destroy(project: Wiring, key: str, version: int) -> None:
    with alone(project.state / "lock", "destroying a key"):
        if version >= project.keystore.provider.versions()[key][-1].number:
            raise ConfigError(
                f"version {version} of {key!r} is the active one",
                hint=f"`casemate keys rotate {key}` first",
            )
        if key == SUBJECTS:
            _require_subjects(project)
        _require_unused(project, key, version)
        project.keystore.provider.destroy(key, version)


@operation("keys:disable", "Key")
def disable(project: Wiring, key: str, version: int) -> None:
    """Refuse a version and all older ones until `enable`.

    Raises:
        AccessDenied: policy.
        RefusedError: the project could not even be opened without it.
        ConfigError: there is none such.
    """
    with _changing(disable, project, key, version):
        if key in {IDENTITY, AUDIT}:  # without them nobody could be authorised to enable them again
            _require_unused(project, key, version)
        project.keystore.provider.disable(key, version)


@operation("keys:enable", "Key")
def enable(project: Wiring, key: str, version: int) -> None:
    """Allow a version and all newer ones to unwrap again; AccessDenied, or ConfigError when there
    is none such.
    """
    with _changing(enable, project, key, version):
        project.keystore.provider.enable(key, version)


def _require_unused(project: Wiring, key: str, version: int) -> None:
    held = sum(
        count
        for (name, number), count in uses(project).items()
        if name == key and number <= version
    )
    if held:
        raise RefusedError(
            f"{held} wrapped keys are still under version {version} of {key!r} or an older one",
            hint=f"`casemate keys rotate {key}` first",
        )


def _require_subjects(project: Wiring) -> None:
    """The subjects' keys must be here when what they are wrapped under goes away; without any
    subject there is nothing to lose.
    """
    try:
        with project.database.reading() as tx:
            project.log.subjects.wrapped_root(tx)
    except BackendError as error:
        raise RefusedError(
            "the subjects' keys are not here: they could never be brought back",
            hint="casemate backup subjects FILE first",
        ) from error


@operation("keys:migrate", "Key")
def migrate(
    project: Wiring, table: KeysTable, progress: Progress = lambda _text, _done, _total: None
) -> dict[str, int]:
    """Bring everything under another key provider and point casemate.toml there; how many keys were
    wrapped, by place.

    Policy decides and the log says it, before anything is made at the new provider.

    The old provider's keys are left to their owner, but for those of the file provider, which are
    removed. An interrupted migration leaves a project that refuses to work; the same command goes
    on with it.

    Raises:
        ConfigError: the project is with that provider already.
        BackendError: one of the providers is away.
        AccessDenied: this user may not.
    """
    with alone(project.state / "lock", "moving the keys"):
        return _migrate(project, table, progress)


def _migrate(project: Wiring, table: KeysTable, progress: Progress) -> dict[str, int]:
    found = keyfile.read(keystore_folder(project.config.project.id))
    if (
        isinstance(found, Document)
        and found.provider == table.provider != project.config.keys.provider
    ):
        _point_there(project, table)  # all but this was done before it was interrupted
        return {}
    keys = project.keystore
    if keys.document.provider == table.provider:
        hint = (
            "`casemate keys protect` sets or changes its passphrase"
            if table.provider == "file"
            else "migrate to file first, then to the other place"
        )
        raise ConfigError(f"the keys are with the {table.provider} provider already", hint=hint)
    _require_subjects(project)
    target = keys.open_target(table)
    # an interrupted migration has left keys of both
    crossing: Any = _Crossing(keys.provider, target)
    keys.provider = project.provider.provider = project.log.bodies.keys = (
        project.log.subjects.keys
    ) = crossing
    acting = migrate.ask(project, "all", provider=table.provider)
    target.prepare()
    newest = dict.fromkeys(PURPOSES, 1)
    rotation = _Rotation(project, newest, progress)
    rewrapped = rotation.rewrap()
    left = sum(
        1
        for key, wrapped in rotation.everything()
        if key != IDENTITY and not crossing.version_of(wrapped)
    )
    if left:
        raise BusyError(
            f"{left} keys were wrapped by the old provider meanwhile",
            hint="stop what works on this project and run it again",
        )
    keys.switch(table.provider, target)
    _point_there(project, table)
    acting.record("keys:migrated", 'Key::"all"', provider=table.provider, rewrapped=rewrapped)
    return rewrapped


def _point_there(project: Wiring, table: KeysTable) -> None:
    defaults = KeysTable()
    table = msgspec.structs.replace(
        table, timeout=project.config.keys.timeout, max_age_days=project.config.keys.max_age_days
    )
    with edited(project.root) as document:
        document["keys"] = {
            name: value
            for name in KeysTable.__struct_fields__
            if (value := getattr(table, name)) != getattr(defaults, name)
        }
    project.config = msgspec.structs.replace(project.config, keys=table)


class _Crossing:
    """Unwraps what either provider wrapped and wraps with the new one; what is the new one's counts
    as version 1, all else as 0.
    """

    def __init__(self, old: KeyKeeper, new: KeyKeeper) -> None:
        self.old, self.new = old, new

    def _of(self, wrapped: bytes) -> KeyKeeper:
        return self.new if self.version_of(wrapped) else self.old

    def version_of(self, wrapped: bytes) -> int:
        try:
            self.new.version_of(wrapped)
        except VerificationError:
            return 0
        return 1

    def wrap(self, key: str, data_key: bytes, resource: str = "") -> bytes:
        return self.new.wrap(key, data_key, resource)

    def unwrap(self, key: str, wrapped: bytes, resource: str = "") -> bytes:
        return self._of(wrapped).unwrap(key, wrapped, resource)

    def rewrap(self, key: str, wrapped: list[bytes]) -> list[bytes]:
        return [self.new.wrap(key, self.unwrap(key, item)) for item in wrapped]


def uses(project: Wiring) -> Counter[tuple[str, int]]:
    """How many wrapped keys are under each (key, version)."""
    rotation = _Rotation(project, {}, lambda _text, _done, _total: None)
    version_of = project.keystore.provider.version_of
    return Counter((key, version_of(wrapped)) for key, wrapped in rotation.everything())


class _Rotation:
    def __init__(self, project: Wiring, newest: dict[str, int], progress: Progress) -> None:
        self.project = project
        self.provider = project.keystore.provider
        self.newest = newest
        self.progress = progress

    def _versions(self) -> list[Path]:
        return sorted(
            path.parent for path in (self.project.state / "datasets").glob(f"*/*/{MANIFEST}")
        )

    def everything(self) -> Iterator[tuple[str, bytes]]:
        """Every (purpose, wrapped key) of the project."""
        from casemate.controls.keys import tables  # not at start-up: they read tables

        for folder in self._versions():
            yield from tables.wrapped_keys(folder)
        for _, wrapped in (*self.project.objects.wrapped(), *self.project.objects.inline()):
            yield objects.KEK, wrapped
        with self.project.database.reading() as tx:
            yield from ((AUDIT, wrapped) for _, wrapped in self.project.log.bodies.wrapped(tx))
        with self.project.database.reading() as tx:
            yield from (
                (IDENTITY, wrapped) for _, wrapped in self.project.point.factors.wrapped(tx)
            )
        if (root := self._root()) is not None:
            yield SUBJECTS, root
        if self.project.keystore.document.identity is not None:
            yield IDENTITY, self.project.keystore.document.identity.wrapped

    def _root(self) -> bytes | None:
        # restored without them: nothing to rotate
        with self.project.database.reading() as tx, contextlib.suppress(BackendError):
            return self.project.log.subjects.wrapped_root(tx)
        return None

    def _old(self, key: str, wrapped: bytes) -> bool:
        return key in self.newest and self.provider.version_of(wrapped) < self.newest[key]

    def rewrap(self) -> dict[str, int]:
        """Bring every wrapped key under the newest version; how many, by place."""
        places = {
            "tables": self._rewrap_tables,
            "objects": self._rewrap_objects,
            "audit log": self._rewrap_bodies,
            "subjects": self._rewrap_subjects,
            "second factors": self._rewrap_factors,
        }
        return {place: count for place, work in places.items() if (count := work())}

    def _rewrap_tables(self) -> int:
        from casemate.controls.keys import tables  # not at start-up: they read tables

        folders = [
            folder
            for folder in self._versions()
            if any(self._old(key, wrapped) for key, wrapped in tables.wrapped_keys(folder))
        ]
        for done, folder in enumerate(folders, 1):
            tables.rewrap(folder, self.project.provider)
            self.progress("tables", done, len(folders))
        return len(folders)

    def _rewrap_objects(self) -> int:
        todo = [
            (name, wrapped)
            for name, wrapped in self.project.objects.wrapped()
            if self._old(objects.KEK, wrapped)
        ]
        for done, batch in enumerate(_batches(todo), 1):
            fresh = self.project.provider.rewrap(objects.KEK, [wrapped for _, wrapped in batch])
            for (name, before), after in zip(batch, fresh, strict=True):
                self.project.objects.blobs.replace(name, before, after)
            self.progress("objects", min(done * BATCH, len(todo)), len(todo))
        inline = [
            digest
            for digest, wrapped in self.project.objects.inline()
            if self._old(objects.KEK, wrapped)
        ]
        for digest in inline:
            self.project.objects.seal_anew(digest)
        return len(todo) + len(inline)

    def _rewrap_bodies(self) -> int:
        with self.project.database.transaction() as tx:
            todo = [
                (number, wrapped)
                for number, wrapped in self.project.log.bodies.wrapped(tx)
                if self._old(AUDIT, wrapped)
            ]
            for (number, _), wrapped in zip(
                todo, self.provider.rewrap(AUDIT, [wrapped for _, wrapped in todo]), strict=True
            ):
                self.project.log.bodies.replace(tx, number, wrapped)
        return len(todo)

    def _rewrap_subjects(self) -> int:
        root = self._root()
        if root is None or not self._old(SUBJECTS, root):
            return 0
        (wrapped,) = self.provider.rewrap(SUBJECTS, [root])
        with self.project.database.transaction() as tx:
            self.project.log.subjects.replace_root(tx, wrapped)
        return 1

    def _rewrap_factors(self) -> int:
        factors = self.project.point.factors
        with self.project.database.transaction() as tx:
            todo = [
                (name, wrapped)
                for name, wrapped in factors.wrapped(tx)
                if self._old(IDENTITY, wrapped)
            ]
            for (name, _), wrapped in zip(
                todo, self.provider.rewrap(IDENTITY, [wrapped for _, wrapped in todo]), strict=True
            ):
                factors.replace(tx, name, wrapped)
        return len(todo)

    def seal_anew(self) -> dict[str, int]:
        """Encrypt the data itself again; how much, by place."""
        from casemate.controls.keys import identifiers, tables  # not at start-up: they read tables

        done = {}
        if set(self.newest) & set(TABLE_KEYS):
            classes = {(r.name, r.version): identifiers.classes_of(r) for r in self._records()}
            folders = [
                folder
                for folder in self._versions()
                if (folder.parent.name, folder.name) in classes
            ]
            for number, folder in enumerate(folders, 1):
                tables.seal_anew(
                    folder,
                    self.project.provider,
                    self.project.signer,
                    classes[folder.parent.name, folder.name],
                )
                self.progress("tables", number, len(folders))
            done["tables"] = len(folders)
        if objects.KEK in self.newest:
            digests = self.project.objects.digests()
            for number, digest in enumerate(digests, 1):
                self.project.objects.seal_anew(digest)
                self.progress("objects", number, len(digests))
            done["objects"] = len(digests)
        if AUDIT in self.newest:
            done["audit log entries"] = self.project.log.seal_anew(self.project.decisions.seal_anew)
        return done

    def _records(self) -> list[SealedDataset]:
        found = [
            self.project.engine.record(run.id, "data", SealedDataset)
            for run in self.project.engine.runs()
        ]
        return [record for record in found if record is not None]


def _batches(todo: list[tuple[str, bytes]]) -> Iterator[list[tuple[str, bytes]]]:
    for start in range(0, len(todo), BATCH):
        yield todo[start : start + BATCH]
