"""Reading what others wrote: bounded in size, depth and number, and of a known shape."""

import datetime
import html
import os
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from casemate.core.errors import ConfigError
from casemate.core.text import clean
from casemate.core.types.scan import REPORT, ScanKind
from casemate.supply.scanners.interface import MOST_WORDS, CouldNotLook, Hit, Looked
from casemate.supply.scanners.place import OWN

MOST_BYTES = 32 * 2**20
"""Of a report: as many findings as anybody takes of one file, at a kilobyte each, are less."""
MOST_LINES = 256 * 2**20
"""Bytes of the project's files whose lines are looked up."""
MARK = b"\xef\xbb\xbf"
"""UTF-8's byte order mark, which some tools write before their JSON."""
_CWE = re.compile(r"\bcwe[-/: ]?0*([1-9][0-9]{0,4})\b", re.IGNORECASE)
T = TypeVar("T")


@dataclass(frozen=True)
class Report:
    """What one report says."""

    looked: list[Looked]
    """One of each thing that it is about."""
    made: datetime.datetime | None = None
    """When; None: it does not say."""


def scanner_of(tool: str, about: str = "") -> str:
    """Under which name a report's findings are kept; without `about`: of one that says nothing.

    >>> scanner_of("zap", "https://gateway.example.org")
    'report:zap@https://gateway.example.org'
    """
    return f"{REPORT}{tool}" + (f"@{clean(about, 200)}" if about else "")


def content(file: Path) -> bytes:
    """All of a report.

    Raises:
        ConfigError: there is no such file. CouldNotLook: it is none that is read whole.
    """
    try:
        with open(file, "rb", opener=_at_once) as opened:
            if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
                raise CouldNotLook(f"{file} is no file", hint="a report in a file")
            read = opened.read(MOST_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}", hint="name the report's file") from error
    if len(read) > MOST_BYTES:
        raise CouldNotLook(
            f"{file} is larger than {MOST_BYTES // 2**20} MiB", hint="report about less at a time"
        )
    return read.removeprefix(MARK)


def _at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a pipe keeps nobody


def decoded(name: str, read: bytes, kind: type[T]) -> T:
    """A report in JSON, as its format is documented.

    Raises:
        CouldNotLook: it is something else.
    """
    try:
        return msgspec.json.decode(read, type=kind)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise CouldNotLook(
            f"this is no {name}: {clean(str(error), 200)}",
            hint="docs/how-to/audit.md says which reports are taken",
        ) from error


def plain(text: str) -> str:
    """The words of a text in HTML, without its tags; what only looks like one stays words.

    >>> plain("<p>Set the header.</p><p>Encode &lt;script&gt;</p>")
    'Set the header. Encode <script>'
    """
    words = html.unescape(re.sub(r"</?(?:p|br|li|ul|div)\s*/?>", " ", text[: 20 * MOST_WORDS]))
    return clean(" ".join(words.split()), MOST_WORDS)


def rule_of(tool: str, rule: str) -> str:
    """A rule's name here: with its tool's, but where that is casemate itself.

    >>> rule_of("semgrep", "eval-used")
    'semgrep.eval-used'
    """
    named = clean(rule, 100)
    return named if tool == "casemate" else f"{clean(tool, 40)}.{named}"


def cwes(texts: Iterable[str]) -> list[str]:
    """`CWE-79` of whatever names it: `cwe-79`, `external/cwe/cwe-079`, `CWE: 79`."""
    found = (match[1] for text in texts for match in _CWE.finditer(text[:1000]))
    return list(dict.fromkeys(f"CWE-{number}" for number in found))


def moment(text: str | None) -> datetime.datetime | None:
    """A time in ISO 8601 with its zone; None: it is none."""
    try:
        found = datetime.datetime.fromisoformat((text or "")[:40])
    except ValueError:
        return None
    return found if found.tzinfo is not None else None


def answer(
    scanner: str,
    kind: ScanKind,
    hits: list[Hit],
    *,
    version: str = "",
    unseen: dict[str, str] | None = None,
    notes: Iterable[str] = (),
) -> Looked:
    """What a report says, as a scanner says it."""
    return Looked(
        scanner=scanner,
        kind=kind,
        version=version,
        hits=hits,
        count=len(hits),
        unseen=unseen or {},
        notes=list(notes),
    )


class Lines:
    """Lines of the project's files, which make a finding the same one wherever it stands.

    Args:
        root: the project's folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        self._known: dict[str, list[str]] = {}
        self._room = MOST_LINES

    def said(self, path: str, line: int) -> str:
        """The text of a line without white space at its ends; "": there is none to be read."""
        if path not in self._known:
            self._known[path] = self._read(path)
        lines = self._known[path]
        return lines[line - 1].strip() if 0 < line <= len(lines) else ""

    def _read(self, path: str) -> list[str]:
        try:
            file = (self._root / path).resolve()
            if not file.is_relative_to(self._root) or not file.is_file():
                return []
            size = file.stat().st_size
            if size > self._room or file.relative_to(self._root).parts[0] in OWN:
                return []
            self._room -= size
            return file.read_text(encoding="utf-8", errors="replace").splitlines()
        except (OSError, ValueError, RuntimeError):  # a name with NUL, links in a circle
            return []
