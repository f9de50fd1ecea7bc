"""What is published of the log: tiles and a checkpoint, derived from the committed entries."""

from collections.abc import Callable, Iterator
from pathlib import Path

from casemate.controls.audit import tiles
from casemate.controls.audit.checkpoint import CheckpointSigner, Head, parse_head, verify_checkpoint
from casemate.controls.audit.entry import leaf_entry
from casemate.controls.audit.merkle import (
    EMPTY_ROOT,
    Frontier,
    consistency_proof,
    full_root,
    verify_consistency,
)
from casemate.controls.audit.note import parse_note
from casemate.core.errors import HistoryError, VerificationError

Opened = Callable[[int, int], Iterator[tuple[int, bytes, bytes, bytes]]]
"""Gives (index, salt, body, leaf) of so many entries from a number on."""


class Published:
    """The published files of a log."""

    def __init__(self, folder: Path, signer: CheckpointSigner) -> None:
        self.folder, self.signer = folder, signer

    def head(self, *, anew: bool) -> Head:
        """What was published last; with `anew`, as far as it verifies."""
        try:
            content = (self.folder / "checkpoint").read_bytes()
            if anew:  # a damaged checkpoint says nothing, and is what is to be replaced
                verify_checkpoint(content, self.signer.vkeys)
            return parse_head(parse_note(content))
        except FileNotFoundError:
            return Head(self.signer.name, 0, EMPTY_ROOT)
        except VerificationError:
            if not anew:
                raise
            return Head(self.signer.name, 0, EMPTY_ROOT)

    def require_growth(self, old: Head, new: Frontier) -> None:
        """Never sign a fork: a catalogue that was restored from an old copy must not replace what
        was published.
        """
        try:
            nodes = tiles.nodes_of(self.folder, new.size)
            proof = consistency_proof(old.size, new.size, nodes) if old.size <= new.size else []
            verify_consistency(old.size, new.size, proof, old.root, new.root())
        except VerificationError as error:
            raise HistoryError(
                f"the catalogue's log of {new.size} entries does not contain the published one of"
                f" {old.size} ({error.message})",
                hint=(
                    "the catalogue was rolled back or changed: restore its newest backup; nothing"
                    " was signed"
                ),
            ) from error

    def write_tiles(self, opened: Opened, old: int, new: int) -> None:
        """The tiles of the entries from `old` on, which `opened` gives."""
        level, below_old, below_new = 0, old, new
        while below_new:
            for number in range(below_old // tiles.WIDTH, -(-below_new // tiles.WIDTH)):
                width = min(tiles.WIDTH, below_new - number * tiles.WIDTH)
                if level == 0:
                    rows = list(opened(number * tiles.WIDTH, width))
                    if len(rows) != width:
                        raise VerificationError(
                            "audit entries are missing from the catalogue",
                            hint="restore the catalogue from a backup",
                        )
                    entries = tiles.bundle([leaf_entry(salt, body) for _, salt, body, _ in rows])
                    tiles.write_level(self.folder, "entries", number, entries, width)
                    hashes = [leaf for _, _, _, leaf in rows]
                else:
                    hashes = self._written(level, number, below_old - number * tiles.WIDTH)
                    hashes += [
                        self._full_root(level - 1, number * tiles.WIDTH + child)
                        for child in range(len(hashes), width)
                    ]
                tiles.write_level(self.folder, level, number, b"".join(hashes), width)
            level, below_old, below_new = (
                level + 1,
                below_old // tiles.WIDTH,
                below_new // tiles.WIDTH,
            )

    def drop_old(self, old: int, new: int) -> None:
        """Remove partial tiles that fuller ones have replaced, and drafts of who was killed."""
        tiles.drop_drafts(self.folder)
        level = 0
        while new:
            number = old // tiles.WIDTH
            width = min(tiles.WIDTH, new - number * tiles.WIDTH)
            for name in (level, "entries") if level == 0 else (level,):
                tiles.drop_partials(self.folder, name, number, width)
            level, old, new = level + 1, old // tiles.WIDTH, new // tiles.WIDTH

    def _written(self, level: int, number: int, width: int) -> list[bytes]:
        """The hashes of a tile as it was published; they need no second look at the tiles below."""
        try:
            return (
                tiles.split_hashes(tiles.read_tile(self.folder, level, number, width))
                if width > 0
                else []
            )
        except VerificationError:
            return []

    def _full_root(self, level: int, number: int) -> bytes:
        return full_root(
            tiles.split_hashes(tiles.read_tile(self.folder, level, number, tiles.WIDTH))
        )
