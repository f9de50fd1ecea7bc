"""Signed checkpoints (https://c2sp.org/tlog-checkpoint): an Ed25519 line, an ML-DSA-44 cosignature
line, and witnesses' lines.
"""

import base64
import binascii
import struct
import time
from dataclasses import dataclass
from typing import ClassVar

from cryptography.hazmat.primitives.asymmetric import ed25519, mldsa

from casemate.controls.audit.merkle import HASH_SIZE
from casemate.controls.audit.note import (
    COSIGNATURE,
    ED25519,
    MLDSA44,
    Key,
    Note,
    decode_base64,
    parse_keys,
    parse_note,
    signed_by,
    timed_statement,
    timed_text,
)
from casemate.core.errors import VerificationError, WrongSigner


@dataclass(frozen=True)
class Head:
    """What a checkpoint says about its log; nothing is verified."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """The text that is signed: origin, number of entries and the tree's root."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


@dataclass(frozen=True)
class NoteSigner:
    """An Ed25519 and an ML-DSA-44 key under one name."""

    name: str
    classical: ed25519.Ed25519PrivateKey
    quantum: mldsa.MLDSA44PrivateKey

    FIRST: ClassVar[int]
    """Signature type of the Ed25519 line."""

    @property
    def keys(self) -> tuple[Key, Key]:
        """The public halves of both keys, of Ed25519 and of ML-DSA-44."""
        classical = self.classical.public_key().public_bytes_raw()
        quantum = self.quantum.public_key().public_bytes_raw()
        return Key(self.name, self.FIRST, classical), Key(self.name, MLDSA44, quantum)

    @property
    def vkeys(self) -> str:
        """Both verifier keys, one a line: what others need."""
        return "".join(f"{key}\n" for key in self.keys)

    def _quantum_line(self, head: Head, when: int) -> str:
        timed = self.quantum.sign(
            timed_statement(self.name, when, head.origin, head.size, head.root)
        )
        return self.keys[1].line(struct.pack(">Q", when) + timed)


@dataclass(frozen=True)
class CheckpointSigner(NoteSigner):
    """Signs the heads of one log; its name is the log's origin."""

    FIRST = ED25519

    def sign(self, size: int, root: bytes) -> bytes:
        """The checkpoint for a tree of `size` leaves with this `root`."""
        head = Head(self.name, size, root)
        first = self.keys[0].line(self.classical.sign(head.text.encode()))
        return (head.text + "\n" + first + self._quantum_line(head, int(time.time()))).encode()


@dataclass(frozen=True)
class Cosigner(NoteSigner):
    """Signs other people's checkpoints as a witness."""

    FIRST = COSIGNATURE

    def cosign(self, head: Head, text: str) -> str:
        """Two signature lines; `text` is the checkpoint's whole text, extension lines included."""
        when = max(1, int(time.time()))
        first = self.keys[0].line(
            struct.pack(">Q", when) + self.classical.sign(timed_text(when, text))
        )
        return first + self._quantum_line(head, when)


@dataclass(frozen=True)
class VerifiedCheckpoint:
    """A head whose two signatures hold; made by `verify_checkpoint` only."""

    origin: str
    size: int
    root: bytes
    signed_at: int
    note: Note

    def cosigned_by(self, keys: list[Key]) -> bool:
        """Whether every key in `keys` (those of one witness) has a valid line."""
        return bool(keys) and all(
            signed_by(key, self.note, self.origin, self.size, self.root) is not None for key in keys
        )


def parse_head(note: Note) -> Head:
    """Origin, size and root of a checkpoint's text; VerificationError when malformed."""
    try:
        origin, size_text, root_text = note.text.split("\n")[:3]
        head = Head(origin, int(size_text), decode_base64(root_text))
    except (ValueError, binascii.Error) as error:
        raise VerificationError(
            "the checkpoint is malformed", hint="restore .casemate/audit from a backup"
        ) from error
    if not origin or head.size < 0 or str(head.size) != size_text or len(head.root) != HASH_SIZE:
        raise VerificationError(
            "the checkpoint is malformed", hint="restore .casemate/audit from a backup"
        )
    return head


def log_keys(vkeys: str) -> tuple[Key, Key]:
    """The Ed25519 and the ML-DSA-44 key of one log from its `log.vkey`; VerificationError when one
    is absent.
    """
    found = {key.algorithm: key for key in parse_keys(vkeys)}
    if (
        ED25519 not in found
        or MLDSA44 not in found
        or len({key.name for key in found.values()}) != 1
    ):
        raise VerificationError(
            "the log's key file must hold an Ed25519 and an ML-DSA-44 key of one log",
            hint="pass log.vkey",
        )
    return found[ED25519], found[MLDSA44]


def verify_checkpoint(content: bytes, vkeys: str) -> VerifiedCheckpoint:
    """Check both signatures of a checkpoint under `vkeys`; VerificationError when one is absent or
    wrong.
    """
    classical, quantum = log_keys(vkeys)
    note = parse_note(content)
    head = parse_head(note)
    if head.origin != classical.name:
        raise WrongSigner(f"the checkpoint is of log {head.origin!r}, expected {classical.name!r}")
    first = signed_by(classical, note, head.origin, head.size, head.root)
    second = signed_by(quantum, note, head.origin, head.size, head.root)
    if first is None or second is None or note.text != head.text:
        raise VerificationError(
            "a signature of the checkpoint is missing or wrong",
            hint="wrong log.vkey, or the log was changed",
        )
    return VerifiedCheckpoint(head.origin, head.size, head.root, second, note)
