"""`[access]`: who gets in, and from where."""

import ipaddress
from typing import Annotated, Literal

from msgspec import Meta

from casemate.config.identity import ProviderTable, WorkloadTable
from casemate.config.table import Count, Name, Origin, Table
from casemate.core.http import is_private


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
