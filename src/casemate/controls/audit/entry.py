"""An entry of the log in public: the commitment to it, and what it says of a signature."""

from casemate.core.digest import sha256
from casemate.core.entry import Entry

SALT_SIZE = 16


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
