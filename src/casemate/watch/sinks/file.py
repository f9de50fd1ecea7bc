"""A file of JSON lines for a shipper (rsyslog's imfile, Filebeat, Fluent Bit), renamed as it grows:
whoever follows it by its inode misses nothing.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from casemate.core.errors import from_os_error
from casemate.core.files import fsync_folder, make_folder
from casemate.watch.sinks.interface import Item, Kind, Sent, SinkAway


class File:
    """Appends to one file."""

    takes: frozenset[Kind] = frozenset({"lines"})

    def __init__(self, path: Path, most: int, keep: int) -> None:
        """`most`: bytes at which a new one is begun; `keep`: former ones that stay, at
        `PATH.1` (the newest) and so on.
        """
        self.path, self.most, self.keep = path, most, keep

    def send(self, batch: Sequence[Item]) -> Sent:
        """See `Sender`; what this has accepted is on disk."""
        content = b"".join(item.raw + b"\n" for item in batch)
        try:
            make_folder(self.path.parent)
            if self.path.exists() and self.path.stat().st_size + len(content) > self.most:
                self._rotate()
            self._append(content)
        except OSError as error:
            raise SinkAway(from_os_error(error).message) from error
        return Sent(accepted=len(batch))

    def _append(self, content: bytes) -> None:
        # readable by the group: shippers run as somebody else
        descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        with os.fdopen(descriptor, "ab+") as file:
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                # what a killed process left half-written is ended and never cut off: a shipper
                # that sees a file shrink reads it again from its beginning
                file.write(b"\n")
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        if not size:
            fsync_folder(self.path.parent)

    def _rotate(self) -> None:
        names = [self.path, *(Path(f"{self.path}.{at + 1}") for at in range(self.keep))]
        if not self.keep:
            self.path.unlink()
        for older, newer in reversed(list(zip(names[1:], names, strict=False))):
            if newer.exists():
                os.replace(newer, older)
        fsync_folder(self.path.parent)
