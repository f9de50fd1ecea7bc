"""What a place for sealed objects can do."""

from contextlib import AbstractContextManager
from typing import IO, Any, Protocol


class Draft(Protocol):
    """Bytes that have no name yet; gone when its block ends, unless it was committed."""

    @property
    def file(self) -> IO[bytes]:
        """The file to write to; what is written counts once it is committed."""

    def commit(self, name: str, *, replace: bool) -> bool:
        """Make it durable under `name`; False when that was there already and `replace` is off."""


class Blobs(Protocol):
    """Named byte strings; a name is `ab/cdef…`. Each appears whole or not at all.

    Every method raises TransientError when the place was away for a moment and BackendError when
    somebody must act.
    """

    where: str
    """The place, in words."""

    def names(self) -> list[str]:
        """The name of every blob that there is, sorted."""

    def has(self, name: str) -> bool:
        """Whether it is there."""

    def open(self, name: str) -> AbstractContextManager[IO[bytes] | Any]:
        """Read it in pieces; FileNotFoundError when it is not there."""

    def read(self, name: str) -> bytes:
        """All of it; FileNotFoundError when it is not there."""

    def draft(self) -> AbstractContextManager[Draft]:
        """Begin a new one of any size."""

    def create(self, name: str, content: bytes) -> None:
        """Add a small one under a name that is new; BusyError when it is there."""

    def replace(self, name: str, before: bytes, after: bytes) -> None:
        """Change a small one; BusyError when it is no longer as it was `before`."""

    def remove(self, name: str) -> None:
        """Remove it, if it is there."""
