"""The Python of a project as scanners read it: files, and notebooks turned into files, so that what
is said of a line can be said of the notebook's cell.
"""

import ast
import hashlib
import warnings
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import msgspec

from casemate.supply.scanners.cells import lines_of, python_of
from casemate.supply.scanners.interface import Place
from casemate.supply.scanners.place import MOST_BYTES

PYTHON = (".py", ".pyw")
NOTEBOOK = ".ipynb"
MOST_CELLS = 10_000


class _Cell(msgspec.Struct):
    cell_type: str
    source: str | list[str] = ""


class _Language(msgspec.Struct, frozen=True):
    name: str = "python"


class _Metadata(msgspec.Struct, frozen=True):
    kernelspec: dict[str, object] = {}
    language_info: _Language = _Language()


class _Notebook(msgspec.Struct):
    """https://nbformat.readthedocs.io, version 4."""

    nbformat: int
    cells: list[_Cell]
    metadata: _Metadata = _Metadata()


@dataclass(frozen=True)
class Source:
    """One file of Python."""

    path: str
    """As people know it."""
    file: Path
    """Where its text lies: itself, or what a notebook was turned into."""
    lines: tuple[str, ...]
    cells: tuple[tuple[int, int], ...] = ()
    """Of a notebook: per line of the text (cell from 1, line in it from 1)."""
    shell: tuple[tuple[int, int, str], ...] = ()
    """Of a notebook: (cell, line, text) of what no Python reads: magics and other languages."""

    def line(self, number: int) -> str:
        """The text of a line, with white space as one blank."""
        inside = 0 < number <= len(self.lines)
        return " ".join(self.lines[number - 1].split()) if inside else ""

    def said(self, number: int) -> str:
        """What makes of a finding this one: its line, and of a statement of several lines all that
        it says, or who waived `run(` would have waived whatever is run.
        """
        first, last = self._statements.get(number, (number, number))
        if first == last:
            return self.line(number)
        if first not in self._digests:
            whole = "\n".join(self.line(at) for at in range(first, last + 1))
            self._digests[first] = hashlib.sha256(whole.encode(errors="replace")).hexdigest()
        return f"{self.line(number)} {self._digests[first]}"

    @cached_property
    def _digests(self) -> dict[int, str]:
        """First line of a statement -> SHA-256 of its text."""
        return {}

    @cached_property
    def _statements(self) -> dict[int, tuple[int, int]]:
        """Line -> first and last line of its statement, or of the head of what holds others."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of other people's code
                tree = ast.parse(self.file.read_bytes())
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return {}  # which is said of the file elsewhere
        found: dict[int, tuple[int, int]] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.stmt):
                body = getattr(node, "body", None)
                last = body[0].lineno - 1 if body else node.end_lineno or node.lineno
                for at in range(node.lineno, last + 1):
                    first, end = found.get(at, (node.lineno, last))
                    found[at] = min(first, node.lineno), max(end, last)
        return found

    def where(self, number: int) -> tuple[int, int]:
        """(cell, line) of a line of the text; cell 0 where it is no notebook."""
        if not self.cells or not 0 < number <= len(self.cells):
            return 0, number
        return self.cells[number - 1]


@dataclass
class Sources:
    """Every file of Python, and those that cannot be read."""

    found: list[Source] = field(default_factory=list)
    unseen: dict[str, str] = field(default_factory=dict)


def sources(place: Place, folder: Path) -> Sources:
    """Read them.

    Args:
        place: whose.
        folder: for what notebooks are turned into.
    """
    all_ = Sources()
    for path in place.of(*PYTHON, NOTEBOOK):
        file = place.root / path
        try:
            if file.stat().st_size > MOST_BYTES:
                all_.unseen[path] = f"it is larger than {MOST_BYTES} bytes"
                continue
            content = file.read_bytes()
            if path.lower().endswith(NOTEBOOK):
                all_.found.append(_of_notebook(path, content, folder / f"{len(all_.found)}.py"))
            else:
                all_.found.append(Source(path, file, _lines(content)))
        except OSError as error:
            all_.unseen[path] = f"it cannot be read: {error.strerror}"
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            all_.unseen[path] = f"it cannot be read: {error}"
    return all_


def _lines(content: bytes) -> tuple[str, ...]:
    return tuple(lines_of(content.decode("utf-8", errors="replace")))


def _of_notebook(path: str, content: bytes, file: Path) -> Source:
    """A notebook's code cells as one text; ValueError: it is none that can be read."""
    if not content.strip():
        file.write_text("")
        return Source(path, file, ())  # Jupyter opens an empty file as an empty notebook
    book = msgspec.json.decode(content, type=_Notebook)
    if book.nbformat != 4:
        raise ValueError(f"notebooks of format {book.nbformat} are not read, only of format 4")
    language = str(book.metadata.kernelspec.get("language", book.metadata.language_info.name))
    if not language.lower().startswith(("python", "ipython")):
        raise ValueError(f"its language is {language[:30]!r}, which no scanner here reads")
    if len(book.cells) > MOST_CELLS:
        raise ValueError(f"it has more than {MOST_CELLS} cells")
    lines: list[str] = []
    cells: list[tuple[int, int]] = []
    shell: list[tuple[int, int, str]] = []
    for number, cell in enumerate(book.cells, 1):
        if cell.cell_type != "code":
            continue
        text = cell.source if isinstance(cell.source, str) else "".join(cell.source)
        own = lines_of(text)
        readable, foreign = python_of(own)
        shell += [(number, at, own[at - 1]) for at in foreign]
        lines += readable
        cells += [(number, at) for at in range(1, len(own) + 1)]
    # with a mark, since no cell says in which encoding it is, and a comment must not say so
    file.write_text("\n".join(lines) + "\n", encoding="utf-8-sig")
    return Source(path, file, tuple(lines), tuple(cells), tuple(shell))
