"""Logging in through an OpenID provider: authorization code with PKCE over a loopback redirect, or
a code on another device.

Sources: OpenID Connect Core 1.0; RFC 7636 (PKCE), RFC 8252 (native apps), RFC 8628 (device grant),
RFC 9207 (issuer in the answer), RFC 9700 (best current practice). What proves a login is an ID
token, fetched by us from the provider's token endpoint.
"""

import base64
import datetime
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from casemate.config import ProviderTable
from casemate.controls.access.identity import jwt
from casemate.controls.access.identity.issuers import Metadata, discover, fetch
from casemate.controls.access.identity.jwt import Claims
from casemate.core.clock import Clock
from casemate.core.errors import AccessDenied, BackendError, ConfigError
from casemate.core.http import post

FRESH = 900
"""Seconds: where the provider tells of second factors, it is asked for a login that is not
older.
"""
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
LONGEST_DEVICE = 900.0
"""Seconds that a login by device code is waited for, whatever the provider allows."""
_CODE = re.compile(r"[a-z_]{1,40}")


@dataclass(frozen=True)
class Begun:
    """A login that waits for the browser to come back."""

    url: str
    """Where the person goes."""
    redirect: str
    state: str
    nonce: str
    verifier: str


class Device(msgspec.Struct, frozen=True):
    """A login that waits for the person to type a code elsewhere."""

    device_code: str
    user_code: str
    verification_uri: str
    expires_in: float
    verification_uri_complete: str | None = None
    interval: float = 5.0


class _Answer(msgspec.Struct):
    id_token: str = ""
    error: str = ""


class Provider:
    """A login provider of `[access.providers]`: where it is, and how it is asked who
    somebody is.
    """

    def __init__(
        self,
        name: str,
        table: ProviderTable,
        root: Path,
        clock: Clock,
        secret: Callable[[str], str],
        timeout: float = 10.0,
    ) -> None:
        """Fetch nothing yet.

        Args:
            name: the provider's name in casemate.toml.
            table: its options.
            root: relative file names are below it.
            clock: for the tokens' times.
            secret: reads the client's secret, if it has one.
            timeout: seconds for each step of a request.
        """
        self.name, self.table = name, table
        self._clock, self._secret, self._timeout = clock, secret, timeout
        self._ca = None if table.ca is None else root / table.ca

    @cached_property
    def metadata(self) -> Metadata:
        """The provider's configuration; ConfigError when it is not one that a login can be trusted
        with.
        """
        found = discover(self.table.issuer, self._timeout, self._ca)
        methods = found.code_challenge_methods_supported
        if methods is not None and "S256" not in methods:
            raise ConfigError(
                f"the provider {self.name} does not offer PKCE with S256",
                hint="enable it there: without it a code can be stolen",
            )
        return found

    def begin(self, redirect: str) -> Begun:
        """A login by authorization code.

        Args:
            redirect: where the browser is sent back to, such as `http://127.0.0.1:41234/callback`.
        """
        if not self.metadata.authorization_endpoint:
            raise ConfigError(
                f"the provider {self.name} offers no login in a browser", hint="--device"
            )
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        challenge = (
            base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest())
            .rstrip(b"=")
            .decode()
        )
        asked = {
            "response_type": "code",
            "client_id": self.table.client,
            "redirect_uri": redirect,
            "scope": " ".join(self.table.scopes),
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        if self.table.factor:
            asked["max_age"] = str(FRESH)
        separator = "&" if "?" in self.metadata.authorization_endpoint else "?"
        return Begun(
            f"{self.metadata.authorization_endpoint}{separator}{urlencode(asked)}",
            redirect,
            state,
            nonce,
            verifier,
        )

    def finish(self, begun: Begun, answer: Mapping[str, str]) -> Claims:
        """What the provider says of the person who came back.

        Args:
            begun: the login.
            answer: parameters of the redirect.

        Raises:
            AccessDenied: the answer is not to this login, of another provider, or a refusal.
                BackendError: the provider is away.
        """
        if not hmac.compare_digest(answer.get("state", "").encode(), begun.state.encode()):
            raise AccessDenied(
                "the answer belongs to another login",
                hint="begin again; treat it as an attack if you did not follow a link",
            )
        issuer = answer.get("iss")
        if (
            issuer or self.metadata.authorization_response_iss_parameter_supported
        ) and issuer != self.metadata.issuer:
            raise AccessDenied(
                "the answer comes from another provider", hint="begin again; treat it as an attack"
            )
        if "error" in answer or not answer.get("code"):
            raise AccessDenied(
                f"the provider {self.name} refused the login ({_known(answer.get('error', ''))})",
                hint="ask whoever runs the provider",
            )
        body = {
            "grant_type": "authorization_code",
            "code": answer["code"],
            "redirect_uri": begun.redirect,
            "code_verifier": begun.verifier,
        }
        found = self._token(body)
        if not found.id_token:
            raise AccessDenied(
                f"the provider {self.name} refused the login ({_known(found.error)})",
                hint="begin again",
            )
        return self._claims(found.id_token, begun.nonce)

    def begin_device(self) -> Device:
        """A login whose code is typed on another device; ConfigError when the provider
        offers none.
        """
        if not self.metadata.device_authorization_endpoint:
            raise ConfigError(
                f"the provider {self.name} offers no login by device code",
                hint="leave --device out",
            )
        body = {"client_id": self.table.client, "scope": " ".join(self.table.scopes)}
        status, answer = self._post(self.metadata.device_authorization_endpoint, body)
        try:
            device = msgspec.json.decode(answer, type=Device)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise BackendError(
                f"the provider {self.name} answered {status} to a login by device code",
                hint="see that the client may use it",
            ) from error
        return device

    def poll(self, device: Device, pause: Callable[[float], None]) -> Claims:
        """Wait until the person has typed the code.

        Args:
            device: the login.
            pause: waits for so many seconds.

        Raises:
            AccessDenied: the person or the provider refused, or it took too long.
        """
        interval, left = max(1.0, device.interval), min(device.expires_in, LONGEST_DEVICE)
        while left > 0:
            pause(interval)
            left -= interval
            found = self._token({"grant_type": DEVICE_GRANT, "device_code": device.device_code})
            if found.id_token:
                return self._claims(found.id_token, None)
            if found.error == "slow_down":
                interval += 5.0
            elif found.error != "authorization_pending":
                raise AccessDenied(
                    f"the provider {self.name} refused the login ({_known(found.error)})",
                    hint="begin again",
                )
        raise AccessDenied("nobody typed the code in time", hint="begin again")

    def _token(self, body: dict[str, str]) -> _Answer:
        status, answer = self._post(self.metadata.token_endpoint, body)
        try:
            found = msgspec.json.decode(answer, type=_Answer)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise BackendError(
                f"the provider {self.name} answered {status} without a token",
                hint="see the provider's log",
            ) from error
        return found

    def _post(self, url: str, body: dict[str, str]) -> tuple[int, bytes]:
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "Accept": "application/json",
        }
        body = {**body, "client_id": self.table.client}
        if self.table.secret is not None:
            secret = self._secret(self.table.secret)
            if "client_secret_basic" in self.metadata.token_endpoint_auth_methods_supported:
                pair = f"{quote(self.table.client, safe='')}:{quote(secret, safe='')}"
                headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
            else:
                body["client_secret"] = secret
        return post(url, urlencode(body).encode(), headers, self._timeout, self._ca)

    def _claims(self, token: str, nonce: str | None) -> Claims:
        keys = jwt.read_keys(fetch(self.metadata.jwks_uri, self._timeout, self._ca))
        claims = jwt.verify(
            token, keys, self.metadata.issuer, self.table.client, self._clock.now(), nonce
        )
        for name, allowed in self.table.require.items():
            if not set(_texts(claims.said.get(name))) & set(allowed):
                raise AccessDenied(
                    f"the provider {self.name} does not say of this account that {name} is as"
                    " required",
                    hint="log in with the right account",
                )
        return claims

    def account(self, claims: Claims) -> str:
        """What tells the account from every other one: the issuer and the claims of `account`."""
        parts = [_texts(claims.said.get(name)) for name in self.table.account]
        if not all(len(part) == 1 for part in parts):
            raise AccessDenied(
                f"the provider {self.name} does not send the claims"
                f" {', '.join(self.table.account)}",
                hint="correct `account` or the provider",
            )
        said = [part[0] for part in parts]
        return f"{claims.issuer} {'/'.join(quote(text, safe='@.-_|:') for text in said)}"

    def person(self, claims: Claims) -> str:
        """The name that a new person gets; AccessDenied when the provider sends none."""
        found = _texts(claims.said.get(self.table.person))
        if len(found) != 1:
            raise AccessDenied(
                f"the provider {self.name} does not send the claim {self.table.person}",
                hint="correct `person`, or the scopes",
            )
        return found[0]

    def roles(self, claims: Claims) -> list[str] | None:
        """The roles that the provider gives; None where roles are granted here.

        Raises:
            AccessDenied: the provider left the groups out because there are too many (Microsoft
                Entra ID), so nothing is known.
        """
        claim = self.table.roles_from
        if claim is None:
            return None
        elsewhere = claims.said.get("_claim_names")
        if claim not in claims.said and (
            (isinstance(elsewhere, dict) and claim in elsewhere) or claims.said.get("hasgroups")
        ):
            raise AccessDenied(
                f"this account is in more groups than the provider {self.name} sends",
                hint=(
                    'map app roles (`roles_from = "roles"`), or groups assigned to the application'
                ),
            )
        said = set(_texts(claims.said.get(claim)))
        return sorted(
            {role for value, roles in self.table.roles.items() if value in said for role in roles}
        )

    def factor_used(self, claims: Claims) -> datetime.datetime | None:
        """When a second factor was used at the provider; None when it does not say so."""
        used = any(
            set(_texts(claims.said.get(name))) & set(values)
            for name, values in self.table.factor.items()
        )
        when = claims.said.get("auth_time")
        if not used or isinstance(when, bool) or not isinstance(when, int | float):
            return None
        try:
            return min(datetime.datetime.fromtimestamp(when, datetime.UTC), self._clock.now())
        except (OverflowError, ValueError, OSError):
            return None


def _texts(value: Any) -> list[str]:
    """A claim as texts: many providers send one value without a list."""
    return [
        part
        for part in (value if isinstance(value, list) else [value])
        if isinstance(part, str) and part
    ]


def _known(error: str) -> str:
    """An error code of the other side, if it is one: nothing else of theirs is shown."""
    return error if _CODE.fullmatch(error) else "no reason given"
