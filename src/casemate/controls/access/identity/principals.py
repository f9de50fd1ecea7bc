"""Principals in the catalogue: people, services, their roles, and roles that end by themselves.

A person's roles are those granted for good and those of grants that have an end: a delegation, or a
broken glass. Every change moves the *epoch* on; running processes look at it and forget what they
had cached.
"""

import datetime
import os
import pwd
from collections.abc import Callable, Iterable
from typing import Any

import sqlalchemy as sa

from casemate.controls.access.identity.grants import (
    GRANTS,
    Grant,
    close_review,
    end_grants,
    grants_of,
    lend,
)
from casemate.controls.access.identity.registered import (
    ACCOUNT,
    BY_CERTIFICATE,
    EPOCH,
    FACTORS,
    PRINCIPALS,
    ROLES,
    SUSPENDED,
    PrincipalRow,
    is_final,
    owners,
    register,
    require_name,
    touch,
)
from casemate.controls.access.policy import shipped_roles
from casemate.controls.access.types import Principal, closure
from casemate.core.clock import Clock
from casemate.core.errors import AccessDenied, ConfigError, RefusedError
from casemate.core.store import Store
from casemate.core.store.rowdigests import CHECKED


def current_name() -> str:
    """The name of the user that this process runs as, from the kernel: no environment variable can
    change it.
    """
    uid = os.geteuid()
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid-{uid}"


class Directory:
    """Reads and changes principals, roles and grants."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.store = store
        self.clock = clock

    def epoch(self) -> int:
        """Grows with every change of who may do what."""
        with self.store.reading() as tx:
            return int(tx.execute(sa.select(EPOCH.c.number)).scalar() or 0)

    def add_owner(self, tx: sa.Connection) -> Principal:
        """Register the user of this process as the project's owner."""
        owner = Principal("User", current_name(), ("owner",))
        register(tx, self.clock, owner, None)
        return owner

    def add(
        self, tx: sa.Connection, name: str, roles: list[str], outside: str | None = None
    ) -> Principal:
        """Register a person.

        Args:
            tx: a write transaction.
            name: of a local account, of a user of this machine, or of one who logs in through a
                provider.
            roles: what they are.
            outside: `ISSUER SUBJECT` of a provider's account.

        Raises:
            ConfigError: the name or a role is not valid, or it is taken.
        """
        self._require_free(tx, name)
        self.require_roles(tx, roles)
        if outside is not None and not ACCOUNT.fullmatch(outside):
            raise ConfigError(
                f"{outside!r} is no account at a provider",
                hint="--account 'ISSUER ACCOUNT', such as 'https://login.example.org 7a2c'",
            )
        if (
            outside is not None
            and tx.execute(
                sa.select(PRINCIPALS.c.name).where(PRINCIPALS.c.outside == outside)
            ).first()
        ):
            raise ConfigError("that account belongs to another user", hint="`casemate access list`")
        user = Principal("User", name, tuple(sorted(set(roles))))
        register(tx, self.clock, user, outside)
        touch(tx)
        return user

    def current_user(self) -> Principal:
        """The principal for the user of this process; AccessDenied when the project does not know
        them.
        """
        name = current_name()
        with self.store.reading() as tx:
            row = self._row(tx, "User", name)
            # Who logs in through a provider is not the user of this machine who happens to have
            # that name.
            found = None if row is None or row.outside is not None else self._principal(tx, row)
        if found is None:
            raise AccessDenied(
                f"the user {name!r} is not known to this project",
                hint="casemate access login, or the project's owner adds this user",
            )
        return found

    def principals(self) -> list[Principal]:
        """Everybody who is not disabled, by name."""
        with self.store.reading() as tx:
            rows = tx.execute(
                sa.select(PRINCIPALS).order_by(PRINCIPALS.c.kind, PRINCIPALS.c.name)
            ).all()
            found = [self._principal(tx, row) for row in rows]
        return [principal for principal in found if principal is not None]

    def rows(self) -> list[PrincipalRow]:
        """Everybody as registered, the disabled ones too."""
        with self.store.reading() as tx:
            return [
                PrincipalRow(**row)
                for row in tx.execute(
                    sa.select(PRINCIPALS).order_by(PRINCIPALS.c.kind, PRINCIPALS.c.name)
                ).mappings()
            ]

    def find(self, kind: str, name: str) -> Principal | None:
        """The principal as of now, with the roles of grants that have not ended; None when unknown
        or disabled.
        """
        with self.store.reading() as tx:
            row = self._row(tx, kind, name)
            return None if row is None else self._principal(tx, row)

    def of(self, outside: str) -> Principal | None:
        """The person behind a provider's account."""
        with self.store.reading() as tx:
            row = tx.execute(sa.select(PRINCIPALS).where(PRINCIPALS.c.outside == outside)).first()
            return None if row is None else self._principal(tx, row)

    def of_certificate(self, client: str) -> Principal | None:
        """The service that a client certificate of this name stands for."""
        found = self.of(BY_CERTIFICATE + client)
        return found if found is not None and found.kind == "Service" else None

    def closure(self, roles: Iterable[str]) -> set[str]:
        """These roles and all that they include."""
        return closure(roles, self.roles())

    def knows(self, outside: str) -> bool:
        """Whether a provider's account belongs to anybody, the disabled included."""
        with self.store.reading() as tx:
            return (
                tx.execute(
                    sa.select(PRINCIPALS.c.name).where(PRINCIPALS.c.outside == outside)
                ).first()
                is not None
            )

    def require_free(self, name: str) -> None:
        """ConfigError when nobody can be registered under this name."""
        with self.store.reading() as tx:
            self._require_free(tx, name)

    def _require_free(self, tx: sa.Connection, name: str) -> None:
        require_name(name)
        if self._row(tx, "User", name) is not None:
            raise ConfigError(f"there is a user {name!r} already", hint="`casemate access list`")

    def _row(self, tx: sa.Connection, kind: str, name: str) -> sa.Row[Any] | None:
        query = sa.select(PRINCIPALS).where(PRINCIPALS.c.kind == kind, PRINCIPALS.c.name == name)
        row = tx.execute(query, execution_options=CHECKED).first()
        self.store.row_digests.require_row(tx, PRINCIPALS, row)
        return row

    def _principal(self, tx: sa.Connection, row: sa.Row[Any]) -> Principal | None:
        if row.disabled is not None:
            return None
        roles = set(row.roles)
        mfa = False
        if row.kind == "User":
            now = self.clock.now()
            roles |= {
                grant.role for grant in grants_of(tx, row.name) if grant.since <= now < grant.until
            }
            confirmed = sa.select(FACTORS.c.id).where(
                FACTORS.c.name == row.name, FACTORS.c.confirmed.is_not(None)
            )
            mfa = tx.execute(confirmed.limit(1)).first() is not None
        return Principal(row.kind, row.name, tuple(sorted(roles)), tuple(row.models), mfa)

    def roles(self) -> dict[str, tuple[str, ...]]:
        """The project's own roles, each with the roles that it includes."""
        with self.store.reading() as tx:
            return self._roles(tx)

    def _roles(self, tx: sa.Connection) -> dict[str, tuple[str, ...]]:
        return {row.name: tuple(row.includes) for row in tx.execute(sa.select(ROLES))}

    def require_roles(self, tx: sa.Connection, roles: list[str]) -> None:
        """ConfigError when one of them does not exist."""
        known = {*shipped_roles(), *self._roles(tx)}
        for role in roles:
            if role not in known:
                raise ConfigError(
                    f"unknown role {role!r}", hint="roles: " + ", ".join(sorted(known))
                )

    def define(self, tx: sa.Connection, role: str, includes: list[str]) -> None:
        """Make a role of the project's own, or change what it includes.

        Raises:
            ConfigError: the name is not valid or shipped, an included role does not exist, or roles
                would include one another in a circle.
        """
        require_name(role)
        if role in shipped_roles():
            raise ConfigError(
                f"the role {role!r} is casemate's own", hint="name another one that includes it"
            )
        own = self._roles(tx)
        tx.execute(ROLES.delete().where(ROLES.c.name == role))
        tx.execute(ROLES.insert().values(name=role, includes=sorted(set(includes))))
        self.require_roles(tx, includes)
        own[role] = tuple(includes)
        if role in closure(includes, own):
            raise ConfigError(
                f"the role {role!r} would include itself",
                hint="a role may not come back to itself through others",
            )
        touch(tx)

    def grant(self, tx: sa.Connection, name: str, role: str) -> None:
        """Give a person a role for good; ConfigError when there is no such person or role."""
        self.require_roles(tx, [role])
        self._change_roles(tx, name, lambda roles: roles | {role})

    def withdraw(self, tx: sa.Connection, name: str, role: str) -> None:
        """Take a role from a person, its grants with an end included; ConfigError when they do not
        have it, or nobody would be owner.
        """
        ended = end_grants(tx, self.clock, GRANTS.c.name == name, GRANTS.c.role == role)
        # what was lent goes with what it was lent from
        end_grants(tx, self.clock, GRANTS.c.by == name, GRANTS.c.role == role)
        row = self._row(tx, "User", name)
        if row is None or (role not in row.roles and not ended):
            raise ConfigError(
                f"{name!r} does not have the role {role!r}", hint="`casemate access list`"
            )
        if role in row.roles:
            if role == "owner" and len(owners(tx)) == 1:
                raise RefusedError(
                    f"{name!r} is the only owner", hint="grant the role to somebody else first"
                )
            self._change_roles(tx, name, lambda roles: roles - {role})
        touch(tx)

    def _change_roles(
        self, tx: sa.Connection, name: str, change: Callable[[set[str]], set[str]]
    ) -> None:
        row = self._row(tx, "User", name)
        if row is None:
            raise ConfigError(f"there is no user {name!r}", hint="`casemate access list`")
        roles = sorted(change(set(row.roles)))
        tx.execute(
            PRINCIPALS.update()
            .where(PRINCIPALS.c.kind == "User", PRINCIPALS.c.name == name)
            .values(roles=roles)
        )
        touch(tx)

    def set_roles(self, tx: sa.Connection, name: str, roles: list[str]) -> bool:
        """Let a person have exactly these roles, as a provider said just now; whether that changed
        anything.

        Raises:
            ConfigError: a role does not exist. RefusedError: nobody would be owner any more.
        """
        self.require_roles(tx, roles)
        row = self._row(tx, "User", name)
        if row is None or set(row.roles) == set(roles):
            return False
        if "owner" not in roles and owners(tx) == [name]:
            raise RefusedError(
                f"{name!r} is the only owner, and the provider does not say so any more",
                hint="grant the role to somebody else first",
            )
        self._change_roles(tx, name, lambda _: set(roles))
        return True

    def disable(self, tx: sa.Connection, name: str) -> None:
        """Nobody acts under this name any more, now or later; the name stays taken. ConfigError
        when unknown or disabled, RefusedError for the last owner.
        """
        row = self._row(tx, "User", name)
        if row is None or is_final(row.disabled):
            raise ConfigError(f"there is no user {name!r}", hint="`casemate access list`")
        self._take_away(tx, "User", name, "")
        end_grants(tx, self.clock, GRANTS.c.by == name, GRANTS.c.why == "delegation")

    def suspend(self, tx: sa.Connection, kind: str, name: str) -> None:
        """Nobody acts as this user or service until `resume`. ConfigError when unknown, or not
        acting already; RefusedError for the last owner.
        """
        row = self._row(tx, kind, name)
        if row is None or row.disabled is not None:
            raise ConfigError(f"there is no {kind.lower()} {name!r}", hint="`casemate access list`")
        self._take_away(tx, kind, name, SUSPENDED)

    def _take_away(self, tx: sa.Connection, kind: str, name: str, how: str) -> None:
        if kind == "User" and owners(tx) == [name]:
            raise RefusedError(
                f"{name!r} is the only owner", hint="grant the role to somebody else first"
            )
        self._set_disabled(tx, kind, name, how + self.clock.now().isoformat())

    def resume(self, tx: sa.Connection, kind: str, name: str) -> None:
        """Somebody may act as this user or service again; ConfigError when they are not
        suspended.
        """
        row = self._row(tx, kind, name)
        if row is not None and is_final(row.disabled):
            raise ConfigError(
                f"{kind} {name!r} is disabled, and that is for good",
                hint="an owner registers them under another name",
            )
        if row is None or row.disabled is None:
            raise ConfigError(f"{kind} {name!r} is not suspended", hint="`casemate access list`")
        self._set_disabled(tx, kind, name, None)

    @staticmethod
    def _set_disabled(tx: sa.Connection, kind: str, name: str, since: str | None) -> None:
        where = (PRINCIPALS.c.kind == kind, PRINCIPALS.c.name == name)
        tx.execute(PRINCIPALS.update().where(*where).values(disabled=since))
        touch(tx)

    def lend(
        self,
        tx: sa.Connection,
        name: str,
        role: str,
        why: str,
        reason: str,
        by: str,
        lifetime: datetime.timedelta,
    ) -> Grant:
        """Give a person a role that ends by itself.

        Args:
            tx: a write transaction.
            name: who gets it.
            role: what.
            why: `delegation` or `break-glass`.
            reason: in words; it is for whoever reviews it.
            by: who gives it.
            lifetime: how long.

        Raises:
            ConfigError: there is no such person or role, the reason is empty, or the time is not
                positive.
            RefusedError: an earlier broken glass of this person was not reviewed yet.
        """
        self.require_roles(tx, [role])
        if self._row(tx, "User", name) is None:
            raise ConfigError(f"there is no user {name!r}", hint="`casemate access list`")
        return lend(tx, self.clock, name, role, why, reason, by, lifetime)

    def grants(self) -> list[Grant]:
        """Every grant with an end, newest first."""
        with self.store.reading() as tx:
            return grants_of(tx)

    def review(self, tx: sa.Connection, identifier: str, reviewer: str, finding: str) -> Grant:
        """Close the review of a broken glass; see `grants.close_review`."""
        return close_review(tx, self.clock, identifier, reviewer, finding)
