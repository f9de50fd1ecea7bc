"""Signed checkpoints: C2SP tlog-checkpoint as a signed note with an Ed25519 line and an ML-DSA-44 cosignature.

Specs: https://c2sp.org/signed-note, https://c2sp.org/tlog-checkpoint, https://c2sp.org/tlog-cosignature
(signature types 0x01 and 0x06).
"""

import base64
import binascii
import hashlib
import struct
import time
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ed25519, mldsa

from casemate.controls.audit.merkle import HASH_SIZE
from casemate.core.errors import VerificationError, WrongSigner

ED25519, MLDSA44 = 1, 6
DASH = "\u2014"
MAX_CHECKPOINT = 64 * 1024


def key_id(name: str, algorithm: int, public: bytes) -> bytes:
    """The 4-byte key id of a signed note."""
    return hashlib.sha256(name.encode() + b"\n" + bytes([algorithm]) + public).digest()[:4]


def vkey(name: str, algorithm: int, public: bytes) -> str:
    """A verifier key as text: `name+id+base64(algorithm || key)`."""
    encoded = base64.b64encode(bytes([algorithm]) + public).decode()
    return f"{name}+{key_id(name, algorithm, public).hex()}+{encoded}"


def _note(name: str, algorithm: int, public: bytes, signature: bytes) -> str:
    return f"{DASH} {name} {base64.b64encode(key_id(name, algorithm, public) + signature).decode()}\n"


def _cosigned(name: str, when: int, origin: str, size: int, root: bytes) -> bytes:
    def sized(text: str) -> bytes:
        return bytes([len(text)]) + text.encode()

    return b"subtree/v1\n\0" + sized(name) + struct.pack(">Q", when) + sized(origin) + struct.pack(">QQ", 0, size) + root


@dataclass(frozen=True)
class CheckpointSigner:
    """Signs the heads of one log."""

    origin: str
    classical: ed25519.Ed25519PrivateKey
    quantum: mldsa.MLDSA44PrivateKey

    @property
    def vkeys(self) -> str:
        """Both verifier keys, one a line: what outsiders need."""
        classical = self.classical.public_key().public_bytes_raw()
        quantum = self.quantum.public_key().public_bytes_raw()
        return f"{vkey(self.origin, ED25519, classical)}\n{vkey(self.origin, MLDSA44, quantum)}\n"

    def sign(self, size: int, root: bytes) -> bytes:
        """The checkpoint for a tree of `size` leaves with this `root`."""
        text = f"{self.origin}\n{size}\n{base64.b64encode(root).decode()}\n"
        classical, quantum = self.classical.public_key(), self.quantum.public_key()
        when = int(time.time())
        stamp = struct.pack(">Q", when)
        first = _note(self.origin, ED25519, classical.public_bytes_raw(), self.classical.sign(text.encode()))
        cosignature = stamp + self.quantum.sign(_cosigned(self.origin, when, self.origin, size, root))
        second = _note(self.origin, MLDSA44, quantum.public_bytes_raw(), cosignature)
        return (text + "\n" + first + second).encode()


@dataclass(frozen=True)
class VerifiedCheckpoint:
    """A head whose two signatures hold; made by `verify_checkpoint` only."""

    origin: str
    size: int
    root: bytes
    signed_at: int


def parse_vkeys(text: str) -> tuple[str, bytes, bytes]:
    """(origin, Ed25519 key, ML-DSA-44 key) from a `log.vkey` file; VerificationError when malformed."""
    found: dict[int, bytes] = {}
    origin = ""
    for line in text.split():
        try:
            name, identifier, encoded = line.split("+", 2)
            raw = base64.b64decode(encoded, validate=True)
        except (ValueError, binascii.Error) as error:
            raise VerificationError("the log's key file is malformed", hint="pass the log.vkey that its owner published") from error
        if key_id(name, raw[0], raw[1:]).hex() != identifier or (origin and origin != name):
            raise VerificationError("the log's key file does not match its own key id")
        origin = name
        found[raw[0]] = raw[1:]
    if ED25519 not in found or MLDSA44 not in found:
        raise VerificationError("the log's key file must hold an Ed25519 and an ML-DSA-44 key", hint="pass log.vkey")
    return origin, found[ED25519], found[MLDSA44]


def verify_checkpoint(content: bytes, vkeys: str) -> VerifiedCheckpoint:
    """Check both signatures of a checkpoint under `vkeys`; VerificationError when one is absent or wrong."""
    origin, classical, quantum = parse_vkeys(vkeys)
    if len(content) > MAX_CHECKPOINT:
        raise VerificationError("the checkpoint is larger than 64 KiB")
    try:
        text, signatures = content.decode().split("\n\n", 1)
        text += "\n"
        name, size_text, root_text = text.split("\n")[:3]
        size, root = int(size_text), base64.b64decode(root_text, validate=True)
        notes = {}
        for line in signatures.splitlines():
            dash, signer, encoded = line.split(" ")
            blob = base64.b64decode(encoded, validate=True)
            if dash == DASH and signer == origin:
                notes[blob[:4]] = blob[4:]
    except (ValueError, binascii.Error) as error:
        raise VerificationError("the checkpoint is malformed", hint="restore .casemate/audit from a backup") from error
    if name != origin or size < 0 or str(size) != size_text or len(root) != HASH_SIZE:
        raise WrongSigner(f"the checkpoint is of log {name!r}, expected {origin!r}")
    try:
        first = notes[key_id(origin, ED25519, classical)]
        second = notes[key_id(origin, MLDSA44, quantum)]
        ed25519.Ed25519PublicKey.from_public_bytes(classical).verify(first, text.encode())
        when = struct.unpack(">Q", second[:8])[0]
        mldsa.MLDSA44PublicKey.from_public_bytes(quantum).verify(second[8:], _cosigned(origin, when, origin, size, root))
    except (KeyError, InvalidSignature, ValueError, struct.error) as error:
        raise VerificationError("a signature of the checkpoint is missing or wrong", hint="wrong log.vkey, or the log was changed") from error
    return VerifiedCheckpoint(origin, size, root, when)
