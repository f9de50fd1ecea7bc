"""What others wrote, made fit to be shown: bounded, and without what drives a terminal or turns
text around.

Messages, progress, findings, errors and results of foreign code pass here once, where they are
heard (`core/sandbox/run.py`); whoever shows them later (terminal, model card, catalogue, notices)
need not think of it again.
"""

import re
import unicodedata
from collections.abc import Sequence
from typing import Any

MAX_TEXT = 1_000_000
"""Characters of one text in a result; a skops estimator's `repr` or a long table of figures fits
many times.
"""
MAX_DEPTH = 64
"""Levels of lists and tables in a result; ours have fewer than ten."""
_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor, clearing (ECMA-48 section 5.4)
    # OSC, DCS and the like: titles, clipboard
    r"|(?:\x1b[PX\]^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]"
)
_JOINERS = "\u200c\u200d"
"""Zero-width joiners spell words in Persian and Hindi, and many emoji; they turn nothing around."""
_UNFIT = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Unicode categories: control, format (bidirectional marks, tags), half a surrogate pair, line and
paragraph separators.
"""


def listed(names: Sequence[str], most: int) -> str:
    """The first `most` of some names, and how many more there are.

    >>> listed(["a", "b", "c", "d"], 2)
    'a, b and 2 more'
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def clean(text: str, most: int = MAX_TEXT, *, lines: bool = False) -> str:
    """`text` without escape sequences; every character that a terminal may obey becomes "?".

    Args:
        text: from outside.
        most: characters that are kept.
        lines: keep line breaks and tabs; else they become blanks.

    >>> clean("\\x1b[2Jdone\\u202e gnp.exe\\n")
    'done? gnp.exe '
    """
    text = _ESCAPES.sub("", text[: 4 * most])  # bounded before the work, and again after it
    if text.isascii() and text.isprintable():
        return text[:most]
    return "".join(_fit(character, lines) for character in text[:most])


def _fit(character: str, lines: bool) -> str:
    if character in "\n\t":
        return character if lines else " "
    if character in _JOINERS or unicodedata.category(character) not in _UNFIT:
        return character
    return "?"


def clean_values(value: Any, depth: int = MAX_DEPTH) -> Any:
    """JSON values with every text in them cleaned, names of fields too.

    Raises:
        ValueError: deeper than `MAX_DEPTH`.
    """
    if depth < 0:
        raise ValueError("too deep")
    if isinstance(value, str):
        return clean(value, lines=True)
    if isinstance(value, list):
        return [clean_values(item, depth - 1) for item in value]
    if isinstance(value, dict):
        return {
            clean(name, lines=True): clean_values(item, depth - 1) for name, item in value.items()
        }
    return value
