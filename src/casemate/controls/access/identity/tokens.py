"""Tokens of services: opaque, hashed, shown once, narrowed to models, actions, networks, a rate and
a client certificate.

A token is `cm_<id>_<secret>`: 8 hex digits that find the row, 32 random bytes that prove
possession. Only the SHA-256 of the secret is stored (the secret is uniformly random, so a slow hash
adds nothing).
"""

import datetime
import hashlib
import hmac
import ipaddress
import re
import secrets
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from casemate.controls.access.identity.principals import Directory
from casemate.controls.access.identity.registered import BY_CERTIFICATE, NAME, PRINCIPALS, touch
from casemate.controls.access.policy import actions as known_actions
from casemate.controls.access.types import Principal
from casemate.controls.keys.certificates import CERTIFICATES
from casemate.core.errors import AccessDenied, ConfigError
from casemate.core.store import METADATA, explained
from casemate.core.store.rowdigests import CHECKED
from casemate.core.types import Record

MAX_RATE = 1_000_000
PLAYBOOK = "playbook-"
"""Before the name of a playbook, as the log names whom it acts as."""
TOKENS = sa.Table(
    "token",
    METADATA,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("service", sa.String, nullable=False),
    sa.Column("hash", sa.LargeBinary, nullable=False),
    sa.Column("expires", sa.String, nullable=False),
    sa.Column("revoked", sa.Boolean, nullable=False, default=False),
    sa.Column("actions", sa.JSON, nullable=False, default=[]),
    sa.Column("networks", sa.JSON, nullable=False, default=[]),
    sa.Column("rate", sa.Integer),
    sa.Column("certificate", sa.String),
    sa.Column("created", sa.String, nullable=False, default=""),
    info=explained("service"),
)
_TOKEN = re.compile(r"cm_([0-9a-f]{8})_([A-Za-z0-9_-]{43})")
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class IssuedToken(Record, frozen=True, kw_only=True):
    """A token as it is known here, without its secret; what it is narrowed to as in
    `TokenLimits`.
    """

    id: str
    """Names it."""
    service: str
    """Whose it is."""
    expires: str
    """When."""
    revoked: bool
    """Whether it was taken back."""
    actions: list[str]
    """See `TokenLimits`."""
    networks: list[str]
    """CIDR."""
    rate: int | None
    """Requests a minute."""
    certificate: str | None
    """SHA-256 of the client certificate that must come with it."""
    created: str
    """When; empty for one that an older casemate made."""


@dataclass(frozen=True)
class TokenLimits:
    """What a token is narrowed to, beside its service's roles and models; nothing given means no
    narrowing.
    """

    actions: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    """CIDR."""
    rate: int | None = None
    """Requests a minute."""
    certificate: str | None = None
    """SHA-256 of the client certificate that must come with it (RFC 8705)."""

    def check(self) -> None:
        """ConfigError when an action, a network or the rate makes no sense."""
        for action in self.actions:
            if action not in known_actions():
                raise ConfigError(
                    f"there is no action {action!r}", hint="`casemate access actions`"
                )
        for network in self.networks:
            _network(network)
        if self.rate is not None and not 0 < self.rate <= MAX_RATE:
            raise ConfigError(f"a rate is 1 to {MAX_RATE} requests a minute")

    def admits(self, address: str | None, certificate: str | None) -> bool:
        """Whether a call from this address with this client certificate may use the token."""
        if self.certificate is not None and not hmac.compare_digest(
            self.certificate, certificate or ""
        ):
            return False
        if not self.networks:
            return True
        try:
            where = ipaddress.ip_address(address or "")
        except ValueError:
            return False
        return any(where in _network(network) for network in self.networks)


@dataclass(frozen=True)
class ServiceSession:
    """A service whose token was verified; made by `Tokens.authenticate` only."""

    principal: Principal
    token_id: str
    expires: datetime.datetime
    limits: TokenLimits


def new_secret() -> str:
    """256 random bits as text."""
    return secrets.token_urlsafe(32)


def hashed(secret: str, use: str) -> bytes:
    """SHA-256 of a secret, apart for every `use`."""
    return hashlib.sha256(f"casemate/{use}/v1".encode() + secret.encode()).digest()


def _network(text: str) -> Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise ConfigError(f"{text!r} is not a network", hint="CIDR, such as 10.1.0.0/16") from error


class Tokens:
    """Makes, revokes and verifies."""

    def __init__(self, directory: Directory) -> None:
        self.directory = directory
        self.store, self.clock = directory.store, directory.clock

    def create(
        self,
        tx: sa.Connection,
        service: str,
        roles: list[str],
        models: list[str],
        lifetime: datetime.timedelta,
        limits: TokenLimits | None = None,
    ) -> tuple[str, str]:
        """(token, token id) for the service, which gets exactly these roles and models.

        Raises:
            ConfigError: the name, a role or a limit is not valid, or the lifetime is not positive.
        """
        limits = limits or TokenLimits()
        limits.check()
        if lifetime <= datetime.timedelta(0):
            raise ConfigError("a token's lifetime must be positive")
        known = self._service(tx, service)
        if known is None or (known.roles, known.models) != (roles, models):
            if known is not None:
                raise ConfigError(
                    f"the service {service!r} has other roles or models",
                    hint="name those, or another service; or first: casemate access service remove",
                )
            self.register(tx, service, roles, models)
        now = self.clock.now()
        identifier, secret = secrets.token_hex(4), new_secret()
        narrowed = {
            "actions": list(limits.actions),
            "networks": list(limits.networks),
            "rate": limits.rate,
            "certificate": limits.certificate,
        }
        values = {
            "id": identifier,
            "service": service,
            "hash": hashed(secret, "token"),
            "expires": (now + lifetime).isoformat(),
        }
        tx.execute(
            TOKENS.insert().values(**values, **narrowed, revoked=False, created=now.isoformat())
        )
        touch(tx)
        return f"cm_{identifier}_{secret}", identifier

    def register(
        self,
        tx: sa.Connection,
        service: str,
        roles: list[str],
        models: list[str],
        *,
        by_certificate: bool = False,
    ) -> None:
        """A service that has no token yet.

        Args:
            tx: a write transaction.
            service: its name.
            roles: what it is.
            models: which models it may ask; `*` for all.
            by_certificate: a client certificate of its name stands for it, without any token.

        Raises:
            ConfigError: the name or a role is not valid, or it is taken.
        """
        if not NAME.fullmatch(service):
            raise ConfigError(
                f"{service!r} is not a service name",
                hint="letters, digits, '.', '_', '@', '-'; at most 63",
            )
        if service.startswith(PLAYBOOK):
            raise ConfigError(f"services called {PLAYBOOK}… are playbooks", hint="another name")
        self.directory.require_roles(tx, roles)
        if self._service(tx, service) is not None:
            raise ConfigError(
                f"there is a service {service!r} already", hint="`casemate access service list`"
            )
        if by_certificate and (early := self._certificates(tx, service)):
            raise ConfigError(
                f"there are client certificates of the name {service!r} already, which would stand"
                f" for it: {', '.join(early)}",
                hint=(
                    "casemate keys certificate revoke SERIAL, then register it and issue a new one"
                ),
            )
        outside = BY_CERTIFICATE + service if by_certificate else None
        values = {
            "kind": "Service",
            "name": service,
            "roles": roles,
            "models": models,
            "created": self.clock.now().isoformat(),
        }
        tx.execute(PRINCIPALS.insert().values(**values, outside=outside))
        touch(tx)

    def _certificates(self, tx: sa.Connection, service: str) -> list[str]:
        """Serial numbers of client certificates of this name that are still good."""
        live = (
            CERTIFICATES.c.kind == "client",
            CERTIFICATES.c.revoked.is_(None),
            CERTIFICATES.c.until > self.clock.now().isoformat(),
        )
        return [
            row.serial
            for row in tx.execute(sa.select(CERTIFICATES).where(*live))
            if service in row.names
        ]

    def _service(self, tx: sa.Connection, service: str) -> sa.Row[Any] | None:
        return tx.execute(
            sa.select(PRINCIPALS).where(
                PRINCIPALS.c.kind == "Service", PRINCIPALS.c.name == service
            )
        ).first()

    def all(self) -> list[IssuedToken]:
        """Every token without its secret."""
        columns = [column for column in TOKENS.c if column.name != "hash"]
        with self.store.reading() as tx:
            return [
                IssuedToken(**row)
                for row in tx.execute(
                    sa.select(*columns).order_by(TOKENS.c.service, TOKENS.c.id)
                ).mappings()
            ]

    def revoke(self, tx: sa.Connection, identifier: str) -> None:
        """Make a token useless; ConfigError when there is none with this id."""
        if (
            tx.execute(
                TOKENS.update().where(TOKENS.c.id == identifier).values(revoked=True)
            ).rowcount
            != 1
        ):
            raise ConfigError(
                f"no token with id {identifier!r}", hint="`casemate access token list`"
            )
        touch(tx)

    def forget(self, tx: sa.Connection, service: str) -> None:
        """Remove a service that was made for one task, with its tokens."""
        tx.execute(TOKENS.delete().where(TOKENS.c.service == service))
        tx.execute(
            PRINCIPALS.delete().where(PRINCIPALS.c.kind == "Service", PRINCIPALS.c.name == service)
        )
        touch(tx)

    def authenticate(self, token: str) -> ServiceSession:
        """The session behind a token; AccessDenied, with one text for every reason, when it is not
        good.
        """
        match = _TOKEN.fullmatch(token)
        identifier, secret = match.groups() if match else ("", "")
        with self.store.reading() as tx:
            row = tx.execute(
                sa.select(TOKENS).where(TOKENS.c.id == identifier), execution_options=CHECKED
            ).first()
            self.store.row_digests.require_row(tx, TOKENS, row)
        stored = row.hash if row else bytes(32)
        same = hmac.compare_digest(stored, hashed(secret, "token"))
        if row is not None and same and not row.revoked:
            expires = datetime.datetime.fromisoformat(row.expires)
            principal = self.directory.find("Service", row.service)
            if principal is not None and self.clock.now() < expires:
                return ServiceSession(
                    principal,
                    identifier,
                    expires,
                    TokenLimits(tuple(row.actions), tuple(row.networks), row.rate, row.certificate),
                )
        raise AccessDenied("no valid token", hint="ask the project's owner for one")
