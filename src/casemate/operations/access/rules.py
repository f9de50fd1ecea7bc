"""What no policy needs to say: nobody gives what they do not have, and owners decide about
owners.
"""

from collections.abc import Collection, Iterable
from typing import Any

from casemate.controls.access.types import Principal
from casemate.core.errors import AccessDenied
from casemate.operations.acting import Acting, Operation
from casemate.wiring import Wiring


def about(operation: Operation[..., Any], project: Wiring, name: str, **detail: Any) -> Acting:
    """Whoever acts, if they may do this to a person."""
    context = {"subject": Principal("User", name, ())}
    return operation.ask(project, context=context, about=f'User::"{name}"', **detail)


def no_more_than_own(acting: Acting, roles: Iterable[str], free: Collection[str] = ()) -> None:
    """AccessDenied when the roles include one that whoever acts does not have; owners have all."""
    own = acting.project.point.directory.closure(acting.principal.roles)
    if "owner" not in own and (
        more := acting.project.point.directory.closure(roles) - own - set(free)
    ):
        raise AccessDenied(
            f"nobody gives roles that they do not have: {', '.join(sorted(more))}",
            hint="an owner does",
        )


def no_higher(acting: Acting, name: str) -> None:
    """AccessDenied when somebody who is no owner would decide about an owner's account."""
    directory = acting.project.point.directory
    roles: list[str] = next(
        (row.roles for row in directory.rows() if (row.kind, row.name) == ("User", name)), []
    )
    closure = directory.closure
    if "owner" in closure(roles) and "owner" not in closure(acting.principal.roles):
        raise AccessDenied(f"{name!r} is an owner", hint="an owner decides about owners' accounts")
