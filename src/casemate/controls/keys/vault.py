"""The Vault provider: KEKs in the Transit engine of HashiCorp Vault or OpenBao
(https://openbao.org/docs/secrets/transit/).

One Transit key (aes256-gcm96) per project and purpose, `casemate-PROJECT-PURPOSE`, with Transit's
own versions. States are Transit's: below `min_available_version` destroyed, below
`min_decryption_version` disabled. A wrapped key: byte 3, then Transit's ciphertext text. The keys
are derived ones with project and purpose as context: of what binds a ciphertext to its use, only
the context survives a rewrap inside the server. Tested against an OpenBao server.
"""

import base64
import binascii
import datetime
import re
from collections.abc import Callable
from functools import cached_property
from typing import Any, TypeVar
from urllib.parse import urlsplit

from casemate.config import KeysTable
from casemate.controls.keys.interface import PURPOSES, KeyVersion, State
from casemate.controls.keys.login import Login
from casemate.core.errors import BackendError, ConfigError, TransientError, VerificationError
from casemate.core.http import is_private
from casemate.core.secrets import read_secret

BATCH = 400
"""Transit refuses batches of more than about 500."""
FORMAT = b"\x03"
_CIPHERTEXT = re.compile(rb"vault:v([1-9][0-9]{0,8}):[A-Za-z0-9+/=]{40,4000}")
T = TypeVar("T")


class VaultKeys:
    """A `KeyKeeper` in Vault."""

    def __init__(self, table: KeysTable, project: str) -> None:
        if not is_private(table.address):
            raise ConfigError(
                f"[keys] address {table.address!r} must use https",
                hint="http is allowed to this machine only",
            )
        self.table = table
        self.project = project
        self.where = f"the key server at {urlsplit(table.address).hostname}"

    def __repr__(self) -> str:
        return f"VaultKeys({self.table.address!r})"

    @cached_property
    def _raw(self) -> Any:
        """The client, without a token."""
        try:
            import hvac
        except ImportError as error:
            raise BackendError(
                "the Vault client is not installed", hint='pip install "casemate[vault]"'
            ) from error
        table = self.table
        client = hvac.Client(
            url=table.address,
            token="",
            namespace=table.namespace,
            verify=table.ca or True,
            timeout=table.timeout,
            allow_redirects=False,
        )
        client.session.trust_env = False  # no proxy, no netrc: keys go where the configuration says
        return client

    @cached_property
    def login(self) -> Login:
        """The token and its life."""
        return Login(self.where, self._enter, self._renewed, lambda: str(self._raw.token))

    @property
    def login_state(self) -> Login | None:
        """See `KeyKeeper.login_state`."""
        found = vars(self).get("login")
        return found if isinstance(found, Login) else None

    @property
    def _client(self) -> Any:
        self.login.keep()
        return self._raw

    def _enter(self) -> tuple[float, bool]:
        client, table = self._raw, self.table
        secret = read_secret(table.secret)
        if table.auth == "token":
            client.token = secret
            try:
                found = self._said(client.auth.token.lookup_self)["data"]
            # its policy need not allow that: nothing is known of its life
            except (BackendError, KeyError, TypeError):
                return 0.0, False
            return float(found.get("ttl") or 0), bool(found.get("renewable"))
        if table.auth == "approle":
            auth = self._log_in(
                lambda: client.auth.approle.login(role_id=table.role, secret_id=secret)
            )
        else:
            auth = self._log_in(lambda: client.auth.kubernetes.login(role=table.role, jwt=secret))
        return float(auth.get("lease_duration") or 0), bool(auth.get("renewable"))

    def _renewed(self) -> float:
        auth = self._said(self._raw.auth.token.renew_self)["auth"]
        return float(auth.get("lease_duration") or 0)

    def _log_in(self, request: Callable[[], Any]) -> dict[str, Any]:
        try:
            return dict(self._said(request)["auth"])
        except _Refused as error:
            raise BackendError(
                f"the login was refused: {error.message}", hint="check [keys] auth, role and secret"
            ) from error

    def _call(self, request: Callable[[], T]) -> T:
        """Ask; a token that is refused is fetched anew once."""
        client = self._client
        token = str(client.token)
        try:
            return self._said(request)
        except _Denied:
            if not self.login.anew(token):
                raise
        return self._said(request)

    def _said(self, request: Callable[[], T]) -> T:
        import hvac.exceptions as faults
        import requests

        try:
            return request()
        except (faults.Forbidden, faults.Unauthorized) as error:
            raise _Denied(
                f"{self.where} denied the request",
                hint="its policy must allow this project's keys, and the token must be valid",
            ) from error
        except faults.InvalidPath as error:
            raise _Nothing(
                f"{self.where}: {_first(error)}",
                hint="check [keys] mount and the server's own tools",
            ) from error
        except faults.InvalidRequest as error:
            raise _Refused(
                f"{self.where}: {_first(error)}", hint="check [keys] and the server's log"
            ) from error
        except (faults.VaultError, requests.RequestException) as error:
            raise TransientError(
                f"{self.where} is not available: {type(error).__name__}",
                hint="see that it runs, is unsealed and reachable",
            ) from error

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        return self._call(
            lambda: self._client.adapter.post(f"/v1/{self.table.mount}/{path}", json=body)
        )

    def read(self, path: str) -> Any:
        """What the server holds at `path`; ConfigError when nothing."""
        try:
            return self._call(lambda: self._client.adapter.get(f"/v1/{path}"))["data"]
        except (_Refused, KeyError, TypeError) as error:
            raise ConfigError(
                f"{self.where} has nothing at {path}",
                hint="check path and key with the server's own tools",
            ) from error

    def _name(self, key: str) -> str:
        return f"casemate-{self.project}-{key}"

    def _bound(self, key: str) -> str:
        return base64.b64encode(f"casemate/v2/{self.project}/{key}".encode()).decode()

    def wrap(self, key: str, data_key: bytes, resource: str = "") -> bytes:
        """See `KeyProvider.wrap`."""
        body = {"plaintext": base64.b64encode(data_key).decode(), "context": self._bound(key)}
        try:
            answer = self._post(f"encrypt/{self._name(key)}", body)
        except _Refused as error:
            raise BackendError(
                f"{self.where} does not wrap under {key!r}: {error.message}",
                hint="`casemate keys list`",
            ) from error
        return FORMAT + str(answer["data"]["ciphertext"]).encode()

    def unwrap(self, key: str, wrapped: bytes, resource: str = "") -> bytes:
        """See `KeyProvider.unwrap`."""
        self.version_of(wrapped)
        body = {"ciphertext": wrapped[1:].decode(), "context": self._bound(key)}
        try:
            answer = self._post(f"decrypt/{self._name(key)}", body)
            return base64.b64decode(answer["data"]["plaintext"], validate=True)
        except _Refused as error:
            raise self._refused(key, wrapped, error) from error
        except (KeyError, TypeError, binascii.Error) as error:
            raise BackendError(
                f"{self.where} answered something malformed", hint="see its log"
            ) from error

    def _refused(
        self, key: str, wrapped: bytes, error: BackendError
    ) -> BackendError | VerificationError:
        number = self.version_of(wrapped)
        found = {version.number: version.state for version in self._states(key)}
        if found.get(number, "destroyed") in {"disabled", "destroyed"}:
            return BackendError(
                f"the key {key!r} version {number} is {found.get(number, 'destroyed')}",
                hint=f"`casemate keys enable {key} {number}`, if it is disabled",
            )
        return VerificationError(
            f"a key wrapped under {key!r} was changed, or belongs to another key or project"
            f" ({error.message})",
            hint="restore what holds it from a backup",
        )

    def rewrap(self, key: str, wrapped: list[bytes]) -> list[bytes]:
        """See `KeyProvider.rewrap`; the data keys never leave the server."""
        made: list[bytes] = []
        for start in range(0, len(wrapped), BATCH):
            chunk = wrapped[start : start + BATCH]
            for item in chunk:
                self.version_of(item)
            batch = [
                {"ciphertext": item[1:].decode(), "context": self._bound(key)} for item in chunk
            ]
            try:
                answer = self._post(f"rewrap/{self._name(key)}", {"batch_input": batch})
            except _Refused as error:
                raise self._refused(key, chunk[0], error) from error
            results = answer["data"]["batch_results"]
            for item, result in zip(chunk, results, strict=True):
                if result.get("error"):
                    raise self._refused(key, item, _Refused(str(result["error"])))
                made.append(FORMAT + str(result["ciphertext"]).encode())
        return made

    def prepare(self) -> None:
        """See `KeyKeeper.prepare`."""
        found = self.versions()
        for key in PURPOSES:
            if not found.get(key):
                self._post(f"keys/{self._name(key)}", {"type": "aes256-gcm96", "derived": True})
                self._change(key, "config", deletion_allowed=False)

    def _change(self, key: str, what: str, **limits: Any) -> None:
        try:
            self._post(f"keys/{self._name(key)}/{what}", limits)
        except _Refused as error:
            raise ConfigError(f"{error.message}", hint="`casemate keys list`") from error

    def versions(self) -> dict[str, list[KeyVersion]]:
        """See `KeyKeeper.versions`."""
        return {key: found for key in PURPOSES if (found := self._states(key))}

    def _read(self, key: str) -> dict[str, Any] | None:
        try:
            return dict(
                self._call(
                    lambda: self._client.adapter.get(
                        f"/v1/{self.table.mount}/keys/{self._name(key)}"
                    )
                )["data"]
            )
        except _Nothing as error:
            if "no handler" in error.message:
                raise
            return None

    def _states(self, key: str) -> list[KeyVersion]:
        found = self._read(key)
        if found is None:
            return []
        newest, lowest, available = (
            found["latest_version"],
            found["min_decryption_version"],
            found["min_available_version"],
        )
        versions = []
        for number in range(1, newest + 1):
            state: State = "active" if number == newest else "decrypt-only"
            if number < available:
                state = "destroyed"
            elif number < lowest:
                state = "disabled"
            when = found["keys"].get(str(number))
            created = (
                datetime.datetime.fromtimestamp(when, datetime.UTC).isoformat()
                if isinstance(when, int)
                else ""
            )
            versions.append(KeyVersion(number=number, state=state, created=created))
        return versions

    def version_of(self, wrapped: bytes) -> int:
        """See `KeyKeeper.version_of`."""
        match = _CIPHERTEXT.fullmatch(wrapped[1:]) if wrapped[:1] == FORMAT else None
        if match is None:
            raise VerificationError(
                "a wrapped key is malformed, or another key provider wrapped it",
                hint=(
                    "if [keys] provider was changed, `casemate keys migrate` moves a project"
                    " between providers"
                ),
            )
        return int(match[1])

    def rotate(self, key: str) -> int:
        """See `KeyKeeper.rotate`."""
        self._post(f"keys/{self._name(key)}/rotate", {})
        return self._newest(key)

    def _newest(self, key: str) -> int:
        found = self._states(key)
        if not found:
            raise BackendError(
                f"{self.where} has no key {self._name(key)!r}",
                hint="`casemate store upgrade` adds what this version needs",
            )
        return found[-1].number

    def _require(self, key: str, version: int) -> None:
        if not 1 <= version <= self._newest(key):
            raise ConfigError(
                f"there is no version {version} of the key {key!r}", hint="`casemate keys list`"
            )

    def disable(self, key: str, version: int) -> None:
        """See `KeyKeeper.disable`; Transit cannot disable the active version."""
        self._require(key, version)
        if version == self._newest(key):
            raise ConfigError(
                "Transit cannot disable the active version",
                hint=f"`casemate keys rotate {key}` first",
            )
        lowest = max(version + 1, int((self._read(key) or {}).get("min_decryption_version", 1)))
        self._change(key, "config", min_decryption_version=lowest)

    def enable(self, key: str, version: int) -> None:
        """See `KeyKeeper.enable`."""
        self._require(key, version)
        lowest = min(version, int((self._read(key) or {}).get("min_decryption_version", 1)))
        self._change(key, "config", min_decryption_version=lowest)

    def destroy(self, key: str, version: int) -> None:
        """See `KeyKeeper.destroy`."""
        self._require(key, version)
        newest = self._newest(key)
        if version >= newest:
            raise ConfigError(
                f"version {version} of {key!r} is the active one",
                hint=f"`casemate keys rotate {key}` first",
            )
        found = self._read(key) or {}
        lowest = max(version + 1, found.get("min_decryption_version", 1))
        self._change(key, "config", min_decryption_version=lowest, min_encryption_version=newest)
        self._change(key, "trim", min_available_version=version + 1)


class _Refused(BackendError):
    """The server understood and said no; its own words."""


class _Denied(BackendError):
    """The server does not let this token do it."""


class _Nothing(_Refused):
    """There is nothing at that path."""


def _first(error: Any) -> str:
    return str((getattr(error, "errors", None) or [error])[0])[:300]
