"""The log on disk: C2SP tlog-tiles (https://c2sp.org/tlog-tiles), written whole, checkpoint last.

`tile/<L>/<N>` holds up to 256 hashes, `tile/entries/<N>` up to 256 length-prefixed entries; a
partial tile has the suffix `.p/<W>`. Partial tiles that a later one replaces are removed after the
checkpoint that no longer needs them.
"""

import contextlib
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path

from casemate.controls.audit.merkle import HASH_SIZE, Nodes, full_root
from casemate.core.errors import VerificationError
from casemate.core.files import DRAFT, write_atomic

# C2SP tlog-tiles: tiles are 256 hashes wide, which are eight levels
WIDTH = 256
LEVELS = 8
HINT = (
    "`casemate fsck --repair` derives tiles anew; otherwise restore the log from a copy and compare"
    " with a checkpoint that you kept"
)


def tile_path(level: int | str, number: int, width: int = WIDTH) -> str:
    """Path of a tile below the log's folder, such as `tile/0/x001/x234/067.p/5`."""
    text, rest = f"{number % 1000:03d}", number // 1000
    while rest:
        text, rest = f"x{rest % 1000:03d}/{text}", rest // 1000
    return f"tile/{level}/{text}" + ("" if width == WIDTH else f".p/{width}")


def bundle(entries: list[bytes]) -> bytes:
    """An entry bundle: 16-bit big-endian length and bytes of each entry."""
    return b"".join(struct.pack(">H", len(entry)) + entry for entry in entries)


def unbundle(content: bytes) -> list[bytes]:
    """The entries of a bundle; VerificationError when it is cut."""
    entries, position = [], 0
    while position < len(content):
        if position + 2 > len(content):
            raise VerificationError("an entry bundle is cut short")
        (length,) = struct.unpack_from(">H", content, position)
        entry = content[position + 2 : position + 2 + length]
        if len(entry) != length:
            raise VerificationError("an entry bundle is cut short")
        entries.append(entry)
        position += 2 + length
    return entries


def nodes_of(folder: Path, size: int) -> Nodes:
    """Hashes of full subtrees, read from the tiles of a published tree of `size` leaves.

    Raises (when called):
        VerificationError: a tile is missing or cut short.
    """
    cache: dict[tuple[int, int], list[bytes]] = {}

    def node(level: int, number: int) -> bytes:
        floor, within = divmod(level, LEVELS)
        first = number << within
        tile = first // WIDTH
        if (floor, tile) not in cache:
            width = min(WIDTH, (size >> LEVELS * floor) - tile * WIDTH)
            cache[floor, tile] = split_hashes(_at_least(folder, floor, tile, width))
        return full_root(cache[floor, tile][first % WIDTH : first % WIDTH + (1 << within)])

    return node


def _at_least(folder: Path, level: int, number: int, width: int) -> bytes:
    """The first `width` hashes of a tile, also when the log has grown meanwhile and a wider one
    replaced it.
    """
    for _ in range(100):
        partial = folder / (tile_path(level, number) + ".p")
        widths = [int(path.name) for path in partial.glob("[0-9]*")] if partial.is_dir() else []
        for found in sorted({*widths, width, WIDTH}):
            if found >= width:
                with contextlib.suppress(VerificationError):
                    return read_tile(folder, level, number, found)[: width * HASH_SIZE]
    return read_tile(folder, level, number, width)


def read_tile(folder: Path, level: int | str, number: int, width: int) -> bytes:
    """A tile's bytes; VerificationError when it is missing or, with hashes, has another size."""
    name = tile_path(level, number, width)
    try:
        content = (folder / name).read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise VerificationError(f"the log has no {name}", hint=HINT) from error
    if level != "entries" and len(content) != width * HASH_SIZE:
        raise VerificationError(f"{name} was changed", hint=HINT)
    return content


def tiles_of(size: int) -> Iterator[tuple[int, int]]:
    """(number, width) of every tile of the lowest level in a tree of `size` leaves."""
    for number in range(size // WIDTH):
        yield number, WIDTH
    if size % WIDTH:
        yield size // WIDTH, size % WIDTH


def split_hashes(content: bytes) -> list[bytes]:
    """The hashes in a tile file."""
    return [content[start : start + HASH_SIZE] for start in range(0, len(content), HASH_SIZE)]


def write_level(folder: Path, level: int | str, number: int, content: bytes, width: int) -> None:
    """Write one tile, whole or not at all."""
    write_atomic(folder / tile_path(level, number, width), content, mode=0o644)


def drop_drafts(folder: Path) -> None:
    """Remove checkpoints that somebody who was killed did not finish; see `drop_partials`."""
    for path in folder.glob(DRAFT + "*"):
        path.unlink(missing_ok=True)


def drop_partials(folder: Path, level: int | str, number: int, keep: int) -> None:
    """Remove the partial tiles of `number` that are narrower than `keep`, and drafts of who was
    killed: nobody else writes here while the log's lock is held.
    """
    partial = folder / (tile_path(level, number) + ".p")
    if keep == WIDTH:
        shutil.rmtree(partial, ignore_errors=True)
        return
    with contextlib.suppress(FileNotFoundError):
        for path in partial.iterdir():
            older = path.name.isdigit() and int(path.name) < keep
            if older or path.name.startswith(DRAFT):
                path.unlink(missing_ok=True)
