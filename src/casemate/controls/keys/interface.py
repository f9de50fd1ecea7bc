"""What a key provider must do: wrap and unwrap data keys under named key-encryption keys (KEKs)."""

from typing import Protocol

PURPOSES = ("footer", "general", "sensitive", "identifier", "objects", "audit", "subjects")
"""The KEKs of a project: Parquet footer, one per column class, stored objects, bodies of the audit log, keys of people."""


class KeyProvider(Protocol):
    """Wraps data keys; the KEKs themselves never leave the provider."""

    def wrap(self, key: str, data_key: bytes) -> bytes:
        """Encrypt `data_key` (16 to 64 bytes) under the newest version of the KEK `key`."""

    def unwrap(self, key: str, wrapped: bytes) -> bytes:
        """Decrypt what `wrap` made; VerificationError when changed, BackendError when the version is gone."""

    def versions(self) -> dict[str, list[int]]:
        """Versions that exist per KEK."""
