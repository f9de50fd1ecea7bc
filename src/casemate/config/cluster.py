"""What tables for a cluster are made of: names as Kubernetes has them, whom pods talk with, where a
model and secrets come from.
"""

from typing import Annotated, Literal

from msgspec import Meta

from casemate.config.table import Table

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


NEEDS = {
    "image": ("image",),
    "copy": ("image", "fetcher"),
    "s3": ("address", "fetcher"),
    "claim": ("claim",),
}
"""What each source of a model must be told."""


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
