"""Content-addressed objects, sealed with a data key of their own: `.casemate/objects/ab/cdef…`.

Format (version 1): the line `casemate-object/v1`, a JSON line `{"key", "wrapped", "digest", "size"}`, then a
Cobblestone-256 stream (chunked AEAD) whose context is that JSON line. The address is the SHA-256 of the plaintext,
so storing the same content again is a no-op.
"""

import base64
import os
from pathlib import Path

import msgspec
from cryptography.cobblestone import Cobblestone256Decryptor, Cobblestone256Encryptor
from cryptography.exceptions import InvalidTag

from casemate.controls.keys.interface import KeyProvider
from casemate.core.digest import sha256
from casemate.core.errors import VerificationError
from casemate.core.files import write_atomic

MAGIC = b"casemate-object/v1\n"


class _Header(msgspec.Struct, forbid_unknown_fields=True):
    key: str
    wrapped: str
    digest: str
    size: int


class ObjectStore:
    """Puts and gets sealed objects by digest."""

    def __init__(self, folder: Path, keys: KeyProvider) -> None:
        self.folder = folder
        self.keys = keys

    def path(self, digest: str) -> Path:
        """Where the object with this digest lies."""
        return self.folder / digest[:2] / digest[2:]

    def put(self, content: bytes) -> str:
        """Seal and store `content` durably; return its SHA-256."""
        digest = sha256(content)
        path = self.path(digest)
        if path.exists() and self._intact(digest):
            return digest
        data_key = Cobblestone256Encryptor.generate_key()
        header = _Header(
            key="objects",
            wrapped=base64.b64encode(self.keys.wrap("objects", data_key, f"object {digest[:12]}")).decode(),
            digest=digest,
            size=len(content),
        )
        line = msgspec.json.encode(header)
        stream = Cobblestone256Encryptor(data_key, line)
        write_atomic(path, MAGIC + line + b"\n" + stream.update(content) + stream.finalize())
        return digest

    def get(self, digest: str) -> bytes:
        """The content with this digest; VerificationError when it is missing or was changed."""
        path = self.path(digest)
        try:
            stored = path.read_bytes()
        except FileNotFoundError as error:
            raise VerificationError(f"a stored object is missing: {path}", hint="restore .casemate/objects from a backup") from error
        try:
            magic, line, sealed = stored.split(b"\n", 2)
            header = msgspec.json.decode(line, type=_Header)
            if magic + b"\n" != MAGIC or header.digest != digest:
                raise ValueError("header")
            stream = Cobblestone256Decryptor(self.keys.unwrap(header.key, base64.b64decode(header.wrapped), f"object {digest[:12]}"), line)
            content = bytes(stream.update(sealed) + stream.finalize())
        except (ValueError, InvalidTag, msgspec.MsgspecError) as error:
            raise VerificationError(f"a stored object was changed: {path}", hint="restore it from a backup") from error
        if sha256(content) != digest:
            raise VerificationError(f"a stored object does not match its address: {path}", hint="restore it from a backup")
        return content

    def _intact(self, digest: str) -> bool:
        try:
            self.get(digest)
        except VerificationError:
            os.unlink(self.path(digest))
            return False
        return True
