"""`keystore.json`: what a project keeps of its keys on this machine, mode 0600, outside the
project's folder.

Version 2: `{"version", "project", "provider", "slots", "keks", "identity"}`. With the *file*
provider `keks` holds per purpose and version a state, a date and the KEK itself, in clear when
`slots` is null, otherwise sealed under the master key (AES-256-GCM, the KEK's name and version as
associated data). Other providers keep the KEKs themselves. `identity` holds the project's private
keys under a data key that is wrapped by the KEK `identity` of whichever provider it is. Version 1
(casemate 0.1) held everything in clear; `casemate store upgrade` rewrites it.
"""

import os
import stat
from pathlib import Path

import msgspec

from casemate.controls.keys.interface import State
from casemate.controls.keys.slots import Slots
from casemate.core.errors import BackendError
from casemate.core.files import write_atomic

VERSION = 2
FILE = "keystore.json"


class Kek(msgspec.Struct, forbid_unknown_fields=True):
    """One version of a KEK of the file provider."""

    state: State
    created: str
    material: bytes
    """Empty once destroyed."""


class Sealed(msgspec.Struct, forbid_unknown_fields=True):
    """The private keys: a wrapped data key, and nonce and AES-256-GCM ciphertext of their JSON."""

    wrapped: bytes
    content: bytes


class Document(msgspec.Struct, forbid_unknown_fields=True):
    """What `keystore.json` holds."""

    version: int
    project: str
    provider: str
    slots: Slots | None
    keks: dict[str, dict[int, Kek]]
    identity: Sealed | None


class DocumentV1(msgspec.Struct, forbid_unknown_fields=True):
    """The file of casemate 0.1."""

    version: int
    keks: dict[str, dict[int, bytes]]
    signer_ecdsa: str
    signer_mldsa65: bytes
    log_ed25519: bytes
    log_mldsa44: bytes
    ca_key: str
    ca_certificate: str


class _Version(msgspec.Struct):
    version: int


def read(folder: Path) -> Document | DocumentV1:
    """The key store's file; BackendError when absent, readable by others, or damaged."""
    path = folder / FILE
    try:
        status = os.stat(path)
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise BackendError(
            f"the project's key store is not on this machine: {path}",
            hint="copy it from the machine where `casemate init` ran, or restore its backup",
        ) from error
    except PermissionError as error:
        raise BackendError(
            f"this user may not read the key store {path}", hint="run as the project's owner"
        ) from error
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise BackendError(f"the key store {path} is open to other users", hint=f"chmod 600 {path}")
    try:
        version = msgspec.json.decode(content, type=_Version).version
        if version not in {1, VERSION}:
            raise BackendError(
                f"the key store has format {version}, this casemate reads 1 and {VERSION}",
                hint="install a newer casemate",
            )
        return (
            msgspec.json.decode(content, type=DocumentV1)
            if version == 1
            else msgspec.json.decode(content, type=Document)
        )
    except (msgspec.MsgspecError, ValueError) as error:
        raise BackendError(
            f"the key store {path} is damaged", hint="restore it from its backup"
        ) from error


def same_master(one: Document, other: Document) -> bool:
    """Whether the KEKs of both are sealed under the same master key, or both are in clear."""
    return (one.slots and one.slots.recovery_public) == (
        other.slots and other.slots.recovery_public
    )


def write(folder: Path, document: Document) -> None:
    """Replace the file by this document, at once or not at all."""
    write_atomic(folder / FILE, msgspec.json.encode(document))
