"""A file's bytes: what it is by its first bytes, unpacked within bounds, its lines counted as an
editor counts them.
"""

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa

from casemate.core.errors import DataError
from casemate.stages.data.files.objects import S3Object

File: TypeAlias = Path | S3Object
"""Where a table's bytes are."""

BLOCK = 1 << 20
"""Bytes looked at together: what a processor's cache holds."""
HEAD = 1024
"""Bytes from which a format is told: every mark that is looked for stands at the very beginning."""
UTF8_BOM = b"\xef\xbb\xbf"
_PACKED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bz2", b"\xfd7zXZ\x00": "xz"}
_MAGIC = {
    b"PAR1": "parquet",
    b"PARE": "an encrypted Parquet file",
    b"ARROW1": "arrow",
    b"\xff\xff\xff\xff": "arrow",
    b"FEA1": "arrow",
    b"ORC": "orc",
    b"SQLite format 3\x00": "sqlite",
    b"PK\x03\x04": "zip",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "spreadsheet",  # .xls, the old one
    b"%PDF-": "a PDF",
    b"\x89HDF\r\n\x1a\n": "an HDF5 file",
    b"\x93NUMPY": "a NumPy array",
    b"\x80\x04\x95": "a Python pickle",
    b"\x80\x05\x95": "a Python pickle",
    b"$FL2": "an SPSS file",
    b"<stata_dta>": "a Stata file",
    b"RDX": "an R data file",
    b"X\n\x00\x00": "an R data file",
    b"Rar!": "a RAR archive",
    b"7z\xbc\xaf\x27\x1c": "a 7-Zip archive",
}
"""First bytes -> the reader, or the name of what no reader is here for (those with a blank)."""
_DUCKDB, _DUCKDB_AT = b"DUCK", 8
_TAR, _TAR_AT = b"ustar", 257


@dataclass(frozen=True)
class Content:
    """What a file holds: the file itself, or its bytes after they were unpacked or decoded."""

    path: File
    data: bytes | None = None
    start: int = 0
    """Where the table begins, in bytes."""
    line: int = 1
    """The number of the line that begins there."""

    def open(self, *, ahead: bool = True) -> Any:
        """The bytes from `start` on; `ahead`: whether more is read at once than is asked for."""
        file: Any = (
            self.path.open("rb", -1 if ahead else 0) if self.data is None else io.BytesIO(self.data)
        )
        file.seek(self.start)
        return file

    def head(self, size: int = HEAD) -> bytes:
        """The first bytes, from which the format is told."""
        with self.open() as file:
            return bytes(file.read(size))

    def blocks(self) -> Iterator[bytes]:
        """Pieces of whole lines; the last one may lack its line end."""
        with self.open() as file:
            size = BLOCK
            while block := file.read(size):
                cut = block.rfind(b"\n") + 1
                if len(block) < size or cut == len(block):
                    yield block
                elif cut:
                    file.seek(cut - len(block), io.SEEK_CUR)
                    yield block[:cut]
                else:  # a line that is longer
                    file.seek(-len(block), io.SEEK_CUR)
                    size *= 2
                    continue
                size = BLOCK

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """(number, bytes with the line end) of every line."""
        number = self.line
        for block in self.blocks():
            for line in block.split(b"\n")[: None if not block.endswith(b"\n") else -1]:
                yield number, line + b"\n"
                number += 1

    def whole(self) -> bytes:
        """All bytes from `start` on."""
        with self.open() as file:
            return bytes(file.read())

    def skip(self, count: int) -> "Content":
        """Without its first `count` lines."""
        position, number = self.start, self.line
        with self.open() as file:
            for _ in range(count):
                line = file.readline()
                position, number = position + len(line), number + 1
        return replace(self, start=position, line=number)


def size_of(file: File) -> int:
    """In bytes."""
    return file.size if isinstance(file, S3Object) else file.stat().st_size


def held(content: Content) -> Content:
    """An object of a bucket is fetched once by whoever reads all of it; files stay where they
    are.
    """
    if content.data is not None or not isinstance(content.path, S3Object):
        return content
    return Content(content.path, content.path.read())


def is_packed(content: Content) -> bool:
    """Whether the file is compressed by something that is unpacked here."""
    return content.head(8).startswith(tuple(_PACKED))


def unpacked(path: File, most: int) -> Content:
    """The file's content, decompressed if its first bytes say so.

    Args:
        path: the file.
        most: bytes that the content may have.

    Raises:
        DataError: it is larger, or the compressed data is damaged.
    """
    content = Content(path)
    head = content.head(8)
    kind = next((kind for magic, kind in _PACKED.items() if head.startswith(magic)), None)
    if kind is None:
        return content
    parts, size = [], 0
    try:
        with content.open() as file, _stream(file, kind) as stream:
            while block := stream.read(BLOCK):
                size += len(block)
                if size > most:
                    raise DataError(
                        f"{path} unpacks to more than [data] max_bytes ({most})",
                        hint="raise max_bytes if this is intended",
                    )
                parts.append(bytes(block))
    except (OSError, EOFError, zlib.error, lzma.LZMAError, pa.ArrowException) as error:
        raise DataError(
            f"{path} is damaged {kind} data", hint="it may be truncated: copy or export it again"
        ) from error
    return Content(path, b"".join(parts))


def _stream(file: Any, kind: str) -> Any:
    if kind == "zstd":
        return pa.input_stream(file, compression="zstd")
    if kind == "gzip":
        return gzip.open(file, "rb")
    return bz2.open(file, "rb") if kind == "bz2" else lzma.open(file, "rb")


def kind(content: Content) -> str:
    """`parquet`, `arrow`, `orc`, `sqlite`, `duckdb`, `spreadsheet`, `json`, `text`, by the first
    bytes and by nothing else.

    Raises:
        DataError: it is something that is no table, or one without a reader here; the message says
            what.
    """
    head = content.head()
    found = next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), "text")
    if head[_DUCKDB_AT:].startswith(_DUCKDB):
        found = "duckdb"
    elif head[_TAR_AT:].startswith(_TAR):
        found = "a tar archive"
    elif found == "zip":
        found = _zipped(content)
    elif found == "text":
        found = _text_kind(head)
    if " " in found:
        raise DataError(
            f"{content.path} is {found}, not a table that is read here",
            hint="export it as CSV or Parquet",
        )
    return found


def _zipped(content: Content) -> str:
    """A workbook of spreadsheets is a zip file that says so by its members."""
    import zipfile

    try:
        with content.open() as file, zipfile.ZipFile(file) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile as error:
        raise DataError(
            f"{content.path} is a damaged zip file or workbook",
            hint="it may be truncated: copy or export it again",
        ) from error
    return (
        "spreadsheet"
        if any(name.startswith("xl/") for name in names) or "content.xml" in names
        else "a zip archive"
    )


def _text_kind(head: bytes) -> str:
    text = head.removeprefix(UTF8_BOM).lstrip()
    if text.startswith((b'{"', b"{}", b"{ ", b"{\n", b"[{", b"[ {", b"[\n", b"[]")):
        return "json"
    lower = text[:200].lower()
    if lower.startswith((b"<!doctype", b"<html", b"<table", b"<?xml", b"<head", b"<meta")):
        return "a page of HTML or XML"
    if lower.startswith((b"@relation", b"% 1. title")):
        return "an ARFF file"
    return "text"
