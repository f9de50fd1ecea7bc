"""The offline verifier: a log's folder and its published keys are all it needs.

It shares no code with the writing side beyond hashes and paths: it reads every entry, rebuilds the tree, compares
every tile and the root, and checks both signatures of the checkpoint.
"""

from dataclasses import dataclass
from pathlib import Path

from casemate.controls.audit.checkpoint import VerifiedCheckpoint, verify_checkpoint
from casemate.controls.audit.merkle import Frontier, leaf_hash
from casemate.controls.audit.tiles import WIDTH, split_hashes, tile_path, tile_root, tiles_of, unbundle
from casemate.core.errors import VerificationError

_HINT = "restore the log from a copy; compare with a checkpoint that you kept"


@dataclass(frozen=True)
class VerifiedLog:
    """A log that was read whole and matches its signed checkpoint."""

    checkpoint: VerifiedCheckpoint
    leaves: list[bytes]


def verify_log(folder: Path, vkeys: str) -> VerifiedLog:
    """Verify everything in `folder`; VerificationError names the first thing that does not hold."""
    checkpoint = verify_checkpoint(_read(folder, "checkpoint"), vkeys)
    frontier, leaves = Frontier(), []
    for number, width in tiles_of(checkpoint.size):
        entries = unbundle(_read(folder, tile_path("entries", number, width)))
        if len(entries) != width:
            raise VerificationError(f"entry bundle {number} holds {len(entries)} entries, expected {width}", hint=_HINT)
        for entry in entries:
            leaves.append(leaf_hash(entry))
            frontier.append(leaves[-1])
    if frontier.root() != checkpoint.root:
        raise VerificationError("the entries do not add up to the signed root: one was changed, moved or removed", hint=_HINT)
    _check_tiles(folder, leaves)
    return VerifiedLog(checkpoint, leaves)


def _check_tiles(folder: Path, leaves: list[bytes]) -> None:
    level, hashes = 0, leaves
    while hashes:
        above = []
        for number, width in tiles_of(len(hashes)):
            expected = hashes[number * WIDTH : number * WIDTH + width]
            if split_hashes(_read(folder, tile_path(level, number, width))) != expected:
                raise VerificationError(f"{tile_path(level, number, width)} was changed", hint=_HINT)
            if width == WIDTH:
                above.append(tile_root(expected))
        level, hashes = level + 1, above


def _read(folder: Path, name: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise VerificationError(f"the log has no {name}", hint=_HINT) from error
