"""Secrets by reference: `env:NAME`, `file:PATH` or `prompt` (asks on the terminal) or a server,
never as a value in a file or on a command line.
"""

import getpass
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from casemate.core.errors import ConfigError

MAX_SECRET = 64 * 1024


def read_secret(reference: str, servers: Mapping[str, Callable[[str], str]] | None = None) -> str:
    """The secret behind `reference`, without surrounding white space.

    Args:
        reference: `env:NAME`, `file:PATH`, `prompt`, or `KIND:…` of one of `servers`.
        servers: per kind, what asks a server; see `controls.keys.secrets`.

    Raises:
        ConfigError: there is none.
        BackendError: the server is away or refuses.
    """
    kind, _, where = reference.partition(":")
    if servers is not None and kind in servers:
        value = servers[kind](where)
    elif kind == "env":
        value = os.environ.get(where, "")
    elif kind == "file":
        try:
            with Path(where).open(encoding="utf-8") as file:
                value = file.read(MAX_SECRET)
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"the secret file {where} cannot be read", hint="check the path and its permissions"
            ) from error
    elif reference == "prompt":
        if not sys.stdin.isatty():
            raise ConfigError(
                "there is nobody to ask for the secret",
                hint="give it as env:NAME or file:PATH where nobody types",
            )
        value = getpass.getpass("Passphrase: ")
    else:
        kinds = ", ".join(
            ["env:NAME", "file:PATH", "prompt", *(f"{kind}:…" for kind in servers or ())]
        )
        raise ConfigError(
            f"a secret must be given as one of {kinds}",
            hint="values on the command line would leak",
        )
    if not value.strip():
        raise ConfigError(
            f"the secret {reference!r} is empty", hint="set it, or name another reference"
        )
    return value.strip()
