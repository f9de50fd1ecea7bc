"""`casemate keys rotate` and `destroy`: where wrapped keys lie, and how they come under another
version.

A rotation makes a new version of a key-encryption key, then wraps every data key anew, one place
after another; no data byte is touched. It can be interrupted anywhere: the next one goes on with
what is still under an older version.
"""

import contextlib
import datetime
from collections.abc import Iterator
from typing import Any

import msgspec

from casemate.config import KeysTable
from casemate.controls.audit.bodies import KEK as AUDIT
from casemate.controls.keys import keyfile
from casemate.controls.keys.identity import IDENTITY
from casemate.controls.keys.interface import PURPOSES, KeyKeeper
from casemate.controls.keys.keyfile import Document
from casemate.controls.keys.signers import SignerRecord
from casemate.controls.keys.subjects import KEK as SUBJECTS
from casemate.core.errors import (
    BackendError,
    BusyError,
    ConfigError,
    RefusedError,
    VerificationError,
)
from casemate.core.files import alone
from casemate.core.home import keystore_folder
from casemate.core.types import Record
from casemate.operations.acting import Operation, operation
from casemate.operations.keys.wrapped import Progress, Rotation, uses
from casemate.operations.toml import edited
from casemate.wiring import Wiring


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
    rotation = Rotation(project, newest, progress)
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
    rotation = Rotation(project, newest, progress)
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
