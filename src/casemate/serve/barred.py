"""Whom a request is about, where it says so by the table's own column or a parameter: by keyed
pseudonym, as its record keeps it. No model answers about people whose processing is restricted or
who object to it.

Whom rows are about is known only then: features say nobody's name. Rows of others are answered; a
request that names somebody barred is refused with those rows, so that its caller can ask again
without them.
"""

import contextlib
import math
from typing import Any

import sqlalchemy as sa

from casemate.controls.keys.subjects import Root
from casemate.controls.privacy.aliases import ALIASES
from casemate.core.errors import BackendError, RequestError, VerificationError, Wrong
from casemate.operations.rights.restricted import restrictions
from casemate.operations.subject import LONGEST
from casemate.respond.requests.states import RESTRICTING
from casemate.respond.requests.tables import REQUESTS
from casemate.serve.guard import MOST_TOLD
from casemate.stages.data.files.values import EXACT
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
        """Of pseudonyms; asked for at the start, where `[data] subject` names a column."""
        self._is_wanted = True
        """Whether the root is to be asked for: at the start, and after it was not there."""
        self._fault = ""

    def follow(self) -> None:
        """Look whether anything was decided since, and read it again; until it can be read nothing
        is answered that names a person.

        Raises:
            VerificationError: the catalogue says something else of a restriction than the log.
        """
        if self._root is None and self.column and self._is_wanted:
            self._is_wanted = False
            with contextlib.suppress(BackendError, VerificationError):
                # restored without the subjects' keys: who names nobody is answered all the same
                self._root = self.project.identifiers.root()
        stamp = self._decided()
        if stamp == self._stamp and not self._fault:
            return
        self._fault = "who is restricted cannot be read"
        self._people = frozenset(restrictions(self.project))
        self._stamp, self._fault = stamp, ""

    def _decided(self) -> list[tuple[Any, ...]]:
        columns = REQUESTS.c.state, sa.func.count(), sa.func.sum(REQUESTS.c.id)
        query = sa.select(*columns).where(REQUESTS.c.kind.in_(RESTRICTING))
        query = query.group_by(REQUESTS.c.state).order_by(REQUESTS.c.state)
        # whoever is known under another identifier is barred under that too
        known = sa.select(sa.func.count(), sa.func.max(ALIASES.c.since)).select_from(ALIASES)
        with self.project.database.reading() as tx:
            return [tuple(row) for one in (query, known) for row in tx.execute(one)]

    def people_of(self, values: list[Any]) -> tuple[bytes, ...]:
        """Whose each row is by pseudonym, 32 bytes; empty where it is nobody's.

        Args:
            values: whose each row is, as the caller wrote it.

        Raises:
            RestrictedSubject: some are of people who are barred. BackendError: it cannot be told.
            RequestError: an identifier is neither text nor number, or too long.
        """
        if self._fault:
            raise BackendError(self._fault, hint="casemate fsck")
        root, known = self._root, dict[str, str]()
        if root is None:
            self._is_wanted = True
            raise BackendError("the keys of people's pseudonyms are not here", hint="casemate fsck")
        found, barred = [], []
        for row, value in enumerate(values):
            text = _text(value)
            if text and text not in known:
                known[text] = root.pseudonym(text)
            pseudonym = known.get(text, "")
            if pseudonym in self._people:
                why = "this person's processing is restricted"
                barred.append(Wrong(row, self.column, why))
            found.append(pseudonym)
        if barred:
            raise RestrictedSubject(
                f"rows about people whose processing is restricted: {len(barred)}",
                rows=barred[:MOST_TOLD],
            )
        return tuple(map(bytes.fromhex, found)) if any(found) else ()


def _text(value: Any) -> str:
    """An identifier as the table has it: protocols without whole numbers send 7 as 7.0."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise RequestError("an identifier of a person is a text or a whole number")
    if isinstance(value, float):
        if not (value.is_integer() and abs(value) < EXACT):
            # a rounded one may be another person's
            raise RequestError(
                "an identifier of a person is no number with decimal places, nor a floating-point"
                " number from 2^53 on",
                hint="send it as a text, as the table has it",
            )
        value = int(value)
    text = str(value).strip()
    if len(text) > LONGEST:
        raise RequestError(f"an identifier of a person has at most {LONGEST} characters")
    return text
