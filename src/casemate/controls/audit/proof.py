"""Stand-alone inclusion proofs of single entries as C2SP tlog-proof files
(https://c2sp.org/tlog-proof).

The `extra` line holds salt and body of the entry, so that whoever gets the file can read what was
logged, check that the log committed to it, and needs the log's public keys only.
"""

import base64
import binascii
from dataclasses import dataclass

import msgspec

from casemate.controls.audit.checkpoint import VerifiedCheckpoint, verify_checkpoint
from casemate.controls.audit.entry import leaf_entry
from casemate.controls.audit.merkle import leaf_hash, verify_inclusion
from casemate.controls.audit.note import decode_base64
from casemate.core.entry import Entry
from casemate.core.errors import VerificationError

MAGIC = "c2sp.org/tlog-proof@v1"
MAX_PROOF = 256 * 1024
# a path is as long as the tree is high, and its size fits into 63 bits
MAX_HASHES = 63


class _Extra(msgspec.Struct, forbid_unknown_fields=True):
    salt: bytes
    body: bytes


@dataclass(frozen=True)
class ProvenEntry:
    """An entry that a signed checkpoint commits to; made by `verify_proof` only."""

    entry: Entry
    checkpoint: VerifiedCheckpoint


def write_proof(
    index: int, salt: bytes, body: bytes, hashes: list[bytes], checkpoint: bytes
) -> bytes:
    """The proof file of entry `index`; `hashes` is its audit path in the tree of `checkpoint`."""
    extra = base64.b64encode(msgspec.json.encode(_Extra(salt, body))).decode()
    path = "".join(base64.b64encode(item).decode() + "\n" for item in hashes)
    return f"{MAGIC}\nextra {extra}\nindex {index}\n{path}\n".encode() + checkpoint


def verify_proof(content: bytes, vkeys: str) -> ProvenEntry:
    """What a proof file proves, from the log's keys alone.

    Raises:
        VerificationError: it is malformed, or the log with these keys never committed to this
            entry.
    """
    try:
        if len(content) > MAX_PROOF:
            raise ValueError("too large")
        head, _, checkpoint = content.partition(b"\n\n")
        magic, extra, index, *path = head.decode("ascii").split("\n")
        if (
            magic != MAGIC
            or not extra.startswith("extra ")
            or not index.startswith("index ")
            or len(path) > MAX_HASHES
        ):
            raise ValueError("not a proof")
        raw = decode_base64(extra[6:])
        opened = msgspec.json.decode(raw, type=_Extra)
        if msgspec.json.encode(opened) != raw or str(int(index[6:])) != index[6:]:
            raise ValueError("not canonical")
        entry = msgspec.json.decode(opened.body, type=Entry)
        number = int(index[6:])
        hashes = [decode_base64(line) for line in path]
    except (ValueError, binascii.Error, msgspec.MsgspecError, RecursionError) as error:
        raise VerificationError(
            "the proof file is malformed", hint="ask for it anew: casemate audit prove ENTRY"
        ) from error
    verified = verify_checkpoint(checkpoint, vkeys)
    verify_inclusion(
        leaf_hash(leaf_entry(opened.salt, opened.body)),
        number,
        verified.size,
        hashes,
        verified.root,
    )
    if entry.index != number:
        raise VerificationError("the entry in the proof has another index than the proof")
    return ProvenEntry(entry, verified)
