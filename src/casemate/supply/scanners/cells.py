"""Code cells of notebooks as Python: what IPython takes for its own is told from Python by reading
the cell as Python does, since a line that begins with `%` may also lie in a string or continue an
expression (https://ipython.readthedocs.io/en/stable/interactive/magics.html).
"""

import ast
import re
import warnings
from collections.abc import Sequence

BREAK = re.compile(r"\r\n|\r|\n")
"""Where Python ends a line; `str.splitlines` knows more places."""
OWN = re.compile(r"([ \t\f]*)([%!?].*)")
TIMED = re.compile(r"%(?:time|timeit|prun|memit)[ \t]+(?!-)(.+)")
"""Magics that run the rest of the line as Python."""
HARMLESS = re.compile(
    r"%(matplotlib|autoreload|load_ext|reload_ext|config|who|whos|pwd|time|precision|pylab|lsmagic"
    r"|tensorboard|xmode|colors)([ \t][^{$\\(`]*)?|\?[\w.*]*"
)
"""Lines of IPython's that run nothing; it fills in what stands in braces and after `$`."""
AROUND = re.compile(r"%%(time|timeit|capture|prun)([ \t]+-\w+([ \t]*\d+)?)*[ \t]*")
"""First lines of cells whose other lines are Python."""


def lines_of(text: str) -> list[str]:
    """Lines as Python counts them."""
    lines = BREAK.split(text)
    return lines[:-1] if lines[-1] == "" else lines


def python_of(own: Sequence[str]) -> tuple[list[str], list[int]]:
    """(a cell's lines with what is not Python made a `pass`; which those are, from 1).

    Raises:
        ValueError: it is neither Python nor what IPython makes of Python.
    """
    first = next((at for at, line in enumerate(own) if line.strip()), None)
    if first is not None and own[first].startswith("%%"):
        if own[first].split()[0] not in ("%%time", "%%timeit", "%%capture", "%%prun"):
            return ["pass"] * len(own), [first + 1]
        rest, foreign = python_of(own[first + 1 :])
        foreign = [at + first + 1 for at in foreign]
        here = [] if AROUND.fullmatch(own[first]) else [first + 1]
        return ["pass"] * (first + 1) + rest, here + foreign
    if _parsed(own) is not None:
        return list(own), []
    magics = {at: found for at, line in enumerate(own, 1) if (found := OWN.fullmatch(line))}
    for _ in range(2):
        readable = [
            _replaced(magics[at]) if at in magics else line for at, line in enumerate(own, 1)
        ]
        tree = _parsed(readable)
        if tree is None:
            raise ValueError("a cell of it is no Python")
        begun = {
            (one.lineno, one.col_offset) for one in ast.walk(tree) if isinstance(one, ast.stmt)
        }
        kept = {at: one for at, one in magics.items() if (at, len(one[1])) in begun}
        if kept == magics:
            return readable, [at for at, one in kept.items() if not _is_read(one[2])]
        magics = kept  # the others lie in strings, and are read with what is around them
    raise ValueError("lines of a cell cannot be told from text in a string")


def _parsed(lines: Sequence[str]) -> ast.Module | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of other people's code
            return ast.parse("\n".join(lines) + "\n")
    except SyntaxError:
        return None
    except MemoryError as error:  # how the parser says that its stack is full
        raise ValueError("it is nested too deeply to be read") from error


def _replaced(found: re.Match[str]) -> str:
    timed = TIMED.fullmatch(found[2])
    return found[1] + (timed[1] if timed else "pass")


def _is_read(text: str) -> bool:
    """Whether nothing is lost where scanners do not see a line of IPython's."""
    return bool(TIMED.fullmatch(text) or HARMLESS.fullmatch(text.rstrip()))
