"""Direct identifiers in a sealed table, each encrypted once more under its subject's own key.

The column `casemate_subject` holds the keyed pseudonym (32 bytes) of every row's subject: rows of
one person can still be found and joined, by whoever may read it, without knowing who it is. An
identifier column holds, as binary, a 12-byte nonce and AES-256-GCM ciphertext with pseudonym and
column name as associated data; its former Arrow type is in the field's
metadata: text, for identifiers are text to the last digit (older versions of tables also have
numbers, see `erasure`). Once the subject's key is shredded, the cells read as null, in every
version of the table and in every backup.
"""

import hmac
import os
from collections.abc import Callable, Sequence
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from casemate.controls.keys.interface import KeyProvider
from casemate.controls.keys.subjectrows import SubjectRows
from casemate.controls.keys.subjects import Root, SubjectKeys
from casemate.core.errors import DataError, RefusedError, VerificationError
from casemate.core.store import Store
from casemate.core.types import SealedDataset

PSEUDONYM = "casemate_subject"
CLASS = "sensitive"
"""Class of the pseudonym's column."""
TYPE = b"casemate:type"
KINDS = {"string": pa.string(), "double": pa.float64(), "int64": pa.int64()}
"""Types that are read back."""


class Identifiers:
    """Seals and opens the identifier columns of tables."""

    def __init__(self, store: Store, subjects: SubjectKeys, keys: KeyProvider) -> None:
        self.store = store
        self.subjects = subjects
        self.keys = keys
        """Records the use of the subjects' root, so it is asked outside of transactions only."""

    def seal(
        self, table: pa.Table, subject: str, columns: list[str], root: Root | None = None
    ) -> pa.Table:
        """`table` with `columns` encrypted per subject and the pseudonym's column added.

        A subject whose key was shredded gets none again: those cells become null.

        Args:
            table: the rows.
            subject: the column that names the person.
            columns: identifier columns, `subject` among them.
            root: the one that is kept, where many pieces are sealed one after another.

        Raises:
            DataError: the table has a column of the pseudonym's name, or an identifier that is no
                text.
        """
        if PSEUDONYM in table.column_names:
            raise DataError(
                f"the table has a column called {PSEUDONYM!r}",
                hint="rename it: casemate needs that name",
            )
        root = root or self.root()
        people = _text(table[subject]).combine_chunks().dictionary_encode()
        pseudonyms = [root.pseudonym(person) for person in people.dictionary.to_pylist()]
        with self.store.transaction() as tx:
            keys = self.subjects.keys_of(tx, root, pseudonyms, create=True)
        ciphers = [
            None if (key := keys[pseudonym]) is None else AESGCM(key).encrypt
            for pseudonym in pseudonyms
        ]
        whose = people.indices.to_pylist()
        for column in columns:
            position = table.column_names.index(column)
            field = table.schema.field(position)
            bound = [f"{pseudonym}/{column}".encode() for pseudonym in pseudonyms]
            noise = os.urandom(12 * table.num_rows)
            sealed = []
            for row, (value, person) in enumerate(
                zip(_text(table[column]).to_pylist(), whose, strict=True)
            ):
                encrypt, nonce = ciphers[person], noise[12 * row : 12 * row + 12]
                sealed.append(
                    None
                    if value is None or encrypt is None
                    else nonce + encrypt(nonce, value.encode(), bound[person])
                )
            kind = pa.field(column, pa.binary(), metadata={TYPE: str(field.type).encode()})
            table = table.set_column(position, kind, pa.array(sealed, pa.binary()))
        tokens = pa.array(
            [bytes.fromhex(pseudonym) for pseudonym in pseudonyms], pa.binary(32)
        ).take(people.indices)
        return table.append_column(pa.field(PSEUDONYM, pa.binary(32)), tokens)

    def note(self, dataset: str, version: str, subjects: pa.ChunkedArray, root: Root) -> None:
        """Index whose rows a version holds; see `subjectrows`.

        Args:
            dataset: its name.
            version: its version.
            subjects: identifiers, of every row one.
            root: see `root`.
        """
        people = _text(subjects).combine_chunks().dictionary_encode()
        known = [bytes.fromhex(root.pseudonym(one)) for one in people.dictionary.to_pylist()]
        self.rows.note(dataset, version, (known[one] for one in people.indices.to_pylist()))

    @property
    def rows(self) -> SubjectRows:
        """Whose rows are in which version."""
        return SubjectRows(self.store)

    def root(self, *, create: bool = True) -> Root:
        """What all subjects' keys hang on; its use is recorded."""
        with self.store.reading() as tx:
            wrapped = self.subjects.wrapped_root(tx)
        if wrapped is None and not create:
            raise VerificationError(
                "the root of the subjects' keys is gone", hint="restore the catalogue from a backup"
            )
        if wrapped is None:
            with self.store.transaction() as tx:
                wrapped = self.subjects.ensure_root(tx)
        return self.subjects.opened(wrapped, self.keys, "identifiers")

    def candidate(self) -> Root:
        """The root, or a new one that `keep` has still to keep: for work that may come to nothing
        and then leaves nothing.
        """
        with self.store.reading() as tx:
            wrapped = self.subjects.wrapped_root(tx)
        return (
            Root.drawn()
            if wrapped is None
            else self.subjects.opened(wrapped, self.keys, "identifiers")
        )

    def keep(self, root: Root) -> None:
        """Keep a `candidate` that something is about to depend on; one that is kept stays, for
        nothing ever replaces it.

        Raises:
            RefusedError: another one was kept meanwhile, so what was worked out with this one does
                not hold.
        """
        if root.kept:
            return
        with self.store.transaction() as tx:
            kept = self.subjects.opened(self.subjects.ensure_root(tx, root), self.subjects.keys)
        if not hmac.compare_digest(kept.raw, root.raw):
            raise RefusedError(
                "another run of this project sealed its first table meanwhile", hint="run again"
            )

    def open(self, table: pa.Table, root: Root | None = None) -> pa.Table:
        """`table`, which holds the pseudonym's column, with its identifiers decrypted; null where
        the subject's key was shredded.

        Args:
            table: a sealed table or a piece of it.
            root: from `root`, where many pieces are opened one after another.

        Raises:
            VerificationError: a cell was changed or moved to another row or column.
            BackendError: the subjects' keys are not here.
        """
        fields = [
            (position, field)
            for position, field in enumerate(table.schema)
            if TYPE in (field.metadata or {})
        ]
        if not fields:
            return table
        root = root or self.root(create=False)
        people = table[PSEUDONYM].combine_chunks().dictionary_encode()
        pseudonyms = [token.hex() for token in people.dictionary.to_pylist()]
        with self.store.reading() as tx:
            keys = self.subjects.keys_of(tx, root, pseudonyms, create=False)
        ciphers = [
            None if (key := keys[pseudonym]) is None else AESGCM(key).decrypt
            for pseudonym in pseudonyms
        ]
        whose = people.indices.to_pylist()
        for position, field in fields:
            bound = [f"{pseudonym}/{field.name}".encode() for pseudonym in pseudonyms]
            open_cell = partial(_open, field.name, ciphers, bound)
            values = pa.array(map(open_cell, table[position].to_pylist(), whose), pa.string())
            kind = KINDS[field.metadata[TYPE].decode()]
            table = table.set_column(position, pa.field(field.name, kind), pc.cast(values, kind))
        return table


def classes_of(dataset: SealedDataset) -> dict[str, str]:
    """Column class per column of a sealed version, the pseudonym's included."""
    classes: dict[str, str] = {
        column.name: column.column_class for column in dataset.schema.columns
    }
    return classes | ({PSEUDONYM: CLASS} if dataset.subject else {})


def _open(
    column: str,
    ciphers: Sequence[Callable[[bytes, bytes, bytes], bytes] | None],
    bound: list[bytes],
    sealed: bytes | None,
    person: int,
) -> str | None:
    decrypt = ciphers[person]
    if sealed is None or decrypt is None:
        return None
    try:
        return decrypt(sealed[:12], sealed[12:], bound[person]).decode()
    except (InvalidTag, ValueError) as error:
        raise VerificationError(
            f"a value in the column {column!r} was changed or moved",
            hint="restore the table from a backup",
        ) from error


def _text(values: pa.ChunkedArray) -> pa.ChunkedArray:
    if not pa.types.is_string(values.type):
        raise DataError(
            f"an identifier of type {values.type} cannot be sealed per subject",
            hint="give it as text",
        )
    return values
