"""Files of a tree as plain text, in copies that no scanner of other people passes over by name: it
is known of each whether it was looked at.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import msgspec

from casemate.supply.scanners.interface import Place
from casemate.supply.scanners.place import MOST_BYTES

MOST_TOTAL = 500 * 2**20
"""Bytes of text that are copied."""
KNOWN = (".py", ".ini", ".cfg", ".conf", ".yaml", ".yml", ".json", ".toml", ".env", ".sh", ".js")
"""Endings by which a scanner reads a file in its own way; any other becomes `.txt`."""
TURNED = (".yaml", ".yml")
SECTION = re.compile(r"^[ \t]*\[", re.MULTILINE)
"""Of what is YAML by its ending, or INI by its first line, a scanner reads what it makes of it,
without comments, and where it finds something in that it never reads the file as it is: of these
there is another copy, which is neither.
"""
AS_IT_IS = ".plain.txt"
PLAINLY = "text as it is\n"
"""Ending and first line of such a copy."""
PLAIN = (*KNOWN, ".txt", ".md", ".csv", ".ipynb", ".lock", ".cedar")
"""Endings of what is text whatever it holds."""
NUL = b"\0"
BOMS = ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"), (b"\xef\xbb\xbf", "utf-8-sig"))


@dataclass
class Texts:
    """Copies and what they are of."""

    folder: Path
    names: dict[str, str] = field(default_factory=dict)
    """Name of a copy -> the path of which it is one."""
    unseen: dict[str, str] = field(default_factory=dict)
    count: int = 0
    """Texts of which there are copies."""
    binary: int = 0
    """Files that hold no text."""
    total: int = 0

    def add(self, path: str, content: bytes) -> None:
        """A copy of what a path holds."""
        if len(content) > MOST_BYTES:
            self.unseen[path] = f"it is larger than {MOST_BYTES} bytes"
            return
        text = _text(path, content)
        if text is None:
            self.binary += 1
            return
        self.total += len(text)
        if self.total > MOST_TOTAL:
            self.unseen["."] = (
                f"there are more than {MOST_TOTAL} bytes of text; [scan] exclude leaves files out"
            )
            return
        suffix = PurePosixPath(path).suffix.lower()
        self.count += 1
        self._write(path, suffix if suffix in KNOWN else ".txt", text)
        if suffix in TURNED or SECTION.search(text):
            self._write(path, AS_IT_IS, PLAINLY + text)

    def _write(self, path: str, ending: str, text: str) -> None:
        name = f"{len(self.names):07}{ending}"
        (self.folder / name).write_text(text, encoding="utf-8", newline="")
        self.names[name] = path

    def line(self, name: str, number: int) -> str:
        """A line of a copy."""
        with (self.folder / name).open(encoding="utf-8", newline="\n") as file:
            for at, line in enumerate(file, 1):
                if at == number:
                    return line
        return ""


def texts(place: Place, folder: Path) -> Texts:
    """Of every file in a tree."""
    all_ = Texts(folder)
    for path in place.files:
        try:
            is_large = os.stat(place.root / path).st_size > MOST_BYTES
            if is_large and not _is_plain(path) and _is_binary(place.root / path):
                all_.binary += 1
                continue
            with (place.root / path).open("rb") as file:
                all_.add(path, file.read(MOST_BYTES + 1))
        except OSError as error:
            all_.unseen[path] = f"it cannot be read: {error.strerror}"
    return all_


def _is_plain(path: str) -> bool:
    """Whether it is text by its name, whatever it holds."""
    # a name that begins with its only dot, such as `.env`, has no suffix of its own
    return PurePosixPath(f"x{PurePosixPath(path).name}").suffix.lower() in PLAIN


def _is_binary(path: Path) -> bool:
    with path.open("rb") as file:
        return NUL in file.read(8192)


def _text(path: str, content: bytes) -> str | None:
    """The text; None: it is none. Of a notebook what cells say and print, without pictures."""
    for mark, encoding in BOMS:
        if content.startswith(mark):
            read = content.decode(encoding, errors="replace")
            # who put such a mark before another encoding would hide the rest
            plain = content.replace(NUL, b"").decode("utf-8", errors="replace")
            return read if encoding == "utf-8-sig" else f"{read}\n{plain}"
    if NUL in content[:8192]:
        if not _is_plain(path):
            return None
        content = content.replace(NUL, b"")
    text = content.decode("utf-8", errors="replace")
    if path.lower().endswith(".ipynb"):
        return _of_notebook(text)
    return text


def _of_notebook(text: str) -> str:
    try:
        return "\n".join(_strings(msgspec.json.decode(text))) + "\n"
    except (msgspec.MsgspecError, RecursionError):
        return text  # whatever it is, it is looked at as it is


def _strings(value: object) -> Iterator[str]:
    """Lines of every text in a notebook but for pictures and what programs draw with."""
    if isinstance(value, str):
        yield from value.splitlines()
    elif isinstance(value, list) and all(isinstance(one, str) for one in value):
        yield from "".join(value).splitlines()
    elif isinstance(value, list):
        for one in value:
            yield from _strings(one)
    elif isinstance(value, dict):
        for name, one in value.items():
            if not name.startswith(("image/", "application/")):
                yield name
                yield from _strings(one)
