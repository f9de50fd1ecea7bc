"""SHA-256 of bytes, files and records, always as lower-case hex."""

import hashlib
from pathlib import Path
from typing import Any

import msgspec


def sha256(content: bytes | memoryview) -> str:
    """SHA-256 of `content` in hex."""
    return hashlib.sha256(content).hexdigest()


def sha256_file(path: Path) -> str:
    """SHA-256 of a file, read in constant memory."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_record(record: Any) -> str:
    """SHA-256 of a record's deterministic JSON: equal records have equal digests."""
    return sha256(msgspec.json.encode(record, order="deterministic"))
