"""What a key provider must do: keep key-encryption keys (KEKs) in versions, and wrap data keys
under them.
"""

from typing import Literal, Protocol

from casemate.controls.keys.login import Login
from casemate.core.types import Record

PURPOSES = (
    "footer",
    "general",
    "sensitive",
    "identifier",
    "objects",
    "audit",
    "subjects",
    "identity",
)
"""The KEKs of a project: Parquet footer, one per column class, stored objects, bodies of the audit
log, keys of people, private keys.
"""
State = Literal["active", "decrypt-only", "disabled", "destroyed"]


class KeyVersion(Record, frozen=True, kw_only=True):
    """One version of a KEK."""

    number: int
    """From 1."""
    state: State
    """`active` wraps and unwraps; `decrypt-only` unwraps; `disabled` does neither until enabled;
    `destroyed` never again.
    """
    created: str
    """RFC 3339 in UTC."""


class KeyProvider(Protocol):
    """Wraps data keys; the KEKs themselves never leave the provider.

    Every call may raise BackendError when the provider is away, and AccessDenied when it refuses
    this user.
    """

    def wrap(self, key: str, data_key: bytes, resource: str = "") -> bytes:
        """Encrypt `data_key` (16 to 64 bytes) under the active version of the KEK `key`.

        `resource` says what the data key is for; it goes into the audit log and nowhere else.
        """

    def unwrap(self, key: str, wrapped: bytes, resource: str = "") -> bytes:
        """Decrypt what `wrap` made; VerificationError when changed, BackendError when its version
        is disabled or gone.
        """

    def rewrap(self, key: str, wrapped: list[bytes]) -> list[bytes]:
        """The same data keys under the active version of `key`."""


class KeyKeeper(KeyProvider, Protocol):
    """A provider whose KEKs this user may also create, rotate and destroy."""

    @property
    def login_state(self) -> Login | None:
        """The login at a key server, once there is one."""

    def prepare(self) -> None:
        """Make version 1 of every KEK in `PURPOSES` that is not there yet."""

    def versions(self) -> dict[str, list[KeyVersion]]:
        """Versions per KEK, oldest first."""

    def version_of(self, wrapped: bytes) -> int:
        """The version that a data key was wrapped under; VerificationError when another provider
        made it.
        """

    def rotate(self, key: str) -> int:
        """A new active version; the one before still unwraps. Returns its number."""

    def disable(self, key: str, version: int) -> None:
        """Refuse this version and all older ones, until `enable`."""

    def enable(self, key: str, version: int) -> None:
        """Allow this version and all newer ones to unwrap again."""

    def destroy(self, key: str, version: int) -> None:
        """Destroy this version and all older ones for ever; ConfigError for the active one."""
