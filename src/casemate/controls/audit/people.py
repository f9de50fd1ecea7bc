"""Recorded predictions about one person: which there are, and taking them out.

The log's commitment to a prediction stays when it is taken out, and an entry says which were: the
log verifies, and nobody can take one out without a word. A request about several people is one
prediction, which goes as a whole.
"""

import datetime
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from casemate.controls.audit.entry import SALT_SIZE
from casemate.controls.audit.log import AuditLog
from casemate.controls.audit.predictions import (
    ERASED,
    GROUPS,
    INPUTS,
    PEOPLE,
    PREDICTIONS,
    Prediction,
)
from casemate.core.errors import VerificationError
from casemate.core.types import Record

AT_ONCE = 1000
"""Predictions in one entry of the log, which takes 32 KiB."""


class _Said(msgspec.Struct):
    """Of a prediction, whom it is about."""

    people: tuple[bytes, ...] = ()


_SAID = msgspec.json.Decoder(_Said)


class Taken(Record, frozen=True, kw_only=True):
    """What was taken out."""

    predictions: int = 0
    shared: int = 0
    """Of these, such as were about others too."""


def said(bodies: Sequence[bytes]) -> set[tuple[bytes, int]]:
    """(pseudonym, place) of a group's predictions, as they say it themselves."""
    return {
        (subject, place)
        for place, body in enumerate(bodies)
        if body
        for subject in _SAID.decode(body).people
        if subject
    }


def of_groups(tx: sa.Connection, first: int, last: int) -> dict[int, set[tuple[bytes, int]]]:
    """Log entry -> (pseudonym, place) as the index has it, between two entries."""
    found: dict[int, set[tuple[bytes, int]]] = {}
    here = sa.select(PEOPLE).where(PEOPLE.c.index.between(first, last))
    for subject, index, place in tx.execute(here):
        found.setdefault(index, set()).add((subject, place))
    return found


def places_of(detail: dict[str, Any]) -> Iterator[tuple[int, int]]:
    """(log entry, place) of every prediction that an entry says was taken out."""
    for index, places in detail["groups"].items():
        yield from ((int(index), place) for place in places)


class Told:
    """Finds what was told about people, and takes it out."""

    def __init__(self, log: AuditLog) -> None:
        self.log = log

    def count(self, pseudonyms: Iterable[str], tx: sa.Connection | None = None) -> int:
        """How many predictions about these people are kept."""
        if tx is not None:
            return len(_places(tx, pseudonyms))
        with self.log.store.reading() as reading:
            return len(_places(reading, pseudonyms))

    def everybody(self) -> list[str]:
        """The pseudonym of everybody about whom a prediction is kept."""
        with self.log.store.reading() as tx:
            return [
                one.hex() for one in tx.execute(sa.select(PEOPLE.c.subject).distinct()).scalars()
            ]

    def about(self, pseudonyms: Sequence[str]) -> Iterator[Prediction]:
        """Every prediction about these people, also of shadows, oldest first.

        Raises:
            VerificationError: one was changed, or is about somebody else.
        """
        with self.log.store.reading() as tx:
            groups = _groups(_places(tx, pseudonyms))
        theirs = set(map(bytes.fromhex, pseudonyms))
        for index, places in groups.items():
            with self.log.store.reading() as tx:
                bodies = self._opened(tx, index)
            for place in places:
                # forgotten or taken out since
                if place < len(bodies) and bodies[place][1]:
                    found = msgspec.json.decode(bodies[place][1], type=Prediction)
                    if not theirs & set(found.people):
                        raise VerificationError(
                            f"a prediction of log entry {index} is about somebody else",
                            hint="casemate fsck",
                        )
                    yield found

    def others(self, pseudonyms: Sequence[str], tx: sa.Connection | None = None) -> list[str]:
        """Who else predictions about these people are about."""
        if tx is None:
            with self.log.store.reading() as reading:
                return self.others(pseudonyms, reading)
        theirs, found = set(map(bytes.fromhex, pseudonyms)), set[bytes]()
        places = _places(tx, pseudonyms)
        for start in range(0, len(indexes := sorted({index for index, _ in places})), 500):
            some = PEOPLE.c.index.in_(indexes[start : start + 500])
            rows = tx.execute(sa.select(PEOPLE).where(some))
            found |= {subject for subject, index, place in rows if (index, place) in places}
        return [one.hex() for one in found - theirs]

    def take_out(
        self, who: str, pseudonyms: Sequence[str], until: datetime.datetime | None = None
    ) -> Taken:
        """Take everything out that is about these people, in transactions of their own: whoever
        dies within leaves the rest to the next time.

        Args:
            who: acts, as the log names them.
            pseudonyms: of one person.
            until: only what was recorded until then.
        """
        taken = Taken()
        while True:
            with self.log.store.transaction() as tx:
                one = self.take_some_out(tx, who, pseudonyms, until)
            if not one.predictions:
                return taken
            taken = Taken(
                predictions=taken.predictions + one.predictions, shared=taken.shared + one.shared
            )

    def take_some_out(
        self,
        tx: sa.Connection,
        who: str,
        pseudonyms: Sequence[str],
        until: datetime.datetime | None = None,
    ) -> Taken:
        """The same within a transaction, at most `AT_ONCE`."""
        places = sorted(_places(tx, pseudonyms, until))[:AT_ONCE]
        if not places:
            return Taken()
        groups = _groups(places)
        shared, theirs = 0, set(map(bytes.fromhex, pseudonyms))
        for index, gone in groups.items():
            here = sa.and_(PEOPLE.c.index == index, PEOPLE.c.place.in_(gone))
            rows = tx.execute(sa.select(PEOPLE).where(here))
            shared += len({row.place for row in rows if row.subject not in theirs})
            self._blank(tx, index, gone)
            tx.execute(PEOPLE.delete().where(here))
        detail = {"groups": {str(index): gone for index, gone in groups.items()}, "shared": shared}
        about = f'Subject::"{pseudonyms[0]}"'
        self.log.append(tx, who, ERASED, about, "done", detail)
        return Taken(predictions=len(places), shared=shared)

    def taken_since(self, pseudonyms: Sequence[str], entry: int) -> Taken:
        """What was taken out of these people's since an entry of the log."""
        about = {f'Subject::"{one}"' for one in pseudonyms}
        found = [
            one.detail
            for one in self.log.plain_entries(entry)
            if one.action == ERASED and one.resource in about
        ]
        return Taken(
            predictions=sum(len(list(places_of(detail))) for detail in found),
            shared=sum(detail["shared"] for detail in found),
        )

    def _blank(self, tx: sa.Connection, index: int, gone: list[int]) -> None:
        """Take predictions of one group out, and the rows that they were made from."""
        bodies, change = self._opened(tx, index), dict[str, bytes]()
        if not bodies:
            return  # their time is over
        for place in gone:
            bodies[place] = (b"", b"")
        change["sealed"] = self._sealed(tx, index, bodies, PREDICTIONS)
        inputs = tx.execute(sa.select(GROUPS.c.inputs).where(GROUPS.c.index == index)).scalar()
        if inputs is not None:
            _, content = self.log.bodies.open(tx, index, inputs, INPUTS)
            rows = msgspec.msgpack.decode(content, type=list[bytes])
            for place in gone:
                rows[place] = b""
            change["inputs"] = self._sealed(tx, index, rows, INPUTS)
        tx.execute(GROUPS.update().where(GROUPS.c.index == index).values(**change))

    def _opened(self, tx: sa.Connection, index: int) -> list[tuple[bytes, bytes]]:
        sealed = tx.execute(sa.select(GROUPS.c.sealed).where(GROUPS.c.index == index)).scalar()
        if sealed is None:
            return []
        _, content = self.log.bodies.open(tx, index, sealed, PREDICTIONS)
        return msgspec.msgpack.decode(content, type=list[tuple[bytes, bytes]])

    def _sealed(self, tx: sa.Connection, index: int, content: Any, kind: bytes) -> bytes:
        salt, plain = os.urandom(SALT_SIZE), msgspec.msgpack.encode(content)
        return self.log.bodies.seal(tx, [(index, salt, plain)], kind)[0]


def _places(
    tx: sa.Connection, pseudonyms: Iterable[str], until: datetime.datetime | None = None
) -> set[tuple[int, int]]:
    """(log entry, place) of every prediction about these people."""
    theirs = list(map(bytes.fromhex, pseudonyms))
    query = sa.select(PEOPLE.c.index, PEOPLE.c.place).where(PEOPLE.c.subject.in_(theirs))
    if until is not None:
        query = query.join(GROUPS, GROUPS.c.index == PEOPLE.c.index)
        query = query.where(GROUPS.c.time <= until.isoformat())
    return {(index, place) for index, place in tx.execute(query)}


def _groups(places: Iterable[tuple[int, int]]) -> dict[int, list[int]]:
    """Log entry -> places, both ascending."""
    found: dict[int, list[int]] = {}
    for index, place in sorted(places):
        found.setdefault(index, []).append(place)
    return found
