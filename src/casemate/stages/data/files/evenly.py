"""Some rows of a long text, as bytes, cut out without reading the others as cells: evenly from all
of it, before every row is read; or those of a declared sample, in the place of every row. And every
row, a piece of the text at a time.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from casemate.stages.data.files.content import BLOCK, Content
from casemate.stages.data.files.quotes import LINE_FEED, QUOTE

PIECE = 8 * BLOCK
"""Bytes of a piece, about: enough for a reader's threads, and few beside a process's own."""
LONGEST = 64 * BLOCK
"""Bytes after which a quote is no longer waited for: the reader says what is wrong."""

Numbers = np.ndarray[Any, np.dtype[np.int64]]


def rows(text: Content, most: int, *, quoted: bool, headed: bool) -> bytes:
    """The header, where there is one, and every n-th row after it, at most about twice `most` of
    them.

    Args:
        text: sound text, quotes as RFC 4180 has them. Of any other the rows are wrong: whoever
            reads every row says so.
        most: rows wanted.
        quoted: whether a line end between quotes is no end of a row.
        headed: whether the first row names the columns.
    """
    found = [np.zeros(1, dtype=np.int64), *_ends(text, quoted=quoted)]
    starts = np.concatenate(found)
    first = starts[:1] if headed else starts[:0]
    step = max(1, (len(starts) - 1 - len(first)) // most)
    numbers = np.append(np.arange(len(first)), np.arange(len(first), len(starts) - 1, step))
    return _cut(text, starts[numbers], starts[numbers + 1])


def count(text: Content, *, quoted: bool, headed: bool) -> int:
    """Rows below the header; for arguments see `rows`."""
    return sum(map(len, _ends(text, quoted=quoted))) - headed


def chosen(text: Content, numbers: Numbers, *, quoted: bool, headed: bool) -> bytes:
    """The header, where there is one, and the rows of these numbers, int64 [k] from 0, ascending;
    for other arguments see `rows`.
    """
    wanted = np.append(0, numbers + 1) if headed else numbers
    found: list[bytes] = []
    seen, last = 0, 0
    with text.open(ahead=False) as file:
        for place, block, ends in _blocks(text, quoted=quoted):
            low, high = np.searchsorted(wanted, [seen, seen + len(ends)])
            inside = wanted[low:high] - seen
            begins, stops = np.append(last, ends[:-1])[inside], ends[inside]
            for begin, stop in zip(begins.tolist(), stops.tolist(), strict=True):
                if begin >= place:
                    found.append(block[begin - place : stop - place])
                else:  # it began in an earlier block
                    file.seek(text.start + begin)
                    found.append(file.read(stop - begin))
            seen, last = seen + len(ends), int(ends[-1])
    return _joined(found)


def pieces(text: Content, *, quoted: bool) -> Iterator[Content]:
    """All rows, in pieces of whole ones that know the number of their first line; for arguments see
    `rows`.
    """
    held: list[bytes] = []
    size, line, lines, inside = 0, text.line, 0, False
    for block in text.blocks():
        held.append(block)
        size += len(block)
        letters = np.frombuffer(block, np.uint8)
        inside ^= quoted and int(np.count_nonzero(letters == QUOTE)) % 2 == 1
        lines += int(np.count_nonzero(letters == LINE_FEED))
        if size >= LONGEST or (size >= PIECE and not inside):
            yield Content(text.path, b"".join(held), line=line)
            line += lines
            held, size, lines, inside = [], 0, 0, False
    if held:
        yield Content(text.path, b"".join(held), line=line)


def head(piece: Content, *, quoted: bool) -> bytes:
    """The first row of a text; for arguments see `rows`."""
    return piece.whole()[: next(_ends(piece, quoted=quoted))[0]]


def _cut(text: Content, begins: Numbers, ends: Numbers) -> bytes:
    found = []
    with text.open(ahead=False) as file:
        for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
            file.seek(text.start + begin)
            found.append(file.read(end - begin))
    return _joined(found)


def _joined(rows: list[bytes]) -> bytes:
    if rows and not rows[-1].endswith(b"\n"):
        rows.append(b"\n")
    return b"".join(rows)


def _ends(text: Content, *, quoted: bool) -> Iterator[Numbers]:
    """Where rows end, in bytes from the text's start, a block at a time; the last row may lack its
    line end.
    """
    for _, _, ends in _blocks(text, quoted=quoted):
        yield ends


def _blocks(text: Content, *, quoted: bool) -> Iterator[tuple[int, bytes, Numbers]]:
    """(where a block begins, the block, where rows end in it) of all blocks in which one does; the
    last one may be empty.
    """
    place, inside, last = 0, False, 0
    for block in text.blocks():
        letters = np.frombuffer(block, np.uint8)
        ends = np.flatnonzero(letters == LINE_FEED)
        if quoted and (inside or b'"' in block):
            marks = np.flatnonzero(letters == QUOTE)
            ends = ends[(np.searchsorted(marks, ends) + inside) % 2 == 0]
            inside = bool((len(marks) + inside) % 2)
        if len(ends):
            last = place + int(ends[-1]) + 1
            yield place, block, place + ends + 1
        place += len(block)
    if last != place:
        yield place, b"", np.array([place], dtype=np.int64)
