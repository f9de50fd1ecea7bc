"""One line of the log: what is recorded about an action."""

from typing import Any

from casemate.core.types import Record


class Entry(Record, frozen=True, kw_only=True):
    """One action or decision."""

    index: int
    """Position in the log, from 0."""
    time: str
    """When, RFC 3339 in UTC."""
    principal: str
    """Who, such as `User::"ana"`."""
    action: str
    """What, such as `run:start`."""
    resource: str
    """On what."""
    outcome: str
    """`done`, `allowed`, `denied`, `refused`, `failed`."""
    detail: dict[str, Any]
    """Digests, names and reasons, never values of rows; `personal` holds what only a subject's key
    opens.
    """
    rows: str = ""
    """SHA-256 over the catalogue's rows that give rights, as of this entry; empty in logs that
    casemate 0.1 to 0.3 wrote.
    """
