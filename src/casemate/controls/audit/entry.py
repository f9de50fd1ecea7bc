"""One line of the log: what is recorded about an action, and the public commitment to it."""

from typing import Any

from casemate.core.digest import sha256
from casemate.core.types import Record

SALT_SIZE = 16


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


def leaf_entry(salt: bytes, body: bytes) -> bytes:
    """The public bytes of an entry: a commitment that reveals nothing about `body` without the
    16-byte `salt`.
    """
    return b'{"commitment":"' + sha256(salt + body).encode() + b'","v":1}'


SIGNED = "signature:make"
"""Action of an entry that records a signature."""


def signature(digest: str) -> str:
    """The resource of an entry that records a signature over the payload with this SHA-256."""
    return f'Signature::"{digest}"'


def signed_by(entry: Entry) -> str | None:
    """The SHA-256 of the payload whose signature this entry records; None when it records something
    else.
    """
    digest = entry.resource.removeprefix('Signature::"').removesuffix('"')
    return (
        digest
        if (entry.action, entry.outcome, entry.resource) == (SIGNED, "done", signature(digest))
        else None
    )
