"""Identifiers inside text: where they stand, the text without them, and the outline of a value."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from casemate.config.deidentify import Identifier
from casemate.stages.data.identifiers.shapes import PATTERNS, Pattern


@dataclass(frozen=True, slots=True)
class Hit:
    """Where an identifier stands in a text."""

    start: int
    end: int
    pattern: Pattern


TELLING = frozenset(
    ("email", "url", "ip", "ssn", "phone", "fax", "date", "zip", "account", "vehicle", "other-id")
)
"""Kinds that no name of a column is written like; `6 Minute Walk` looks like a place, `Plate 1`
like a licence plate."""
_MONTH = re.compile(r"[A-Za-z]+\.?,? \d{4}|\d{4}-\d{2}")
"""What columns of a month are called."""
_DAY = re.compile(r"(19|20)\d{2}(0[1-9]|1[0-2])[0-3]\d")
_PLAIN = re.compile(r"[^\W\d_][\w ./()%-]{0,39}")
Place = tuple[int, int, str]
"""Start and end of an identifier in a text, and what takes its place."""
TAGS = {kind: f"[{kind.upper()}]" for kind in {pattern.kind for pattern in PATTERNS}}
"""What takes the place of an identifier in a text."""


def hits(text: str, patterns: tuple[Pattern, ...] = PATTERNS) -> list[Hit]:
    """What stands in a text, from left to right, none over another."""
    taken: list[Hit] = []
    covered = bytearray(len(text))
    for pattern in patterns:
        for found in pattern.exact.finditer(text):
            group = 1 if pattern.exact.groups else 0
            start, end = found.span(group)
            if 1 in covered[start:end]:
                continue
            if pattern.check is None or pattern.check(text[start:end]):
                taken.append(Hit(start, end, pattern))
                covered[start:end] = b"\1" * (end - start)
    return sorted(taken, key=lambda one: one.start)


def candidates(texts: pa.Array) -> dict[Pattern, pa.Array]:
    """Of each pattern, whether a text may hold it, bool [texts]."""
    return {
        pattern: pc.match_substring_regex(texts, pattern.loose, ignore_case=True)
        for pattern in PATTERNS
    }


def by_text(chosen: Mapping[Pattern, pa.Array]) -> dict[int, tuple[Pattern, ...]]:
    """Of each text that may hold something, by its number, what; in the order of patterns."""
    found: dict[int, list[Pattern]] = {}
    for pattern, mask in chosen.items():
        for row in pc.indices_nonzero(pc.fill_null(mask, False)).to_pylist():
            found.setdefault(row, []).append(pattern)
    return {row: tuple(patterns) for row, patterns in found.items()}


def redacted(text: str, patterns: tuple[Pattern, ...] = PATTERNS) -> tuple[str, int]:
    """(the text with every identifier replaced by its kind in brackets, how many were)."""
    return replaced(text, places(text, patterns))


def places(text: str, patterns: tuple[Pattern, ...] = PATTERNS) -> list[Place]:
    """As `hits`, with what takes their place."""
    return [(one.start, one.end, TAGS[one.pattern.kind]) for one in hits(text, patterns)]


def replaced(text: str, found: Sequence[Place]) -> tuple[str, int]:
    """(the text with a tag in every place, how many there were); where places lie over one another
    all of it goes, and the longest says what it was.
    """
    joined: list[Place] = []
    longest = 0
    for start, end, tag in sorted(found):
        if joined and start < joined[-1][1]:
            first, last, kind = joined.pop()
            joined.append((first, max(last, end), tag if end - start > longest else kind))
            longest = max(longest, end - start)
        else:
            joined.append((start, end, tag))
            longest = end - start
    for start, end, tag in reversed(joined):
        text = text[:start] + tag + text[end:]
    return text, len(joined)


def in_name(name: str) -> Identifier | None:
    """What a column's name tells of somebody: then the row of the first person was taken for the
    header.
    """
    if _DAY.fullmatch(name.strip()):
        return "date"
    return next(
        (
            one.pattern.kind
            for one in hits(name)
            if one.pattern.kind in TELLING and not _MONTH.fullmatch(name[one.start : one.end])
        ),
        None,
    )


def shown(name: str) -> str:
    """A column's name for a message; its outline, where it is not written like one."""
    return name if _PLAIN.fullmatch(name) else masked(name)


def masked(text: str) -> str:
    """The outline of a value, which tells nothing of it: letters are `a`, digits `9`."""
    outline = "".join(
        "9" if sign.isdigit() else "a" if sign.isalpha() else sign if sign.isprintable() else "?"
        for sign in text[:25]
    )
    return outline[:24] + ("…" if len(outline) > 24 else "")
