"""An image layout in a folder: writing one whole, reading one that a stranger may have made."""

import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from casemate.core.digest import sha256_file
from casemate.core.errors import VerificationError
from casemate.core.oci.tars import compressed, drain, gunzip, unpack
from casemate.core.oci.types import (
    INDEX_FILE,
    INDEX_TYPE,
    LAYOUT_FILE,
    LAYOUT_VERSION,
    MANIFEST_TYPE,
    MAX_DOCUMENT,
    Descriptor,
    Index,
    Layout,
    Manifest,
    decode,
    described,
    encode,
)

BLOBS = Path("blobs", "sha256")
MAX_LAYERS = 8 * 2**30
"""Bytes of an image's files: beyond what a model that is held in memory has."""
MAX_DOCUMENTS = 8 * MAX_DOCUMENT
"""Bytes of all manifests of an index, which are held in memory."""
_PIECE = 1024 * 1024
_AGAIN = "obtain the image from its owner again"
_OPEN = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_OPEN |= getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)


class Writer:
    """Fills a folder with blobs, then with the index over them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / BLOBS).mkdir(parents=True)

    def add(
        self, content: bytes, media_type: str, annotations: dict[str, str] | None = None
    ) -> Descriptor:
        """Keep bytes as a blob."""
        found = described(content, media_type, annotations)
        (self.folder / BLOBS / found.hexadecimal).write_bytes(content)
        return found

    def move(
        self, path: Path, media_type: str, annotations: dict[str, str] | None = None
    ) -> Descriptor:
        """Keep a file of this file system as a blob; it is gone from where it was."""
        digest, size = sha256_file(path), path.stat().st_size
        path.replace(self.folder / BLOBS / digest)
        return Descriptor(
            mediaType=media_type, digest=f"sha256:{digest}", size=size, annotations=annotations
        )

    def copy(self, reader: "Reader", descriptor: Descriptor) -> None:
        """Keep a blob of another layout, compared with its digest on its way."""
        with (
            reader.opened(descriptor) as blob,
            (self.folder / BLOBS / descriptor.hexadecimal).open("wb") as file,
        ):
            shutil.copyfileobj(blob, file, _PIECE)

    def manifest(self, document: Manifest, annotations: dict[str, str] | None = None) -> Descriptor:
        """Keep a manifest; `annotations` are those of its entry in the index."""
        content = encode(document)
        self.add(content, MANIFEST_TYPE)
        return described(content, MANIFEST_TYPE, annotations, document.artifactType)

    def finish(self, manifests: list[Descriptor]) -> None:
        """Write the index."""
        index = encode(Index(schemaVersion=2, mediaType=INDEX_TYPE, manifests=manifests))
        (self.folder / INDEX_FILE).write_bytes(index)
        layout = encode(Layout(imageLayoutVersion=LAYOUT_VERSION))
        (self.folder / LAYOUT_FILE).write_bytes(layout)


class Reader:
    """A layout that somebody gave; everything is compared with its digest before it is used."""

    def __init__(self, folder: Path) -> None:
        """Open a layout.

        Raises:
            VerificationError: it is none, or of another version.
        """
        self.folder = folder
        found = decode(self._document(Path(LAYOUT_FILE)), Layout, "oci-layout")
        if found.imageLayoutVersion != LAYOUT_VERSION:
            raise VerificationError(
                f"{folder} is a layout of version {found.imageLayoutVersion[:20]!r}",
                hint=f"{LAYOUT_VERSION} is read here",
            )
        self.index = decode(self._document(Path(INDEX_FILE)), Index, INDEX_FILE)

    def manifests(self) -> list[tuple[Descriptor, Manifest]]:
        """Every manifest of the index, once however many names it has; VerificationError when one
        is missing or no manifest, or all together are too large.
        """
        found = []
        entries = {entry.digest: entry for entry in reversed(self.index.manifests)}
        if sum(entry.size for entry in entries.values()) > MAX_DOCUMENTS:
            raise VerificationError(
                f"the image's manifests have more than {MAX_DOCUMENTS} bytes together", hint=_AGAIN
            )
        for entry in reversed(entries.values()):
            if entry.mediaType != MANIFEST_TYPE:
                raise VerificationError(
                    f"the index holds a {entry.mediaType[:100]!r}",
                    hint="copy one image, of one platform: skopeo copy, without --all",
                )
            document = decode(self.blob(entry, MAX_DOCUMENT), Manifest, "manifest")
            if document.mediaType not in ("", MANIFEST_TYPE):
                raise VerificationError("a manifest says that it is something else", hint=_AGAIN)
            found.append((entry, document))
        return found

    def blob(self, descriptor: Descriptor, limit: int) -> bytes:
        """A blob of bounded size, compared with its digest.

        Raises:
            VerificationError: it is missing, larger than `limit` or than it says, or not what its
                digest says.
        """
        if descriptor.size > limit:
            raise VerificationError(
                f"the image says that {descriptor.digest} has {descriptor.size} bytes, {limit} are"
                " allowed"
            )
        with self.opened(descriptor) as blob:
            return blob.read()

    def layer(self, descriptor: Descriptor, limit: int = MAX_LAYERS) -> dict[str, bytes]:
        """The files of a layer, compared with its digest while they are read.

        Raises:
            VerificationError: see `blob` and `tars.unpack`.
        """
        packed = compressed(descriptor.mediaType)
        if not packed and descriptor.size > limit:
            raise VerificationError(f"a layer has {descriptor.size} bytes, {limit} are allowed")
        with self.opened(descriptor) as blob:
            return unpack(gunzip(blob, limit) if packed else blob, limit)

    @contextmanager
    def opened(self, descriptor: Descriptor) -> Iterator["Blob"]:
        """A blob to read; when the block ends without a fault, all of it has been compared with
        its digest.
        """
        with self._file(BLOBS / descriptor.hexadecimal) as file:
            blob = Blob(file, descriptor)
            yield blob
            blob.finish()

    def _document(self, path: Path) -> bytes:
        with self._file(path) as file:
            content = file.read(MAX_DOCUMENT + 1)
        if len(content) > MAX_DOCUMENT:
            raise VerificationError(f"the image's {path} is larger than {MAX_DOCUMENT} bytes")
        return content

    def _file(self, path: Path) -> IO[bytes]:
        """A regular file of the layout, never through a link."""
        if any((self.folder / parent).is_symlink() for parent in path.parents if parent.name):
            raise VerificationError(f"{path.parent} of the image is a link", hint=_AGAIN)
        try:
            descriptor = os.open(self.folder / path, _OPEN)
        except OSError as error:
            raise VerificationError(
                f"the image in {self.folder} lacks {path}: {error.strerror}", hint=_AGAIN
            ) from error
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise VerificationError(f"{path} of the image is no file", hint=_AGAIN)
        return os.fdopen(descriptor, "rb")


class Blob:
    """What is read of a blob, hashed on its way."""

    def __init__(self, file: IO[bytes], descriptor: Descriptor) -> None:
        self._file, self._descriptor = file, descriptor
        self._left = descriptor.size
        self._hash = hashlib.sha256()

    def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes of those that the descriptor speaks of."""
        piece = self._file.read(self._left if size < 0 else min(size, self._left))
        self._left -= len(piece)
        self._hash.update(piece)
        return piece

    def finish(self) -> None:
        """Read the rest; VerificationError unless size and digest are those that were said."""
        drain(self)
        if self._left or self._file.read(1):
            raise VerificationError(
                f"{self._descriptor.digest} of the image has another size than it says",
                hint=_AGAIN,
            )
        if self._hash.hexdigest() != self._descriptor.hexadecimal:
            raise VerificationError(
                f"{self._descriptor.digest} of the image has another content", hint=_AGAIN
            )
