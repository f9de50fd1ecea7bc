"""Files of a tree as plain text, in copies that no scanner of other people passes over by name: it
is known of each whether it was looked at.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import msgspec

from casemate.supply.scanners.interface import Place
from casemate.supply.scanners.place import MOST_BYTES

MOST_TOTAL = 500 * 2**20
"""Bytes of text that are copied."""
KNOWN = (".py", ".ini", ".cfg", ".conf", ".yaml", ".yml", ".json", ".toml", ".env", ".sh", ".js")
"""Endings by which a scanner reads a file in its own way; any other becomes `.txt`."""
NUL = b"\0"
BOMS = ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"), (b"\xef\xbb\xbf", "utf-8-sig"))


@dataclass
class Texts:
    """Copies and what they are of."""

    folder: Path
    names: dict[str, str] = field(default_factory=dict)
    """Name of a copy -> the path of which it is one."""
    unseen: dict[str, str] = field(default_factory=dict)
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
        name = f"{len(self.names):07}{suffix if suffix in KNOWN else '.txt'}"
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
            if os.stat(place.root / path).st_size > MOST_BYTES and _is_binary(place.root / path):
                all_.binary += 1
                continue
            with (place.root / path).open("rb") as file:
                all_.add(path, file.read(MOST_BYTES + 1))
        except OSError as error:
            all_.unseen[path] = f"it cannot be read: {error.strerror}"
    return all_


def _is_binary(path: Path) -> bool:
    with path.open("rb") as file:
        return NUL in file.read(8192)


def _text(path: str, content: bytes) -> str | None:
    """The text; None: it is none. Of a notebook what cells say and print, without pictures."""
    for mark, encoding in BOMS:
        if content.startswith(mark):
            return content.decode(encoding, errors="replace")
    if NUL in content[:8192]:
        return None
    text = content.decode("utf-8", errors="replace")
    if path.lower().endswith(".ipynb"):
        return _of_notebook(text)
    return text


def _of_notebook(text: str) -> str:
    try:
        book = msgspec.json.decode(text)
        lines: list[str] = []
        for cell in book["cells"]:
            lines += _lines(cell["source"])
            for output in cell.get("outputs", []):
                lines += _lines(output.get("text", ""))
                lines += _lines(output.get("data", {}).get("text/plain", ""))
    except (msgspec.MsgspecError, RecursionError, KeyError, TypeError, AttributeError):
        return text  # whatever it is, it is looked at as it is
    return "\n".join(lines) + "\n"


def _lines(text: str | list[str]) -> list[str]:
    return (text if isinstance(text, str) else "".join(text)).splitlines()
