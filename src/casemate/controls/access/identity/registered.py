"""Principals as the catalogue has them: its tables, their names, and the epoch that every change
moves on.
"""

import re
from dataclasses import dataclass

import sqlalchemy as sa

from casemate.controls.access.types import Principal
from casemate.core.clock import Clock
from casemate.core.errors import ConfigError
from casemate.core.store import METADATA, explained

PRINCIPALS = sa.Table(
    "principal",
    METADATA,
    sa.Column("kind", sa.String, primary_key=True),
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("roles", sa.JSON, nullable=False),
    sa.Column("models", sa.JSON, nullable=False),
    sa.Column("created", sa.String, nullable=False, default=""),
    sa.Column("disabled", sa.String),
    sa.Column("outside", sa.String),
    sa.Index("principal_outside", "outside", unique=True),
    info=explained(),
)
ROLES = sa.Table(
    "role",
    METADATA,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("includes", sa.JSON, nullable=False),
    info=explained(),
)
EPOCH = sa.Table(
    "access_epoch",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("number", sa.Integer, nullable=False),
    info=explained(),
)
"""Bound to the log too: set back, it would keep running processes at roles and policies that are no
longer in force.
"""
ACCOUNT = re.compile(r"https?://\S+ \S+")
BY_CERTIFICATE = "certificate "
"""Before the name of a client certificate that stands for a service."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,62}")
FACTORS = sa.Table(
    "factor",
    METADATA,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("name", sa.String, nullable=False),
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("secret", sa.LargeBinary, nullable=False),
    sa.Column("counter", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False),
    sa.Column("confirmed", sa.String),
    sa.Column("tries", sa.JSON, nullable=False),
    info=explained("name", apart=("counter", "tries")),
)

SUSPENDED = "suspended "
"""Begins `disabled` where it may be taken back: whoever may resume a suspension may not give back
what an owner took for good.
"""


@dataclass(frozen=True)
class PrincipalRow:
    """Somebody as they were registered, whether or not they may still act."""

    kind: str
    """`User` or `Service`."""
    name: str
    roles: list[str]
    """Those that are theirs for good, without grants."""
    models: list[str]
    """Of a service: the models that it may ask."""
    created: str
    """When, RFC 3339 in UTC."""
    disabled: str | None
    """Since when nobody acts as them any more; after `SUSPENDED` where `resume` may end that."""
    outside: str | None
    """`ISSUER SUBJECT` of a provider's account, or the certificate that stands for a service."""

    @property
    def uid(self) -> str:
        """As policies and the log write it."""
        return f'{self.kind}::"{self.name}"'


def is_final(disabled: str | None) -> bool:
    """Whether `disabled` says that somebody acts no more for good: more than a suspension."""
    return disabled is not None and not disabled.startswith(SUSPENDED)


def touch(tx: sa.Connection) -> None:
    """Move the epoch on: every process forgets its decisions and sessions within a second."""
    if tx.execute(EPOCH.update().values(number=EPOCH.c.number + 1)).rowcount == 0:
        tx.execute(EPOCH.insert().values(id=1, number=1))


def require_name(name: str) -> None:
    """ConfigError when nobody can be called that."""
    if not NAME.fullmatch(name):
        raise ConfigError(
            f"{name!r} is not a name", hint="letters, digits, '.', '_', '@', '-'; at most 63"
        )


def owners(tx: sa.Connection) -> list[str]:
    """The names of everybody who is an owner for good and not disabled."""
    rows = tx.execute(
        sa.select(PRINCIPALS).where(PRINCIPALS.c.kind == "User", PRINCIPALS.c.disabled.is_(None))
    ).all()
    return [row.name for row in rows if "owner" in row.roles]


def register(tx: sa.Connection, clock: Clock, principal: Principal, outside: str | None) -> None:
    """Write down somebody new."""
    values = {
        "kind": principal.kind,
        "name": principal.name,
        "roles": list(principal.roles),
        "models": list(principal.models),
    }
    tx.execute(
        PRINCIPALS.insert().values(**values, created=clock.now().isoformat(), outside=outside)
    )
