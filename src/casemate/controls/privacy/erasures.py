"""The register of erasures: who must not come back, as keyed digests that name nobody.

A backup from before an erasure holds the person, and so does the system that a table comes from.
Whoever is erased is therefore remembered, as HMAC-SHA-256 of their pseudonym under a key that
follows from the log's private keys (HKDF, RFC 5869): these never change and are in every backup of
the key store. A digest says nothing without them, and is no pseudonym of tables or log.

The register lies in two places, so that a restore of one of them takes nobody out: the catalogue,
whose rows are bound to the log, and `erasures.json` in the key store's folder, under a MAC. What
counts is both together; each is completed from the other. A record is never changed: a new consent
of the same person adds that they may be taken again. Their key stays destroyed.
"""

import datetime
import hashlib
import hmac
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import msgspec
import sqlalchemy as sa
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from casemate.core.clock import Clock
from casemate.core.errors import VerificationError
from casemate.core.files import exclusive_wait, write_atomic
from casemate.core.store import METADATA, Store, explained
from casemate.core.types import Record

FILE = "erasures.json"
"""In the key store's folder, and beside a backup as `FILE.erased`."""
FORM = "casemate-erasures-1"
MOST = 256 << 20
"""Bytes of a register that is read: about a million records."""
What = Literal["erased", "lifted"]
ERASURES = sa.Table(
    "erasure",
    METADATA,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("digest", sa.String, nullable=False),
    sa.Column("time", sa.String, nullable=False),
    sa.Column("what", sa.String, nullable=False),
    sa.Column("why", sa.String, nullable=False),
    sa.Column("barred", sa.String, nullable=False),
    # a record that is taken out or made up lets somebody back in, or keeps somebody out
    info=explained("number"),
)


class Erasure(Record, frozen=True, kw_only=True):
    """One record."""

    number: int
    digest: str
    """Of a person, 64 hexadecimal digits."""
    time: str
    """ISO 8601 in UTC."""
    what: What
    why: str
    """Such as `request 3`, or `consent`."""
    barred: dict[str, str] = {}
    """Digests of models that must not be promoted any more, and from the end of which day; empty:
    at once.
    """


class _Kept(msgspec.Struct, forbid_unknown_fields=True):
    """What the file holds."""

    form: str
    project: str
    records: list[Erasure]
    mac: str


@dataclass(frozen=True, repr=False)
class Erased:
    """Who may not be taken, as of one moment."""

    key: bytes
    digests: frozenset[str]

    def has(self, pseudonym: str) -> bool:
        """Whether this person is among them."""
        return digest_of(self.key, pseudonym) in self.digests

    @property
    def digest(self) -> str:
        """SHA-256 of all of it: with another one a run reads its table anew."""
        return hashlib.sha256("\n".join(sorted(self.digests)).encode()).hexdigest()


def digest_of(key: bytes, pseudonym: str) -> str:
    """How a person stands in the register."""
    return hmac.new(key, pseudonym.encode(), hashlib.sha256).hexdigest()


def keys_from(*secrets: bytes) -> tuple[bytes, bytes]:
    """(key of the digests, key of the file's MAC), 32 bytes each.

    Args:
        secrets: private keys that stay the same for the project's life.
    """
    derived = HKDF(hashes.SHA256(), 64, None, b"casemate/erasures/v1").derive(b"".join(secrets))
    return derived[:32], derived[32:]


class Erasures:
    """Keeps and reads the register."""

    def __init__(
        self, store: Store, clock: Clock, folder: Path, project: str, keys: tuple[bytes, bytes]
    ) -> None:
        """Nothing is read yet.

        Args:
            store: the catalogue.
            clock: tells the time.
            folder: of the key store.
            project: its id.
            keys: see `keys_from`.
        """
        self.store, self.clock, self.folder, self.project = store, clock, folder, project
        self.key, self._mac_key = keys

    def digest(self, pseudonym: str) -> str:
        """How a person stands in it."""
        return digest_of(self.key, pseudonym)

    def rows(self, tx: sa.Connection | None = None) -> list[Erasure]:
        """The records of the catalogue, in their order."""
        if tx is None:
            with self.store.reading() as at:
                return self.rows(at)
        query = sa.select(ERASURES).order_by(ERASURES.c.number)
        return [_read(row) for row in tx.execute(query).mappings()]

    @cached_property
    def _file(self) -> Path:
        return self.folder / FILE

    def beside(self) -> list[Erasure]:
        """The records of the key store's folder; VerificationError: they were changed."""
        return self.opened(self._file) if self._file.is_file() else []

    def opened(self, path: Path) -> list[Erasure]:
        """The records of a register's file.

        Raises:
            VerificationError: it is damaged, was changed, or is another project's.
        """
        try:
            with path.open("rb") as file:
                content = file.read(MOST + 1)
            if len(content) > MOST:
                raise ValueError("too large")
            kept = msgspec.json.decode(content, type=_Kept)
        except (ValueError, msgspec.MsgspecError, RecursionError) as error:
            raise _changed(path) from error
        if kept.project != self.project:
            raise VerificationError(
                f"{path} is the register of another project", hint="take this project's"
            )
        if kept.form != FORM or not hmac.compare_digest(self._mac(kept.records), kept.mac):
            raise _changed(path)
        return kept.records

    def all(self, tx: sa.Connection | None = None) -> list[Erasure]:
        """Every record of both places, in the order of time."""
        return _united(self.rows(tx), self.beside())

    def missing(self) -> list[Erasure]:
        """Records that the catalogue does not have: it was restored from before them."""
        here = set(map(_what_it_says, self.rows()))
        return [one for one in self.beside() if _what_it_says(one) not in here]

    def erased(self) -> Erased:
        """Who may not be taken now."""
        return Erased(self.key, frozenset(_in_force(self.all())))

    def ever(self) -> frozenset[str]:
        """Digests of everybody whose key was destroyed, also of those who consented anew."""
        return frozenset(one.digest for one in self.all() if one.what == "erased")

    def add(
        self,
        tx: sa.Connection,
        pseudonyms: Iterable[str],
        what: What,
        why: str,
        barred: dict[str, str] | None = None,
        *,
        anew: bool = False,
    ) -> int:
        """Write people down within a transaction of the catalogue, those of whom the register says
        something else now, or, `anew`, all of them; how many. `save` follows.
        """
        known = self.all(tx)
        force = set(_in_force(known))
        wanted = [
            digest
            for digest in dict.fromkeys(map(self.digest, pseudonyms))
            if anew or (digest in force) != (what == "erased")
        ]
        last = {one.digest: one.time for one in known}
        new = [
            Erasure(
                number=0,
                digest=one,
                time=self._after(last.get(one)),
                what=what,
                why=why,
                barred=barred or {},
            )
            for one in wanted
        ]
        self._insert(tx, known, new)
        return len(wanted)

    def _after(self, last: str | None) -> str:
        """Now, or just after the person's last record: of records the newest counts, also where the
        clock was set back.
        """
        now = self.clock.now().astimezone(datetime.UTC)
        if last is not None:
            then = datetime.datetime.fromisoformat(last) + datetime.timedelta(microseconds=1)
            now = max(now, then.astimezone(datetime.UTC))
        return now.isoformat(timespec="microseconds")

    def take(self, tx: sa.Connection, records: Sequence[Erasure]) -> int:
        """Take records from elsewhere into the catalogue, those that it does not have; how many."""
        known = self.rows(tx)
        here = set(map(_what_it_says, known))
        new = [one for one in records if _what_it_says(one) not in here]
        self._insert(tx, known, new)
        return len(new)

    def _insert(self, tx: sa.Connection, known: list[Erasure], new: Sequence[Erasure]) -> None:
        if not new:
            return
        first = max((one.number for one in known), default=0) + 1
        rows = [
            msgspec.to_builtins(one)
            | {"number": number, "barred": msgspec.json.encode(one.barred).decode()}
            for number, one in enumerate(new, first)
        ]
        tx.execute(ERASURES.insert(), rows)

    def save(self, more: Sequence[Erasure] = ()) -> None:
        """Complete the file in the key store's folder from the catalogue, and `more`."""
        with exclusive_wait(self.folder / ".lock"):
            here = self.beside()
            united = _united(here, self.rows(), more)
            if len(united) > len(here):
                write_atomic(self._file, self.encoded(united))

    def encoded(self, records: list[Erasure]) -> bytes:
        """A register's file."""
        kept = _Kept(FORM, self.project, records, self._mac(records))
        return msgspec.json.encode(kept)

    def _mac(self, records: list[Erasure]) -> str:
        told = msgspec.json.encode([FORM, self.project, records], order="deterministic")
        return hmac.new(self._mac_key, told, hashlib.sha256).hexdigest()


def _read(row: Any) -> Erasure:
    barred = msgspec.json.decode(row["barred"], type=dict[str, str])
    return Erasure(**{**row, "barred": barred})


def _what_it_says(one: Erasure) -> tuple[str, str, str]:
    return one.time, one.digest, one.what


def _united(*places: Sequence[Erasure]) -> list[Erasure]:
    found = {_what_it_says(one): one for records in places for one in records}
    return [
        msgspec.structs.replace(found[key], number=number)
        for number, key in enumerate(sorted(found), 1)
    ]


def _in_force(records: Iterable[Erasure]) -> set[str]:
    """Whom the newest record says to be erased."""
    newest = {one.digest: one.what for one in records}
    return {digest for digest, what in newest.items() if what == "erased"}


def _changed(path: Path) -> VerificationError:
    return VerificationError(
        f"the register of erasures {path} was changed or damaged",
        hint="remove it if the catalogue is whole: it is written anew; else take it from a backup",
    )
