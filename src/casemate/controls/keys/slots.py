"""How the file key store's master key is sealed: a passphrase in one slot, a recovery key for the
safe in the other.

Passphrase: Argon2id (RFC 9106: 64 MiB, 3 passes, 4 lanes), then AES-256-GCM. Recovery: HPKE (RFC
9180) with the hybrid KEM MLKEM768-X25519, so that a copy of the file kept today is safe from
tomorrow's quantum computer.
"""

import base64
import os
import secrets
import textwrap

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from casemate.core import hybrid
from casemate.core.digest import sha256
from casemate.core.errors import AccessDenied, ConfigError, VerificationError

LEAST_PASSPHRASE = 12
"""Characters. A judgement; Argon2id makes each guess dear, and `check` sees length alone."""
COST = {"iterations": 3, "lanes": 4, "memory_kib": 1 << 16}
"""Of a new passphrase: RFC 9106's choice where memory is scarce. A slot says its own."""
_PREFIX = "casemate-recovery-1"


class Kdf(msgspec.Struct, forbid_unknown_fields=True):
    """The parameters of Argon2id (RFC 9106) that a slot was made with."""

    salt: bytes
    iterations: int = 3
    lanes: int = 4
    memory_kib: int = 1 << 16

    @classmethod
    def new(cls) -> "Kdf":
        """With a salt of its own, as expensive as `COST` says."""
        return cls(salt=os.urandom(16), **COST)

    def derive(self, passphrase: str) -> bytes:
        """A 32-byte key; VerificationError when the parameters are out of bounds."""
        if len(self.salt) != 16 or not (
            0 < self.memory_kib <= 1 << 21 and 0 < self.iterations <= 64 and 0 < self.lanes <= 64
        ):
            raise VerificationError(
                "the key derivation's parameters are out of bounds",
                hint="the file was changed: take another copy",
            )
        derive = Argon2id(
            salt=self.salt,
            length=32,
            iterations=self.iterations,
            lanes=self.lanes,
            memory_cost=self.memory_kib,
        )
        return derive.derive(passphrase.encode())


class Slots(msgspec.Struct, forbid_unknown_fields=True):
    """The master key, sealed twice."""

    kdf: Kdf
    passphrase: bytes
    """Nonce and AES-256-GCM ciphertext of the master key."""
    recovery_public: bytes
    """ML-KEM-768 public key and X25519 public key."""
    recovery: bytes
    """HPKE ciphertext of the master key."""


def check(passphrase: str) -> None:
    """ConfigError when the passphrase is shorter than 12 characters."""
    if len(passphrase) < LEAST_PASSPHRASE:
        raise ConfigError(
            f"the passphrase is shorter than {LEAST_PASSPHRASE} characters",
            hint="take a longer one",
        )


def create(master: bytes, passphrase: str, project: str) -> tuple[Slots, str]:
    """(both slots, the recovery key as text: shown once, kept nowhere)."""
    check(passphrase)
    raw, public = hybrid.pair()
    kdf = Kdf.new()
    slots = Slots(
        kdf=kdf,
        passphrase=_seal(kdf.derive(passphrase), master, project),
        recovery_public=public,
        recovery=hybrid.SUITE.encrypt(master, hybrid.public_key(public), info=_info(project)),
    )
    return slots, to_text(_PREFIX, raw)


def with_passphrase(slots: Slots, master: bytes, passphrase: str, project: str) -> Slots:
    """The same master key and recovery key, another passphrase."""
    check(passphrase)
    kdf = Kdf.new()
    return msgspec.structs.replace(
        slots, kdf=kdf, passphrase=_seal(kdf.derive(passphrase), master, project)
    )


def _seal(key: bytes, master: bytes, project: str) -> bytes:
    nonce = os.urandom(12)  # never twice under one key: each key comes from a salt of its own
    return nonce + AESGCM(key).encrypt(nonce, master, _info(project))


def _info(project: str) -> bytes:
    # authenticated with the slot: one that was copied from another project's file does not open
    return f"casemate/keystore/v2/master/{project}".encode()


def open_with_passphrase(slots: Slots, passphrase: str, project: str) -> bytes:
    """The master key; AccessDenied when the passphrase is wrong."""
    try:
        return AESGCM(slots.kdf.derive(passphrase)).decrypt(
            slots.passphrase[:12], slots.passphrase[12:], _info(project)
        )
    except InvalidTag as error:
        raise AccessDenied(
            "the passphrase does not open the key store",
            hint="`casemate keys recover` takes the recovery key instead",
        ) from error


def open_with_recovery(slots: Slots, text: str, project: str) -> bytes:
    """The master key; AccessDenied when the recovery key is another one's, ConfigError when it was
    mistyped.
    """
    raw = from_text(_PREFIX, text, "recovery key")
    try:
        return hybrid.SUITE.decrypt(slots.recovery, hybrid.private_key(raw), info=_info(project))
    except (InvalidTag, ValueError) as error:
        raise AccessDenied(
            "the recovery key does not open this key store",
            hint="it belongs to another project, or was replaced",
        ) from error


def to_text(prefix: str, raw: bytes) -> str:
    """Bytes as lines that can be printed and typed in again, with a checksum."""
    check = sha256(prefix.encode() + raw)[:8]
    # base32 has no 0, 1, 8 or 9 and one case (RFC 4648): what looks alike on paper is not in it
    return (
        f"{prefix}\n"
        + "\n".join(textwrap.wrap(base64.b32encode(raw).decode().rstrip("="), 44))
        + f"\n{check}\n"
    )


def from_text(prefix: str, text: str, what: str) -> bytes:
    """The bytes that `to_text` wrote; ConfigError when they are no `what` or were mistyped."""
    words = text.split()
    try:
        body = "".join(words[1:-1]).upper()
        raw = base64.b32decode(body + "=" * (-len(body) % 8))
        right = words[0] == prefix and secrets.compare_digest(
            words[-1].encode(), sha256(prefix.encode() + raw)[:8].encode()
        )
    except (IndexError, ValueError):
        right = False
    if not right:
        raise ConfigError(
            f"this is no {what}, or a character of it is wrong",
            hint="type it as it was printed, the last group is a checksum",
        )
    return raw
