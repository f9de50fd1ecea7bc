"""Who may vouch for others: an issuer's metadata and keys, and workloads whose tokens stand for
services of ours.

A workload is a process that somebody else identifies: a Kubernetes service account, a CI job.
`[access.workloads.NAME]` says which issuer is believed about which services. Keys come from a file,
an address, or by discovery (OpenID Connect Discovery 1.0), and are fetched again when a token names
one that is not known, never within a request.
"""

import datetime
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from casemate.config import WorkloadTable
from casemate.controls.access.identity import jwt
from casemate.core.clock import Clock
from casemate.core.errors import AccessDenied, BackendError, ConfigError, Error, TransientError
from casemate.core.http import get, is_private

MAX_DOCUMENT = 512 * 1024
"""Bytes of an issuer's keys or metadata. A judgement: they have a few kilobytes."""
REFRESH_SECONDS = 300.0
"""How old keys may get while their issuer can be reached: a withdrawn one counts so long."""
RETRY_SECONDS = 5.0
"""Between tries for keys that are missing: tokens with made-up key ids cannot make the gateway ask
without end.
"""
STALE_SECONDS = 24 * 3600.0
"""Keys that could not be fetched again for so long are believed no more."""


class Metadata(msgspec.Struct, frozen=True):
    """What we read of an OpenID provider's configuration."""

    issuer: str
    jwks_uri: str
    authorization_endpoint: str = ""
    token_endpoint: str = ""
    device_authorization_endpoint: str = ""
    code_challenge_methods_supported: list[str] | None = None
    authorization_response_iss_parameter_supported: bool = False
    token_endpoint_auth_methods_supported: list[str] = msgspec.field(
        default_factory=lambda: ["client_secret_basic"]
    )


def fetch(url: str, timeout: float, ca: Path | None) -> bytes:
    """The document at `url`.

    Raises:
        ConfigError: the address is not private. BackendError: it is not there, or larger than 512
            KiB.
    """
    if not is_private(url):
        raise ConfigError(
            f"{url} is not https", hint="keys and metadata come over https, or from this machine"
        )
    status, body = get(url, {"Accept": "application/json"}, timeout, MAX_DOCUMENT + 1, ca)
    if status != 200:
        raise TransientError(
            f"{url} answered {status}",
            hint="see that the issuer's address is right and that it runs",
        )
    if len(body) > MAX_DOCUMENT:
        raise BackendError(
            f"{url} is larger than {MAX_DOCUMENT // 1024} KiB",
            hint="this is no OpenID provider's document",
        )
    return body


def discover(issuer: str, timeout: float, ca: Path | None) -> Metadata:
    """The provider's configuration (OpenID Connect Discovery 1.0, section 4), which must say that
    it is this issuer's.

    Raises:
        ConfigError: it is none, or another issuer's. BackendError: it cannot be fetched.
    """
    url = issuer.rstrip("/") + "/.well-known/openid-configuration"
    try:
        found = msgspec.json.decode(fetch(url, timeout, ca), type=Metadata)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{url} is not the configuration of an OpenID provider: {error}",
            hint="check the issuer",
        ) from error
    if found.issuer != issuer:
        raise ConfigError(
            f"{url} says that the issuer is {found.issuer!r}",
            hint="write the issuer exactly as the provider does; it names one tenant",
        )
    places = (
        found.jwks_uri,
        found.authorization_endpoint,
        found.token_endpoint,
        found.device_authorization_endpoint,
    )
    if any(place and not is_private(place) for place in places):
        raise ConfigError(
            f"{url} names an address that is not https", hint="ask whoever runs the provider"
        )
    return found


@dataclass
class _Keys:
    """An issuer's keys as last fetched."""

    found: list[dict[str, Any]]
    fetched: float
    tried: float
    wanted: bool = False
    """A token named a key that is not there."""


class Workloads:
    """Verifies tokens of workloads with the keys at hand; `refresh` fetches keys, away from
    requests.
    """

    def __init__(
        self,
        tables: dict[str, WorkloadTable],
        root: Path,
        clock: Clock,
        timeout: float,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        """Fetch nothing yet.

        Args:
            tables: `[access.workloads]`.
            root: relative file names are below it.
            clock: for the tokens' times.
            timeout: seconds for fetching.
            ticks: monotonic seconds, for the age of keys.
        """
        self._tables = {table.issuer: table for table in tables.values()}
        if len(self._tables) != len(tables):
            raise ConfigError(
                "[access.workloads] names one issuer twice", hint="put its services into one table"
            )
        self._root, self._clock, self._timeout, self._ticks = root, clock, timeout, ticks
        self._keys: dict[str, _Keys] = {}

    def refresh(self) -> list[tuple[str, Error]]:
        """Fetch what is due; returns what could not be fetched. Keys stay in use for a day without
        their issuer.
        """
        faults, now = [], self._ticks()
        for issuer, table in self._tables.items():
            kept = self._keys.setdefault(issuer, _Keys([], -STALE_SECONDS, -REFRESH_SECONDS))
            due = REFRESH_SECONDS if kept.found and not kept.wanted else RETRY_SECONDS
            if now - kept.tried >= due:
                kept.tried, kept.wanted = now, False
                try:
                    kept.found, kept.fetched = self._fetch(table), now
                except Error as error:
                    faults.append((issuer, error))
            if now - kept.fetched >= STALE_SECONDS:
                kept.found = []
        return faults

    def _fetch(self, table: WorkloadTable) -> list[dict[str, Any]]:
        ca = None if table.ca is None else self._root / table.ca
        if table.keys is None:
            return jwt.read_keys(
                fetch(discover(table.issuer, self._timeout, ca).jwks_uri, self._timeout, ca)
            )
        if "://" in table.keys:
            return jwt.read_keys(fetch(table.keys, self._timeout, ca))
        try:
            with (self._root / table.keys).open("rb") as file:
                return jwt.read_keys(file.read(MAX_DOCUMENT))
        except OSError as error:
            raise ConfigError(
                f"[access.workloads] keys: {table.keys} cannot be read",
                hint="a JWK set, such as from `kubectl get --raw /openid/v1/jwks`",
            ) from error

    def authenticate(self, token: str) -> tuple[str, datetime.datetime]:
        """(the service that the token stands for, when it ends); AccessDenied, with one text for
        every reason, when it is not good.
        """
        issuer = jwt.issuer_of(token)
        table, kept = self._tables.get(issuer), self._keys.get(issuer)
        if table is None or kept is None or self._ticks() - kept.fetched >= STALE_SECONDS:
            raise AccessDenied(jwt.REFUSED, hint=jwt.REMEDY)
        try:
            claims = jwt.verify(token, kept.found, issuer, table.audience, self._clock.now())
        except AccessDenied:
            # perhaps of a key that was not there yet: looked up soon, and not more often than that
            kept.wanted = True
            raise
        service = table.services.get(claims.subject)
        if service is None:
            raise AccessDenied(jwt.REFUSED, hint=jwt.REMEDY)
        return service, claims.expires
