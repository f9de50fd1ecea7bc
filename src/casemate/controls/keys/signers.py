"""The history of a project's signers: who signs now, who signed before, and since when a former one
is not to be trusted.

Published as `signers.json`: a DSSE envelope by the present signer around `{"version", "project",
"signers"}`, so that whoever trusts the present public keys learns of the former ones, and of a
compromise.
"""

import datetime
from collections.abc import Callable, Mapping, Sequence

import msgspec

from casemate.core.errors import VerificationError
from casemate.core.signatures import FormerSigner, Keyring, Signer, Verifier, read_envelope

FILE = "signers.json"
PAYLOAD_TYPE = "application/vnd.casemate.signers+json"
VERSION = 1


class SignerRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One signer of the project: its public keys, and from when until when it signed."""

    number: int
    """Counted from 1."""
    ecdsa: str
    """Its ECDSA P-256 public key, PEM."""
    mldsa65: str
    """Its ML-DSA-65 public key, PEM."""
    since: str
    """When it began to sign, RFC 3339; empty: with the project."""
    retired: str | None = None
    """When it stopped; its private keys are gone since."""
    compromised: str | None = None
    """Since when somebody else may have had its private keys."""

    @property
    def verifier(self) -> Verifier:
        """What checks its signatures."""
        return Verifier.from_pem(self.ecdsa.encode(), self.mldsa65.encode())


class _History(msgspec.Struct, forbid_unknown_fields=True):
    version: int
    project: str
    signers: list[SignerRecord]


def keyring(
    present: Verifier,
    records: Sequence[SignerRecord],
    signed_at: Callable[[str], datetime.datetime | None],
    declared: Mapping[str, datetime.datetime] | None = None,
) -> Keyring:
    """What checks signatures of the present and of all former signers.

    Args:
        present: the present signer's keys.
        records: the history.
        signed_at: see `FormerSigner`.
        declared: per fingerprint, since when a signer's keys may have been in other hands, whatever
            the history says: on a host whose key store does not know of it yet, that may be the
            present signer.
    """
    declared = declared or {}

    def former(record: SignerRecord) -> FormerSigner:
        keys = record.verifier
        times = (
            []
            if record.compromised is None
            else [datetime.datetime.fromisoformat(record.compromised)]
        )
        times += [declared[keys.fingerprint]] if keys.fingerprint in declared else []
        return FormerSigner(keys, min(times, default=None), signed_at)

    ring = [former(record) for record in records if record.retired is not None]
    since = declared.get(present.fingerprint)
    return Keyring(present if since is None else FormerSigner(present, since, signed_at), ring)


def publish(project: str, records: Sequence[SignerRecord], signer: Signer) -> bytes:
    """The history as others get it."""
    return msgspec.json.encode(
        signer.sign(msgspec.json.encode(_History(VERSION, project, list(records))), PAYLOAD_TYPE)
    )


def read(content: bytes, present: Verifier) -> list[SignerRecord]:
    """A published history; VerificationError when the present signer did not sign it or it is
    malformed.
    """
    payload = present.verify(read_envelope(content), PAYLOAD_TYPE)
    try:
        history = msgspec.json.decode(payload, type=_History)
    except (msgspec.MsgspecError, ValueError) as error:
        raise VerificationError(
            "the history of signers is malformed", hint="ask its owner for signers.json again"
        ) from error
    if history.version != VERSION:
        raise VerificationError(
            f"the history of signers has format {history.version}", hint="install a newer casemate"
        )
    return history.signers
