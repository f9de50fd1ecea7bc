"""`[access]`: people, providers, places."""

import ipaddress
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from casemate.config.table import Count, Name, Origin, Table, Url
from casemate.core.http import is_private


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
    ca: Annotated[
        str | None,
        Meta(
            description=(
                "PEM file of the only authority that is believed for it; default: the system's."
            )
        ),
    ] = None
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
    ca: Annotated[
        str | None,
        Meta(
            description=(
                "PEM file of the only authority that is believed for it; default: the system's."
            )
        ),
    ] = None
    services: Annotated[
        dict[str, Name],
        Meta(
            description=(
                "Per `sub`, such as `system:serviceaccount:ml:scorer`, the service it stands for."
            )
        ),
    ]


class PlaceTable(Table, frozen=True, kw_only=True):
    """Where networks are, so that travel which nobody can make is seen."""

    networks: Annotated[list[str], Meta(description="Networks of the place, CIDR.", min_length=1)]
    latitude: Annotated[float, Meta(description="Degrees north.", ge=-90, le=90)]
    longitude: Annotated[float, Meta(description="Degrees east.", ge=-180, le=180)]


class AccessTable(Table, frozen=True, kw_only=True):
    """Who may do what."""

    policies: Annotated[
        str, Meta(description="Folder of the project's own Cedar policies (`*.cedar`).")
    ] = "policies"
    rows: Annotated[
        list[str],
        Meta(
            description=(
                "Columns of class `general` with few values by which policies open or close rows"
                " (`dataset:read-rows`)."
            )
        ),
    ] = []
    local: Annotated[
        bool,
        Meta(
            description=(
                "Users of this machine act as themselves; `false`: only after `casemate access"
                " login`."
            )
        ),
    ] = True
    mfa: Annotated[
        Literal["enrolled", "required"],
        Meta(
            description=(
                "Who needs a fresh second factor for what cannot be taken back: whoever has one"
                " enrolled, or everybody."
            )
        ),
    ] = "enrolled"
    environment: Annotated[
        Name, Meta(description="Goes into every decision, such as `production`.")
    ] = "local"
    timezone: Annotated[
        str, Meta(description="Of `context.hour` and `context.weekday`, such as `Europe/Berlin`.")
    ] = "UTC"
    breached: Annotated[
        str | None,
        Meta(
            description=(
                "Breached passwords, refused for accounts: a file of sorted SHA-1 hashes as Have I"
                " Been Pwned offers it."
            )
        ),
    ] = None
    posture: Annotated[
        str | None,
        Meta(
            description=(
                "A file whose first line is this device's posture (`context.device`), kept by your"
                " device management."
            )
        ),
    ] = None
    providers: Annotated[
        dict[Name, ProviderTable], Meta(description="Per OpenID provider: issuer, client, ...")
    ] = {}
    workloads: Annotated[
        dict[Name, WorkloadTable],
        Meta(description="Per issuer of services' tokens: issuer, services, ..."),
    ] = {}
    places: Annotated[
        dict[Name, PlaceTable], Meta(description="Per place: networks, latitude, longitude.")
    ] = {}
    bulk_rows: Annotated[
        Count,
        Meta(
            description=(
                "Rows that a person may read in a day before it is told, unless it is usual for"
                " them."
            )
        ),
    ] = 100_000
    origin: Annotated[
        Origin | None,
        Meta(
            description=(
                "Address that browsers know this service by, for passkeys; default: the first of"
                " `[serve] names` and the port."
            )
        ),
    ] = None


def impossible_access(access: AccessTable) -> list[str]:
    """What of `[access]` does not go together."""
    tables: dict[str, ProviderTable | WorkloadTable] = {
        f"providers.{name}": table for name, table in access.providers.items()
    }
    tables |= {f"workloads.{name}": table for name, table in access.workloads.items()}
    problems = [
        f"[access.{name}] issuer: {table.issuer} is not https"
        for name, table in tables.items()
        if not is_private(table.issuer)
    ]
    problems += [
        f"[access.providers.{name}] roles and roles_from belong together"
        for name, table in access.providers.items()
        if bool(table.roles) != bool(table.roles_from)
    ]
    problems += [
        f"[access.providers.{name}] scopes: openid is missing"
        for name, table in access.providers.items()
        if "openid" not in table.scopes
    ]
    problems += [
        f"[access.workloads.{name}] keys: {table.keys} is not https"
        for name, table in access.workloads.items()
        if "://" in (table.keys or "") and not is_private(str(table.keys))
    ]
    for name, place in access.places.items():
        for network in place.networks:
            try:
                ipaddress.ip_network(network)
            except ValueError:
                problems.append(
                    f"[access.places.{name}] {network!r} is not a network, such as 10.1.0.0/16"
                )
    return problems
