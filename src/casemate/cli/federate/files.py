"""Cards, charters and records as files."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from casemate.core.errors import ConfigError, VerificationError


def read(path: Path) -> bytes:
    """A small file; one byte more than may be there tells that it is too large."""
    from casemate.controls.federation.cards import MOST

    with path.open("rb") as file:
        return file.read(MOST + 1)


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """What is wrong in the block is wrong with this file."""
    try:
        yield
    except VerificationError as error:
        error.message = f"{path}: {error.message}"
        raise


def require_new(path: Path) -> None:
    """ConfigError where there is something already."""
    if path.exists():
        raise ConfigError(f"{path} exists already", hint="name a new file")


def write(path: Path, content: bytes) -> None:
    """Write a file that everybody may read."""
    from casemate.core.files import write_atomic

    write_atomic(path, content + b"\n", 0o644)
