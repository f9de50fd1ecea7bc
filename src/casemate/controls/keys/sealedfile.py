"""Files sealed to several recipients: what backups are written as.

Format (version 2): the line `casemate-backup/v2`, a JSON line with the kind of file and, per
recipient, the file's key under HPKE (RFC 9180, MLKEM768-X25519), then a Cobblestone-256 stream
(chunked AEAD: no bit can change and no end can be missing) with the JSON line as its context.
Version 1, which is still read, has the parameters of Argon2id (RFC 9106) in the JSON line instead.
"""

import contextlib
import os
import secrets
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal

import msgspec
from cryptography.cobblestone import Cobblestone256Decryptor, Cobblestone256Encryptor
from cryptography.exceptions import InvalidTag

from casemate.controls.keys import recipients, slots
from casemate.controls.keys.recipients import Recipient
from casemate.core import hybrid
from casemate.core.errors import AccessDenied, VerificationError
from casemate.core.files import DRAFT, fsync_folder, make_folder

Kind = Literal["data", "keys", "subjects", "copy"]
MAGIC = b"casemate-backup/v2\n"
OLD_MAGIC: dict[Kind, bytes] = {
    "data": b"casemate-backup/v1\n",
    "subjects": b"casemate-subjects/v1\n",
}
CHUNK = 1 << 20
MAX_HEADER = 1 << 17
"""Bytes: `recipients.MOST` of them, each with a locked private key, take less."""
CHANGED = "was changed or cut, or the passphrase is wrong"


class _Slot(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    sealed: bytes
    locked: bytes | None


class _Header(msgspec.Struct, forbid_unknown_fields=True):
    kind: Kind
    project: str
    slots: list[_Slot]


class _OldHeader(msgspec.Struct, forbid_unknown_fields=True):
    kdf: Literal["argon2id"]
    salt: bytes
    iterations: int
    lanes: int
    memory_kib: int


@dataclass(frozen=True)
class Opener:
    """What somebody opens sealed files with."""

    passphrase: str | None = None
    """Of a recipient whose private key lies locked in the file, or of a file of version 1."""
    identities: Sequence[str] = ()
    """Private keys of recipients, as text."""
    _private: list[bytes] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        self._private.extend(map(recipients.read_private, self.identities))

    def keys(self, slot: _Slot) -> Iterator[bytes]:
        """Private keys that may fit a slot."""
        yield from self._private
        if (
            self.passphrase is not None
            and slot.locked is not None
            and (private := recipients.unlock(slot.locked, self.passphrase))
        ):
            self._private.append(private)  # deriving it once is slow enough
            yield private


def _info(kind: Kind, project: str, name: str) -> bytes:
    return msgspec.json.encode(["casemate/backup/v2", kind, project, name])


@contextlib.contextmanager
def sealing(target: Path, kind: Kind, project: str, to: Sequence[Recipient]) -> Iterator["Sealing"]:
    """Write the new file `target`, sealed to these recipients; it is there once it is whole, and
    never replaces another one.
    """
    key = secrets.token_bytes(32)
    sealed = [
        _Slot(
            one.name,
            hybrid.SUITE.encrypt(
                key, hybrid.public_key(one.public), info=_info(kind, project, one.name)
            ),
            one.locked,
        )
        for one in to
    ]
    line = msgspec.json.encode(_Header(kind, project, sealed))
    make_folder(target.absolute().parent, 0o755)
    descriptor, draft = tempfile.mkstemp(dir=target.absolute().parent, prefix=DRAFT)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(MAGIC + line + b"\n")
            stream = Sealing(file, Cobblestone256Encryptor(key, line))
            yield stream
            stream.finish()
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, target)  # unlike a rename it fails where something is there
    finally:
        os.unlink(draft)
    fsync_folder(target.absolute().parent)


class Sealing:
    """The writing end of the encrypted stream."""

    def __init__(self, file: IO[bytes], stream: Any) -> None:
        self.file, self.stream = file, stream

    def write(self, content: bytes) -> int:
        """Seal these bytes and write them; how many, as files say it."""
        self.file.write(self.stream.update(content))
        return len(content)

    def finish(self) -> None:
        """Write the authenticated end."""
        self.file.write(self.stream.finalize())


class Opening:
    """The reading end: nothing leaves it that was not authenticated."""

    def __init__(self, path: Path, file: IO[bytes], stream: Any, recipient: str | None) -> None:
        self.path, self.file, self.stream = path, file, stream
        self.recipient = recipient
        """Whose key opened it; None for a file of version 1, which has a passphrase of its own."""
        self._ready, self._done = bytearray(), False

    def read(self, count: int) -> bytes:
        """At most `count` bytes; fewer at the end. VerificationError when a bit was changed or the
        end is missing.
        """
        while len(self._ready) < count and not self._done:
            chunk = self.file.read(CHUNK)
            try:
                self._ready += self.stream.update(chunk) if chunk else self.stream.finalize()
            except (InvalidTag, ValueError) as error:
                raise VerificationError(
                    f"{self.path} {CHANGED}", hint="try another copy of it"
                ) from error
            self._done = not chunk
        out = bytes(self._ready[:count])
        del self._ready[:count]
        return out

    def rest(self) -> bytes:
        """Everything up to the authenticated end."""
        return b"".join(iter(lambda: self.read(CHUNK), b""))


@contextlib.contextmanager
def opening(path: Path, kind: Kind, opener: Opener) -> Iterator[Opening]:
    """Read a sealed file.

    Raises:
        AccessDenied: it is sealed to others, or the passphrase is wrong.
        VerificationError: it is no such file, or was changed.
    """
    with path.open("rb") as file:
        magic, line = file.readline(len(MAGIC) + 8), file.readline(MAX_HEADER).removesuffix(b"\n")
        if magic == MAGIC:
            key, name = _file_key(path, kind, line, opener)
        elif magic == OLD_MAGIC.get(kind):
            key, name = _old_key(path, line, opener), None
        else:
            raise VerificationError(f"{path} is no casemate backup", hint="check the path")
        yield Opening(path, file, Cobblestone256Decryptor(key, line), name)


def _file_key(path: Path, kind: Kind, line: bytes, opener: Opener) -> tuple[bytes, str]:
    try:
        header = msgspec.json.decode(line, type=_Header)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise VerificationError(f"{path} was changed", hint="try another copy of it") from error
    if header.kind != kind:
        raise VerificationError(
            f"{path} is a backup of {header.kind}, not of {kind}", hint="check the path"
        )
    # bounded: with a passphrase each slot may cost one Argon2id, and nothing here is signed
    for slot in header.slots[: recipients.MOST]:
        for private in opener.keys(slot):
            with contextlib.suppress(InvalidTag, ValueError):
                return (
                    hybrid.SUITE.decrypt(
                        slot.sealed,
                        hybrid.private_key(private),
                        info=_info(kind, header.project, slot.name),
                    ),
                    slot.name,
                )
    names = ", ".join(slot.name for slot in header.slots)
    raise AccessDenied(
        f"{path} is sealed to others ({names}), or the passphrase is wrong",
        hint="--identity with a recipient's private key, or its --passphrase",
    )


def _old_key(path: Path, line: bytes, opener: Opener) -> bytes:
    if opener.passphrase is None:
        raise AccessDenied(
            f"{path} is under a passphrase", hint="--passphrase prompt, env:NAME or file:PATH"
        )
    try:
        header = msgspec.json.decode(line, type=_OldHeader)
        kdf = slots.Kdf(
            salt=header.salt,
            iterations=header.iterations,
            lanes=header.lanes,
            memory_kib=header.memory_kib,
        )
        return kdf.derive(opener.passphrase)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise VerificationError(f"{path} was changed", hint="try another copy of it") from error
