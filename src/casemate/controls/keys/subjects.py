"""Keys of people: what is sealed under a subject's key can no longer be read once the key is shredded.

A backup made before holds the wrapped key too: shredding reaches it when it expires.

A subject is known by a pseudonym (HMAC-SHA-256 of the identifier), never by name. Sealed values: 12-byte nonce and
AES-256-GCM ciphertext with the pseudonym as associated data. The keys lie in the catalogue, wrapped under the key
store's `subjects` key; the row of the empty subject holds the key of the pseudonyms.
"""

import os
import secrets

import sqlalchemy as sa
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hmac import HMAC

from casemate.controls.keys.interface import KeyProvider
from casemate.core.clock import Clock
from casemate.core.errors import RefusedError, VerificationError
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
PSEUDONYMS = ""


class SubjectKeys:
    """Seals, opens and shreds. Keys are never cached: what is shredded is gone at once."""

    def __init__(self, keys: KeyProvider, clock: Clock) -> None:
        self.keys = keys
        self.clock = clock

    def pseudonym(self, tx: sa.Connection, subject: str) -> str:
        """The subject's pseudonym, 64 hexadecimal digits."""
        mac = HMAC(self._key(tx, PSEUDONYMS), hashes.SHA256())
        mac.update(subject.encode())
        return mac.finalize().hex()

    def _key(self, tx: sa.Connection, pseudonym: str) -> bytes:
        row = tx.execute(sa.select(SUBJECTS).where(SUBJECTS.c.subject == pseudonym)).first()
        if row is not None and row.wrapped is None:
            raise RefusedError("this subject's key was shredded", hint="nothing more can be recorded about them under it")
        if row is not None:
            return self.keys.unwrap(KEK, row.wrapped)
        key = secrets.token_bytes(32)
        tx.execute(SUBJECTS.insert().values(subject=pseudonym, wrapped=self.keys.wrap(KEK, key), created=self.clock.now().isoformat()))
        return key

    def seal(self, tx: sa.Connection, subject: str, content: bytes) -> tuple[str, bytes]:
        """(pseudonym, sealed content), within a write transaction.

        Raises:
            RefusedError: the subject's key was shredded.
        """
        pseudonym, nonce = self.pseudonym(tx, subject), os.urandom(12)
        return pseudonym, nonce + AESGCM(self._key(tx, pseudonym)).encrypt(nonce, content, pseudonym.encode())

    def open(self, tx: sa.Connection, pseudonym: str, sealed: bytes) -> bytes | None:
        """The content, or None when the key was shredded; VerificationError when it was changed."""
        wrapped = tx.execute(sa.select(SUBJECTS.c.wrapped).where(SUBJECTS.c.subject == pseudonym)).scalar()
        if wrapped is None:
            return None
        try:
            return AESGCM(self.keys.unwrap(KEK, wrapped)).decrypt(sealed[:12], sealed[12:], pseudonym.encode())
        except (InvalidTag, ValueError) as error:
            raise VerificationError("a value under a subject's key was changed", hint="restore the catalogue from a backup") from error

    def wrapped(self, tx: sa.Connection, after: str | None, count: int) -> list[tuple[str, bytes]]:
        """The next (pseudonym, wrapped key) after `after`, for a rotation; None begins."""
        query = sa.select(SUBJECTS.c.subject, SUBJECTS.c.wrapped).where(SUBJECTS.c.wrapped.is_not(None)).order_by(SUBJECTS.c.subject).limit(count)
        rows = tx.execute(query if after is None else query.where(SUBJECTS.c.subject > after)).all()
        return [(row.subject, row.wrapped) for row in rows]

    def replace(self, tx: sa.Connection, pseudonym: str, old: bytes, new: bytes) -> None:
        """Take the same key wrapped anew, unless it was shredded meanwhile."""
        tx.execute(SUBJECTS.update().where(SUBJECTS.c.subject == pseudonym, SUBJECTS.c.wrapped == old).values(wrapped=new))

    def shred(self, tx: sa.Connection, subject: str) -> str:
        """Destroy the subject's key for ever; returns the pseudonym. RefusedError when there is none, or no longer."""
        pseudonym = self.pseudonym(tx, subject)
        live = (SUBJECTS.c.subject == pseudonym, SUBJECTS.c.wrapped.is_not(None))
        if tx.execute(SUBJECTS.update().where(*live).values(wrapped=None, shredded=self.clock.now().isoformat())).rowcount != 1:
            raise RefusedError("there is no key of this subject", hint="nothing was recorded about them, or it was shredded before")
        return pseudonym
