"""Content-addressed objects, each sealed with a data key of its own: `ab/cdef…` in
`.casemate/objects` or in a bucket.

Format (version 2): the line `casemate-object/v2`, a JSON line `{"key"}`, then a Cobblestone-256
stream (chunked AEAD) whose context is both lines. The data key, wrapped, lies beside it in
`cdef….KEY.key`, so that a rotation rewrites some hundred bytes and never the object. The address is
the SHA-256 of the plaintext, compared after every read: one object in another's place is refused,
and storing the same content again is a no-op. Version 1 (casemate 0.1) held the wrapped key in its
JSON line and is still read.
"""

import base64
import hashlib
import secrets
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Self

import msgspec
from cryptography.cobblestone import Cobblestone256Decryptor, Cobblestone256Encryptor
from cryptography.exceptions import InvalidTag

from casemate.controls.keys.interface import KeyProvider
from casemate.core.blobs import Blobs
from casemate.core.digest import sha256
from casemate.core.errors import VerificationError
from casemate.core.files import writing

KEK = "objects"
MAGIC = b"casemate-object/v2\n"
MAGIC_V1 = b"casemate-object/v1\n"
MAX_HEADER = 16 * 1024
"""Bytes of a sealed file's first line, which is read before anything of it is authentic."""
CHUNK = 1 << 20
"""Bytes that are sealed or opened at once: bounds memory."""
_HINT = "restore it from a backup"


class _Header(msgspec.Struct, forbid_unknown_fields=True):
    key: str


class _HeaderV1(msgspec.Struct, forbid_unknown_fields=True):
    key: str
    wrapped: str
    digest: str
    size: int


class _Hashing:
    """SHA-256 of a stream, computed beside the encryption: both let go of the interpreter's
    lock.
    """

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._pool: ThreadPoolExecutor | None = None
        self._last: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown()

    def update(self, content: bytes) -> None:
        """Take the next piece; a large one is hashed while the caller goes on."""
        self._wait()
        if len(content) < CHUNK // 2:
            self._hash.update(content)
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1)
        self._last = self._pool.submit(self._hash.update, content)

    def _wait(self) -> None:
        if self._last is not None:
            self._last.result()

    def hexdigest(self) -> str:
        """Of everything so far."""
        self._wait()
        return self._hash.hexdigest()


class ObjectStore:
    """Puts and gets sealed objects by digest."""

    def __init__(self, blobs: Blobs, keys: KeyProvider) -> None:
        self.blobs = blobs
        self.keys = keys

    def put(self, content: bytes) -> str:
        """Seal and store `content` durably; return its SHA-256."""
        digest = sha256(content)
        return digest if self._intact(digest) else self._seal([content])

    def put_file(self, path: Path) -> str:
        """Seal and store a file of any size in constant memory; return its SHA-256."""
        return self._seal(_chunks(path))

    def _seal(self, chunks: Iterable[bytes], *, anew: bool = False) -> str:
        data_key, key = Cobblestone256Encryptor.generate_key(), secrets.token_hex(4)
        head = MAGIC + msgspec.json.encode(_Header(key)) + b"\n"
        stream = Cobblestone256Encryptor(data_key, head)
        with self.blobs.draft() as draft, _Hashing() as seen:
            draft.file.write(head)
            for chunk in chunks:
                seen.update(chunk)
                draft.file.write(stream.update(chunk))
            draft.file.write(stream.finalize())
            digest = seen.hexdigest()
            # The key first: an object is there once its own file is. Each writer has a key file of
            # its own.
            self.blobs.create(
                key_name(digest, key), self.keys.wrap(KEK, data_key, f"object {digest[:12]}")
            )
            damaged = anew or (self.blobs.has(name_of(digest)) and not self._intact(digest))
            if not draft.commit(name_of(digest), replace=damaged):
                self.blobs.remove(key_name(digest, key))
        return digest

    def get(self, digest: str) -> bytes:
        """The content with this digest; VerificationError when it is missing or was changed."""
        return b"".join(self.pieces(digest))

    def copy_to(self, digest: str, target: Path) -> None:
        """Write the content to `target`, which appears whole or not at all, in constant memory."""
        with writing(target) as file:
            for chunk in self.pieces(digest):
                file.write(chunk)

    def pieces(self, digest: str) -> Iterator[bytes]:
        """The content in pieces, authenticated one by one; that it is this object is certain at the
        end only.
        """
        path = f"{self.blobs.where}/{name_of(digest)}"
        try:
            with self.blobs.open(name_of(digest)) as file, _Hashing() as seen:
                stream = self._stream(digest, file.readline(len(MAGIC)), file.readline(MAX_HEADER))
                while chunk := file.read(CHUNK):
                    content = bytes(stream.update(chunk))
                    seen.update(content)
                    yield content
                content = bytes(stream.finalize())
                seen.update(content)
                yield content
                found = seen.hexdigest()
        except FileNotFoundError as error:
            raise VerificationError(
                f"a stored object or its key is missing: {error.filename}",
                hint="restore the objects from a backup",
            ) from error
        except (ValueError, InvalidTag, msgspec.MsgspecError) as error:
            raise VerificationError(f"a stored object was changed: {path}", hint=_HINT) from error
        if found != digest:
            raise VerificationError(
                f"a stored object does not match its address: {path}", hint=_HINT
            )

    def _stream(self, digest: str, magic: bytes, line: bytes) -> Cobblestone256Decryptor:
        if magic == MAGIC_V1:
            old = msgspec.json.decode(line, type=_HeaderV1)
            wrapped, context = base64.b64decode(old.wrapped), line.removesuffix(b"\n")
        elif magic == MAGIC:
            header = msgspec.json.decode(line, type=_Header)
            if not header.key.isalnum():
                raise ValueError("key")
            wrapped, context = self.blobs.read(key_name(digest, header.key)), magic + line
        else:
            raise ValueError("format")
        return Cobblestone256Decryptor(
            self.keys.unwrap(KEK, wrapped, f"object {digest[:12]}"), context
        )

    def _intact(self, digest: str) -> bool:
        if not self.blobs.has(name_of(digest)):
            return False
        try:
            for _ in self.pieces(digest):
                pass
        except VerificationError:
            return False  # whoever seals it anew replaces it
        return True

    def wrapped(self) -> Iterator[tuple[str, bytes]]:
        """Every wrapped data key and its name, for a rotation."""
        for name in self.blobs.names():
            if name.endswith(".key"):
                yield name, self.blobs.read(name)

    def inline(self) -> Iterator[tuple[str, bytes]]:
        """(digest, wrapped key) of version 1 objects: only sealing them anew brings them under
        another key version.
        """
        for digest in self.digests():
            with self.blobs.open(name_of(digest)) as file:
                if file.readline(len(MAGIC)) == MAGIC_V1:
                    try:
                        yield (
                            digest,
                            base64.b64decode(
                                msgspec.json.decode(
                                    file.readline(MAX_HEADER), type=_HeaderV1
                                ).wrapped
                            ),
                        )
                    except ValueError as error:
                        raise VerificationError(
                            f"a stored object was changed: {name_of(digest)}", hint=_HINT
                        ) from error

    def seal_anew(self, digest: str) -> None:
        """Encrypt an object under a new data key, in the newest format; its address stays."""
        old = [
            name
            for name in self.blobs.names()
            if name.startswith(f"{name_of(digest)}.") and name.endswith(".key")
        ]
        self._seal(self.pieces(digest), anew=True)
        for name in old:
            self.blobs.remove(name)

    def digests(self) -> list[str]:
        """Every object that is there."""
        return [name.replace("/", "") for name in self.blobs.names() if "." not in name]


def name_of(digest: str) -> str:
    """The name of the object with this digest."""
    return f"{digest[:2]}/{digest[2:]}"


def key_name(digest: str, key: str) -> str:
    """The name of its wrapped data key."""
    return f"{name_of(digest)}.{key}.key"


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk
