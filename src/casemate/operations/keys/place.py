"""Where a person can still be found."""

from casemate.core.types import Record


class Place(Record, frozen=True, kw_only=True):
    """Where a person can still be found, and what to do about it."""

    where: str
    advice: str
