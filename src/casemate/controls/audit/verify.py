"""The offline verifier: a log's folder and its published keys are all it needs.

It shares no code with the writing side beyond hashes and paths: it reads every entry, rebuilds the
tree, compares every tile and the root, checks both signatures of the checkpoint, and that every
checkpoint which the reader kept, or which witnesses cosigned, is a prefix of this log.
"""

from dataclasses import dataclass, field
from pathlib import Path

from casemate.controls.audit.checkpoint import VerifiedCheckpoint, verify_checkpoint
from casemate.controls.audit.merkle import Frontier, full_root, leaf_hash
from casemate.controls.audit.note import Key
from casemate.controls.audit.tiles import HINT, WIDTH, read_tile, tile_path, tiles_of, unbundle
from casemate.core.errors import HistoryError, VerificationError

WITNESSED = "witnessed"
"""The newest checkpoint with cosignatures, beside `checkpoint`."""


@dataclass(frozen=True)
class VerifiedLog:
    """A log that was read whole and matches its signed checkpoint."""

    checkpoint: VerifiedCheckpoint
    leaves: list[bytes]
    roots: list[bytes] = field(repr=False)
    """Root of each full tile of leaves."""

    def root_at(self, size: int) -> bytes:
        """The root that the log had when it held `size` entries."""
        top, rest = Frontier(), Frontier()
        for root in self.roots[: size // WIDTH]:
            top.append(root)
        for leaf in self.leaves[size // WIDTH * WIDTH : size]:
            rest.append(leaf)
        return top.root(*rest.roots)

    def require_prefix(self, kept: VerifiedCheckpoint, whose: str) -> None:
        """Check that a checkpoint which somebody kept is a former state of this log.

        Raises:
            HistoryError: the log was rolled back, cut or forked.
        """
        if kept.size > self.checkpoint.size:
            raise HistoryError(
                f"{whose} is of {kept.size} entries, the log holds {self.checkpoint.size}: it was"
                " rolled back or cut",
                hint="keep the checkpoint as proof; restore the log from a copy",
            )
        if self.root_at(kept.size) != kept.root:
            raise HistoryError(
                f"{whose} is not a former state of this log: history was rewritten",
                hint="keep both as proof of the fork; ask who held the log keys",
            )

    def cosigned(
        self, content: bytes, vkeys: str, witnesses: dict[str, list[Key]]
    ) -> tuple[int, list[str]]:
        """(size, names) of the witnesses that cosigned the checkpoint in `content`, which must be a
        former state of this log.
        """
        checkpoint = verify_checkpoint(content, vkeys)
        self.require_prefix(checkpoint, "the witnessed checkpoint")
        return checkpoint.size, sorted(
            name for name, keys in witnesses.items() if checkpoint.cosigned_by(keys)
        )


def verify_log(folder: Path, vkeys: str) -> VerifiedLog:
    """Verify everything in `folder`; VerificationError names the first thing that does not hold."""
    checkpoint = verify_checkpoint(_read(folder, "checkpoint"), vkeys)
    leaves: list[bytes] = []
    roots: list[bytes] = []
    rest = Frontier()
    for number, width in tiles_of(checkpoint.size):
        entries = unbundle(read_tile(folder, "entries", number, width))
        if len(entries) != width:
            raise VerificationError(
                f"entry bundle {number} holds {len(entries)} entries, expected {width}", hint=HINT
            )
        hashes = [leaf_hash(entry) for entry in entries]
        _compare(folder, 0, number, hashes)
        leaves += hashes
        if width == WIDTH:
            roots.append(full_root(hashes))
        else:
            for item in hashes:
                rest.append(item)
    top = Frontier()
    for root in roots:
        top.append(root)
    if top.root(*rest.roots) != checkpoint.root:
        raise VerificationError(
            "the entries do not add up to the signed root: one was changed, moved or removed",
            hint=HINT,
        )
    _check_above(folder, roots)
    return VerifiedLog(checkpoint, leaves, roots)


def _check_above(folder: Path, hashes: list[bytes]) -> None:
    level = 1
    while hashes:
        above = []
        for number, width in tiles_of(len(hashes)):
            expected = hashes[number * WIDTH : number * WIDTH + width]
            _compare(folder, level, number, expected)
            if width == WIDTH:
                above.append(full_root(expected))
        level, hashes = level + 1, above


def _compare(folder: Path, level: int, number: int, hashes: list[bytes]) -> None:
    if read_tile(folder, level, number, len(hashes)) != b"".join(hashes):
        raise VerificationError(f"{tile_path(level, number, len(hashes))} was changed", hint=HINT)


def _read(folder: Path, name: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise VerificationError(f"the log has no {name}", hint=HINT) from error
