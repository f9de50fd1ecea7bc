"""Whose rows are in which sealed version: an index by pseudonym, so that the question "what was
made of this person's data" is one query and opens no table.

It holds the first 16 bytes of pseudonyms, which are nothing without the root, and counts. A version
is in the index as a whole or not at all: one that is half written has no count of its subjects.
"""

from collections import Counter
from collections.abc import Iterable

import sqlalchemy as sa

from casemate.core.store import METADATA, Store
from casemate.core.store.prepared import Prepared
from casemate.core.types import Record

VERSIONS = sa.Table(
    "subject_version",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("dataset", sa.String, nullable=False),
    sa.Column("version", sa.String, nullable=False),
    sa.Column("rows", sa.Integer, nullable=False),
    sa.Column("subjects", sa.Integer),
)
ROWS = sa.Table(
    "subject_rows",
    METADATA,
    sa.Column("subject", sa.LargeBinary, primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("rows", sa.Integer, nullable=False),
    sqlite_with_rowid=False,
)
ADD = Prepared(ROWS.insert())
SHORT = 16
"""Bytes of a pseudonym: two of 2^32 people are alike with a chance of 2^-65, and the index is half
as large.
"""
PEOPLE = 500
"""Of one statement: SQLite takes 999 parameters."""
AT_ONCE = 20_000
"""Rows of one transaction: nobody waits for the index of a large table."""


class Held(Record, frozen=True, kw_only=True):
    """Rows of one person in one version."""

    dataset: str
    version: str
    rows: int
    of: int
    """Rows of the version."""


class SubjectRows:
    """Writes and asks the index."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def note(self, dataset: str, version: str, pseudonyms: Iterable[bytes]) -> None:
        """Take a version in, unless it is there: a version never changes.

        Args:
            dataset: its name.
            version: its version.
            pseudonyms: of every row's subject, 32 bytes each.
        """
        if (dataset, version) in self.known():
            return
        counts = Counter(one[:SHORT] for one in pseudonyms)
        with self.store.transaction() as tx:
            number = int(tx.execute(sa.select(sa.func.max(VERSIONS.c.id))).scalar() or 0) + 1
            row = {"id": number, "dataset": dataset, "version": version}
            tx.execute(VERSIONS.insert().values(**row, rows=sum(counts.values())))
        # in their order, each page of the index is written once
        rows = [
            {"subject": subject, "version": number, "rows": count}
            for subject, count in sorted(counts.items())
        ]
        for start in range(0, len(rows), AT_ONCE):
            with self.store.transaction() as tx:
                ADD(tx, rows[start : start + AT_ONCE])
        with self.store.transaction() as tx:
            if tx.execute(_whole(dataset, version)).first() is None:
                done = VERSIONS.update().where(VERSIONS.c.id == number)
                tx.execute(done.values(subjects=len(counts)))
            else:  # another process was faster
                tx.execute(ROWS.delete().where(ROWS.c.version == number))
                tx.execute(VERSIONS.delete().where(VERSIONS.c.id == number))

    def known(self) -> set[tuple[str, str]]:
        """(data set, version) of every version that is in the index as a whole."""
        query = sa.select(VERSIONS.c.dataset, VERSIONS.c.version)
        with self.store.reading() as tx:
            rows = tx.execute(query.where(VERSIONS.c.subjects.is_not(None)))
            return {(row.dataset, row.version) for row in rows}

    def broken(self) -> list[tuple[str, str]]:
        """(data set, version) of those in the index whose rows are not what was written: people or
        rows of theirs are missing, or are too many.
        """
        counted = (
            sa.select(
                ROWS.c.version,
                sa.func.count().label("subjects"),
                sa.func.sum(ROWS.c.rows).label("rows"),
            )
            .group_by(ROWS.c.version)
            .subquery()
        )
        query = (
            sa.select(VERSIONS, counted.c.subjects.label("people"), counted.c.rows.label("found"))
            .outerjoin(counted, counted.c.version == VERSIONS.c.id)
            .where(VERSIONS.c.subjects.is_not(None))
        )
        with self.store.reading() as tx:
            return [
                (row.dataset, row.version)
                for row in tx.execute(query)
                if (row.people or 0, row.found or 0) != (row.subjects, row.rows)
            ]

    def of(self, pseudonym: str) -> list[Held]:
        """Every version with rows of a person, by data set and version.

        Args:
            pseudonym: 64 hexadecimal digits.
        """
        query = (
            sa.select(
                VERSIONS.c.dataset,
                VERSIONS.c.version,
                ROWS.c.rows,
                VERSIONS.c.rows.label("of"),
            )
            .join(VERSIONS, VERSIONS.c.id == ROWS.c.version)
            .where(
                ROWS.c.subject == bytes.fromhex(pseudonym)[:SHORT],
                VERSIONS.c.subjects.is_not(None),
            )
            .order_by(VERSIONS.c.dataset, VERSIONS.c.version)
        )
        with self.store.reading() as tx:
            return [Held(**row) for row in tx.execute(query).mappings()]

    def people(self, versions: Iterable[tuple[str, str]]) -> int:
        """How many people have rows in any of these versions.

        Args:
            versions: (data set, version) of each, all of them in the index.
        """
        with self.store.reading() as tx:
            numbers = [tx.execute(_whole(*one)).scalar() for one in versions]
            query = sa.select(sa.func.count(sa.distinct(ROWS.c.subject)))
            return int(tx.execute(query.where(ROWS.c.version.in_(numbers))).scalar_one())

    def among(self, dataset: str, version: str, pseudonyms: Iterable[str]) -> int:
        """How many of these people have rows in a version."""
        wanted = sorted({bytes.fromhex(one)[:SHORT] for one in pseudonyms})
        count = 0
        with self.store.reading() as tx:
            number = tx.execute(_whole(dataset, version)).scalar()
            for start in range(0, len(wanted), PEOPLE):
                some = ROWS.c.subject.in_(wanted[start : start + PEOPLE])
                query = sa.select(sa.func.count()).select_from(ROWS)
                count += int(tx.execute(query.where(some, ROWS.c.version == number)).scalar_one())
        return count

    def drop(self, tx: sa.Connection, gone: Iterable[tuple[str, str]]) -> None:
        """Forget versions that are removed, within a write transaction."""
        for dataset, version in gone:
            same = (VERSIONS.c.dataset == dataset, VERSIONS.c.version == version)
            numbers = sa.select(VERSIONS.c.id).where(*same).scalar_subquery()
            tx.execute(ROWS.delete().where(ROWS.c.version.in_(numbers)))
            tx.execute(VERSIONS.delete().where(*same))


def _whole(dataset: str, version: str) -> sa.Select[tuple[int]]:
    """The number of a version that is in the index as a whole."""
    same = (VERSIONS.c.dataset == dataset, VERSIONS.c.version == version)
    return sa.select(VERSIONS.c.id).where(*same, VERSIONS.c.subjects.is_not(None))
