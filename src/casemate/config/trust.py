"""`[keys]`, `[store]`, `[audit]`, `[notices]` and `[outbox]`: keys, catalogue, log, and what
leaves.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from casemate.config.table import Event, Name, Table
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
        int,
        Meta(
            description="Days after which the active version of a key is overdue for rotation.",
            ge=1,
        ),
    ] = 365


class StoreTable(Table, frozen=True, kw_only=True):
    """Where runs, models, principals and the log's entries are kept, and sealed objects."""

    url: Annotated[
        str,
        Meta(
            description=(
                "Empty: SQLite in `.casemate/catalog.db`. Or"
                " `postgresql://USER@HOST:PORT/DATABASE`."
            )
        ),
    ] = ""
    password: Annotated[
        str | None,
        Meta(description="Reference to the database password: `env:NAME` or `file:PATH`."),
    ] = None
    objects: Annotated[
        str,
        Meta(
            description="Sealed objects; empty: in `.casemate/objects`. Or `s3://BUCKET/PREFIX`.",
            pattern=r"^(s3://.+)?$(?!\n)",
        ),
    ] = ""
    endpoint: Annotated[
        str | None, Meta(description="Of an S3 server that is not AWS: `https://HOST:PORT`.")
    ] = None
    region: Annotated[str | None, Meta(description="Of the bucket.")] = None
    access_key: Annotated[
        str | None,
        Meta(description="Reference to the access key; default: as the AWS SDK finds it."),
    ] = None
    secret_key: Annotated[
        str | None,
        Meta(description="Reference to the secret key; default: as the AWS SDK finds it."),
    ] = None


class WitnessTable(Table, frozen=True, kw_only=True):
    """Somebody else who keeps the log honest."""

    url: Annotated[
        str,
        Meta(
            description="Submission prefix of the witness (C2SP tlog-witness).",
            pattern=r"^https?://[^\s?#]+$(?!\n)",
        ),
    ]
    keys: Annotated[
        list[str],
        Meta(
            description="Its verifier keys (lines of its witness.vkey); all of them must sign.",
            min_length=1,
        ),
    ]


class AuditTable(Table, frozen=True, kw_only=True):
    """Who else holds a copy of what the log said."""

    witnesses: Annotated[dict[Name, WitnessTable], Meta(description="Per witness: url, keys.")] = {}
    quorum: Annotated[
        int,
        Meta(description="Witnesses that must have cosigned; `audit verify` fails below it.", ge=0),
    ] = 0
    copies: Annotated[
        list[str],
        Meta(
            description=(
                "Where checkpoints are copied: `file:FOLDER`, `git:REPOSITORY`, `s3:BUCKET/PREFIX`"
                " (written under object lock)."
            )
        ),
    ] = []
    retain_days: Annotated[
        int, Meta(description="Days that S3 object lock keeps a checkpoint.", ge=1)
    ] = 2190
    max_age_hours: Annotated[
        float,
        Meta(
            description=(
                "With a quorum: hours after which a cosignature no longer vouches for the log;"
                " `audit verify` and `fsck` fail then."
            ),
            gt=0,
        ),
    ] = 24.0
    every_minutes: Annotated[
        float,
        Meta(
            description=(
                "Minutes between two copies and cosignatures while a gateway serves; runs ask at"
                " their end too."
            ),
            gt=0,
        ),
    ] = 15.0


class NoticeTable(Table, frozen=True, kw_only=True):
    """One receiver of what happens."""

    kind: Annotated[Literal["webhook", "mail", "folder"], Meta(description="How it is delivered.")]
    to: Annotated[str, Meta(description="URL, mail address or folder.", min_length=1)]
    on: Annotated[list[Event], Meta(description="What it hears of; `*`: everything.")] = (
        msgspec.field(default_factory=lambda: ["*"])
    )
    secret: Annotated[
        str | None,
        Meta(description="Webhook: reference to the key that signs the body (HMAC-SHA-256)."),
    ] = None
    server: Annotated[str, Meta(description="Mail: HOST:PORT of the SMTP server.")] = "localhost:25"
    sender: Annotated[str, Meta(description="Mail: From address.")] = "casemate@localhost"


class OutboxTable(Table, frozen=True, kw_only=True):
    """How hard the outbox tries."""

    attempts: Annotated[
        int, Meta(description="Deliveries tried before a message counts as dead.", ge=1, le=100)
    ] = 8
    backoff: Annotated[
        float,
        Meta(
            description="Seconds before the second try; doubled each time, at most a day.",
            ge=0,
            le=86400,
        ),
    ] = 10.0
    timeout: Annotated[float, Meta(description="Seconds one delivery may take.", gt=0, le=600)] = (
        10.0
    )


def keys_table(values: dict[str, Any]) -> KeysTable:
    """`[keys]` from single values; ConfigError when one is impossible."""
    try:
        return msgspec.convert(values, KeysTable)
    except msgspec.ValidationError as error:
        raise ConfigError(
            f"[keys] {explain(str(error), KeysTable, values)}",
            hint="`casemate config schema` lists every option",
        ) from error


def impossible_audit(audit: AuditTable) -> list[str]:
    """What of `[audit]` does not go together."""
    if audit.quorum > len(audit.witnesses):
        return [
            (
                f"[audit] quorum: {audit.quorum} witnesses are required, {len(audit.witnesses)} are"
                " configured"
            )
        ]
    return []
