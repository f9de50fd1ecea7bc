"""Changes that an operation makes in casemate.toml; a person's comments and order stay."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from casemate.config import FILE_NAME
from casemate.core.files import write_atomic


@contextlib.contextmanager
def edited(root: Path) -> Iterator[Any]:
    """The file as a document to change; it is written once the block has ended well."""
    import tomlkit  # not at start-up

    file = root / FILE_NAME
    document = tomlkit.parse(file.read_text(encoding="utf-8"))
    yield document
    write_atomic(file, tomlkit.dumps(document).encode(), mode=0o644)
