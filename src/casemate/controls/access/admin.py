"""Changing who may do what: every operation is decided by policy, done and logged in one transaction, seen everywhere within a second."""

import datetime
from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from casemate.controls.access.anomalies import FACTOR_RISK, AccessFinding
from casemate.controls.access.identity.factors import uri
from casemate.controls.access.identity.principals import EMERGENCY, MAX_REASON, PRINCIPALS, Grant
from casemate.controls.access.identity.tokens import TOKENS, Limits
from casemate.controls.access.types import Principal
from casemate.core.errors import AccessDenied, ConfigError, RefusedError

if TYPE_CHECKING:
    from casemate.controls.access.point import Identity, PolicyPoint

MAX_DELEGATION = datetime.timedelta(days=30)
MAX_EMERGENCY = datetime.timedelta(hours=4)
FRESH = 900
SERVICE_ROLES = ("client", "analyst", "monitor")
"""What whoever may register services gives them without having it."""
FIRST_FACTOR = datetime.timedelta(minutes=10)
Alert = Callable[[sa.Connection, str, str, dict[str, Any]], None]


class Administration:
    """What owners and officers do, and what everybody does with their own login."""

    def __init__(self, point: "PolicyPoint", alert: Alert) -> None:
        """Work through a policy point.

        Args:
            point: decides and records.
            alert: queues a message (transaction, event, key, content) for whoever is to hear of it.
        """
        self.point = point
        self.directory = point.directory
        self._alert = alert

    def _done(self, tx: sa.Connection, principal: Principal, action: str, about: str, **detail: Any) -> None:
        self.point.audit.append(tx, principal.uid, action, about, "done", detail)

    def _person(self, name: str) -> Principal:
        return Principal("User", name, ())

    def _asked(self, action: str, name: str, **detail: Any) -> Principal:
        return self.point.require(action, context={"subject": self._person(name)}, about=f'User::"{name}"', **detail)

    def add_user(self, name: str, roles: list[str], password: str | None = None, account: str | None = None) -> Principal:
        """Register a person; with a password they can log in anywhere, without one as the user of this machine.

        Args:
            name: who.
            roles: what they are.
            password: of a local account.
            account: `ISSUER ACCOUNT` at an OpenID provider, which they log in through.

        Raises:
            AccessDenied: policy. ConfigError: the name, a role or the password is not valid.
        """
        principal = self._asked("access:user", name)
        if roles:
            self._no_more_than_own(self._asked("access:grant", name, roles=roles), roles)
        derived = None if password is None else self.point.accounts.derive(name, password)
        with self.point.store.transaction() as tx:
            made = self.directory.add(tx, name, roles, account)
            if derived is not None:
                self.point.accounts.set(tx, name, derived)
            self._done(tx, principal, "user:add", made.uid, roles=list(made.roles), password=derived is not None, account=account)
        self.point.audit.publish()
        return made

    def set_password(self, name: str, password: str, current: str | None = None) -> None:
        """Give a person another password and end their sessions; one's own needs the current one, if there is one.

        Raises:
            AccessDenied: policy, or the current password is wrong. ConfigError: unknown name, or the password is too easy.
        """
        me = self.point.identify().principal
        if me.name == name and name in self.point.accounts.known():
            principal = self.point.require("access:self")
            if current is None:
                raise ConfigError("the present password is missing", hint="--current prompt, env:NAME or file:PATH")
            self.point.accounts.verify(name, current)
        else:
            principal = self._asked("access:user", name)
            self._no_higher(principal, name)
        if self.directory.find("User", name) is None:
            raise ConfigError(f"there is no user {name!r}", hint="`casemate access list`")
        derived = self.point.accounts.derive(name, password)
        with self.point.store.transaction() as tx:
            self.point.accounts.set(tx, name, derived)
            ended = self.point.sessions.end_all(tx, name, "the password was changed")
            self._done(tx, principal, "user:password", f'User::"{name}"', sessions_ended=ended)
        self.point.audit.publish()

    def disable_user(self, name: str) -> None:
        """Let a person act no more, from within a second on; AccessDenied, ConfigError or RefusedError (the last owner) otherwise."""
        principal = self._asked("access:user", name)
        self._no_higher(principal, name)
        with self.point.store.transaction() as tx:
            self.directory.disable(tx, name)
            self.point.sessions.end_all(tx, name, "the user was disabled")
            self._done(tx, principal, "user:disable", f'User::"{name}"')
        self.point.audit.publish()

    def define_role(self, role: str, includes: list[str]) -> None:
        """Make a role of the project's own out of others, or change it."""
        principal = self.point.require("access:grant", about=f'Role::"{role}"')
        if "owner" not in self.directory.closure(principal.roles):
            raise AccessDenied("a role may come to include what its author does not have", hint="an owner defines roles")
        with self.point.store.transaction() as tx:
            self.directory.define(tx, role, includes)
            self._done(tx, principal, "role:define", f'Role::"{role}"', includes=sorted(includes))
        self.point.audit.publish()
        self.point.forget()

    def grant(self, name: str, role: str) -> None:
        """Give a person a role for good."""
        principal = self._asked("access:grant", name, roles=[role])
        self._no_more_than_own(principal, [role])
        with self.point.store.transaction() as tx:
            self.directory.grant(tx, name, role)
            self._done(tx, principal, "role:grant", f'User::"{name}"', role=role)
        self.point.audit.publish()

    def withdraw(self, name: str, role: str) -> None:
        """Take a role from a person, delegations of it included."""
        principal = self.point.require("access:grant", about=f'User::"{name}"', roles=[role])
        self._no_higher(principal, name)
        with self.point.store.transaction() as tx:
            self.directory.withdraw(tx, name, role)
            self._done(tx, principal, "role:withdraw", f'User::"{name}"', role=role)
        self.point.audit.publish()

    def delegate(self, name: str, role: str, reason: str, lifetime: datetime.timedelta) -> Grant:
        """Lend a person a role that one has for good, for at most 30 days.

        Raises:
            AccessDenied: policy, or whoever delegates does not have the role, or has it on loan. ConfigError: person, role or time.
        """
        principal = self._asked("access:delegate", name, roles=[role])
        own = next((row["roles"] for row in self.directory.rows() if (row["kind"], row["name"]) == ("User", principal.name)), [])
        if role not in own and "owner" not in own:  # type: ignore[operator]
            raise AccessDenied(f"{principal.uid} does not have the role {role!r} to lend", hint="who has it for good may delegate it")
        if not datetime.timedelta(0) < lifetime <= MAX_DELEGATION:
            raise ConfigError("a delegation lasts at most 30 days", hint="--for 7d")
        return self._lend(principal, name, role, "delegation", reason, lifetime)

    def break_glass(self, reason: str, lifetime: datetime.timedelta) -> Grant:
        """Take the role `emergency` for at most four hours; everybody who hears `access:break-glass` is told, and somebody else must review it.

        Raises:
            AccessDenied: policy. RefusedError: an earlier one was not reviewed. ConfigError: no reason, or the time is too long.
        """
        principal = self.point.require("access:break-glass", reason=reason[:500])
        if not datetime.timedelta(0) < lifetime <= MAX_EMERGENCY:
            raise ConfigError("emergency access lasts at most 4 hours", hint="--for 1h")
        return self._lend(principal, principal.name, EMERGENCY, "break-glass", reason, lifetime)

    def _lend(self, principal: Principal, name: str, role: str, why: str, reason: str, lifetime: datetime.timedelta) -> Grant:
        with self.point.store.transaction() as tx:
            made = self.directory.lend(tx, name, role, why, reason, principal.name, lifetime)
            told = {"grant": made.id, "role": role, "reason": made.reason, "until": made.until.isoformat()}
            self._done(tx, principal, f"access:{why}", f'User::"{name}"', **told)
            if why == "break-glass":
                self._alert(tx, "access:break-glass", f"break-glass/{made.id}", {"principal": principal.uid, **told})
        self.point.audit.publish()
        return made

    def close_review(self, identifier: str, finding: str) -> Grant:
        """Say what an emergency access was worth; by somebody else than who took it."""
        principal = self.point.require("access:review", grant=identifier)
        with self.point.store.transaction() as tx:
            closed = self.directory.review(tx, identifier, principal.name, finding)
            self._done(tx, principal, "access:reviewed", f'User::"{closed.name}"', grant=identifier, finding=finding.strip())
        self.point.audit.publish()
        return closed

    def end_session(self, identifier: str) -> int:
        """End a session of anybody; ConfigError when there is none."""
        principal = self.point.require("access:session", session=identifier)
        with self.point.store.transaction() as tx:
            count = self.point.sessions.end(tx, identifier, f"ended by {principal.name}")
            if not count:
                raise ConfigError(f"no live session {identifier!r}", hint="`casemate access session list`")
            self._done(tx, principal, "session:end", f'Session::"{identifier}"')
        self.point.audit.publish()
        return count

    def add_service(self, service: str, roles: list[str], models: list[str], *, by_certificate: bool = False) -> None:
        """Register a service that proves itself with a client certificate, or as a workload that `[access.workloads]` names."""
        principal = self.point.require("access:service", service=service)
        self._no_more_than_own(principal, roles, SERVICE_ROLES)
        with self.point.store.transaction() as tx:
            self.point.tokens.register(tx, service, roles, models, by_certificate=by_certificate)
            self._done(tx, principal, "service:add", f'Service::"{service}"', roles=roles, models=models, by_certificate=by_certificate)
        self.point.audit.publish()

    def _no_more_than_own(self, principal: Principal, roles: Iterable[str], free: Collection[str] = ()) -> None:
        """AccessDenied when the roles include one that whoever acts does not have; owners have all."""
        own = self.directory.closure(principal.roles)
        if "owner" not in own and (more := self.directory.closure(roles) - own - set(free)):
            raise AccessDenied(f"nobody gives roles that they do not have: {', '.join(sorted(more))}", hint="an owner does")

    def _no_higher(self, principal: Principal, name: str) -> None:
        """AccessDenied when somebody who is no owner would decide about an owner's account."""
        roles = next((row["roles"] for row in self.directory.rows() if (row["kind"], row["name"]) == ("User", name)), [])
        if "owner" in self.directory.closure(roles) and "owner" not in self.directory.closure(principal.roles):  # type: ignore[arg-type]
            raise AccessDenied(f"{name!r} is an owner", hint="an owner decides about owners' accounts")

    def close_finding(self, identifier: str, reason: str) -> AccessFinding:
        """Say that something unusual was harmless or was dealt with; by somebody else than whom it is about."""
        principal = self.point.require("access:review", finding=identifier)
        if not reason.strip() or len(reason) > MAX_REASON:
            raise ConfigError(f"a reason of 1 to {MAX_REASON} characters is needed", hint="--reason '...'")
        with self.point.store.transaction() as tx:
            closed = self.point.anomalies.close(tx, identifier, principal.name, reason.strip())
            if closed.principal == principal.uid:
                raise RefusedError("a finding is closed by somebody else than whom it is about", hint="ask an auditor or another owner")
            self._done(tx, principal, "access:finding-closed", closed.principal, finding=identifier, reason=reason.strip())
        self.point.audit.publish()
        return closed

    def create_token(
        self, service: str, roles: list[str], models: list[str], lifetime: datetime.timedelta, limits: Limits | None = None
    ) -> tuple[str, str]:
        """(token, token id) for a service; the token is shown here and nowhere else."""
        principal = self.point.require("token:create", service=service)
        self._no_more_than_own(principal, roles, SERVICE_ROLES)
        limits = limits or Limits()
        with self.point.store.transaction() as tx:
            token, identifier = self.point.tokens.create(tx, service, roles, models, lifetime, limits)
            detail = {"token": identifier, "roles": roles, "models": models, "seconds": int(lifetime.total_seconds()), "limits": vars(limits)}
            self._done(tx, principal, "token:create", f'Service::"{service}"', **detail)
        self.point.audit.publish()
        return token, identifier

    def revoke_token(self, identifier: str) -> None:
        """Make a token useless, from within a second on; ConfigError when there is none with this id."""
        principal = self.point.require("token:revoke")
        with self.point.store.transaction() as tx:
            self.point.tokens.revoke(tx, identifier)
            self._done(tx, principal, "token:revoke", f'Token::"{identifier}"')
        self.point.audit.publish()

    def remove_service(self, service: str) -> int:
        """Forget a service with all its tokens; returns how many those were. ConfigError when there is none."""
        principal = self.point.require("access:service", service=service)
        with self.point.store.transaction() as tx:
            count = int(tx.execute(sa.select(sa.func.count()).select_from(TOKENS).where(TOKENS.c.service == service)).scalar_one())
            known = tx.execute(sa.select(PRINCIPALS.c.name).where(PRINCIPALS.c.kind == "Service", PRINCIPALS.c.name == service)).first()
            if known is None:
                raise ConfigError(f"there is no service {service!r}", hint="`casemate access service list`")
            self.point.tokens.forget(tx, service)
            self._done(tx, principal, "service:remove", f'Service::"{service}"', tokens=count)
        self.point.audit.publish()
        return count

    def add_factor(self) -> tuple[str, str]:
        """(secret in base32, its `otpauth` address) of a new time-based factor of whoever acts; `confirm_factor` makes it count.

        Raises:
            AccessDenied: there is a factor already and it was not used within the last quarter of an hour.
        """
        principal = self.own_factor(self.point.permitted("access:self")[0])
        identifier, secret, wrapped = self.point.factors.enrol(principal.name)
        with self.point.store.transaction() as tx:
            self.point.factors.add(tx, principal.name, identifier, wrapped)
            self._done(tx, principal, "factor:add", principal.uid, factor=identifier)
        self.point.audit.publish()
        return secret, uri(principal.name, self.point.options.project, secret)

    def confirm_factor(self, code: str) -> list[str]:
        """Let the new factor count, proven by its first code; returns recovery codes, shown here and nowhere else."""
        principal = self.own_factor(self.point.permitted("access:self")[0])
        codes = self.point.factors.confirm(principal.name, code)
        self.point.audit.record(principal.uid, "factor:confirm", principal.uid, "done")
        return codes

    def own_factor(self, identity: "Identity") -> Principal:
        """Whoever acts, if they may add a factor to their own login now: the first one soon after a login, or with the help of one that they have.

        Raises:
            AccessDenied: the login is too old, or something unusual is open about them: who stole a session must not make it stronger.
        """
        situation, session = self.point.situation(identity), identity.session
        age = situation.mfa_age
        if situation.risk >= FACTOR_RISK and (age is None or age > FRESH):
            raise AccessDenied("something unusual is open about this login", hint="ask an auditor or owner to look: casemate access finding list")
        if not identity.principal.mfa and session is not None and situation.now - session.started > FIRST_FACTOR:
            raise AccessDenied("a first second factor is added within ten minutes of the login", hint="casemate access login again")
        if identity.principal.mfa and (age is None or age > FRESH):
            raise AccessDenied("a second factor is replaced with the help of the first one", hint="casemate access step-up --code prompt")
        return identity.principal

    def remove_factors(self, name: str) -> int:
        """Forget all factors of a person who has lost them; returns how many."""
        principal = self._asked("access:user", name)
        self._no_higher(principal, name)
        with self.point.store.transaction() as tx:
            count = self.point.factors.remove(tx, name)
            self.point.sessions.end_all(tx, name, "the second factor was removed")
            self._done(tx, principal, "factor:remove", f'User::"{name}"', factors=count)
        self.point.audit.publish()
        return count
