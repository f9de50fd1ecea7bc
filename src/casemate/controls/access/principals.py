"""Principals in the catalogue: users of this machine and services with tokens.

A token is `cm_<id>_<secret>`: 8 hex digits that find the row, 32 random bytes that prove possession. Only the
SHA-256 of the secret is stored (the secret is uniformly random, so a slow hash adds nothing); it is shown once.
"""

import base64
import datetime
import hashlib
import hmac
import os
import pwd
import re
import secrets
from dataclasses import dataclass

import sqlalchemy as sa

from casemate.core.clock import Clock
from casemate.core.errors import AccessDenied, ConfigError
from casemate.core.store import METADATA, Store

ROLES = ("owner", "auditor", "client", "monitor")
PRINCIPALS = sa.Table(
    "principal",
    METADATA,
    sa.Column("kind", sa.String, primary_key=True),
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("roles", sa.JSON, nullable=False),
    sa.Column("models", sa.JSON, nullable=False),
)
TOKENS = sa.Table(
    "token",
    METADATA,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("service", sa.String, nullable=False),
    sa.Column("hash", sa.LargeBinary, nullable=False),
    sa.Column("expires", sa.String, nullable=False),
    sa.Column("revoked", sa.Boolean, nullable=False, default=False),
)
_TOKEN = re.compile(r"cm_([0-9a-f]{8})_([A-Za-z0-9_-]{43})")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,62}")


@dataclass(frozen=True)
class Principal:
    """Somebody who acts."""

    kind: str
    name: str
    roles: tuple[str, ...]
    models: tuple[str, ...] = ()

    @property
    def uid(self) -> str:
        """Cedar's name for it, such as `User::"ana"`."""
        return f'{self.kind}::"{self.name}"'


@dataclass(frozen=True)
class Session:
    """A service whose token was verified; made by `Directory.authenticate` only."""

    principal: Principal
    token_id: str
    expires: datetime.datetime


def current_name() -> str:
    """The name of the user that this process runs as, from the kernel: no environment variable can change it."""
    uid = os.geteuid()
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid-{uid}"


def _hash(secret: str) -> bytes:
    return hashlib.sha256(b"casemate/token/v1" + secret.encode()).digest()


class Directory:
    """Reads and changes principals and tokens."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.store = store
        self.clock = clock

    def add_owner(self, tx: sa.Connection) -> Principal:
        """Register the user of this process as the project's owner."""
        owner = Principal("User", current_name(), ("owner",))
        tx.execute(PRINCIPALS.insert().values(kind=owner.kind, name=owner.name, roles=list(owner.roles), models=[]))
        return owner

    def current_user(self) -> Principal:
        """The principal for the user of this process; AccessDenied when the project does not know them."""
        name = current_name()
        found = self._find("User", name)
        if found is None:
            raise AccessDenied(f"the user {name!r} is not known to this project", hint="the project's owner must act")
        return found

    def principals(self) -> list[Principal]:
        """Everybody, by name."""
        with self.store.reading() as tx:
            rows = tx.execute(sa.select(PRINCIPALS).order_by(PRINCIPALS.c.kind, PRINCIPALS.c.name)).all()
        return [Principal(row.kind, row.name, tuple(row.roles), tuple(row.models)) for row in rows]

    def _find(self, kind: str, name: str) -> Principal | None:
        query = sa.select(PRINCIPALS).where(PRINCIPALS.c.kind == kind, PRINCIPALS.c.name == name)
        with self.store.reading() as tx:
            row = tx.execute(query).first()
        return None if row is None else Principal(row.kind, row.name, tuple(row.roles), tuple(row.models))

    def create_token(self, tx: sa.Connection, service: str, roles: list[str], models: list[str], lifetime: datetime.timedelta) -> tuple[str, str]:
        """(token, token id) for the service, which gets exactly these roles and models.

        Raises:
            ConfigError: the name or a role is not valid, or the lifetime is not positive.
        """
        if not _NAME.fullmatch(service):
            raise ConfigError(f"{service!r} is not a service name", hint="letters, digits, '.', '_', '@', '-'; at most 63")
        unknown = [role for role in roles if role not in ROLES]
        if unknown:
            raise ConfigError(f"unknown role {unknown[0]!r}", hint="roles: " + ", ".join(ROLES))
        if lifetime <= datetime.timedelta(0):
            raise ConfigError("a token's lifetime must be positive")
        where = (PRINCIPALS.c.kind == "Service", PRINCIPALS.c.name == service)
        known = tx.execute(sa.select(PRINCIPALS).where(*where)).first()
        live = tx.execute(sa.select(TOKENS.c.id).where(TOKENS.c.service == service, TOKENS.c.revoked.is_(False))).first()
        if known is not None and live is not None and (known.roles, known.models) != (roles, models):
            raise ConfigError(f"the service {service!r} has tokens with other roles or models", hint="revoke them, or name another service")
        tx.execute(PRINCIPALS.delete().where(*where))
        tx.execute(PRINCIPALS.insert().values(kind="Service", name=service, roles=roles, models=models))
        identifier = secrets.token_hex(4)
        secret = base64.urlsafe_b64encode(secrets.token_bytes(32)).rstrip(b"=").decode()
        expires = (self.clock.now() + lifetime).isoformat()
        tx.execute(TOKENS.insert().values(id=identifier, service=service, hash=_hash(secret), expires=expires, revoked=False))
        return f"cm_{identifier}_{secret}", identifier

    def tokens(self) -> list[dict[str, object]]:
        """Every token without its secret."""
        query = sa.select(TOKENS.c.id, TOKENS.c.service, TOKENS.c.expires, TOKENS.c.revoked).order_by(TOKENS.c.service)
        with self.store.reading() as tx:
            return [dict(row) for row in tx.execute(query).mappings()]

    def revoke(self, tx: sa.Connection, identifier: str) -> None:
        """Make a token useless; ConfigError when there is none with this id."""
        if tx.execute(TOKENS.update().where(TOKENS.c.id == identifier).values(revoked=True)).rowcount != 1:
            raise ConfigError(f"no token with id {identifier!r}", hint="`casemate access token list`")

    def forget(self, tx: sa.Connection, service: str) -> None:
        """Remove a service that was made for one task, with its tokens."""
        tx.execute(TOKENS.delete().where(TOKENS.c.service == service))
        tx.execute(PRINCIPALS.delete().where(PRINCIPALS.c.kind == "Service", PRINCIPALS.c.name == service))

    def authenticate(self, token: str) -> Session:
        """The session behind a token; AccessDenied, with one text for every reason, when it is not good."""
        match = _TOKEN.fullmatch(token)
        identifier, secret = match.groups() if match else ("", "")
        with self.store.reading() as tx:
            row = tx.execute(sa.select(TOKENS).where(TOKENS.c.id == identifier)).first()
        stored = row.hash if row else bytes(32)
        same = hmac.compare_digest(stored, _hash(secret))
        if row is not None and same and not row.revoked:
            expires = datetime.datetime.fromisoformat(row.expires)
            principal = self._find("Service", row.service)
            if principal is not None and self.clock.now() < expires:
                return Session(principal, identifier, expires)
        raise AccessDenied("no valid token", hint="ask the project's owner for one")
