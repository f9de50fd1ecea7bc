"""Hybrid signatures in DSSE envelopes: ECDSA P-256 first, ML-DSA-65 second, and both must hold.

Envelope and pre-authentication encoding: https://github.com/secure-systems-lab/dsse (v1). ECDSA
comes first because today's OpenSSF model-signing tools look at the first signature only. ML-DSA:
FIPS 204, empty context.
"""

import base64
import binascii
import datetime
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, mldsa

from casemate.core.digest import sha256
from casemate.core.errors import CompromisedSigner, VerificationError, WrongSigner

STATEMENT_TYPE = "application/vnd.in-toto+json"
MAX_PAYLOAD = 64 * 1024 * 1024
_ECDSA = ec.ECDSA(hashes.SHA256())
_SPKI = serialization.PublicFormat.SubjectPublicKeyInfo


class _Signature(msgspec.Struct, forbid_unknown_fields=True):
    sig: str
    keyid: str = ""


class _Envelope(msgspec.Struct, forbid_unknown_fields=True):
    payload: str
    payloadType: str  # noqa: N815 - the specification's name
    signatures: list[_Signature]


def _decode(text: str) -> bytes:
    """Base64, in its only canonical form: no other spelling of the same bytes is accepted."""
    content = base64.b64decode(text, validate=True)
    if base64.b64encode(content).decode() != text:
        raise ValueError("not canonical base64")
    return content


def _named(envelope: dict[str, Any]) -> set[object]:
    """The key ids in an envelope that somebody gave."""
    signatures = envelope.get("signatures")
    if not isinstance(signatures, list):
        return set()
    found = (item.get("keyid") for item in signatures if isinstance(item, dict))
    return {name for name in found if isinstance(name, str)}


def pae(payload_type: str, payload: bytes) -> bytes:
    """DSSE v1 pre-authentication encoding: the bytes that are signed."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


class Verifier:
    """The two public keys of a signer."""

    def __init__(
        self, classical: ec.EllipticCurvePublicKey, quantum: mldsa.MLDSA65PublicKey
    ) -> None:
        self.classical = classical
        self.quantum = quantum

    @classmethod
    def from_pem(cls, *pems: bytes) -> "Verifier":
        """Build from the two PEM public keys in any order; VerificationError when one is missing or
        of another kind.
        """
        classical: ec.EllipticCurvePublicKey | None = None
        quantum: mldsa.MLDSA65PublicKey | None = None
        for pem in pems:
            try:
                key = serialization.load_pem_public_key(pem)
            except ValueError as error:
                raise VerificationError(
                    "a public key file is not PEM", hint="pass signer*.pub"
                ) from error
            if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
                classical = key
            elif isinstance(key, mldsa.MLDSA65PublicKey):
                quantum = key
        if classical is None or quantum is None:
            missing = (
                "ECDSA P-256 (signer.pub)"
                if classical is None
                else "ML-DSA-65 (signer-mldsa65.pub)"
            )
            raise VerificationError(
                f"the public key {missing} is missing",
                hint="pass both keys: --key signer.pub --key signer-mldsa65.pub",
            )
        return cls(classical, quantum)

    @property
    def pems(self) -> tuple[bytes, bytes]:
        """Both public keys as PEM: ECDSA, ML-DSA."""
        return (
            self.classical.public_bytes(serialization.Encoding.PEM, _SPKI),
            self.quantum.public_bytes(serialization.Encoding.PEM, _SPKI),
        )

    @property
    def fingerprint(self) -> str:
        """SHA-256 over both SubjectPublicKeyInfo encodings: what two people compare."""
        der = serialization.Encoding.DER
        return sha256(
            self.classical.public_bytes(der, _SPKI) + self.quantum.public_bytes(der, _SPKI)
        )

    @property
    def quantum_id(self) -> str:
        """Key id that marks the ML-DSA signature in an envelope."""
        return "mldsa65:" + sha256(self.quantum.public_bytes_raw())[:32]

    def is_named(self, envelope: dict[str, Any]) -> bool:
        """Whether an envelope says that this signer, or one of these, signed it."""
        return bool(_named(envelope) & self.quantum_ids)

    @property
    def quantum_ids(self) -> set[str]:
        """`quantum_id` of every signer that is known here."""
        return {self.quantum_id}

    @property
    def compromises(self) -> list[str]:
        """Fingerprint and time of every compromise that was declared."""
        return []

    @property
    def hint(self) -> str:
        """SHA-256 of the PEM of the ECDSA key: how a Sigstore bundle names its signer."""
        return sha256(self.pems[0])

    def by_hint(self, hint: str) -> "Verifier":
        """Itself, if `hint` names this signer; WrongSigner otherwise."""
        if hint != self.hint:
            raise WrongSigner(
                "the bundle names another signer's key",
                hint="wrong public key, or the bundle was changed",
            )
        return self

    def verify(self, envelope: dict[str, Any], payload_type: str = STATEMENT_TYPE) -> bytes:
        """Return the payload if both signatures hold; VerificationError otherwise."""
        try:
            parsed = msgspec.convert(envelope, _Envelope)
            payload = _decode(parsed.payload)
            signatures = [
                (signature.keyid, _decode(signature.sig)) for signature in parsed.signatures
            ]
            found_type = parsed.payloadType
        except (msgspec.ValidationError, binascii.Error, ValueError) as error:
            raise VerificationError("the signature file is not a DSSE envelope") from error
        if found_type != payload_type:
            raise VerificationError(f"the envelope holds {found_type!r}, expected {payload_type!r}")
        if len(signatures) != 2 or signatures[0][0]:
            raise VerificationError(
                "the envelope must hold exactly two signatures, ECDSA then ML-DSA-65",
                hint=(
                    "a stripped or added signature was found: obtain the artifact from its owner"
                    " again"
                ),
            )
        if signatures[1][0] != self.quantum_id:
            raise WrongSigner(
                "the ML-DSA-65 signature names another key",
                hint="wrong public key, or the content was changed",
            )
        message = pae(payload_type, payload)
        try:
            self.classical.verify(signatures[0][1], message, _ECDSA)
            self.quantum.verify(signatures[1][1], message)
        except InvalidSignature as error:
            raise VerificationError(
                "a signature does not match its content and key",
                hint="wrong public key, or the content was changed",
            ) from error
        return payload

    def verify_statement(self, envelope: dict[str, Any], predicate_type: str) -> dict[str, Any]:
        """Verify and parse an in-toto Statement v1 with this predicate type."""
        payload = self.verify(envelope)
        try:
            statement = msgspec.json.decode(payload, type=dict[str, Any])
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise VerificationError("the signed statement is not JSON") from error
        if statement.get("predicateType") != predicate_type:
            raise VerificationError(
                f"the statement is a {statement.get('predicateType')!r}, expected"
                f" {predicate_type!r}"
            )
        return statement


class FormerSigner(Verifier):
    """A signer that signs no more; from a compromise on its signatures count only if they are
    proven to be older.

    When something was signed cannot be read from the signed bytes: whoever holds the private key
    writes any date there. It is what the audit log says, which records a signature before it is
    given away.
    """

    def __init__(
        self,
        keys: Verifier,
        compromised: datetime.datetime | None,
        signed_at: Callable[[str], datetime.datetime | None],
    ) -> None:
        """Trust `keys` with a limit.

        Args:
            keys: the public keys.
            compromised: since when somebody else may have had the private keys.
            signed_at: when a payload with this SHA-256 was signed, as the audit log proves it; None
                when it does not.
        """
        super().__init__(keys.classical, keys.quantum)
        self.compromised = compromised
        self.signed_at = signed_at

    def verify(self, envelope: dict[str, Any], payload_type: str = STATEMENT_TYPE) -> bytes:
        """See `Verifier.verify`."""
        payload = super().verify(envelope, payload_type)
        if self.compromised is None:
            return payload
        moment = self.signed_at(sha256(payload))
        if moment is None or moment >= self.compromised:
            found = (
                "the audit log shows no earlier signature"
                if moment is None
                else f"this was signed at {moment.isoformat()}"
            )
            raise CompromisedSigner(
                f"the signer's keys are compromised since {self.compromised.isoformat()}, and"
                f" {found}",
                hint=(
                    "make it anew (casemate run), or have its owner prove an earlier signature:"
                    " casemate verify PATH --proof FILE"
                ),
            )
        return payload


class Keyring(Verifier):
    """The present signer of a project together with its former ones."""

    def __init__(self, present: Verifier, former: Sequence[FormerSigner]) -> None:
        super().__init__(present.classical, present.quantum)
        self.present = present
        self.former = tuple(former)

    @property
    def quantum_ids(self) -> set[str]:
        """See `Verifier.quantum_ids`."""
        return {self.quantum_id, *(signer.quantum_id for signer in self.former)}

    @property
    def compromises(self) -> list[str]:
        """See `Verifier.compromises`."""
        signers = [
            *self.former,
            *([self.present] if isinstance(self.present, FormerSigner) else []),
        ]
        return [
            f"{signer.fingerprint} {signer.compromised.isoformat()}"
            for signer in signers
            if signer.compromised is not None
        ]

    def by_hint(self, hint: str) -> Verifier:
        """The signer, present or former, that a Sigstore bundle names."""
        return next(
            (signer for signer in self.former if signer.hint == hint), self.present
        ).by_hint(hint)

    def verify(self, envelope: dict[str, Any], payload_type: str = STATEMENT_TYPE) -> bytes:
        """See `Verifier.verify`; the signer is the one that the envelope names."""
        named = _named(envelope)
        return next(
            (signer for signer in self.former if signer.quantum_id in named), self.present
        ).verify(envelope, payload_type)


class Signer:
    """The two private keys; they never leave this object but through the key store."""

    def __init__(
        self,
        classical: ec.EllipticCurvePrivateKey,
        quantum: mldsa.MLDSA65PrivateKey,
        verifier: Verifier | None = None,
        record: Callable[[str], None] | None = None,
    ) -> None:
        """Sign with both keys.

        Args:
            classical: ECDSA P-256.
            quantum: ML-DSA-65.
            verifier: what checks this project's signatures; default: these keys alone.
            record: told the SHA-256 of every payload before its signature is given away.
        """
        self.classical = classical
        self.quantum = quantum
        self.verifier = verifier or Verifier(classical.public_key(), quantum.public_key())
        self._record = record

    @classmethod
    def generate(cls) -> "Signer":
        """A signer with new random keys of both kinds."""
        return cls(ec.generate_private_key(ec.SECP256R1()), mldsa.MLDSA65PrivateKey.generate())

    def countersign(self, envelope: dict[str, Any]) -> dict[str, Any]:
        """Append the ML-DSA-65 signature to an envelope that holds only the ECDSA one."""
        payload = base64.b64decode(envelope["payload"])
        if self._record is not None:
            self._record(sha256(payload))
        signature = self.quantum.sign(pae(envelope["payloadType"], payload))
        added = {"keyid": self.verifier.quantum_id, "sig": base64.b64encode(signature).decode()}
        return {**envelope, "signatures": [*envelope["signatures"], added]}

    def sign(self, payload: bytes, payload_type: str = STATEMENT_TYPE) -> dict[str, Any]:
        """A DSSE envelope with both signatures over `payload`."""
        first = self.classical.sign(pae(payload_type, payload), _ECDSA)
        return self.countersign(
            {
                "payload": base64.b64encode(payload).decode(),
                "payloadType": payload_type,
                "signatures": [{"keyid": "", "sig": base64.b64encode(first).decode()}],
            }
        )

    def sign_statement(
        self, subjects: dict[str, str], predicate_type: str, predicate: dict[str, Any]
    ) -> bytes:
        """A signed in-toto Statement v1 over files named in `subjects` (name -> SHA-256),
        as JSON.
        """
        statement = {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [
                {"name": name, "digest": {"sha256": digest}}
                for name, digest in sorted(subjects.items())
            ],
            "predicateType": predicate_type,
            "predicate": predicate,
        }
        return msgspec.json.encode(self.sign(msgspec.json.encode(statement, order="deterministic")))


def read_envelope(content: bytes) -> dict[str, Any]:
    """Parse a JSON envelope of bounded size; VerificationError when it is not one."""
    if len(content) > MAX_PAYLOAD:
        raise VerificationError("the signature file is larger than 64 MiB")
    try:
        return msgspec.json.decode(content, type=dict[str, Any])
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise VerificationError("the signature file is not JSON") from error


def subjects_of(statement: dict[str, Any]) -> dict[str, str]:
    """File name -> SHA-256 of an in-toto statement; VerificationError when malformed."""
    try:
        return {str(s["name"]): str(s["digest"]["sha256"]) for s in statement["subject"]}
    except (KeyError, TypeError) as error:
        raise VerificationError("the signed statement names no files") from error
