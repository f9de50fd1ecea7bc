"""Where RFC 4180 lets quotes be: around a whole cell, and doubled inside of one. Looked at in bulk,
block by block.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

QUOTE, LINE_FEED, RETURN = 0x22, 0x0A, 0x0D
"""Bytes of `"`, `\n` and `\r` in ASCII and all that extends it."""


class Check:
    """Follows one text; `blocks` end with whole lines."""

    def __init__(self, delimiter: str, width: int = 0) -> None:
        self.delimiter = ord(delimiter)
        self.width = width
        self.inside = False
        self.lines = False
        """Whether a quoted cell held a line end."""
        self._whole = False
        self._run = 0

    def hold(self, blocks: Iterable[bytes], *, cut: bool = False) -> bool:
        """Whether every quote opens a cell, closes one, or is doubled inside of one.

        Args:
            blocks: the text.
            cut: whether more would follow, so that the last quote may be open.
        """
        for block in blocks:
            if (self.inside or b'"' in block) and not self._block(block):
                return False
        return cut or not self.inside

    def _block(self, block: bytes) -> bool:
        text = np.frombuffer(block if block.endswith(b"\n") else block + b"\n", np.uint8)
        at = np.flatnonzero(text == QUOTE)
        opens = (np.arange(len(at)) + self.inside) % 2 == 0
        before = np.where(at == 0, LINE_FEED, text[at - 1])
        after = text[np.minimum(at + 1, len(text) - 1)]
        fine = np.where(opens, self._edge(before), self._edge(after) | (after == QUOTE))
        # a quote that opens right after another is the second of a pair, which the one before it
        # was asked about
        fine |= opens & (before == QUOTE)
        if not fine.all():
            return False
        if self._swallows(text, at):
            return False
        self.inside = bool((len(at) + self.inside) % 2)
        return True

    def _edge(self, byte: Any) -> Any:
        return (byte == self.delimiter) | (byte == LINE_FEED) | (byte == RETURN)

    def _swallows(self, text: Any, at: Any) -> bool:
        """Whether a quoted cell runs over lines that are whole rows each, as it does from a quote
        that was never closed to the next one.
        """
        ends = np.flatnonzero(text == LINE_FEED)
        within = (np.searchsorted(at, ends) + self.inside) % 2 == 1
        if not within.any() and not self._run:
            return False
        self.lines = True
        if self.width < 3:
            return False
        starts = np.concatenate(([0], ends[:-1] + 1))
        for number in np.flatnonzero(within | np.concatenate(([self._run > 0], within[:-1]))):
            if self._run == 0:
                self._whole = True
            line = text[starts[number] : ends[number]]
            self._whole = (
                self._whole and int(np.count_nonzero(line == self.delimiter)) == self.width - 1
            )
            if within[number]:
                self._run += 1
                continue
            if self._whole:
                return True
            self._run = 0
        return False
