"""People and roles: registered, changed, lent to, never by somebody who has less."""

import datetime

from casemate.controls.access.identity.accounts import AccountRow
from casemate.controls.access.identity.grants import EMERGENCY, Grant
from casemate.controls.access.identity.registered import PrincipalRow
from casemate.controls.access.policy import shipped_roles
from casemate.controls.access.types import Principal, principal_of
from casemate.core.errors import AccessDenied, ConfigError, VerificationError
from casemate.core.types import Record
from casemate.operations.access.rules import about, no_higher, no_more_than_own
from casemate.operations.acting import Acting, operation, reading
from casemate.wiring import Wiring

MAX_DELEGATION = datetime.timedelta(days=30)
MAX_EMERGENCY = datetime.timedelta(hours=4)


class Known(Record, frozen=True, kw_only=True):
    """A person or a service that the project knows."""

    principal: str
    roles: list[str]
    models: list[str]
    """Of a service: the models that it may ask."""
    second_factor: bool
    password: bool
    """Whether they can log in with one."""
    disabled: str | None
    """Since when nobody acts as them any more; `suspended TIME` where `resume` may end that."""
    locked: str | None
    """Until when no password is taken, after too many wrong ones."""


class Role(Record, frozen=True, kw_only=True):
    """A role, and who has it."""

    role: str
    shipped: bool
    includes: list[str]
    held_by: list[str]


@reading("access:read")
def listing(project: Wiring) -> list[Known]:
    """Every principal; AccessDenied: policy."""
    directory, accounts = project.point.directory, project.point.accounts.known()
    live = {(one.kind, one.name): one for one in directory.principals()}
    return [
        _known(row, live.get((row.kind, row.name)), accounts.get(row.name))
        for row in directory.rows()
    ]


def _known(row: PrincipalRow, principal: Principal | None, account: AccountRow | None) -> Known:
    person = row.kind == "User"
    return Known(
        principal=row.uid,
        roles=list(principal.roles) if principal else [],
        models=row.models,
        second_factor=bool(principal and principal.mfa),
        password=person and account is not None,
        disabled=row.disabled,
        locked=account.locked if person and account is not None else None,
    )


@reading("access:read")
def roles(project: Wiring) -> list[Role]:
    """Every role, shipped or the project's own; AccessDenied: policy."""
    own = project.point.directory.roles()
    held: dict[str, list[str]] = {}
    for principal in project.point.directory.principals():
        for role in principal.roles:
            held.setdefault(role, []).append(principal.name)
    return [
        Role(
            role=role,
            shipped=role not in own,
            includes=list(own.get(role, ())),
            held_by=held.get(role, []),
        )
        for role in sorted({*shipped_roles(), *own})
    ]


@operation("access:user", also=("access:grant",))
def add_user(
    project: Wiring,
    name: str,
    roles: list[str],
    password: str | None = None,
    account: str | None = None,
) -> Principal:
    """Register a person; with a password they can log in anywhere, without one as the user of this
    machine.

    Args:
        project: whose.
        name: who.
        roles: what they are.
        password: of a local account.
        account: `ISSUER ACCOUNT` at an OpenID provider, which they log in through.

    Raises:
        AccessDenied: policy. ConfigError: the name, a role or the password is not valid.
    """
    acting = about(add_user, project, name)
    if roles:
        no_more_than_own(about(add_user, project, name, also="access:grant", roles=roles), roles)
    derived = None if password is None else project.point.accounts.derive(name, password)
    with acting.transaction() as tx:
        made = project.point.directory.add(tx, name, roles, account)
        if derived is not None:
            project.point.accounts.set(tx, name, derived)
        acting.append(
            tx,
            "user:add",
            made.uid,
            roles=list(made.roles),
            password=derived is not None,
            account=account,
        )
    return made


@operation("access:user", also=("access:self",))
def set_password(project: Wiring, name: str, password: str, current: str | None = None) -> None:
    """Give a person another password and end their sessions; one's own needs the current one, if
    there is one.

    Raises:
        AccessDenied: policy, or the current password is wrong. ConfigError: unknown name, or the
            password is too easy.
    """
    me = project.point.identify().principal
    if me.name == name and name in project.point.accounts.known():
        acting = set_password.ask(project, also="access:self")
        if current is None:
            raise ConfigError(
                "the present password is missing", hint="--current prompt, env:NAME or file:PATH"
            )
        project.point.accounts.verify(name, current)
    else:
        acting = about(set_password, project, name)
        no_higher(acting, name)
    if project.point.directory.find("User", name) is None:
        raise ConfigError(f"there is no user {name!r}", hint="`casemate access list`")
    derived = project.point.accounts.derive(name, password)
    with acting.transaction() as tx:
        project.point.accounts.set(tx, name, derived)
        ended = project.point.sessions.end_all(tx, name, "the password was changed")
        acting.append(tx, "user:password", f'User::"{name}"', sessions_ended=ended)


@operation("access:user")
def disable_user(project: Wiring, name: str) -> None:
    """Let a person act no more, from within a second on and for good, suspended or not;
    AccessDenied, ConfigError or RefusedError (the last owner) otherwise.
    """
    acting = about(disable_user, project, name)
    no_higher(acting, name)
    with acting.transaction() as tx:
        project.point.directory.disable(tx, name)
        project.point.sessions.end_all(tx, name, "the user was disabled")
        acting.append(tx, "user:disable", f'User::"{name}"')


@operation("access:suspend")
def suspend(project: Wiring, principal: str, reason: str) -> int:
    """Let nobody act as a person or a service, from within a second on, until `resume`; returns how
    many sessions of theirs were ended.

    Args:
        project: whose.
        principal: `User::"NAME"` or `Service::"NAME"`.
        reason: why, for the record.

    Raises:
        AccessDenied: policy, or an owner is meant by somebody who is none. ConfigError: nobody of
            that name acts. RefusedError: the last owner.
    """
    one = principal_named(principal)
    acting = suspend.ask(project, about=one.uid, reason=reason[:500])
    if one.kind == "User":
        no_higher(acting, one.name)
    with acting.transaction() as tx:
        project.point.directory.suspend(tx, one.kind, one.name)
        ended = 0
        if one.kind == "User":
            ended = project.point.sessions.end_all(tx, one.name, "the user was suspended")
        acting.append(tx, "access:suspended", one.uid, reason=reason[:500], sessions_ended=ended)
    return ended


@operation("access:resume")
def resume(project: Wiring, principal: str, reason: str) -> None:
    """Let a suspended person or service act again; sessions stay ended.

    Raises:
        AccessDenied: policy, and for every service. ConfigError: nobody of that name is suspended,
            or they are disabled for good.
    """
    one = principal_named(principal)
    acting = resume.ask(project, about=one.uid, reason=reason[:500])
    if one.kind == "User":
        no_higher(acting, one.name)
    with acting.transaction() as tx:
        project.point.directory.resume(tx, one.kind, one.name)
        acting.append(tx, "access:resumed", one.uid, reason=reason[:500])


def principal_named(text: str) -> Principal:
    """Who is meant by `User::"NAME"` or `Service::"NAME"`; ConfigError: nobody could be."""
    try:
        return principal_of(text)
    except VerificationError as error:
        raise ConfigError(
            f"{text[:80]!r} names nobody", hint='User::"NAME" or Service::"NAME"'
        ) from error


@operation("access:grant")
def define_role(project: Wiring, role: str, includes: list[str]) -> None:
    """Make a role of the project's own out of others, or change it."""
    acting = define_role.ask(project, about=f'Role::"{role}"')
    if "owner" not in project.point.directory.closure(acting.principal.roles):
        raise AccessDenied(
            "a role may come to include what its author does not have",
            hint="an owner defines roles",
        )
    with acting.transaction() as tx:
        project.point.directory.define(tx, role, includes)
        acting.append(tx, "role:define", f'Role::"{role}"', includes=sorted(includes))
    project.point.forget()


@operation("access:grant")
def grant(project: Wiring, name: str, role: str) -> None:
    """Give a person a role for good."""
    acting = about(grant, project, name, roles=[role])
    no_more_than_own(acting, [role])
    with acting.transaction() as tx:
        project.point.directory.grant(tx, name, role)
        acting.append(tx, "role:grant", f'User::"{name}"', role=role)


@operation("access:grant")
def withdraw(project: Wiring, name: str, role: str) -> None:
    """Take a role from a person, delegations of it included."""
    acting = withdraw.ask(project, about=f'User::"{name}"', roles=[role])
    no_higher(acting, name)
    with acting.transaction() as tx:
        project.point.directory.withdraw(tx, name, role)
        acting.append(tx, "role:withdraw", f'User::"{name}"', role=role)


@operation("access:delegate")
def delegate(
    project: Wiring, name: str, role: str, reason: str, lifetime: datetime.timedelta
) -> Grant:
    """Lend a person a role that one has for good, for at most 30 days.

    Raises:
        AccessDenied: policy, or whoever delegates does not have the role, or has it on loan.
            ConfigError: person, role or time.
    """
    acting = about(delegate, project, name, roles=[role])
    registered = project.point.directory.rows()
    own: list[str] = next(
        (
            row.roles
            for row in registered
            if (row.kind, row.name) == ("User", acting.principal.name)
        ),
        [],
    )
    if role not in own and "owner" not in own:
        raise AccessDenied(
            f"{acting.uid} does not have the role {role!r} to lend",
            hint="who has it for good may delegate it",
        )
    if not datetime.timedelta(0) < lifetime <= MAX_DELEGATION:
        raise ConfigError("a delegation lasts at most 30 days", hint="--for 7d")
    return _lend(acting, name, role, "delegation", reason, lifetime)


@operation("access:break-glass")
def break_glass(project: Wiring, reason: str, lifetime: datetime.timedelta) -> Grant:
    """Take the role `emergency` for at most four hours; everybody who hears `access:break-glass` is
    told, and somebody else must review it.

    Raises:
        AccessDenied: policy. RefusedError: an earlier one was not reviewed. ConfigError: no reason,
            or the time is too long.
    """
    acting = break_glass.ask(project, reason=reason[:500])
    if not datetime.timedelta(0) < lifetime <= MAX_EMERGENCY:
        raise ConfigError("emergency access lasts at most 4 hours", hint="--for 1h")
    return _lend(acting, acting.principal.name, EMERGENCY, "break-glass", reason, lifetime)


def _lend(
    acting: Acting, name: str, role: str, why: str, reason: str, lifetime: datetime.timedelta
) -> Grant:
    with acting.transaction() as tx:
        made = acting.project.point.directory.lend(
            tx, name, role, why, reason, acting.principal.name, lifetime
        )
        told = {
            "grant": made.id,
            "role": role,
            "reason": made.reason,
            "until": made.until.isoformat(),
        }
        acting.append(tx, f"access:{why}", f'User::"{name}"', **told)
        if why == "break-glass":
            acting.project.outbox.enqueue(
                tx,
                "access:break-glass",
                f"break-glass/{made.id}",
                {"principal": acting.uid, **told},
            )
    return made
