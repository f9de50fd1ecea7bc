"""Objects as files of one folder."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from casemate.core.errors import BusyError
from casemate.core.files import DRAFT, drafting, make_folder, write_atomic
from casemate.core.files import Draft as FileDraft


@dataclass(frozen=True)
class _Draft:
    folder: Path
    draft: FileDraft

    @property
    def file(self) -> IO[bytes]:
        return self.draft.file

    def commit(self, name: str, *, replace: bool) -> bool:
        target = self.folder / name
        if not replace and target.exists():
            return False
        make_folder(target.parent)
        self.draft.commit(target)
        return True


class FileBlobs:
    """See `Blobs`. Changes of one name are made by one process at a time: rotations hold the
    project's lock.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.where = str(folder)

    def path(self, name: str) -> Path:
        """Where the file of this name lies."""
        return self.folder / name

    def names(self) -> list[str]:
        """See `Blobs.names`."""
        found = (
            path
            for path in self.folder.glob("??/*")
            if path.is_file() and not path.name.startswith(DRAFT)
        )
        return sorted(path.relative_to(self.folder).as_posix() for path in found)

    def has(self, name: str) -> bool:
        """See `Blobs.has`."""
        return self.path(name).exists()

    def open(self, name: str) -> IO[bytes]:
        """See `Blobs.open`."""
        return self.path(name).open("rb")

    def read(self, name: str) -> bytes:
        """See `Blobs.read`."""
        return self.path(name).read_bytes()

    @contextlib.contextmanager
    def draft(self) -> Iterator[_Draft]:
        """See `Blobs.draft`."""
        with drafting(self.folder) as draft:
            yield _Draft(self.folder, draft)

    def create(self, name: str, content: bytes) -> None:
        """See `Blobs.create`."""
        if self.has(name):
            raise BusyError(f"{self.path(name)} exists already", hint="try again")
        write_atomic(self.path(name), content)

    def replace(self, name: str, before: bytes, after: bytes) -> None:
        """See `Blobs.replace`."""
        if self.read(name) != before:
            raise BusyError(
                f"another process changed {self.path(name)} meanwhile",
                hint="casemate keys rotate --resume",
            )
        write_atomic(self.path(name), after)

    def remove(self, name: str) -> None:
        """See `Blobs.remove`."""
        self.path(name).unlink(missing_ok=True)
