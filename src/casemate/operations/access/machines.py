"""Services, and the tokens that some of them need."""

import datetime

import sqlalchemy as sa

from casemate.controls.access.identity.registered import PRINCIPALS
from casemate.controls.access.identity.tokens import TOKENS, IssuedToken, TokenLimits
from casemate.controls.access.types import Principal
from casemate.core.errors import ConfigError
from casemate.operations.access.rules import no_more_than_own
from casemate.operations.acting import Acting, operation, reading
from casemate.wiring import Wiring

SERVICE_ROLES = ("client", "analyst", "monitor", "alerter")
"""What whoever may register services gives them without having it."""


@reading("access:read")
def services(project: Wiring) -> list[Principal]:
    """Every service with its roles and models; AccessDenied: policy."""
    return [one for one in project.point.directory.principals() if one.kind == "Service"]


@reading("access:read")
def tokens(project: Wiring) -> list[IssuedToken]:
    """Every token, without its secret; AccessDenied: policy."""
    return project.point.tokens.all()


@operation("access:service")
def add_service(
    project: Wiring,
    service: str,
    roles: list[str],
    models: list[str],
    *,
    by_certificate: bool = False,
) -> None:
    """Register a service that proves itself with a client certificate, or as a workload that
    `[access.workloads]` names.
    """
    acting = add_service.ask(project, service=service)
    no_more_than_own(acting, roles, SERVICE_ROLES)
    with acting.transaction() as tx:
        project.point.tokens.register(tx, service, roles, models, by_certificate=by_certificate)
        acting.append(
            tx,
            "service:add",
            f'Service::"{service}"',
            roles=roles,
            models=models,
            by_certificate=by_certificate,
        )


@operation("access:service")
def remove_service(project: Wiring, service: str) -> int:
    """Forget a service with all its tokens; returns how many those were. ConfigError when there is
    none.
    """
    acting = remove_service.ask(project, service=service)
    with acting.transaction() as tx:
        count = int(
            tx.execute(
                sa.select(sa.func.count()).select_from(TOKENS).where(TOKENS.c.service == service)
            ).scalar_one()
        )
        known = tx.execute(
            sa.select(PRINCIPALS.c.name).where(
                PRINCIPALS.c.kind == "Service", PRINCIPALS.c.name == service
            )
        ).first()
        if known is None:
            raise ConfigError(
                f"there is no service {service!r}", hint="`casemate access service list`"
            )
        project.point.tokens.forget(tx, service)
        acting.append(tx, "service:remove", f'Service::"{service}"', tokens=count)
    return count


@operation("token:create")
def create_token(
    project: Wiring,
    service: str,
    roles: list[str],
    models: list[str],
    lifetime: datetime.timedelta,
    limits: TokenLimits | None = None,
) -> tuple[str, str]:
    """(token, token id) for a service; the token is shown here and nowhere else."""
    acting = create_token.ask(project, service=service)
    no_more_than_own(acting, roles, SERVICE_ROLES)
    limits = limits or TokenLimits()
    with acting.transaction() as tx:
        token, identifier = project.point.tokens.create(
            tx, service, roles, models, lifetime, limits
        )
        detail = {
            "token": identifier,
            "roles": roles,
            "models": models,
            "seconds": int(lifetime.total_seconds()),
            "limits": vars(limits),
        }
        acting.append(tx, "token:create", f'Service::"{service}"', **detail)
    return token, identifier


@operation("token:revoke")
def revoke_token(project: Wiring, identifier: str) -> None:
    """Make a token useless, from within a second on; ConfigError when there is none with
    this id.
    """
    acting = revoke_token.ask(project)
    with acting.transaction() as tx:
        project.point.tokens.revoke(tx, identifier)
        acting.append(tx, "token:revoke", f'Token::"{identifier}"')


def forget(project: Wiring, service: str, identifier: str) -> None:
    """Forget a service that was made for one call, with the token that whoever acts was let make
    for it.
    """
    acting = Acting(project, project.point.actor)
    with project.database.transaction() as tx:
        project.point.tokens.forget(tx, service)
        acting.append(tx, "token:revoke", f'Service::"{service}"', token=identifier)
