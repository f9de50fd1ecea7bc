"""Something with a term, as it is found."""

import datetime
from collections.abc import Callable

import sqlalchemy as sa

from casemate.core.types import Record
from casemate.wiring import Wiring

Write = Callable[[sa.Connection], int]
"""Writes into the log what goes, in the transaction that removes it, or before; gives the entry."""
Remove = Callable[[Wiring, str, datetime.date, Write], None]
"""Removes something by its name; of records those from before a day."""


class Found(Record, frozen=True, kw_only=True):
    """A version, or all records of a kind that are over their term, or the oldest that is not."""

    of: str
    """Name without the version."""
    name: str
    day: datetime.date
    """From which the term is counted."""
    count: int
    digest: str
    needs: list[str] = []
    kept: str = ""
    """Why it stays in any case."""
