"""Writing what was rendered: what somebody has edited is never written over silently."""

from pathlib import Path

from casemate.core.errors import ConfigError
from casemate.core.files import make_folder, write_atomic
from casemate.core.types import Record


class Written(Record, frozen=True, kw_only=True):
    """What became of a folder."""

    folder: str
    written: list[str]
    """Files that are new, or others than before."""
    kept: list[str]
    """Files that were like this already."""


def write(folder: Path, files: dict[str, bytes], *, replace: bool = False) -> Written:
    """Write files into a folder; those that are there already may differ only if told so.

    Args:
        folder: made if it is not there.
        files: content by path within it.
        replace: write over files that differ.

    Raises:
        ConfigError: a file differs; nothing is written then.
    """
    kept = [name for name, content in files.items() if _content(folder / name) == content]
    others = [name for name in files if name not in kept and (folder / name).exists()]
    if others and not replace:
        raise ConfigError(
            f"{folder} holds other files of these names: {', '.join(sorted(others))}",
            hint="render into an empty folder and compare, or give --replace",
        )
    for name, content in files.items():
        if name not in kept:
            make_folder((folder / name).parent, 0o755)
            write_atomic(folder / name, content, mode=0o644)
    written = [name for name in files if name not in kept]
    return Written(folder=str(folder), written=sorted(written), kept=sorted(kept))


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None
