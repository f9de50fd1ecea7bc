"""C2SP signed notes and their keys (https://c2sp.org/signed-note,
https://c2sp.org/tlog-cosignature).

Signature types: 0x01 Ed25519 over the text; 0x04 Ed25519 over a timed statement about a checkpoint;
0x06 ML-DSA-44 over the same as a binary statement. A line by an unknown key is ignored.
"""

import base64
import binascii
import struct
from dataclasses import dataclass
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ed25519, mldsa

from casemate.core.errors import VerificationError

# signature types of C2SP signed-note
ED25519, COSIGNATURE, MLDSA44 = 1, 4, 6
DASH = "\u2014"
MAX_NOTE = 64 * 1024
"""Bytes of a checkpoint with its signatures, before it is parsed."""
MAX_LINES = 64
"""Signatures of a checkpoint: each costs a verification. A judgement: a log has a few witnesses."""


@dataclass(frozen=True)
class Key:
    """A verifier key: who signs, with what."""

    name: str
    algorithm: int
    public: bytes

    @property
    def id(self) -> bytes:
        """The 4-byte key id."""
        return sha256(self.name.encode() + b"\n" + bytes([self.algorithm]) + self.public).digest()[
            :4
        ]

    def __str__(self) -> str:
        """The key as text: `name+id+base64(algorithm || key)`."""
        key = base64.b64encode(bytes([self.algorithm]) + self.public).decode()
        return f"{self.name}+{self.id.hex()}+{key}"

    def line(self, signature: bytes) -> str:
        """A signature line of a note."""
        return f"{DASH} {self.name} {base64.b64encode(self.id + signature).decode()}\n"


@dataclass(frozen=True)
class Note:
    """A text, with its final newline, and (name, key id, signature) of each line below it. Nothing
    is verified.
    """

    text: str
    lines: tuple[tuple[str, bytes, bytes], ...]


def decode_base64(text: str) -> bytes:
    """Standard base64 (RFC 4648, section 4) in its one canonical form; ValueError otherwise."""
    content = base64.b64decode(text, validate=True)
    if base64.b64encode(content).decode() != text:
        raise ValueError("not canonical base64")
    return content


def parse_keys(text: str) -> list[Key]:
    """The keys in a file of verifier keys, one a line.

    Raises:
        VerificationError: one is malformed or does not match its own id.
    """
    keys = []
    for line in text.split():
        try:
            name, identifier, encoded = line.split("+", 2)
            raw = decode_base64(encoded)
            key = Key(name, raw[0], raw[1:])
        except (ValueError, IndexError, binascii.Error) as error:
            raise VerificationError(
                "a verifier key is malformed", hint="pass the .vkey that its owner published"
            ) from error
        if key.id.hex() != identifier:
            raise VerificationError("a verifier key does not match its own key id")
        keys.append(key)
    return keys


def parse_note(content: bytes) -> Note:
    """Split a note.

    Raises:
        VerificationError: it is malformed or larger than 64 KiB.
    """
    if len(content) > MAX_NOTE:
        raise VerificationError("the checkpoint is larger than 64 KiB")
    try:
        text, _, below = content.decode().rpartition("\n\n")
        if not text or not below.endswith("\n"):
            raise ValueError("no signatures")
        lines = parse_lines(below)
    except (ValueError, binascii.Error) as error:
        raise VerificationError(
            "the checkpoint is malformed", hint="restore .casemate/audit from a backup"
        ) from error
    return Note(text + "\n", lines)


def parse_lines(text: str) -> tuple[tuple[str, bytes, bytes], ...]:
    """The signature lines of a note; ValueError when one is malformed."""
    lines: list[tuple[str, bytes, bytes]] = []
    for line in text.removesuffix("\n").split("\n"):
        dash, signer, encoded = line.split(" ")
        blob = decode_base64(encoded)
        if dash != DASH or not signer or len(blob) <= 4 or len(lines) == MAX_LINES:
            raise ValueError("not a signature line")
        lines.append((signer, blob[:4], blob[4:]))
    return tuple(lines)


def timed_text(when: int, text: str) -> bytes:
    """What an 0x04 cosignature signs."""
    return f"cosignature/v1\ntime {when}\n{text}".encode()


def timed_statement(name: str, when: int, origin: str, size: int, root: bytes) -> bytes:
    """What an 0x06 cosignature signs."""

    def sized(text: str) -> bytes:
        return bytes([len(text.encode())]) + text.encode()

    return (
        b"subtree/v1\n\0"
        + sized(name)
        + struct.pack(">Q", when)
        + sized(origin)
        + struct.pack(">QQ", 0, size)
        + root
    )


def signed_by(key: Key, note: Note, origin: str, size: int, root: bytes) -> int | None:
    """When `key` signed the checkpoint in `note` (Unix seconds, 0 for an untimed signature), or
    None when no line of it holds.
    """
    for name, identifier, signature in note.lines:
        if (name, identifier) != (key.name, key.id):
            continue
        try:
            if key.algorithm == ED25519:
                ed25519.Ed25519PublicKey.from_public_bytes(key.public).verify(
                    signature, note.text.encode()
                )
                return 0
            when = int(struct.unpack(">Q", signature[:8])[0])
            if key.algorithm == COSIGNATURE:
                ed25519.Ed25519PublicKey.from_public_bytes(key.public).verify(
                    signature[8:], timed_text(when, note.text)
                )
            elif key.algorithm == MLDSA44:
                statement = timed_statement(key.name, when, origin, size, root)
                mldsa.MLDSA44PublicKey.from_public_bytes(key.public).verify(
                    signature[8:], statement
                )
            else:
                continue
        except (InvalidSignature, ValueError, struct.error):
            continue
        return when
    return None
