"""The last look at what leaves, and the marks by which casemate finds its own tickets.

Whoever calls says what a ticket tells; nothing personal belongs into it. What is held here is what
a caller could overlook: size, control characters, names that would break a request.
"""

import re
from hashlib import sha256

from casemate.core.errors import ConfigError
from casemate.core.text import clean
from casemate.respond.trackers.interface import Comment, Reference, Ticket

MAX_TITLE = 200
"""Characters. JIRA and GitLab take 255, GitHub 256; a mark and what is put between characters must
fit beside it.
"""
MAX_BODY = 15_000
"""Bytes. JIRA takes 32,767 characters, and each may need a backslash before it."""
MAX_COMMENT = 10_000
"""Characters that are kept of somebody's comment."""
MAX_COMMENTS = 200
"""Comments of one `read`: two pages of most trackers."""
MAX_KEY = 200
OURS = "casemate"
"""The label of every ticket that casemate makes, where there are labels."""
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,49}")
"""JIRA knows no blanks in labels, GitLab takes a comma as the end of one."""
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9@.<>-]{0,99}")
SEVERITY = "severity-"


def mark(key: str) -> str:
    """The word that stands for `key` in a ticket: one token for every search engine, and it tells
    nothing of the key.

    Raises:
        ConfigError: the key is empty, longer than `MAX_KEY` or not printable.
    """
    if not 0 < len(key) <= MAX_KEY or not (key.isascii() and key.isprintable()):
        raise ConfigError(
            f"the key of a ticket must be 1 to {MAX_KEY} printable ASCII characters",
            hint="such as the incident's id",
        )
    return OURS + sha256(key.encode()).hexdigest()[:20]


def checked(ticket: Ticket) -> Ticket:
    """The ticket, if it may leave.

    Raises:
        ConfigError: too long, control characters, or a label that trackers would not take.
    """
    if not ticket.title.strip() or len(ticket.title) > MAX_TITLE:
        raise ConfigError(
            f"a ticket's title must have 1 to {MAX_TITLE} characters, this one has"
            f" {len(ticket.title)}",
            hint="shorten it",
        )
    if clean(ticket.title) != ticket.title:
        raise ConfigError("a ticket's title holds line breaks or control characters", hint=_CLEAN)
    text(ticket.body, "body")
    for label in ticket.labels:
        if _LABEL.fullmatch(label) is None:
            raise ConfigError(
                f"{clean(label, 60)!r} cannot be a ticket's label",
                hint="letters, digits, `.`, `_`, `:` and `-`, at most 50",
            )
    return ticket


def text(value: str, what: str = "comment") -> str:
    """`value`, if it may leave; ConfigError: too long, or control characters."""
    size = len(value.encode(errors="replace"))
    if size > MAX_BODY:
        raise ConfigError(
            f"a ticket's {what} has {size} bytes, the most is {MAX_BODY}", hint="shorten it"
        )
    if clean(value, lines=True) != value:
        raise ConfigError(f"a ticket's {what} holds control characters", hint=_CLEAN)
    return value


_CLEAN = "casemate.core.text.clean takes them out"


def identifier(reference: Reference) -> str:
    """The id, fit for a URL; ConfigError: no tracker gives such a one."""
    if _ID.fullmatch(reference.id) is None:
        raise ConfigError(
            f"{clean(reference.id, 60)!r} is no ticket's id", hint="as `create` returned it"
        )
    return reference.id


def heard(found: Comment) -> Comment:
    """A comment, fit to be shown."""
    return Comment(
        id=found.id,
        author=clean(found.author, 200),
        own=found.own,
        created=clean(found.created, 40),
        text=clean(found.text, MAX_COMMENT, lines=True),
    )


def alike(one: str, other: str) -> bool:
    """Whether two texts differ by white space at most: trackers change line ends."""
    return one.split() == other.split()


def digest(value: str) -> str:
    """What stands for a text, apart from white space."""
    return sha256(" ".join(value.split()).encode(errors="replace")).hexdigest()
