"""Reading model files, in a process for the purpose: it is told a list of files and prints a line
of JSON for each. Nothing of them is loaded or run.
"""

import io
import sys
import zipfile
from pathlib import Path

import msgspec

from casemate.core.types import Record

MOST_BYTES = 2 * 2**30
"""Of one file, as `casemate model import` takes it."""


class Said(Record, frozen=True, kw_only=True):
    """What there is to be said of one file."""

    path: str
    format: str
    known: bool
    """Whether it could be read completely."""
    problems: list[str] = []
    """Why it must not be loaded."""
    names: list[str] = []
    """What it would import."""


def python(path: str) -> Path:
    """The interpreter, absolute, as it is linked: its environment goes by that."""
    return Path(path).absolute()


def said_of(path: str) -> Said:
    """What there is to be said of a file."""
    from casemate.stages.assess.artifact.scan import scan

    file = Path(path)
    if file.stat().st_size > MOST_BYTES:
        return Said(path=path, format="unknown", known=False, problems=["it is too large"])
    content = file.read_bytes()
    if content[:6] == b"\x93NUMPY":
        return _array(path, {path: content})
    if content[:4] == b"PK\x03\x04" and (arrays := _arrays(content)) is not None:
        return _array(path, arrays)
    found = scan(content)
    return Said(
        path=path,
        format=found.format,
        known=found.format != "unknown",
        problems=found.problems if found.harmful else [],
        names=found.names[:50],
    )


def _arrays(content: bytes) -> dict[str, bytes] | None:
    """Heads of the arrays of an .npz; None: it is none."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = archive.namelist()
            if not names or not all(name.endswith(".npy") for name in names):
                return None
            heads = {}
            for name in names:
                with archive.open(name) as file:
                    heads[name] = file.read(2**16)
            return heads
    except (zipfile.BadZipFile, OSError, EOFError, RuntimeError, NotImplementedError):
        return None


def _array(path: str, heads: dict[str, bytes]) -> Said:
    """Arrays of objects are pickles; others hold numbers."""
    from numpy.lib import format as npy

    problems = []
    try:
        for name, head in heads.items():
            stream = io.BytesIO(head)
            version = npy.read_magic(stream)
            read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            if read(stream)[2].hasobject:
                problems.append(f"{Path(name).name} is an array of pickled objects")
    except (ValueError, EOFError, SyntaxError, RecursionError) as error:
        text = f"it cannot be read completely: {error}"
        return Said(path=path, format="numpy", known=False, problems=[text[:300]])
    return Said(path=path, format="numpy", known=True, problems=problems, names=problems)


def main(listed: str) -> None:
    """Say a line of each file that a JSON list names."""
    for path in msgspec.json.decode(Path(listed).read_bytes(), type=list[str]):
        try:
            said = said_of(path)
        except OSError as error:
            text = f"it cannot be read: {error.strerror}"
            said = Said(path=path, format="unknown", known=False, problems=[text])
        except (ArithmeticError, LookupError, MemoryError, TypeError, ValueError) as error:
            text = f"its reader broke: {type(error).__name__}"
            said = Said(path=path, format="unknown", known=False, problems=[text])
        sys.stdout.buffer.write(msgspec.json.encode(said) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(sys.argv[1])
