"""One's own login, second factors, and everybody's sessions."""

from typing import Any

from casemate.controls.access.acting import Identity
from casemate.controls.access.identity.factors import uri
from casemate.controls.access.identity.sessions import LiveSession
from casemate.core.errors import ConfigError
from casemate.operations.access.rules import about, no_higher
from casemate.operations.acting import Acting, Operation, operation, reading
from casemate.wiring import Wiring


@reading("access:self")
def whoami(project: Wiring) -> tuple[Identity, int | None]:
    """(who acts, seconds since a second factor was used in this session); AccessDenied: nobody, or
    policy.
    """
    identity = project.point.identify()
    return identity, project.point.situation(identity).mfa_age


@reading("access:read")
def sessions(project: Wiring) -> list[LiveSession]:
    """Live sessions of people; AccessDenied: policy."""
    return project.point.sessions.live()


@reading("access:self")
def factors(project: Wiring) -> dict[str, int]:
    """How many second factors of each kind whoever acts has."""
    return project.point.factors.kinds(project.point.identify().principal.name)


@operation("access:session")
def end_session(project: Wiring, identifier: str) -> int:
    """End a session of anybody; ConfigError when there is none."""
    acting = end_session.ask(project, session=identifier)
    with acting.transaction() as tx:
        count = project.point.sessions.end(tx, identifier, f"ended by {acting.principal.name}")
        if not count:
            raise ConfigError(
                f"no live session {identifier!r}", hint="`casemate access session list`"
            )
        acting.append(tx, "session:end", f'Session::"{identifier}"')
    return count


@operation("access:session")
def end_sessions(project: Wiring, name: str, reason: str) -> int:
    """End every session of a person, who may log in again; returns how many ended."""
    acting = end_sessions.ask(project, about=f'User::"{name}"', reason=reason[:500])
    with acting.transaction() as tx:
        count = project.point.sessions.end_all(tx, name, reason[:500])
        acting.append(tx, "session:ended", f'User::"{name}"', sessions=count)
    return count


@operation("access:self")
def add_factor(project: Wiring) -> tuple[str, str]:
    """(secret in base32, its `otpauth` address) of a new time-based factor of whoever acts;
    `confirm_factor` makes it count.

    Raises:
        AccessDenied: there is a factor already and it was not used within the last quarter of an
            hour.
    """
    acting = _own_login(add_factor, project)
    identifier, secret, wrapped = project.point.factors.enrol(acting.principal.name)
    with acting.transaction() as tx:
        project.point.factors.add(tx, acting.principal.name, identifier, wrapped)
        acting.append(tx, "factor:add", acting.uid, factor=identifier)
    return secret, uri(acting.principal.name, project.point.options.project, secret)


@operation("access:self")
def confirm_factor(project: Wiring, code: str) -> list[str]:
    """Let the new factor count, proven by its first code; returns recovery codes, shown here and
    nowhere else.
    """
    acting = _own_login(confirm_factor, project)
    codes = project.point.factors.confirm(acting.principal.name, code)
    acting.record("factor:confirm", acting.uid)
    return codes


@operation("access:user")
def remove_factors(project: Wiring, name: str) -> int:
    """Forget all factors of a person who has lost them; returns how many."""
    acting = about(remove_factors, project, name)
    no_higher(acting, name)
    with acting.transaction() as tx:
        count = project.point.factors.remove(tx, name)
        project.point.sessions.end_all(tx, name, "the second factor was removed")
        acting.append(tx, "factor:remove", f'User::"{name}"', factors=count)
    return count


def _own_login(asked: Operation[..., Any], project: Wiring) -> Acting:
    acting = asked.ask(project, unrecorded=True)
    project.point.own_factor(project.point.identify())
    return acting
