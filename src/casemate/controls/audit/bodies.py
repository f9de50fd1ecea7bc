"""Entry bodies at rest: salt and body sealed together, so that the catalogue alone does not even
allow guessing.

Format (version 1): byte 1, 4-byte big-endian id of the data key, 12-byte random nonce, AES-256-GCM
of salt || body with the entry's index as associated data, and behind it the kind of what belongs to
the entry. The data keys lie in the catalogue, wrapped under the key store's `audit` key.
"""

import os
import secrets
import struct

import sqlalchemy as sa
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from casemate.controls.audit.entry import SALT_SIZE
from casemate.controls.keys.interface import KeyProvider
from casemate.core.errors import VerificationError
from casemate.core.store import METADATA
from casemate.core.store.prepared import Prepared

KEYS = sa.Table(
    "audit_key",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("wrapped", sa.LargeBinary, nullable=False),
)
_NEWEST = Prepared(sa.select(sa.func.max(KEYS.c.id)))
KEK = "audit"
FORMAT = 1
# format (1 byte), number of the key (4), nonce (12)
HEADER = 17
_HINT = "restore the catalogue from a backup"


class Bodies:
    """Seals and opens bodies; keeps unwrapped data keys in memory."""

    def __init__(self, keys: KeyProvider) -> None:
        self.keys = keys
        self._opened: dict[int, AESGCM] = {}

    def add_key(self, tx: sa.Connection) -> int:
        """A new data key for the entries to come; returns its id."""
        identifier = int(_NEWEST.rows(tx)[0][0] or 0) + 1
        tx.execute(
            KEYS.insert().values(
                id=identifier, wrapped=self.keys.wrap(KEK, secrets.token_bytes(32))
            )
        )
        tx.info.pop(KEK, None)
        return identifier

    def wrapped(self, tx: sa.Connection) -> list[tuple[int, bytes]]:
        """(id, wrapped key) of every data key, for a rotation."""
        return [(row.id, row.wrapped) for row in tx.execute(sa.select(KEYS).order_by(KEYS.c.id))]

    def replace(self, tx: sa.Connection, identifier: int, new: bytes) -> None:
        """Take the same data key wrapped anew."""
        tx.execute(KEYS.update().where(KEYS.c.id == identifier).values(wrapped=new))

    def remove_key(self, tx: sa.Connection, identifier: int) -> None:
        """Forget a data key under which nothing is sealed any more."""
        tx.execute(KEYS.delete().where(KEYS.c.id == identifier))
        self._opened.pop(identifier, None)

    def _key(self, tx: sa.Connection, identifier: int) -> AESGCM:
        if identifier not in self._opened:
            wrapped = tx.execute(sa.select(KEYS.c.wrapped).where(KEYS.c.id == identifier)).scalar()
            if wrapped is None:
                raise VerificationError(
                    f"the audit log's data key {identifier} is gone", hint=_HINT
                )
            self._opened[identifier] = AESGCM(self.keys.unwrap(KEK, wrapped))
        return self._opened[identifier]

    def seal(
        self, tx: sa.Connection, rows: list[tuple[int, bytes, bytes]], kind: bytes = b""
    ) -> list[bytes]:
        """Seal (index, salt, body) rows under the newest data key; `kind` tells what belongs to an
        entry from the entry itself.
        """
        newest = self._newest(tx)
        encrypt, head = self._key(tx, newest).encrypt, struct.pack(">BI", FORMAT, newest)
        sealed = []
        for index, salt, body in rows:
            nonce = os.urandom(12)
            sealed.append(
                head + nonce + encrypt(nonce, salt + body, struct.pack(">Q", index) + kind)
            )
        return sealed

    def _newest(self, tx: sa.Connection) -> int:
        """The newest data key, looked up once a transaction."""
        transaction, newest = tx.info.get(KEK, (None, 0))
        if transaction is None or transaction is not tx.get_transaction():
            newest = int(_NEWEST.rows(tx)[0][0] or 0) or self.add_key(tx)
            tx.info[KEK] = (tx.get_transaction(), newest)
        return int(newest)

    def open(
        self, tx: sa.Connection, index: int, sealed: bytes, kind: bytes = b""
    ) -> tuple[bytes, bytes]:
        """(salt, body) of entry `index`; VerificationError when it was changed."""
        try:
            version, identifier = struct.unpack_from(">BI", sealed)
            if version != FORMAT:
                raise ValueError("format")
            opened = self._key(tx, identifier).decrypt(
                sealed[5:HEADER], sealed[HEADER:], struct.pack(">Q", index) + kind
            )
        except (struct.error, ValueError, InvalidTag) as error:
            raise VerificationError(
                f"the body of audit entry {index} was changed after it was written", hint=_HINT
            ) from error
        return opened[:SALT_SIZE], opened[SALT_SIZE:]
