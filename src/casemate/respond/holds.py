"""Holds: what must not happen with something until a person lifts the hold: no release of a model,
no answer of it, no more than the label, no lesson from a source, no deletion of a run, no erasure
of a person.
"""

import contextlib
from typing import Literal, get_args

import sqlalchemy as sa

from casemate.core.clock import Clock
from casemate.core.errors import ConfigError
from casemate.core.store import METADATA, Store, explained
from casemate.core.types import Record

What = Literal["releases", "answers", "probabilities", "teaching", "deletion", "erasure"]
KINDS: dict[What, str] = {
    "releases": "model",
    "answers": "model",
    "probabilities": "model",
    "teaching": "source",
    "deletion": "run",
    "erasure": "person",
}
"""What is held -> of what: a model as `NAME` or `NAME@VERSION`, a source of feedback, a run, a
person by pseudonym.
"""
WHAT: tuple[What, ...] = get_args(What)
HOLDS = sa.Table(
    "hold",
    METADATA,
    sa.Column("what", sa.String, primary_key=True),
    sa.Column("of", sa.String, primary_key=True),
    sa.Column("since", sa.String, nullable=False),
    sa.Column("principal", sa.String, nullable=False),
    sa.Column("reason", sa.String, nullable=False),
    # whoever could take one away would let a model answer, or evidence go
    info=explained(),
)


class Hold(Record, frozen=True, kw_only=True):
    """One hold that stands."""

    what: What
    of: str
    """A model as `NAME` or `NAME@VERSION`, a source, a run, a person's pseudonym."""
    since: str
    """ISO 8601."""
    principal: str
    """Who placed it."""
    reason: str

    def covers(self, what: What, reference: str) -> bool:
        """Whether it keeps `what` from happening with this model version, source or run."""
        name = reference.partition("@")[0] if KINDS[what] == "model" else reference
        return self.what == what and self.of in (reference, name)


class Holds:
    """Reads and changes holds."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.store, self.clock = store, clock

    def all(self, tx: sa.Connection | None = None) -> list[Hold]:
        """Every hold that stands, the oldest first; within a transaction, as it sees them."""
        query = sa.select(HOLDS).order_by(HOLDS.c.since, HOLDS.c.what, HOLDS.c.of)
        with contextlib.nullcontext(tx) if tx is not None else self.store.reading() as at:
            return [Hold(**row) for row in at.execute(query).mappings()]

    def over(self, what: What, reference: str, tx: sa.Connection | None = None) -> Hold | None:
        """The oldest hold that keeps `what` from happening with it; None: it may."""
        return next((one for one in self.all(tx) if one.covers(what, reference)), None)

    def stands(self, what: What, of: str) -> bool:
        """Whether there is just this hold, whatever a wider one covers."""
        return any((one.what, one.of) == (what, of) for one in self.all())

    def place(self, tx: sa.Connection, what: What, of: str, principal: str, reason: str) -> bool:
        """Place one; whether there was none yet."""
        if tx.execute(sa.select(HOLDS.c.of).where(*self._row(what, of))).first() is not None:
            return False
        since = self.clock.now().isoformat(timespec="seconds")
        row = {"what": what, "of": of, "since": since, "principal": principal, "reason": reason}
        tx.execute(HOLDS.insert().values(**row))
        return True

    def lift(self, tx: sa.Connection, what: What, of: str) -> None:
        """Lift one; ConfigError: there is none."""
        if tx.execute(HOLDS.delete().where(*self._row(what, of))).rowcount != 1:
            raise ConfigError(f"there is no hold on {what} of {of!r}", hint="casemate hold list")

    @staticmethod
    def _row(what: What, of: str) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
        return HOLDS.c.what == what, HOLDS.c.of == of
