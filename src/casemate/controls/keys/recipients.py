"""Who can open backups: recipients that an owner has set, each with a hybrid key pair (ML-KEM-768
and X25519).

The project knows public keys only. A private key is a text file that its holder keeps (`casemate
backup keygen`), or lies locked under a passphrase of its holder (Argon2id, then AES-256-GCM) in the
catalogue and in every backup, for whom a passphrase must do. Recipients that may open key stores
are told from those that may open data.
"""

import os
from dataclasses import dataclass

import msgspec
import sqlalchemy as sa
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from casemate.controls.keys import slots
from casemate.core import hybrid
from casemate.core.clock import Clock
from casemate.core.digest import sha256
from casemate.core.errors import ConfigError, VerificationError
from casemate.core.store import METADATA, Store, explained

RECIPIENTS = sa.Table(
    "backup_recipient",
    METADATA,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("keys", sa.Boolean, nullable=False),
    sa.Column("public", sa.LargeBinary, nullable=False),
    sa.Column("locked", sa.LargeBinary),
    sa.Column("by", sa.String, nullable=False),
    sa.Column("since", sa.String, nullable=False),
    info=explained(),
)
MOST = 32
"""Recipients that a project may have: each takes 1.6 KB in the head of every backup."""
MAX_NAME = 63
MOST_MEMORY, MOST_PASSES = 1 << 18, 8
"""Of Argon2id, in KiB: a file that asks for more than four times what we write is not worth the
memory of whoever reads it.
"""
PRIVATE, PUBLIC = "casemate-backup-identity-1", "casemate-backup-recipient-1"
_INFO = b"casemate/backup/v2/identity"


class _Locked(msgspec.Struct, forbid_unknown_fields=True):
    kdf: slots.Kdf
    sealed: bytes


@dataclass(frozen=True)
class Recipient:
    """Who can open what is sealed from now on."""

    name: str
    keys: bool
    """May open backups of the key store too."""
    public: bytes
    locked: bytes | None
    """The private key under a passphrase, where its holder wanted that."""
    by: str
    """Who set it."""
    since: str

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the public key."""
        return fingerprint(self.public)


def fingerprint(public: bytes) -> str:
    """What people compare: SHA-256 of a public key."""
    return sha256(public)


def generate() -> tuple[str, str]:
    """(private key, public key) of a new recipient as text files."""
    private, public = hybrid.pair()
    return slots.to_text(PRIVATE, private), slots.to_text(PUBLIC, public)


def read_public(text: str) -> bytes:
    """The public key that `generate` wrote; ConfigError when it is none."""
    raw = slots.from_text(PUBLIC, text, "public key of a recipient")
    try:
        hybrid.public_key(raw)
    except ValueError as error:
        raise ConfigError(
            "this is no public key of a recipient", hint="casemate backup keygen makes one"
        ) from error
    return raw


def read_private(text: str) -> bytes:
    """The private key that `generate` wrote; ConfigError when it is none."""
    return slots.from_text(PRIVATE, text, "private key of a recipient")


def generate_locked(passphrase: str) -> tuple[bytes, bytes]:
    """(public key, private key under the passphrase) of a new recipient; ConfigError when the
    passphrase is too short.
    """
    slots.check(passphrase)
    private, public = hybrid.pair()
    kdf, nonce = slots.Kdf.new(), os.urandom(12)
    sealed = nonce + AESGCM(kdf.derive(passphrase)).encrypt(nonce, private, _INFO)
    return public, msgspec.json.encode(_Locked(kdf, sealed))


def unlock(locked: bytes, passphrase: str) -> bytes | None:
    """The private key; None when the passphrase is another one's."""
    try:
        read = msgspec.json.decode(locked, type=_Locked)
        if read.kdf.memory_kib > MOST_MEMORY or read.kdf.iterations > MOST_PASSES:
            return None
        return AESGCM(read.kdf.derive(passphrase)).decrypt(
            read.sealed[:12], read.sealed[12:], _INFO
        )
    except (msgspec.MsgspecError, InvalidTag, ValueError, VerificationError):
        return None


class Recipients:
    """Reads and changes who can open backups."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.store, self.clock = store, clock

    def all(self) -> list[Recipient]:
        """Every recipient, by name."""
        with self.store.reading() as tx:
            return [
                Recipient(**row)
                for row in tx.execute(sa.select(RECIPIENTS).order_by(RECIPIENTS.c.name)).mappings()
            ]

    def add(
        self,
        tx: sa.Connection,
        name: str,
        public: bytes,
        by: str,
        *,
        keys: bool,
        locked: bytes | None = None,
    ) -> None:
        """Let backups be sealed to one more; ConfigError when the name is taken or impossible, or
        there are too many.
        """
        names = tx.execute(sa.select(RECIPIENTS.c.name)).scalars().all()
        if not 0 < len(name) <= MAX_NAME or not name.isprintable():
            raise ConfigError(
                f"{name!r} is not a name", hint=f"1 to {MAX_NAME} printable characters"
            )
        if name in names:
            raise ConfigError(
                f"there is a recipient {name!r} already",
                hint="casemate backup recipients remove NAME, or name another one",
            )
        if len(names) >= MOST:
            raise ConfigError(
                f"there are {MOST} recipients already",
                hint="remove those who should open no backup any more",
            )
        values = {
            "name": name,
            "keys": keys,
            "public": public,
            "locked": locked,
            "by": by,
            "since": self.clock.now().isoformat(),
        }
        tx.execute(RECIPIENTS.insert().values(**values))

    def remove(self, tx: sa.Connection, name: str) -> None:
        """Seal to this one no more; what was sealed stays open to it. ConfigError when there is
        none.
        """
        if tx.execute(RECIPIENTS.delete().where(RECIPIENTS.c.name == name)).rowcount != 1:
            raise ConfigError(
                f"there is no recipient {name!r}", hint="casemate backup recipients list"
            )
