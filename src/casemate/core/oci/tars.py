"""Layers: tar archives that are the same bytes each time, and that give regular files or nothing.

What may stand in an archive that is read is a list of files: no link, no device, no name that leads
elsewhere or that a file system would read as another one. Nothing is unpacked to disk here.
"""

import gzip
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import IO, Protocol

from casemate.core.errors import VerificationError

FILE_MODE, FOLDER_MODE = 0o644, 0o755
MAX_FILES = 100_000
MAX_NAME = 1000
"""Bytes of a path."""
_PIECE = 1024 * 1024
_MARK = ".wh."
"""What layers write to remove a file of a layer below."""
_AGAIN = "obtain the image from its owner again"


class Readable(Protocol):
    """A stream of bytes."""

    def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes."""


def pack(
    files: Mapping[str, bytes | Path],
    to: IO[bytes],
    moment: int = 0,
    owned: Mapping[str, int] = MappingProxyType({}),
) -> None:
    """Write a layer: files and the folders around them, sorted, owned by root, of one time.

    Args:
        files: content, or the file that holds it, by path within the image.
        to: a stream.
        moment: time of every file, seconds since 1970.
        owned: empty folders, and the user and group that each belongs to.
    """
    names = {*files, *owned}
    folders = {str(parent) for name in names for parent in PurePosixPath(name).parents} - {"."}
    with tarfile.open(fileobj=to, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        for name in sorted({*names, *folders}):
            member = tarfile.TarInfo(name)
            member.mtime, member.mode = moment, FILE_MODE
            content = files.get(name)
            if content is None:
                member.type, member.mode = tarfile.DIRTYPE, FOLDER_MODE
                member.uid = member.gid = owned.get(name, 0)
                archive.addfile(member)
            elif isinstance(content, Path):
                member.size = content.stat().st_size
                with content.open("rb") as file:
                    archive.addfile(member, file)
            else:
                member.size = len(content)
                archive.addfile(member, _Bytes(content))  # type: ignore[arg-type] # reads, no more


class _Bytes:
    """As `io.BytesIO`, without a copy of what may be a gigabyte."""

    def __init__(self, content: bytes) -> None:
        self._rest = memoryview(content)

    def read(self, size: int) -> bytes:
        piece, self._rest = self._rest[:size], self._rest[size:]
        return bytes(piece)


def unpack(source: Readable, limit: int) -> dict[str, bytes]:
    """Content by path of the regular files of a layer.

    Args:
        source: the archive; read to the end of what it lists.
        limit: bytes of all files together.

    Raises:
        VerificationError: it is no archive, holds anything but files and folders, or too much.
    """
    files: dict[str, bytes] = {}
    total = 0
    padded = _Padded(source)
    try:
        with tarfile.open(fileobj=padded, mode="r|", errors="strict") as archive:  # type: ignore[call-overload] # a stream reads, no more
            for count, member in enumerate(archive):
                if count >= MAX_FILES:
                    raise VerificationError(f"a layer holds more than {MAX_FILES} files")
                if member.isdir() and member.name in ("", ".", "./", "/"):
                    continue  # the image's root, as other tools list it
                name = checked(member.name)
                if member.isdir():
                    continue
                total += member.size
                if not member.isreg() or member.issparse() or member.size < 0:
                    raise VerificationError(
                        f"the layer holds {name!r}, which is no regular file", hint=_AGAIN
                    )
                if total > limit:
                    raise VerificationError(f"a layer unpacks to more than {limit} bytes")
                if name in files:
                    raise VerificationError(f"the layer holds {name!r} twice", hint=_AGAIN)
                opened = archive.extractfile(member)
                files[name] = b"" if opened is None else opened.read()
                if padded.given < member.offset_data + member.size:
                    raise VerificationError(f"the layer ends within {name!r}", hint=_AGAIN)
    except (tarfile.TarError, EOFError, ValueError, OverflowError, MemoryError) as error:
        raise VerificationError(
            f"a layer is no archive that can be read: {type(error).__name__}", hint=_AGAIN
        ) from error
    return files


class _Padded:
    """A stream with zeros behind it, and so an end: umoci before 0.5 leaves it out."""

    def __init__(self, source: Readable) -> None:
        self._source = source
        self._zeros = 2 * tarfile.RECORDSIZE
        self.given = 0
        """Bytes that were there."""

    def read(self, size: int = -1, /) -> bytes:
        piece = self._source.read(size)
        self.given += len(piece)
        if piece or size == 0:
            return piece
        count = self._zeros if size < 0 else min(size, self._zeros)
        self._zeros -= count
        return bytes(count)


def checked(name: str) -> str:
    """A path within an image, as it is written once: relative, without `..`, for every system.

    Raises:
        VerificationError: it leads elsewhere, or is another spelling of some path.
    """
    plain = name.removeprefix("./").rstrip("/")
    parts = plain.split("/")
    odd = (
        any(part in ("", ".", "..") or part.startswith(_MARK) for part in parts)
        or "\\" in plain
        or ":" in plain
        or not plain.isprintable()
        or len(plain.encode("utf-8", "surrogatepass")) > MAX_NAME
    )
    if odd:
        raise VerificationError(
            f"a layer holds a file called {name[:200]!r}, which leads elsewhere", hint=_AGAIN
        )
    return plain


def drain(source: Readable) -> None:
    """Read what is left: the digest of a blob is over all of it."""
    while source.read(_PIECE):
        pass


def compressed(media_type: str) -> bool:
    """Whether a layer of this type is packed (gzip); VerificationError for what is not read here.

    >>> compressed("application/vnd.oci.image.layer.v1.tar+gzip")
    True
    """
    if media_type.endswith(".tar"):
        return False
    if media_type.endswith((".tar+gzip", ".tar.gzip")):
        return True
    raise VerificationError(
        f"a layer of the type {media_type[:100]!r} is not read here",
        hint="tar archives are, packed with gzip or not",
    )


def gunzip(source: Readable, limit: int) -> Readable:
    """The bytes of a packed layer, at most `limit` of them."""
    return _Gunzip(source, limit)


class _Gunzip:
    """Unpacks as it is read; tar asks for no more than it needs."""

    def __init__(self, source: Readable, limit: int) -> None:
        self._file: IO[bytes] = gzip.GzipFile(fileobj=source, mode="rb")  # type: ignore[call-overload] # reads, no more
        self._left = limit

    def read(self, size: int = -1, /) -> bytes:
        asked = self._left + 1 if size < 0 else min(size, self._left + 1)
        try:
            piece = self._file.read(asked)
        except (OSError, EOFError, zlib.error) as error:
            raise VerificationError("a layer is not packed as it says", hint=_AGAIN) from error
        self._left -= len(piece)
        if self._left < 0:
            raise VerificationError("a layer unpacks to more than it may")
        return piece
