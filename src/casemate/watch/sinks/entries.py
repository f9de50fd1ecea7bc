"""Entries of the spool as bytes: how far a sink has read, what comes next for it, what is left of
entries that were erased.
"""

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from casemate.core.types import Record
from casemate.watch.logs.line import LogLine
from casemate.watch.sinks.interface import Item, Levels, Refusal

MOST_BYTES = 1024 * 1024
"""Of a batch: what Splunk's collectors take at least, and OpenTelemetry's too."""
_OF_GAUGES = b'{"gauges":'
"""How a line begins that is no log line."""
_LINES = msgspec.json.Decoder(LogLine)
_GAUGES = msgspec.json.Decoder(Levels)


class Cursor(Record, frozen=True, kw_only=True):
    """How far a sink has come."""

    segment: int
    """Number of the first line of the segment that is read next."""
    offset: int = 0
    """Bytes of that segment that are done."""
    line: int
    """Number of the line that is next."""
    accepted: int = 0
    refused: int = 0
    diverted: int = 0
    dropped: int = 0
    """Lines that went before they were sent, because the spool was full."""
    failures: int = 0
    """In a row."""
    error: str = ""
    """The last one, until something is accepted again."""
    due: str | None = None
    """Not tried again before, ISO 8601."""
    sent: str | None = None
    """When something was accepted last, ISO 8601."""
    spoiled: str | None = None
    """When something was refused or diverted last, ISO 8601."""
    lost: str | None = None
    """When it was seen last that lines were dropped, ISO 8601."""


class Letter(Refusal, frozen=True, kw_only=True):
    """What was refused for good, in a file of its own."""

    time: str
    """When, ISO 8601."""


class Batch(NamedTuple):
    """What was read at once."""

    start: Cursor
    """Where it was read from."""
    items: list[Item]
    """Readable ones that the sink wants, all of one kind."""
    ends: list[tuple[int, int]]
    """Of each of them: (offset behind it, line behind it)."""
    damaged: list[tuple[int, Refusal]]
    """Lines that are no lines any more, with the offset behind each."""
    behind: Cursor
    """The cursor once all of it is settled."""


def chunks(lines: list[bytes], most: int) -> Iterator[list[bytes]]:
    """Lines in groups of at most so many bytes, or one line."""
    chunk: list[bytes] = []
    size = 0
    for line in lines:
        if chunk and size + len(line) > most:
            yield chunk
            chunk, size = [], 0
        chunk.append(line)
        size += len(line)
    yield chunk


def cut(content: bytes, cursor: Cursor, wanted: frozenset[str], most: int) -> Batch:
    """The first items of `content` that are wanted; gauges are a batch of their own."""
    items: list[Item] = []
    ends: list[tuple[int, int]] = []
    damaged: list[tuple[int, Refusal]] = []
    offset, line = cursor.offset, cursor.line
    for raw in content.removesuffix(b"\n").split(b"\n") if content else ():
        item = _read(raw)
        is_wanted = item is not None and _kind(item) in wanted
        if is_wanted and items and (len(items) == most or _is_change(items[-1], item)):
            break
        offset, line = offset + len(raw) + 1, line + 1
        if item is None:
            if not raw.strip():  # it was erased
                continue
            text = raw[:1000].decode(errors="replace")
            refusal = Refusal(id="", reason="damaged in the spool", raw=text)
            damaged.append((offset, refusal))
        elif is_wanted:
            items.append(item)
            ends.append((offset, line))
    behind = msgspec.structs.replace(cursor, offset=offset, line=line)
    return Batch(cursor, items, ends, damaged, behind)


def blank(raw: bytes) -> bytes:
    """As many bytes that say nothing."""
    return b" " * (len(raw) - 1) + raw[-1:]


def id_of(raw: bytes) -> str:
    """`event.id`; empty for gauges and what is damaged."""
    item = _read(raw)
    return "" if item is None else item.id


def id_of_refused(raw: bytes) -> str | None:
    """`event.id` of what a letter is about; None: it cannot be read, being half-written perhaps."""
    try:
        letter = msgspec.json.decode(raw, type=Letter)
    except msgspec.DecodeError:
        return None
    return letter.id or id_of(letter.raw.encode())


def _is_change(one: Item, other: Item | None) -> bool:
    return other is not None and "gauges" in (_kind(one), _kind(other))


def _read(raw: bytes) -> Item | None:
    try:
        decoder = _GAUGES if raw.startswith(_OF_GAUGES) else _LINES
        return Item(decoder.decode(raw), raw)
    except msgspec.DecodeError:
        return None


def _kind(item: Item) -> str:
    return item.content.dataset if isinstance(item.content, LogLine) else "gauges"
