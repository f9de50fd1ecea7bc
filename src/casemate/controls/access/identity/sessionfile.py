"""Where the command line keeps its session: one file per project, 0600, outside of the project and
of the key store.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from casemate.controls.access.identity.sessions import Pair
from casemate.core.errors import AccessDenied
from casemate.core.files import make_folder, write_atomic


class Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The two secrets, and until when the first one acts."""

    access: str
    refresh: str
    until: str


class SessionFile:
    """Reads and writes the file."""

    def __init__(self, project: str) -> None:
        self.path = Path("~/.local/state/casemate").expanduser() / f"{project}.session"

    def read(self) -> Kept | None:
        """What is kept; None when nobody has logged in. AccessDenied when others could have read or
        written it.
        """
        try:
            status = self.path.lstat()
            if status.st_uid != os.geteuid() or status.st_mode & 0o077:
                raise AccessDenied(
                    f"{self.path} is open to others",
                    hint="casemate access logout, then login again",
                )
            return msgspec.json.decode(self.path.read_bytes(), type=Kept)
        except FileNotFoundError:
            return None
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise AccessDenied(
                f"{self.path} is damaged", hint="casemate access logout, then login again"
            ) from error

    def write(self, kept: Kept) -> None:
        """Keep another pair of tokens, in place of the one before."""
        make_folder(self.path.parent)
        write_atomic(self.path, msgspec.json.encode(kept))

    def keep(self, pair: Pair) -> Kept:
        """Let the command line act with this session from now on."""
        kept = Kept(pair.access, pair.refresh, pair.until.isoformat())
        self.write(kept)
        return kept

    def remove(self) -> bool:
        """Forget it; whether there was one."""
        try:
            self.path.unlink()
        except FileNotFoundError:
            return False
        return True

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """One process at a time: a pair is fetched once, or the family ends."""
        make_folder(self.path.parent)
        with (self.path.parent / f"{self.path.name}.lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
