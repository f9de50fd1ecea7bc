"""What this machine remembers of the log outside of the project: its newest head, and every other
history that was met.

It lies in the key store's folder, a file for each place that a project was in, so that putting an
old `.casemate` back does not put this back too. A fork that was told once stays a finding until
somebody who may do so has explained it, however well the log verifies by itself afterwards.
"""

import contextlib
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import msgspec

from casemate.controls.audit.checkpoint import VerifiedCheckpoint, parse_head, verify_checkpoint
from casemate.controls.audit.note import parse_note
from casemate.core.clock import Clock
from casemate.core.errors import HistoryError, VerificationError
from casemate.core.files import exclusive_wait, make_folder, write_atomic
from casemate.core.types import Record

FOLDER = "heads"


class Fork(Record, frozen=True, kw_only=True):
    """Another history of the log that was met."""

    time: str
    """When, RFC 3339 in UTC."""
    message: str
    """What was found, and where."""
    checkpoint: str
    """The log's own checkpoint at that time."""


class Memory(Record, frozen=True, kw_only=True):
    """What is remembered of a log."""

    version: int = 1
    """Of this format."""
    newest: str = ""
    """The newest checkpoint that was seen here."""
    kept: str = ""
    """When checkpoints were last copied and cosigned, RFC 3339 in UTC."""
    forks: list[Fork] = []
    """What nobody has explained yet, oldest first."""


class Heads:
    """The memory of one log in one place."""

    def __init__(self, keys: Path, root: Path, clock: Clock) -> None:
        """Read nothing yet.

        Args:
            keys: the key store's folder.
            root: the project's.
            clock: for the record.
        """
        self.file = keys / FOLDER / f"{sha256(str(root.resolve()).encode()).hexdigest()[:32]}.json"
        self.clock = clock

    def read(self) -> Memory:
        """What is remembered; VerificationError when it is damaged."""
        try:
            return msgspec.json.decode(self.file.read_bytes(), type=Memory)
        except FileNotFoundError:
            return Memory()
        except (msgspec.MsgspecError, OSError) as error:
            raise VerificationError(
                f"{self.file} is damaged: {error}",
                hint="see who changed it; without it, copies and witnesses remain",
            ) from error

    def newest(self, vkeys: str) -> VerifiedCheckpoint | None:
        """The newest head that was seen here, verified."""
        text = self.read().newest
        return verify_checkpoint(text.encode(), vkeys) if text else None

    def require_explained(self) -> None:
        """HistoryError while another history that was met is unexplained."""
        forks = self.read().forks
        if forks:
            raise HistoryError(
                f"on {forks[0].time[:19]} another history of this log was met: {forks[0].message}",
                hint=(
                    "keep both histories as proof; once it is explained, an owner records that:"
                    " casemate audit resolve --reason TEXT"
                ),
            )

    def remember(self, checkpoint: bytes, *, kept: bool = False) -> None:
        """Remember a checkpoint that was compared with the one before.

        Args:
            checkpoint: of the log.
            kept: it was copied and cosigned just now.
        """
        now = self.clock.now().isoformat() if kept else None
        size = _size(checkpoint)

        def later(memory: Memory) -> Memory:
            # Another process may have remembered a newer one meanwhile: what was seen is never
            # forgotten.
            known = memory.newest and _size(memory.newest.encode()) > size
            return msgspec.structs.replace(
                memory,
                newest=memory.newest if known else checkpoint.decode(),
                kept=now or memory.kept,
            )

        self._change(later)

    def met(self, message: str, checkpoint: bytes) -> None:
        """Remember another history, once."""
        fork = Fork(
            time=self.clock.now().isoformat(), message=message, checkpoint=checkpoint.decode()
        )

        def added(memory: Memory) -> Memory:
            same = any(
                (known.message, known.checkpoint) == (fork.message, fork.checkpoint)
                for known in memory.forks
            )
            return memory if same else msgspec.structs.replace(memory, forks=[*memory.forks, fork])

        self._change(added)

    def explained(self, checkpoint: bytes) -> list[Fork]:
        """Forget what was met and go on from `checkpoint`; returns it, for the record."""
        forks = self.read().forks
        self._change(
            lambda memory: msgspec.structs.replace(memory, forks=[], newest=checkpoint.decode())
        )
        return forks

    def _change(self, change: Callable[[Memory], Memory]) -> None:
        # whoever may only look at the project remembers nothing
        with contextlib.suppress(PermissionError):
            make_folder(self.file.parent)
            with exclusive_wait(self.file.with_suffix(".lock")):
                memory = self.read()
                changed = change(memory)
                if changed != memory:
                    write_atomic(self.file, changed.to_json())


def _size(checkpoint: bytes) -> int:
    return parse_head(parse_note(checkpoint)).size
