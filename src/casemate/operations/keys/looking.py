"""What the key store holds, never a secret."""

from pathlib import Path
from typing import Any

from casemate.controls.keys.interface import KeyVersion
from casemate.controls.keys.keepers import overdue_keys
from casemate.controls.keys.signers import SignerRecord
from casemate.core.errors import ConfigError
from casemate.core.files import write_atomic
from casemate.core.signatures import Verifier
from casemate.core.types import Record
from casemate.operations.acting import reading
from casemate.operations.keys.wrapped import uses
from casemate.wiring import Wiring


class KeyList(Record, frozen=True, kw_only=True):
    """The key store at a glance."""

    folder: str
    provider: str
    protection: str
    keys: dict[str, list[KeyVersion]]
    """Versions of each key-encryption key."""
    overdue: list[str]
    """Keys that are older than `[keys] max_age_days`."""
    signer: str
    """Fingerprint of the present signer."""
    log: list[str]
    """The log's verification keys."""
    certificate_authority_until: str


class Signing(Record, frozen=True, kw_only=True):
    """A signer, the present one or a former one."""

    number: int
    fingerprint: str
    since: str
    retired: str | None
    compromised: str | None


class KeyUse(Record, frozen=True, kw_only=True):
    """A version of a key, and how many data keys are under it."""

    number: int
    state: str
    created: str
    wrapped: int


@reading("keys:read", "Key")
def listing(project: Wiring) -> KeyList:
    """Every key with its versions, the signer, the log's keys; AccessDenied: policy."""
    keys = project.keystore
    late = overdue_keys(keys.provider, project.config.keys.max_age_days, project.clock.now())
    return KeyList(
        folder=str(keys.folder),
        provider=keys.document.provider,
        protection=keys.protection,
        keys=keys.provider.versions(),
        overdue=sorted({finding.location for finding in late}),
        signer=keys.signer.verifier.fingerprint,
        log=project.log.signer.vkeys.split(),
        certificate_authority_until=keys.authority.certificate.not_valid_after_utc.isoformat(),
    )


@reading("keys:read", "Key")
def show(project: Wiring, key: str) -> list[KeyUse]:
    """The versions of one key; AccessDenied: policy. ConfigError: there is no such key."""
    versions = project.keystore.provider.versions().get(key)
    if versions is None:
        raise ConfigError(f"there is no key {key!r}", hint="`casemate keys list`")
    counts = uses(project)
    return [
        KeyUse(
            number=one.number, state=one.state, created=one.created, wrapped=counts[key, one.number]
        )
        for one in versions
    ]


@reading("keys:read", "Key")
def signers(project: Wiring) -> list[Signing]:
    """The present signer and all former ones; AccessDenied: policy."""
    return [_signing(record) for record in project.keystore.signers]


def _signing(record: SignerRecord) -> Signing:
    verifier = Verifier.from_pem(record.ecdsa.encode(), record.mldsa65.encode())
    return Signing(
        number=record.number,
        fingerprint=verifier.fingerprint,
        since=record.since,
        retired=record.retired,
        compromised=record.compromised,
    )


@reading("keys:read", "Key")
def certificates(project: Wiring) -> list[dict[str, Any]]:
    """Every certificate that was issued; AccessDenied: policy."""
    return project.certificates.list()


@reading("keys:read", "Key")
def revocations(project: Wiring, out: Path) -> None:
    """Write the revocation list for other servers, valid for a day; AccessDenied: policy."""
    write_atomic(out, project.certificates.crl(), mode=0o644)
