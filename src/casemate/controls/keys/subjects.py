"""Keys of people: what is sealed under a subject's key can no longer be read once the key is
shredded.

A subject is known by a pseudonym (HMAC-SHA-256 of the identifier), never by name. Sealed values:
12-byte nonce and AES-256-GCM ciphertext with the pseudonym (and the column, in tables) as
associated data. The keys lie in the catalogue, each wrapped the same way under one root key; the
row of the empty subject holds that root, wrapped under the KEK `subjects`, and the key of the
pseudonyms. A backup of the data holds none of them: see `backup`.
"""

import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import sqlalchemy as sa
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hmac import HMAC

from casemate.controls.keys.interface import KeyProvider
from casemate.core.clock import Clock
from casemate.core.errors import BackendError, RefusedError, VerificationError
from casemate.core.store import METADATA

SUBJECTS = sa.Table(
    "subject_key",
    METADATA,
    sa.Column("subject", sa.String, primary_key=True),
    sa.Column("wrapped", sa.LargeBinary),
    sa.Column("created", sa.String, nullable=False),
    sa.Column("shredded", sa.String),
)
KEK = "subjects"
ROOT = ""
# SQLite took 999 values in one statement before 3.32
BATCH = 500


def _absent() -> BackendError:
    return BackendError(
        "the subjects' keys are not here",
        hint="this project was restored without them: `casemate backup subjects` brings them back",
    )


@dataclass(frozen=True, repr=False)
class Root:
    """What pseudonyms and subjects' keys hang on, for as long as one piece of work lasts."""

    raw: bytes
    """64 bytes: the key of the pseudonyms, then the one that wraps the subjects' keys."""
    kept: bool = field(default=True, compare=False)
    """Whether the catalogue has it."""

    @classmethod
    def drawn(cls) -> "Root":
        """A new one, which is worth nothing until it is kept."""
        return cls(secrets.token_bytes(64), kept=False)

    @property
    def pseudonyms(self) -> bytes:
        """Key of the pseudonyms, 32 bytes."""
        return self.raw[:32]

    @cached_property
    def wrapping(self) -> AESGCM:
        """Wraps and unwraps subjects' keys."""
        return AESGCM(self.raw[32:])

    def pseudonym(self, subject: str) -> str:
        """The pseudonym of a person, 64 hexadecimal digits: the same for the same root, and nothing
        without it.
        """
        mac = HMAC(self.pseudonyms, hashes.SHA256())
        mac.update(subject.encode())
        return mac.finalize().hex()

    def wrap(self, pseudonym: str, key: bytes) -> bytes:
        """A subject's key as the catalogue holds it."""
        nonce = os.urandom(12)
        return nonce + self.wrapping.encrypt(nonce, key, pseudonym.encode())

    def unwrap(self, pseudonym: str, wrapped: bytes) -> bytes:
        """A subject's key; VerificationError when it was changed."""
        try:
            return self.wrapping.decrypt(wrapped[:12], wrapped[12:], pseudonym.encode())
        except (InvalidTag, ValueError) as error:
            raise VerificationError(
                "a subject's key in the catalogue was changed",
                hint="restore the catalogue from a backup",
            ) from error


class SubjectKeys:
    """Seals, opens and shreds. Keys are never cached: what is shredded is gone at once."""

    def __init__(self, keys: KeyProvider, clock: Clock) -> None:
        self.keys = keys
        self.clock = clock

    def ensure_root(self, tx: sa.Connection, root: Root | None = None) -> bytes:
        """The wrapped root; when there is none yet, `root` or a new one is kept within this write
        transaction.
        """
        wrapped = self.wrapped_root(tx)
        if wrapped is None:
            wrapped = self.keys.wrap(KEK, (root or Root.drawn()).raw)
            tx.execute(
                SUBJECTS.insert().values(
                    subject=ROOT, wrapped=wrapped, created=self.clock.now().isoformat()
                )
            )
        return wrapped

    @staticmethod
    def opened(wrapped: bytes, keys: KeyProvider, resource: str = "") -> Root:
        """The root behind its wrapped form; a provider that records its use must not be asked
        inside a transaction.
        """
        raw = keys.unwrap(KEK, wrapped, resource)
        if len(raw) != 64:
            raise VerificationError(
                "the root of the subjects' keys is malformed",
                hint="restore the catalogue from a backup",
            )
        return Root(raw)

    def wrapped_root(self, tx: sa.Connection) -> bytes | None:
        """The wrapped root; BackendError when the catalogue came from a backup without the
        subjects' keys.
        """
        row = tx.execute(sa.select(SUBJECTS).where(SUBJECTS.c.subject == ROOT)).first()
        if row is not None and row.wrapped is None:
            raise _absent()
        return None if row is None else bytes(row.wrapped)

    def replace_root(self, tx: sa.Connection, wrapped: bytes) -> None:
        """Take the same root wrapped anew."""
        tx.execute(SUBJECTS.update().where(SUBJECTS.c.subject == ROOT).values(wrapped=wrapped))

    def keys_of(
        self, tx: sa.Connection, root: Root, pseudonyms: Iterable[str], *, create: bool
    ) -> dict[str, bytes | None]:
        """The key of each of many subjects; None where it was shredded.

        Args:
            tx: a write transaction when `create`.
            root: see `opened`.
            pseudonyms: whose.
            create: make keys for subjects that have none yet; a shredded one stays shredded.

        Raises:
            VerificationError: without `create`, a subject is unknown: a key that is gone without
                having been shredded is damage.
            BackendError: the keys were left out of the backup that this catalogue came from.
        """
        wanted = list(dict.fromkeys(pseudonyms))
        found: dict[str, bytes | None] = {}
        for start in range(0, len(wanted), BATCH):
            query = sa.select(SUBJECTS).where(SUBJECTS.c.subject.in_(wanted[start : start + BATCH]))
            for row in tx.execute(query):
                if row.wrapped is None and row.shredded is None:
                    raise _absent()
                found[row.subject] = (
                    None if row.wrapped is None else root.unwrap(row.subject, row.wrapped)
                )
        fresh = {
            pseudonym: secrets.token_bytes(32) for pseudonym in wanted if pseudonym not in found
        }
        if create and fresh:
            now = self.clock.now().isoformat()
            rows = [
                {"subject": pseudonym, "wrapped": root.wrap(pseudonym, key), "created": now}
                for pseudonym, key in fresh.items()
            ]
            tx.execute(SUBJECTS.insert(), rows)
            return found | fresh
        if fresh:
            raise VerificationError(
                "a subject's key is gone without having been shredded",
                hint="restore the catalogue from a backup",
            )
        return found

    def seal(self, tx: sa.Connection, subject: str, content: bytes) -> tuple[str, bytes]:
        """(pseudonym, sealed content), within a write transaction.

        Raises:
            RefusedError: the subject's key was shredded.
        """
        root = self.opened(self.ensure_root(tx), self.keys)
        pseudonym, nonce = root.pseudonym(subject), os.urandom(12)
        key = self.keys_of(tx, root, [pseudonym], create=True)[pseudonym]
        if key is None:
            raise RefusedError(
                "this subject's key was shredded",
                hint="nothing more can be recorded about them under it",
            )
        return pseudonym, nonce + AESGCM(key).encrypt(nonce, content, pseudonym.encode())

    def open(self, tx: sa.Connection, pseudonym: str, sealed: bytes) -> bytes | None:
        """The content, or None when the key was shredded; VerificationError when it was changed."""
        wrapped = self.wrapped_root(tx)
        if wrapped is None:
            raise VerificationError(
                "the root of the subjects' keys is gone", hint="restore the catalogue from a backup"
            )
        key = self.keys_of(tx, self.opened(wrapped, self.keys), [pseudonym], create=False)[
            pseudonym
        ]
        if key is None:
            return None
        try:
            return AESGCM(key).decrypt(sealed[:12], sealed[12:], pseudonym.encode())
        except (InvalidTag, ValueError) as error:
            raise VerificationError(
                "a value under a subject's key was changed",
                hint="restore the catalogue from a backup",
            ) from error

    @staticmethod
    def state(tx: sa.Connection, pseudonym: str) -> Literal["live", "shredded", "unknown"]:
        """Whether there is a key of this subject; BackendError when it was left out of the backup
        that this catalogue came from.
        """
        row = tx.execute(
            sa.select(SUBJECTS).where(SUBJECTS.c.subject == pseudonym, SUBJECTS.c.subject != ROOT)
        ).first()
        if row is None:
            return "unknown"
        if row.wrapped is None and row.shredded is None:
            raise _absent()
        return "live" if row.shredded is None else "shredded"

    def shred(self, tx: sa.Connection, subject: str) -> str:
        """Destroy the subject's key for ever; returns the pseudonym. RefusedError when there is
        none, or no longer.
        """
        wrapped = self.wrapped_root(tx)
        pseudonym = ROOT if wrapped is None else self.opened(wrapped, self.keys).pseudonym(subject)
        live = (
            SUBJECTS.c.subject == pseudonym,
            SUBJECTS.c.subject != ROOT,
            SUBJECTS.c.wrapped.is_not(None),
        )
        if (
            tx.execute(
                SUBJECTS.update()
                .where(*live)
                .values(wrapped=None, shredded=self.clock.now().isoformat())
            ).rowcount
            != 1
        ):
            raise RefusedError(
                "there is no key of this subject",
                hint="nothing was recorded about them, or it was shredded before",
            )
        return pseudonym
