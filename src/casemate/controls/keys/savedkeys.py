"""The key store's own backup, and the recovery key: what brings the keys back."""

import os
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from casemate.controls.keys import keyfile, slots
from casemate.controls.keys.keyfile import Document, DocumentV1
from casemate.core.errors import (
    ConfigError,
    VerificationError,
)
from casemate.core.files import exclusive_wait, make_folder

BACKUP = b"casemate-keys/v1\n"


def recover(folder: Path, recovery: str, passphrase: str) -> None:
    """Set a new passphrase with the recovery key.

    Raises:
        AccessDenied: the recovery key is another one's.
        ConfigError: there is no passphrase to replace, or the new one is too short.
    """
    with exclusive_wait(folder / ".lock"):
        document = keyfile.read(folder)
        if isinstance(document, DocumentV1) or document.slots is None:
            raise ConfigError(
                "this key store is under no passphrase",
                hint="`casemate keys protect` puts it under one",
            )
        master = slots.open_with_recovery(document.slots, recovery, document.project)
        document.slots = slots.with_passphrase(document.slots, master, passphrase, document.project)
        keyfile.write(folder, document)


def backup(document: Document, passphrase: str) -> bytes:
    """The whole file, sealed once more: Argon2id and AES-256-GCM, after the line
    `casemate-keys/v1` and the parameters.
    """
    kdf, nonce = slots.Kdf.new(), os.urandom(12)
    slots.check(passphrase)
    head = BACKUP + msgspec.json.encode(kdf) + b"\n"
    return (
        head
        + nonce
        + AESGCM(kdf.derive(passphrase)).encrypt(nonce, msgspec.json.encode(document), head)
    )


def restore(folder: Path, content: bytes, passphrase: str) -> None:
    """Write the key store that `backup` made.

    Raises:
        VerificationError: it was changed, or the passphrase is wrong.
        ConfigError: other keys lie there.
    """
    try:
        magic, line, sealed = content.split(b"\n", 2)
        if magic + b"\n" != BACKUP:
            raise ValueError("format")
        key = msgspec.json.decode(line, type=slots.Kdf).derive(passphrase)
        plain = AESGCM(key).decrypt(sealed[:12], sealed[12:], BACKUP + line + b"\n")
        document = msgspec.json.decode(plain, type=Document)
    except (ValueError, InvalidTag) as error:
        raise VerificationError(
            "the backup of the keys was changed, or the passphrase is wrong",
            hint="try another copy of it",
        ) from error
    if folder.name != document.project:
        raise VerificationError(
            f"these are the keys of {document.project}, not of {folder.name}",
            hint="take this project's backup",
        )
    if (folder / keyfile.FILE).exists():
        raise ConfigError(
            f"{folder / keyfile.FILE} exists already",
            hint="move it away if the backup's keys count",
        )
    make_folder(folder)
    keyfile.write(folder, document)
