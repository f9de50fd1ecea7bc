"""Things that are what their entries of the audit log say, folded from the first to the last:
incidents, requests of people. A change is an entry, a line that points to it and the row that is a
copy of both, in one transaction; whoever shows a thing holds its row against its entries.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import msgspec
import sqlalchemy as sa

from casemate.core.entry import Entry
from casemate.core.errors import RefusedError, VerificationError
from casemate.core.types import Record
from casemate.wiring import Wiring


class Numbered(Protocol):
    """What is folded."""

    @property
    def id(self) -> int:
        """Its number."""

    @property
    def changes(self) -> int:
        """How many entries made it."""


AT_ONCE = 200
"""Rows whose entries are read together: SQLite takes 999 parameters."""
T = TypeVar("T", bound=Numbered)
C = TypeVar("C", bound=Record)


@dataclass(frozen=True)
class Kind(Generic[T, C]):
    """One kind of such things."""

    word: str
    """What people call one."""
    prefix: str
    """Before its number in the log, such as `Incident::"`."""
    change: type[C]
    """The detail of its entries."""
    applied: Callable[[T | None, int, str, C], T]
    """(before, number, action, change) -> after; RefusedError where that cannot happen."""
    lines: sa.Table
    """Which entries are about which: columns of the word's name and `entry`."""
    put: Callable[[sa.Connection, T, bool], None]
    """Write a row; the last says whether it is new."""
    read: Callable[[sa.Connection, int], T]
    """A row."""
    every: Callable[[sa.Connection], Iterable[T]]
    """All rows."""

    def resource(self, number: int) -> str:
        """Its name in the log."""
        return f'{self.prefix}{number}"'

    def change_of(self, detail: object) -> C:
        """A change as an entry has it; VerificationError when it is none."""
        try:
            return msgspec.convert(detail, self.change)
        except msgspec.ValidationError as error:
            raise VerificationError(
                f"an entry about {self.word}s cannot be read: {error}", hint="casemate audit verify"
            ) from error

    def written(
        self, project: Wiring, tx: sa.Connection, who: str, before: T | int, action: str, change: C
    ) -> tuple[T, int]:
        """(the thing after a change that is written, its entry).

        Args:
            project: whose.
            tx: a write transaction.
            who: acts, as the log names them.
            before: the thing; the number of one that begins.
            action: what happens.
            change: the rest of it.

        Raises:
            RefusedError: this cannot happen in its state.
        """
        known = None if isinstance(before, int) else before
        number = before if isinstance(before, int) else before.id
        after = self.applied(known, number, action, change)
        detail = msgspec.to_builtins(change)
        entry = project.log.append(tx, who, action, self.resource(number), "done", detail)
        tx.execute(self.lines.insert().values(**{self.word: number, "entry": entry}))
        self.put(tx, after, known is None)
        return after, entry

    def folded(self, number: int, changes: Iterable[tuple[str, C]]) -> T:
        """What these (action, change) make; VerificationError: nothing."""
        found: T | None = None
        try:
            for action, change in changes:
                found = self.applied(found, number, action, change)
        except RefusedError as error:
            raise VerificationError(
                f"the log's entries about {self.word} {number} do not follow one another:"
                f" {error.message}",
                hint="restore the catalogue from a backup",
            ) from error
        if found is None:
            raise VerificationError(
                f"the log has no entry about {self.word} {number}",
                hint="restore the catalogue from a backup",
            )
        return found

    def history(self, project: Wiring, tx: sa.Connection, number: int) -> tuple[T, list[Entry]]:
        """(thing, its entries), once the row was held against what they make.

        Raises:
            ConfigError: there is none. VerificationError: the row says something else.
        """
        row = self.read(tx, number)
        query = sa.select(self.lines.c.entry).where(self.lines.c[self.word] == number)
        indexes = list(tx.execute(query.order_by(self.lines.c.entry)).scalars())
        entries = project.log.at(tx, indexes)
        if any(entry.resource != self.resource(number) for entry in entries):
            raise self._changed(number)
        made = [(one.action, self.change_of(one.detail)) for one in entries]
        if self.folded(number, made) != row:
            raise self._changed(number)
        return row, entries

    def require_held(self, project: Wiring, tx: sa.Connection, rows: Sequence[T]) -> None:
        """Hold many rows against what their entries make, with few questions.

        Raises:
            VerificationError: one says something else.
        """
        column = self.lines.c[self.word]
        for start in range(0, len(rows), AT_ONCE):
            some = {row.id: row for row in rows[start : start + AT_ONCE]}
            query = sa.select(column, self.lines.c.entry).where(column.in_(some))
            owners = {entry: number for number, entry in tx.execute(query)}
            made: dict[int, list[tuple[str, C]]] = {}
            for entry in project.log.at(tx, sorted(owners)):
                number = owners[entry.index]
                if entry.resource != self.resource(number):
                    raise self._changed(number)
                made.setdefault(number, []).append((entry.action, self.change_of(entry.detail)))
            for number, row in some.items():
                if self.folded(number, made.get(number, [])) != row:
                    raise self._changed(number)

    def contradicted(self, project: Wiring) -> tuple[int, dict[int, str]]:
        """(how many there are, what is wrong with some by number): every entry of the log held
        against every row, also against those that are gone.

        Raises:
            VerificationError: a row or an entry cannot be read.
        """
        size = project.log.size()  # what is written meanwhile is nobody's fault
        with project.database.reading() as tx:
            rows = {one.id: one for one in self.every(tx)}
        found: dict[int, T] = {}
        wrong: dict[int, str] = {}
        for entry in project.log.entries():
            if not entry.resource.startswith(self.prefix):
                continue
            number = int(entry.resource.removeprefix(self.prefix).removesuffix('"'))
            before, row = found.get(number), rows.get(number)
            if row is None or (before is not None and before.changes == row.changes):
                if entry.index < size:
                    wrong[number] = f"the catalogue does not know entry {entry.index} of the log"
                continue
            found[number] = self.applied(before, number, entry.action, self.change_of(entry.detail))
        for number, row in rows.items():
            if found.get(number) != row and number not in wrong:
                wrong[number] = "the log says something else"
        return len(rows), wrong

    def _changed(self, number: int) -> VerificationError:
        return VerificationError(
            f"the catalogue says something else of {self.word} {number} than the log",
            hint="somebody else than casemate wrote it: casemate audit show says what happened",
        )
