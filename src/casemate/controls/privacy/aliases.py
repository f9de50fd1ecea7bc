"""Identifiers that are one person's: a patient number here, another one there.

They stand in the catalogue by pseudonym. Each identifier is kept beside it, sealed under its own
subject's key, so that an erasure that completes later finds what to look for, and cannot be read
once it has.
"""

from typing import Any

import sqlalchemy as sa

from casemate.controls.keys.subjects import SubjectKeys
from casemate.core.errors import RefusedError
from casemate.core.store import METADATA, explained

ALIASES = sa.Table(
    "person_alias",
    METADATA,
    sa.Column("subject", sa.String, primary_key=True),
    sa.Column("person", sa.String, nullable=False),
    sa.Column("sealed", sa.LargeBinary),
    sa.Column("since", sa.String, nullable=False),
    sa.Column("principal", sa.String, nullable=False),
    sa.Index("alias_of_person", "person"),
    # whoever could take one away would undo a hold on the other
    info=explained(),
)


class Aliases:
    """Links, finds and forgets them, each within a transaction."""

    def __init__(self, subjects: SubjectKeys) -> None:
        self.subjects = subjects

    def of(self, tx: sa.Connection, pseudonym: str) -> list[str]:
        """Every pseudonym of a person, this one first."""
        others = self.everybodys(tx).get(pseudonym, [])
        return [pseudonym, *(one for one in others if one != pseudonym)]

    def everybodys(self, tx: sa.Connection) -> dict[str, list[str]]:
        """Every pseudonym that is kept, with all of the same person."""
        people: dict[str, list[str]] = {}
        for row in tx.execute(sa.select(ALIASES).order_by(ALIASES.c.subject)):
            people.setdefault(row.person, []).append(row.subject)
        return {one: theirs for theirs in people.values() for one in theirs}

    def keep(self, tx: sa.Connection, identifier: str, who: str, since: str) -> str:
        """Keep an identifier, sealed under its subject's key unless that is destroyed; its
        pseudonym.
        """
        wrapped = self.subjects.ensure_root(tx)
        pseudonym = self.subjects.opened(wrapped, self.subjects.keys).pseudonym(identifier)
        if tx.execute(sa.select(ALIASES.c.subject).where(_is(pseudonym))).first() is not None:
            return pseudonym
        try:
            sealed = self.subjects.seal(tx, identifier, identifier.encode())[1]
        except RefusedError:
            sealed = None
        row: dict[str, Any] = {"subject": pseudonym, "person": pseudonym, "sealed": sealed}
        tx.execute(ALIASES.insert().values(**row, since=since, principal=who))
        return pseudonym

    def link(self, tx: sa.Connection, one: str, other: str) -> bool:
        """Make the identifiers of two kept pseudonyms one person's; whether they were not yet."""
        known = {row.subject: row.person for row in tx.execute(sa.select(ALIASES))}
        if known[one] == known[other]:
            return False
        moved = ALIASES.update().where(ALIASES.c.person == known[other])
        tx.execute(moved.values(person=known[one]))
        return True

    def identifier(self, tx: sa.Connection, pseudonym: str) -> str | None:
        """The identifier behind a pseudonym; None: it was not kept, or its key is destroyed."""
        sealed = tx.execute(sa.select(ALIASES.c.sealed).where(_is(pseudonym))).scalar()
        if sealed is None:
            return None
        content = self.subjects.open(tx, pseudonym, bytes(sealed))
        return None if content is None else content.decode()

    def forget(self, tx: sa.Connection, pseudonyms: list[str]) -> None:
        """Forget that these are one person's."""
        tx.execute(ALIASES.delete().where(ALIASES.c.subject.in_(pseudonyms)))


def _is(pseudonym: str) -> sa.ColumnElement[bool]:
    return ALIASES.c.subject == pseudonym
