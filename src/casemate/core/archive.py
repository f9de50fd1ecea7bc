"""What a skops archive may be, seen before anything in it is unpacked: a few hundred kilobytes can
unpack to gigabytes.

Every limit is far beyond what scikit-learn's own estimators need; what is beyond it is refused by
name.
"""

import io
import json
import zipfile
import zlib
from typing import Any

from casemate.core.errors import VerificationError

SCHEMA = "schema.json"
MAX_UNPACKED = 4 * 2**30
"""Bytes of all members together: a forest of 1000 deep trees on a million rows has about one
gigabyte.
"""
ALWAYS_FINE = 256 * 2**20
"""Up to so many unpacked bytes nobody asks how well they were packed: arrays of zeros pack a
thousandfold.
"""
MAX_RATIO = 100
"""Beyond that, unpacked bytes per packed byte; sound models have 2 to 30."""
MAX_SCHEMA = 64 * 2**20
"""Bytes of the listing of objects: about 3 KB a tree."""
MOST_MEMBERS = 200_000
"""Arrays: one to five a tree."""
MAX_DEPTH = 100
"""Nesting of the listing: pipelines in stacks in searches have 30 to 50."""
NESTED = (".npz", ".zip")
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_HINT = "use a smaller model; what scikit-learn itself makes keeps within these limits"


def check(content: bytes) -> None:
    """Nothing when the archive keeps within the limits; VerificationError otherwise."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            unpacked = _members(archive, len(content))
            for item in archive.infolist():
                if item.filename.endswith(NESTED):  # a sparse matrix is an archive of its own
                    with zipfile.ZipFile(io.BytesIO(archive.read(item))) as inner:
                        unpacked += _members(inner, item.compress_size)
            _within(unpacked, len(content))
            if SCHEMA in archive.namelist():
                _check_depth(json.loads(archive.read(SCHEMA)))
    except (
        zipfile.BadZipFile,
        zlib.error,
        OSError,
        EOFError,
        ValueError,
        NotImplementedError,
        RuntimeError,
    ) as error:
        raise VerificationError(
            f"the model file is not a skops archive: {type(error).__name__}"
        ) from error


def _members(archive: zipfile.ZipFile, packed: int) -> int:
    """Bytes that the members say they unpack to (Python's reader takes no more than that out of
    each).
    """
    items = archive.infolist()
    if len(items) > MOST_MEMBERS:
        raise VerificationError(
            f"the model file has {len(items)} members, {MOST_MEMBERS} are allowed", hint=_HINT
        )
    if len({item.filename for item in items}) != len(items):
        raise VerificationError("the model file has two members of one name")
    if any(item.flag_bits & 1 or item.compress_type not in METHODS for item in items):
        raise VerificationError(
            "the model file has a member that is encrypted or packed in an unusual way"
        )
    if any(item.filename == SCHEMA and item.file_size > MAX_SCHEMA for item in items):
        raise VerificationError(
            f"the model file's listing unpacks to more than {MAX_SCHEMA} bytes", hint=_HINT
        )
    unpacked = sum(item.file_size for item in items)
    _within(unpacked, packed)
    return unpacked


def _within(unpacked: int, packed: int) -> None:
    if unpacked > MAX_UNPACKED or (unpacked > ALWAYS_FINE and unpacked > MAX_RATIO * packed):
        raise VerificationError(
            f"the model file unpacks to more than it may: {packed} bytes to {unpacked}", hint=_HINT
        )


def _check_depth(schema: Any) -> None:
    level, depth = [schema], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise VerificationError(
                f"the model file nests deeper than {MAX_DEPTH} levels", hint=_HINT
            )
        level = [
            part
            for node in level
            for part in (node.values() if isinstance(node, dict) else node)
            if isinstance(part, dict | list)
        ]
