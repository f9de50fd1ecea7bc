"""The register of consent: what a person allowed, for which purpose, by which text, and when they
took it back. A person stands there by pseudonym only.

A record is never changed; a withdrawal is one more. Of the records about one person and purpose the
newest by its own time counts, whenever it became known, and of equal times the withdrawal. Rows
are bound to the audit log: a consent that nobody recorded opens nothing.
"""

import datetime
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from casemate.core.store import METADATA, Store, explained
from casemate.core.types import Record

CONSENTS = sa.Table(
    "consent",
    METADATA,
    sa.Column("batch", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("row", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("subject", sa.String, nullable=False),
    sa.Column("purpose", sa.String, nullable=False),
    sa.Column("time", sa.String, nullable=False),
    sa.Column("given", sa.Boolean, nullable=False),
    sa.Column("text", sa.String, nullable=False),
    sa.Column("source", sa.String, nullable=False),
    sa.Index("consent_of_subject", "subject"),
    # a batch is checked and written by itself: a withdrawal touches no other person's rows
    info=explained("batch"),
)


class Consent(Record, frozen=True, kw_only=True):
    """One record."""

    subject: str
    """Pseudonym, 64 hexadecimal digits."""
    purpose: str
    """As `[project] purpose` calls it."""
    time: str
    """When it was given or withdrawn, ISO 8601 in UTC."""
    given: bool
    """False: withdrawn."""
    text: str
    """Version of the text that the person agreed to; empty of a withdrawal."""
    source: str
    """Where it was said: a form, a clinic, a system."""

    @property
    def order(self) -> tuple[str, bool, str]:
        """What comes later counts: by time, and of equal times the withdrawal; then by text, so
        that the same one counts everywhere.
        """
        return self.time, not self.given, self.text

    def covers(self, texts: Sequence[str]) -> bool:
        """Whether it allows, where these versions of the text count; none: every one does."""
        return self.given and (not texts or self.text in texts)


@dataclass(frozen=True)
class Covered:
    """Who is covered for a purpose at one moment."""

    purpose: str
    subjects: frozenset[str]
    """Pseudonyms."""

    @property
    def digest(self) -> str:
        """SHA-256 of all of it: with another one a run seals its table anew."""
        return digest_of(self.purpose, self.subjects)


@dataclass(frozen=True)
class Usable:
    """Whose rows may be used at one moment: the only thing that stages are told of it."""

    covered: Covered | None = None
    """Who has consented; None where consent is not the basis."""
    restricted: frozenset[str] = frozenset()
    """Whose processing is restricted, or who objects to it; pseudonyms."""

    @property
    def is_anybody(self) -> bool:
        """Whether nobody's rows are to be left out."""
        return self.covered is None and not self.restricted

    @property
    def digest(self) -> str:
        """SHA-256 of who is restricted: with another one a run seals its table anew."""
        return digest_of("restricted", self.restricted)


def digest_of(about: str, subjects: Iterable[str]) -> str:
    """SHA-256 of what pseudonyms are listed for, and of them in their order."""
    return hashlib.sha256("\n".join([about, *sorted(subjects)]).encode()).hexdigest()


def instant(time: datetime.datetime) -> str:
    """A time that has a zone, as records have it: texts in the order of time; ValueError: in UTC it
    lies outside of the years that a calendar has.
    """
    try:
        return time.astimezone(datetime.UTC).isoformat(timespec="microseconds")
    except OverflowError:
        raise ValueError("the time lies before the year 1 in UTC, or after 9999") from None


class Consents:
    """Keeps and reads the register."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def add(self, tx: sa.Connection, told: Sequence[Consent]) -> tuple[int, int]:
        """(batch, how many records were new), within a write transaction; what is there already is
        not repeated.
        """
        known = set(self._some(tx, {one.subject for one in told}))
        fresh = [one for one in dict.fromkeys(told) if one not in known]
        batch = int(tx.execute(sa.select(sa.func.max(CONSENTS.c.batch))).scalar() or 0) + 1
        if fresh:
            rows = [_row(batch, place, one) for place, one in enumerate(fresh)]
            tx.execute(CONSENTS.insert(), rows)
        return batch, len(fresh)

    def _some(self, tx: sa.Connection, subjects: set[str]) -> Iterable[Consent]:
        query = sa.select(CONSENTS)
        if len(subjects) == 1:
            query = query.where(CONSENTS.c.subject == next(iter(subjects)))
        return (
            one for row in tx.execute(query).mappings() if (one := _read(row)).subject in subjects
        )

    def of(self, subject: str) -> list[Consent]:
        """Every record about a person, in the order in which they count."""
        with self.store.reading() as tx:
            return sorted(self._some(tx, {subject}), key=lambda one: (one.purpose, one.order))

    def all(self) -> list[Consent]:
        """Every record, by person and purpose in the order in which they count."""
        with self.store.reading() as tx:
            found = [_read(row) for row in tx.execute(sa.select(CONSENTS)).mappings()]
        return sorted(found, key=lambda one: (one.subject, one.purpose, one.order))

    def latest(self, purpose: str) -> dict[str, Consent]:
        """The record that counts of each person, for a purpose."""
        found: dict[str, Consent] = {}
        query = sa.select(CONSENTS).where(CONSENTS.c.purpose == purpose)
        with self.store.reading() as tx:
            for row in tx.execute(query).mappings():
                one = _read(row)
                before = found.get(one.subject)
                if before is None or one.order > before.order:
                    found[one.subject] = one
        return found

    def covered(self, purpose: str, texts: Sequence[str] = ()) -> Covered:
        """Who is covered now.

        Args:
            purpose: what for.
            texts: versions of texts that count; none: every one does.
        """
        return Covered(
            purpose,
            frozenset(
                subject for subject, one in self.latest(purpose).items() if one.covers(texts)
            ),
        )

    def withdrawn(self, purpose: str) -> set[str]:
        """Who has withdrawn, and not consented again since."""
        return {subject for subject, one in self.latest(purpose).items() if not one.given}


def _row(batch: int, place: int, one: Consent) -> dict[str, Any]:
    return {"batch": batch, "row": place} | {
        name: getattr(one, name) for name in one.__struct_fields__
    }


def _read(row: Any) -> Consent:
    return Consent(**{name: row[name] for name in Consent.__struct_fields__})
