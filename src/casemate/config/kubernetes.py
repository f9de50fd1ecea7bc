"""`[deploy.kubernetes]` and `[deploy.kserve]`: what files for a cluster must know of it."""

import ipaddress
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from casemate.config.table import Count, Table

VERSIONS = ("1.33", "1.34", "1.35", "1.36", "1.37")
"""Of Kubernetes, whose fields are known here."""
IMAGE_VOLUMES = "1.35"
"""From this version on a cluster mounts images as volumes without a feature gate."""
SECRETS = "/secrets"
"""Where secrets lie in a pod: `[store] password = "file:/secrets/NAME"`."""

Label = Annotated[str, Meta(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$(?!\n)")]
"""A name as Kubernetes has it (RFC 1123)."""
Image = Annotated[
    str,
    Meta(
        pattern=r"^[a-z0-9][a-z0-9._:-]{0,200}(/[a-z0-9._-]{1,100}){0,8}@sha256:[0-9a-f]{64}$(?!\n)"
    ),
]
"""Named by its digest: a tag may be moved."""
Quantity = Annotated[str, Meta(pattern=r"^[1-9][0-9]{0,8}(m|k|M|G|Ki|Mi|Gi)?$(?!\n)")]
Port = Annotated[int, Meta(ge=1, le=65535)]
Network = Annotated[str, Meta(pattern=r"^[0-9a-fA-F.:]{2,39}/[0-9]{1,3}$(?!\n)")]
LabelValue = Annotated[
    str, Meta(pattern=r"^([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?$(?!\n)")
]
LabelKey = Annotated[
    str,
    Meta(pattern=r"^([a-z0-9.-]{1,200}/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$(?!\n)"),
]


class PeerTable(Table, frozen=True, kw_only=True):
    """Whom the pods talk with: a network, or pods of a namespace."""

    cidr: Annotated[
        Network | None, Meta(description="A network, such as `10.0.7.0/28`; or a namespace.")
    ] = None
    namespace: Annotated[Label | None, Meta(description="Pods of this namespace.")] = None
    pods: Annotated[
        dict[LabelKey, LabelValue],
        Meta(description="Labels of the pods in that namespace; default: all.", max_length=10),
    ] = {}
    ports: Annotated[
        list[Port], Meta(description="TCP ports; of callers always the gateway's.", max_length=10)
    ] = []


class ModelTable(Table, frozen=True, kw_only=True):
    """Where a pod gets the model from that it verifies before it starts."""

    source: Annotated[
        Literal["image", "copy", "s3", "claim"],
        Meta(
            description=(
                "`image`: an image volume (Kubernetes 1.35); `copy`: an image that an init"
                " container copies; `s3`: an exported folder that one fetches; `claim`: an exported"
                " folder on a volume."
            )
        ),
    ] = "image"
    image: Annotated[
        Image | None, Meta(description="`image` and `copy`: the model's image, by its digest.")
    ] = None
    fetcher: Annotated[
        Image | None,
        Meta(description="`copy`: an image with skopeo; `s3`: one with the AWS command line."),
    ] = None
    address: Annotated[
        Annotated[str, Meta(pattern=r"^s3://[a-z0-9.-]{3,63}(/[A-Za-z0-9._/-]{1,300})?$(?!\n)")]
        | None,
        Meta(description="`s3`: `s3://BUCKET/PREFIX`, as `aws s3 cp --recursive` wrote it."),
    ] = None
    credentials: Annotated[
        Label | None,
        Meta(
            description=(
                "`copy`: Secret with `auth.json` of the registry; `s3`: one with `credentials` of"
                " the AWS command line. Default: none are needed."
            )
        ),
    ] = None
    claim: Annotated[Label | None, Meta(description="`claim`: the PersistentVolumeClaim.")] = None


class ExternalTable(Table, frozen=True, kw_only=True):
    """An external store of secrets, which the External Secrets Operator reads."""

    store: Annotated[Label, Meta(description="Name of the SecretStore.")]
    kind: Annotated[Literal["SecretStore", "ClusterSecretStore"], Meta(description="Its kind.")] = (
        "ClusterSecretStore"
    )
    secrets: Annotated[
        str,
        Meta(
            description="Key of the entry whose properties become the files below `/secrets`.",
            pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,199}$(?!\n)",
        ),
    ]
    keys: Annotated[
        str,
        Meta(
            description="Key of the entry whose property `keystore.json` is the key store.",
            pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,199}$(?!\n)",
        ),
    ]
    refresh: Annotated[
        str, Meta(description="How often it is read.", pattern=r"^[1-9][0-9]{0,3}[smh]$(?!\n)")
    ] = "1h"


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
        str,
        Meta(
            description="When, as cron has it: five fields, UTC.",
            pattern=r"^[0-9*,/-]+( [0-9*,/-]+){4}$(?!\n)",
        ),
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


def impossible_kubernetes(table: KubernetesTable) -> list[str]:
    """What of `[deploy.kubernetes]` does not go together."""
    problems = []
    if table.version not in VERSIONS:
        problems.append(f"version: {table.version!r} is not known, but {', '.join(VERSIONS)}")
    if table.replicas > table.most:
        problems.append(f"replicas: {table.replicas} are more than most = {table.most}")
    if table.backups is not None and table.claim is None:
        problems.append("backups: needs claim, where evidence and sealed tables lie")
    if table.cosign is not None and "kyverno" not in table.admission:
        problems.append('cosign: needs admission = ["kyverno"], Kubernetes itself asks no registry')
    if len({table.secrets, table.keys}) == 1:
        problems.append("secrets, keys: are two Secrets")
    if len({*table.namespaces.values()}) != len(table.namespaces):
        problems.append("namespaces: each overlay needs its own")
    problems += [f"model: {problem}" for problem in _impossible_model(table)]
    problems += _impossible_sizes(table)
    for kind, peers in (("callers", table.callers), ("peers", table.peers)):
        problems += [
            f"{kind}.{name}: {problem}"
            for name, peer in peers.items()
            for problem in _impossible_peer(kind, peer)
        ]
    return [f"[deploy.kubernetes] {problem}" for problem in problems]


NEEDS = {
    "image": ("image",),
    "copy": ("image", "fetcher"),
    "s3": ("address", "fetcher"),
    "claim": ("claim",),
}
TAKES = {"copy": ("credentials",), "s3": ("credentials",)}
"""What each source of a model may be told beside."""


def _impossible_model(table: KubernetesTable) -> list[str]:
    """A source without its place is found when files are rendered: a default must be possible."""
    model = table.model
    fields = ("image", "fetcher", "address", "credentials", "claim")
    said = [name for name in fields if getattr(model, name) is not None]
    taken = (*NEEDS[model.source], *TAKES.get(model.source, ()))
    problems = [
        f'{name} says nothing with source = "{model.source}"' for name in said if name not in taken
    ]
    if (
        model.source == "image"
        and said
        and table.version in VERSIONS[: VERSIONS.index(IMAGE_VOLUMES)]
    ):
        problems.append(
            f'source = "image" needs Kubernetes {IMAGE_VOLUMES}, version is {table.version}: set'
            ' source = "copy"'
        )
    return problems


UNITS = {"": 1.0, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}


def amount(quantity: str) -> float:
    """The number behind a quantity such as `500m` or `1Gi`."""
    digits = quantity.rstrip("mkKMGi")
    return int(digits) * UNITS[quantity[len(digits) :]]


def _impossible_sizes(table: KubernetesTable) -> list[str]:
    problems = []
    if amount(table.cpu) > amount(table.cpu_limit):
        problems.append(f"cpu: {table.cpu} is more than cpu_limit = {table.cpu_limit}")
    problems += [
        f"{name}: {value} is no number of bytes that could do"
        for name, value in (("memory", table.memory), ("scratch", table.scratch))
        if amount(value) < 2**26
    ]
    return problems


def _impossible_peer(kind: str, peer: PeerTable) -> list[str]:
    problems = []
    if (peer.cidr is None) == (peer.namespace is None):
        problems.append("give cidr or namespace")
    if peer.pods and peer.namespace is None:
        problems.append("pods are those of a namespace")
    if peer.cidr is not None and not _is_network(peer.cidr):
        problems.append(f"{peer.cidr} is no network")
    if kind == "peers" and not peer.ports:
        problems.append("give ports")
    if kind == "callers" and peer.ports:
        problems.append("ports: callers reach the gateway's alone")
    return problems


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text)
    except ValueError:
        return False
    return True


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
