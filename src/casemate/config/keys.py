"""`[keys]`: who keeps the key-encryption keys."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from casemate.config.table import Days, Table
from casemate.config.words import explain
from casemate.core.errors import ConfigError


class KeysTable(Table, frozen=True, kw_only=True):
    """Who keeps the key-encryption keys."""

    provider: Annotated[
        Literal["file", "vault", "aws"],
        Meta(
            description=(
                "`file`: on this machine; `vault`: HashiCorp Vault or OpenBao Transit; `aws`: AWS"
                " KMS. `casemate keys migrate` changes it."
            )
        ),
    ] = "file"
    passphrase: Annotated[
        str | None,
        Meta(
            description=(
                "File provider: reference to the passphrase (`env:NAME`, `file:PATH` or `prompt`);"
                " none: mode 0600 only."
            )
        ),
    ] = None
    address: Annotated[
        str, Meta(description="Vault: URL of the server, https; http to this machine only.")
    ] = "https://127.0.0.1:8200"
    ca: Annotated[
        str | None,
        Meta(
            description="Vault: PEM file of the certificate authority, if it is not a public one."
        ),
    ] = None
    namespace: Annotated[str | None, Meta(description="Vault: namespace.")] = None
    mount: Annotated[
        str, Meta(description="Vault: where the Transit engine is mounted.", min_length=1)
    ] = "transit"
    auth: Annotated[
        Literal["token", "approle", "kubernetes"], Meta(description="Vault: how casemate logs in.")
    ] = "token"
    role: Annotated[
        str, Meta(description="Vault: role id (AppRole) or role name (Kubernetes).")
    ] = ""
    secret: Annotated[
        str,
        Meta(
            description=(
                "Vault: reference to the token, the AppRole's secret id, or the Kubernetes service"
                " account's token."
            )
        ),
    ] = "env:VAULT_TOKEN"
    region: Annotated[
        str | None, Meta(description="AWS: region; default: the AWS configuration's.")
    ] = None
    endpoint: Annotated[
        str,
        Meta(
            description="AWS: another endpoint, such as a VPC endpoint.",
            pattern=r"^(https?://[^\s?#]+)?$(?!\n)",
        ),
    ] = ""
    timeout: Annotated[
        float, Meta(description="Seconds one request to the provider may take.", gt=0, le=600)
    ] = 10.0
    max_age_days: Annotated[
        Days,
        Meta(description="Days after which the active version of a key is overdue for rotation."),
    ] = 365


def keys_table(values: dict[str, Any]) -> KeysTable:
    """`[keys]` from single values; ConfigError when one is impossible."""
    try:
        return msgspec.convert(values, KeysTable)
    except msgspec.ValidationError as error:
        raise ConfigError(
            f"[keys] {explain(str(error), KeysTable, values)}",
            hint="`casemate config schema` lists every option",
        ) from error
