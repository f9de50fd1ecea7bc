"""Some rows of a long text, evenly from all of it, as bytes: what is looked at before every row is
read.
"""

import numpy as np

from casemate.stages.data.files.content import Content
from casemate.stages.data.files.quotes import LINE_FEED, QUOTE


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
    starts = _starts(text, quoted=quoted)
    first = starts[:1] if headed else starts[:0]
    step = max(1, (len(starts) - 1 - len(first)) // most)
    numbers = np.append(np.arange(len(first)), np.arange(len(first), len(starts) - 1, step))
    begins, sizes = text.start + starts[numbers], starts[numbers + 1] - starts[numbers]
    found = []
    with text.open(ahead=False) as file:
        for begin, size in zip(begins.tolist(), sizes.tolist(), strict=True):
            file.seek(begin)
            found.append(file.read(size))
    return b"".join(found)


def _starts(text: Content, *, quoted: bool) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Where each row begins, in bytes from the text's start, and the end of the last one."""
    found, place, inside = [np.zeros(1, dtype=np.int64)], 0, False
    for block in text.blocks():
        letters = np.frombuffer(block, np.uint8)
        ends = np.flatnonzero(letters == LINE_FEED)
        if quoted and (inside or b'"' in block):
            marks = np.flatnonzero(letters == QUOTE)
            ends = ends[(np.searchsorted(marks, ends) + inside) % 2 == 0]
            inside = bool((len(marks) + inside) % 2)
        found.append(place + ends + 1)
        place += len(block)
    starts = np.concatenate(found)
    return starts if starts[-1] == place else np.append(starts, place)
