"""What a person's identifier looks like in bytes, as text and in the arrays of tools."""

import html
import re

import msgspec

SHORTEST = 6
"""Shorter identifiers are looked for as whole cells of tables only, such as 42 in their own columns
only: elsewhere they are there by chance.
"""


def as_number(subject: str) -> float | None:
    """The identifier as a tool has it that read a number; None when it is none."""
    try:
        return float(subject) if subject.isascii() else None
    except ValueError:
        return None


def needle_of(subject: str) -> re.Pattern[bytes] | None:
    """What the identifier looks like in bytes; None when it is too short to be looked for there."""
    if len(subject) < SHORTEST:
        return None
    forms = {
        subject.encode(),
        *(
            msgspec.json.encode(subject)[1:-1],
            subject.encode("unicode_escape"),
            html.escape(subject).encode(),
        ),
    }
    # as a tool writes it that read a number
    if (number := as_number(subject)) is not None and len(subject.lstrip("0")) >= SHORTEST:
        forms |= {repr(number).encode(), msgspec.json.encode(number)}
    # NumPy's text
    arrays = [
        _bounded(re.escape(subject.encode(encoding)), b"\0" * more)
        for encoding, more in (("utf-16-le", 1), ("utf-32-le", 3))
    ]
    return re.compile(b"|".join([_bounded(b"|".join(map(re.escape, sorted(forms)))), *arrays]))


def _bounded(pattern: bytes, more: bytes = b"") -> bytes:
    """The pattern where no letter, digit or underscore goes on with it; each has `more` bytes
    behind it.
    """
    letter = b"[0-9A-Za-z_]" + more
    return b"(?<!" + letter + b")(?:" + pattern + b")(?!" + letter + b")"
