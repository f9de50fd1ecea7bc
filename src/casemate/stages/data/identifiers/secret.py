"""What a secret key makes of a person's identifier: a pseudonym, and a number of days.

HMAC-SHA-256 (RFC 2104, FIPS 198-1) under the key, so that nobody without it can find the person by
trying all identifiers that there are; a plain hash falls to that within seconds.
"""

import hashlib
import hmac
import secrets
from pathlib import Path

from casemate.core.errors import ConfigError
from casemate.core.files import write_nameless
from casemate.core.secrets import read_secret

LEAST = 32
"""Characters of a key: 128 bits, if they are hexadecimal digits."""
BITS = 128
"""Of a pseudonym: among 2^32 people two meet with a chance of one in 2^65."""
MOST_DAYS = 364
"""By which dates are moved back at most; at least by one, so that no date stays as it was."""


class Key:
    """A key, as `read_key` gives it; it is in no text of this object."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def __repr__(self) -> str:
        return "<key>"

    def pseudonym(self, value: str, name: str) -> str:
        """The pseudonym of a cell, 32 hexadecimal digits.

        Args:
            value: the cell, as text.
            name: under which tables join.
        """
        return self._mac("pseudonym", name, value)[: BITS // 8].hex()

    def days(self, subject: str, name: str) -> int:
        """By how many days a subject's dates move back, 1 to 364, equally likely to one in 2^56."""
        return 1 + int.from_bytes(self._mac("days", name, subject)[:8], "big") % MOST_DAYS

    def _mac(self, *parts: str) -> bytes:
        # lengths before the parts, so that no two lists of parts are one message
        message = b"".join(
            len(data := part.encode()).to_bytes(8, "big") + data for part in ("casemate/1", *parts)
        )
        return hmac.new(self._secret, message, hashlib.sha256).digest()


def read_key(reference: str) -> Key:
    """The key behind `env:NAME`, `file:PATH` or `prompt`.

    Raises:
        ConfigError: there is none, or it is too short to be a secret.
    """
    text = read_secret(reference)
    if len(text) < LEAST or len(set(text)) < LEAST // 4:
        raise ConfigError(
            f"the key {reference!r} is too short or too regular to be a secret",
            hint=f"make one of {LEAST} characters or more with `casemate privacy key FILE`",
        )
    return Key(text.encode())


def new_key(path: Path) -> None:
    """Draw a key into a new file that only its owner can read.

    Raises:
        ConfigError: there is such a file.
    """
    try:
        write_nameless(path, secrets.token_hex(32).encode() + b"\n")
    except FileExistsError as error:
        raise ConfigError(
            f"{path} exists", hint="pseudonyms under another key join with nothing: name a new file"
        ) from error
