"""`[deploy.kubernetes]` and `[deploy.kserve]`: what files for a cluster must know of it."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from casemate.config.cluster import ExternalTable, Image, Label, ModelTable, PeerTable, Quantity
from casemate.config.table import Count, Cron, Table

VERSIONS = ("1.33", "1.34", "1.35", "1.36", "1.37")
"""Of Kubernetes, whose fields are known here."""
IMAGE_VOLUMES = "1.35"
"""From this version on a cluster mounts images as volumes without a feature gate."""
SECRETS = "/secrets"
"""Where secrets lie in a pod: `[store] password = "file:/secrets/NAME"`."""


class KubernetesTable(Table, frozen=True, kw_only=True):
    """What `casemate deploy kubernetes` and `casemate deploy kserve` render."""

    version: Annotated[
        str, Meta(description="Of Kubernetes, as `1.36`: the oldest of your clusters.")
    ] = "1.36"
    image: Annotated[
        Image | None, Meta(description="The gateway's image, by its digest; needed to render.")
    ] = None
    accepted: Annotated[
        list[Image],
        Meta(description="Further gateway images that admission takes, such as the last one."),
    ] = []
    python: Annotated[
        str,
        Meta(
            description="The interpreter in that image.",
            pattern=r"^/[A-Za-z0-9._/-]{1,100}$(?!\n)",
        ),
    ] = "/usr/bin/python3"
    namespaces: Annotated[
        dict[Label, Label],
        Meta(
            description=(
                "Namespace per overlay; default: `staging` and `production` of the project's name."
            ),
            max_length=10,
        ),
    ] = {}
    model: Annotated[ModelTable, Meta(description="What a pod verifies before it starts.")] = (
        ModelTable()
    )
    approvals: Annotated[
        Count, Meta(description="People who must have approved the model before it starts.")
    ] = 1
    replicas: Annotated[int, Meta(description="Fewest gateways.", ge=1, le=1000)] = 2
    most: Annotated[int, Meta(description="Most gateways.", ge=1, le=1000)] = 6
    in_flight: Annotated[
        int,
        Meta(
            description=(
                "Requests being answered per gateway (`casemate_in_flight`, by a metrics adapter)"
                " above which there will be more gateways."
            ),
            ge=1,
        ),
    ] = 8
    cpu: Annotated[Quantity, Meta(description="That a gateway asks for.")] = "500m"
    memory: Annotated[Quantity, Meta(description="That it asks for, and its limit.")] = "1Gi"
    cpu_limit: Annotated[Quantity, Meta(description="Most that it may take.")] = "2"
    scratch: Annotated[
        Quantity,
        Meta(description="Most that a pod may write; the verified model is kept in memory of it."),
    ] = "2Gi"
    users: Annotated[
        bool,
        Meta(description="User namespaces (`hostUsers: false`); off where nodes have none."),
    ] = True
    callers: Annotated[
        dict[Label, PeerTable],
        Meta(description="Who may call the gateway, by a name of yours; nobody else can."),
    ] = {}
    peers: Annotated[
        dict[Label, PeerTable],
        Meta(description="Whom the pods may call: the database, S3, Vault; nobody else."),
    ] = {}
    secrets: Annotated[
        Label, Meta(description="Secret whose entries are the files below `/secrets`.")
    ] = "casemate-secrets"
    keys: Annotated[
        Label, Meta(description="Secret whose entry `keystore.json` is the key store.")
    ] = "casemate-keys"
    external: Annotated[
        ExternalTable | None,
        Meta(description="An ExternalSecret makes both Secrets; default: you make them."),
    ] = None
    pull: Annotated[
        Label | None, Meta(description="Secret with the registry's credentials for images.")
    ] = None
    claim: Annotated[
        Label | None,
        Meta(
            description=(
                "PersistentVolumeClaim (ReadWriteMany) with the project's `.casemate`, for the"
                " watcher and for backups; a gateway needs none."
            )
        ),
    ] = None
    backups: Annotated[
        Label | None,
        Meta(description="PersistentVolumeClaim to which backups are written; needs `claim`."),
    ] = None
    backup_schedule: Annotated[
        Cron, Meta(description="When, as cron has it: five fields, UTC.")
    ] = "23 2 * * *"
    admission: Annotated[
        list[Literal["kubernetes", "kyverno"]],
        Meta(
            description=(
                "Who refuses pods that start a model without verifying it: Kubernetes itself"
                " (ValidatingAdmissionPolicy), Kyverno (ValidatingPolicy)."
            )
        ),
    ] = msgspec.field(default_factory=lambda: ["kubernetes"])
    cosign: Annotated[
        Annotated[str, Meta(pattern=r"^(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9._/-]{0,99}$(?!\n)")] | None,
        Meta(
            description=(
                "File with the public key with which you sign the gateway's image by cosign;"
                " Kyverno's ImageValidatingPolicy asks for it. Not below `[deploy] trusted`."
            )
        ),
    ] = None


class KServeTable(Table, frozen=True, kw_only=True):
    """What `casemate deploy kserve` renders beside."""

    namespace: Annotated[
        Label | None,
        Meta(description="Of the InferenceService; default: the project's name and `-kserve`."),
    ] = None
    protocol: Annotated[
        Literal["v2", "grpc-v2"],
        Meta(description="Which port KServe sends requests to: REST, or gRPC."),
    ] = "v2"
