"""One line of the table of who may do what."""

from casemate.core.types import Record

Context = dict[str, str | list[str]]
SERVICE = "sagemaker.amazonaws.com"
ROLES = ("training", "serving", "deployer", "auditor")
CONTAINERS, PEOPLE = ROLES[:2], ROLES[2:]


class Asked(Record, frozen=True, kw_only=True):
    """One line."""

    principal: str
    """One of `ROLES`, the name of a service, or the ARN of somebody else, whose own policies let
    them do anything.
    """
    action: str
    """Of IAM."""
    resource: str
    """An ARN, or `*` where the action knows none."""
    because: str
    """In half a line."""
    context: Context = {}
    """Condition keys of the request, with their values."""
    allowed: bool = True


def may(
    who: str, action: str, resource: str, because: str, context: Context | None = None
) -> Asked:
    """A line with what somebody needs."""
    return Asked(
        principal=who, action=action, resource=resource, because=because, context=context or {}
    )


def never(
    who: str, action: str, resource: str, because: str, context: Context | None = None
) -> Asked:
    """A line with what somebody must not do."""
    return Asked(
        principal=who,
        action=action,
        resource=resource,
        because=because,
        context=context or {},
        allowed=False,
    )


def without(context: Context, name: str) -> Context:
    """A request that does not say one thing."""
    return {one: value for one, value in context.items() if one != name}
