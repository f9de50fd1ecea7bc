"""Every use of a key-encryption key is in the log before the key is given; a refusal of the
provider is in it too.

The log's own keys (`audit`, and `subjects` for personal parts of entries) are not: the entry that
they protect says it.
"""

from collections.abc import Callable
from typing import TypeVar

from casemate.controls.audit.log import AuditLog
from casemate.controls.keys.interface import KeyProvider
from casemate.core.errors import BackendError, Error

T = TypeVar("T")


class AuditedKeys:
    """A `KeyProvider` whose uses are recorded under the name of whoever acts."""

    def __init__(self, provider: KeyProvider, log: AuditLog, principal: Callable[[], str]) -> None:
        self.provider = provider
        self.log = log
        self.principal = principal

    def wrap(self, key: str, data_key: bytes, resource: str = "") -> bytes:
        """See `KeyProvider.wrap`."""
        return self._recorded("wrap", key, resource, 1, lambda: self.provider.wrap(key, data_key))

    def unwrap(self, key: str, wrapped: bytes, resource: str = "") -> bytes:
        """See `KeyProvider.unwrap`."""
        return self._recorded(
            "unwrap", key, resource, 1, lambda: self.provider.unwrap(key, wrapped)
        )

    def rewrap(self, key: str, wrapped: list[bytes]) -> list[bytes]:
        """See `KeyProvider.rewrap`."""
        return self._recorded(
            "rewrap", key, "", len(wrapped), lambda: self.provider.rewrap(key, wrapped)
        )

    def _recorded(self, use: str, key: str, resource: str, count: int, call: Callable[[], T]) -> T:
        try:
            result = call()
        except Error as error:
            self._record(
                use,
                key,
                resource,
                count,
                "denied" if isinstance(error, BackendError) else "failed",
                error.message,
            )
            raise
        self._record(use, key, resource, count, "done", None)
        return result

    def _record(
        self, use: str, key: str, resource: str, count: int, outcome: str, why: str | None
    ) -> None:
        detail = {"for": resource, "count": count} | ({"error": why[:500]} if why else {})
        with self.log.store.transaction() as tx:
            self.log.append(tx, self.principal(), f"key:{use}", f'Key::"{key}"', outcome, detail)
