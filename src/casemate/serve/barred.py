"""People about whom no model answers, because their processing is restricted or they object to it:
where a request says by the table's own column whose its rows are.

Whom rows are about is known only then: features say nobody's name. Rows of others are answered; a
request that names somebody barred is refused with those rows, so that its caller can ask again
without them.
"""

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from casemate.controls.keys.subjects import Root
from casemate.controls.privacy.aliases import ALIASES
from casemate.core.errors import BackendError, RequestError, Wrong
from casemate.operations.rights.restricted import restrictions
from casemate.respond.requests.states import RESTRICTING
from casemate.respond.requests.tables import REQUESTS
from casemate.serve.guard import MOST_TOLD
from casemate.wiring import Wiring


class RestrictedSubject(RequestError):
    """Rows are about people whose processing is restricted, or who object to it."""

    code = "CM-RESTRICTED"
    http_status = 451
    who = "the caller: ask without these rows"


class Barred:
    """Follows who is barred, and refuses what is asked about them."""

    def __init__(self, project: Wiring) -> None:
        self.project = project
        self.column = project.config.data.subject or ""
        """Of the table, and of a request that says whose its rows are; empty: none does."""
        self._people: frozenset[str] = frozenset()
        self._stamp: list[tuple[Any, ...]] = []
        self._root: Root | None = None
        self._fault = ""

    def follow(self) -> None:
        """Look whether anything was decided since, and read it again; until it can be read nothing
        is answered that names a person.

        Raises:
            VerificationError: the catalogue says something else of a restriction than the log.
        """
        stamp = self._decided()
        if stamp == self._stamp and not self._fault:
            return
        self._fault = "who is restricted cannot be read"
        self._people = frozenset(restrictions(self.project))
        if self._people and self._root is None:
            self._root = self.project.identifiers.root(create=False)
        self._stamp, self._fault = stamp, ""

    def _decided(self) -> list[tuple[Any, ...]]:
        columns = REQUESTS.c.state, sa.func.count(), sa.func.sum(REQUESTS.c.id)
        query = sa.select(*columns).where(REQUESTS.c.kind.in_(RESTRICTING))
        query = query.group_by(REQUESTS.c.state).order_by(REQUESTS.c.state)
        # whoever is known under another identifier is barred under that too
        known = sa.select(sa.func.count(), sa.func.max(ALIASES.c.since)).select_from(ALIASES)
        with self.project.database.reading() as tx:
            return [tuple(row) for one in (query, known) for row in tx.execute(one)]

    def require(self, values: Callable[[], list[Any]]) -> None:
        """Refuse rows of people who are barred.

        Args:
            values: give whose each row is, as the caller wrote it.

        Raises:
            RestrictedSubject: some are theirs. BackendError: it cannot be told.
        """
        if self._fault:
            raise BackendError(self._fault, hint="casemate fsck")
        if not self._people or self._root is None:
            return
        why = "this person's processing is restricted"
        found = [
            Wrong(row, self.column, why)
            for row, value in enumerate(values())
            if value is not None and self._root.pseudonym(_text(value)) in self._people
        ]
        if found:
            raise RestrictedSubject(
                f"rows about people whose processing is restricted: {len(found)}",
                rows=found[:MOST_TOLD],
            )


def _text(value: Any) -> str:
    """An identifier as the table has it: protocols without whole numbers send 7 as 7.0."""
    whole = isinstance(value, float) and value.is_integer()
    return str(int(value)) if whole else str(value).strip()
