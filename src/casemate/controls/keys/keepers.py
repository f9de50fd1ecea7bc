"""The providers of key-encryption keys: which one a project has, what opens it, what is overdue."""

import datetime

from casemate.config import KeysTable
from casemate.controls.keys import slots
from casemate.controls.keys.file import FileKeys
from casemate.controls.keys.interface import KeyKeeper
from casemate.controls.keys.keyfile import Document
from casemate.controls.keys.secrets import secret_servers
from casemate.core.errors import (
    AccessDenied,
    ConfigError,
)
from casemate.core.secrets import read_secret
from casemate.core.types import Finding


def open_keeper(table: KeysTable, project: str) -> KeyKeeper:
    """The provider that `[keys]` names, if it is not the file one.

    Raises:
        BackendError: its package is not installed, or it is away.
    """
    if table.provider == "vault":
        from casemate.controls.keys.vault import VaultKeys

        return VaultKeys(table, project)
    from casemate.controls.keys.aws import AwsKeys

    return AwsKeys(table, project)


def master_key(document: Document, table: KeysTable) -> bytes | None:
    """What the passphrase opens; None where there is none."""
    if document.slots is None:
        return None
    if table.passphrase is None:
        raise AccessDenied(
            "the key store is under a passphrase",
            hint=(
                '[keys] passphrase = "env:NAME", "file:PATH" or "prompt" says where to get it from'
            ),
        )
    return slots.open_with_passphrase(
        document.slots, read_secret(table.passphrase, secret_servers(table)), document.project
    )


def overdue_keys(keeper: KeyKeeper, max_age_days: int, now: datetime.datetime) -> list[Finding]:
    """A finding for every key whose active version is older than `max_age_days`."""
    found = []
    for key, versions in keeper.versions().items():
        age = (now - datetime.datetime.fromisoformat(versions[-1].created)).days
        if age > max_age_days:
            message = (
                f"version {versions[-1].number} of the key {key!r} is older than {max_age_days}"
                f" days: casemate keys rotate {key}"
            )
            found.append(
                Finding(
                    id="keys.overdue",
                    severity="medium",
                    confidence="high",
                    message=message,
                    location=key,
                )
            )
    return found


def file_keys(keeper: KeyKeeper) -> FileKeys:
    """The file provider; ConfigError when it is another one."""
    if not isinstance(keeper, FileKeys):
        raise ConfigError(
            "only the file provider has a passphrase",
            hint="the provider of this project protects its keys by itself",
        )
    return keeper
