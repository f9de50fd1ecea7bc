"""`[access.providers]` and `[access.workloads]`: who vouches for people and for workloads."""

from typing import Annotated

import msgspec
from msgspec import Meta

from casemate.config.table import Authority, Name, Table, Url


class ProviderTable(Table, frozen=True, kw_only=True):
    """An OpenID provider that people log in through."""

    issuer: Annotated[
        Url,
        Meta(description="Its issuer, exactly as its tokens say; https, or http on this machine."),
    ]
    client: Annotated[str, Meta(description="Client id of casemate at the provider.", min_length=1)]
    secret: Annotated[
        str | None,
        Meta(description="Reference to the client's secret, where the provider wants one."),
    ] = None
    scopes: Annotated[list[str], Meta(description="What is asked for.")] = msgspec.field(
        default_factory=lambda: ["openid", "profile", "email"]
    )
    ca: Authority = None
    account: Annotated[
        list[str],
        Meta(
            description="Claims that tell an account from every other one, for ever.", min_length=1
        ),
    ] = msgspec.field(default_factory=lambda: ["sub"])
    person: Annotated[str, Meta(description="Claim that gives a new person's name.")] = (
        "preferred_username"
    )
    register: Annotated[
        bool,
        Meta(
            description=(
                "Accounts that nobody knows here yet become users; `false`: only those that `access"
                " user add` has named."
            )
        ),
    ] = False
    require: Annotated[
        dict[str, list[str]],
        Meta(description="Per claim, the values of which it must have one, such as a tenant."),
    ] = {}
    roles_from: Annotated[
        str | None, Meta(description="Claim that gives roles; default: roles are granted here.")
    ] = None
    roles: Annotated[
        dict[str, list[str]], Meta(description="Per value of that claim, the roles it stands for.")
    ] = {}
    factor: Annotated[
        dict[str, list[str]],
        Meta(
            description=(
                'Per claim, values that say that a second factor was used, such as `amr = ["mfa"]`.'
            )
        ),
    ] = {}


class WorkloadTable(Table, frozen=True, kw_only=True):
    """An issuer whose tokens stand for services: a Kubernetes cluster, a CI server."""

    issuer: Annotated[Url, Meta(description="`iss` of its tokens.")]
    audience: Annotated[
        str, Meta(description="`aud` that they must be made for.", min_length=1)
    ] = "casemate"
    keys: Annotated[
        str | None,
        Meta(
            description=(
                "Its JWK set: a file or an https address; default: by discovery from the issuer."
            )
        ),
    ] = None
    ca: Authority = None
    services: Annotated[
        dict[str, Name],
        Meta(
            description=(
                "Per `sub`, such as `system:serviceaccount:ml:scorer`, the service it stands for."
            )
        ),
    ]
