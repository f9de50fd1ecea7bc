"""Secrets that a server keeps: `vault:MOUNT/PATH#KEY` (key/value engine, version 2) and
`aws-sm:NAME#KEY` (AWS Secrets Manager).

Where the server is and how casemate logs in there is what `[keys]` says, whichever provider keeps
the keys. A secret is asked for when it is needed, and not kept.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from casemate.config import KeysTable
from casemate.core.errors import BackendError, ConfigError


def secret_servers(table: KeysTable) -> dict[str, Callable[[str], str]]:
    """What `core.secrets.read_secret` asks for references that begin with `vault:` or `aws-sm:`."""
    return {
        "vault": lambda where: _from_vault(table, where),
        "aws-sm": lambda where: _from_aws(table, where),
    }


def _from_vault(table: KeysTable, where: str) -> str:
    from casemate.controls.keys.vault import VaultKeys

    path, separator, key = where.partition("#")
    mount, slash, rest = path.partition("/")
    if not (separator and slash and mount and rest and key) or ".." in path:
        raise ConfigError(
            f"'vault:{where}' is not vault:MOUNT/PATH#KEY",
            hint="such as vault:secret/casemate/db#password",
        )
    values = VaultKeys(table, "").read(f"{mount}/data/{rest}")
    return _of(values.get("data") if isinstance(values, dict) else None, key, f"vault:{where}")


def _from_aws(table: KeysTable, where: str) -> str:
    from casemate.controls.keys.aws import AwsKeys

    name, separator, key = where.partition("#")
    text = AwsKeys(table, "").secret(name)
    if not separator:
        return text
    try:
        values = msgspec.json.decode(text, type=dict[str, Any])
    except ValueError as error:
        raise BackendError(
            f"the secret aws-sm:{name} is not a JSON object",
            hint=f"name it aws-sm:{name} without #{key}",
        ) from error
    return _of(values, key, f"aws-sm:{where}")


def _of(values: Any, key: str, reference: str) -> str:
    value = values.get(key) if isinstance(values, dict) else None
    if not isinstance(value, str):
        raise ConfigError(
            f"there is no text at {reference}",
            hint="check path and key with the server's own tools",
        )
    return value
