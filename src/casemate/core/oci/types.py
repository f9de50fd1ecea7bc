"""The documents of an image layout, and what their parts are called."""

import re
from typing import Annotated, TypeVar

import msgspec

from casemate.core.digest import sha256
from casemate.core.errors import VerificationError

LAYOUT_FILE, INDEX_FILE = "oci-layout", "index.json"
LAYOUT_VERSION = "1.0.0"
"""Of the layout, which has stood still since 1.0: `imageLayoutVersion`."""
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"
EMPTY_TYPE, EMPTY = "application/vnd.oci.empty.v1+json", b"{}"
"""The config of what has none."""
NAMED = "org.opencontainers.image.ref.name"
CREATED = "org.opencontainers.image.created"
MAX_DOCUMENT = 4 * 2**20
"""Bytes of an index, a manifest or a configuration; registries take no larger manifests."""
MAX_PARTS = 1000
"""Manifests of an index, layers of a manifest."""
T = TypeVar("T")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")


class Descriptor(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Content by its digest; fields of other names are for others."""

    mediaType: str  # noqa: N815 - the specification's name
    digest: str
    size: Annotated[int, msgspec.Meta(ge=0)]
    artifactType: str | None = None  # noqa: N815 - the specification's name
    annotations: dict[str, str] | None = None

    def __post_init__(self) -> None:
        if _DIGEST.fullmatch(self.digest) is None:
            raise ValueError("a digest is sha256: and 64 hexadecimal digits")

    @property
    def hexadecimal(self) -> str:
        """The digest without the name of its algorithm."""
        return self.digest.partition(":")[2]


class Manifest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An image, a model or what is said of one: a configuration and layers."""

    schemaVersion: Annotated[int, msgspec.Meta(ge=2, le=2)]  # noqa: N815 - the specification's name
    mediaType: str = ""  # noqa: N815 - the specification's name
    artifactType: str | None = None  # noqa: N815 - the specification's name
    config: Descriptor
    layers: Annotated[list[Descriptor], msgspec.Meta(max_length=MAX_PARTS)]
    subject: Descriptor | None = None
    annotations: dict[str, str] | None = None


class Index(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a layout holds."""

    schemaVersion: Annotated[int, msgspec.Meta(ge=2, le=2)]  # noqa: N815 - the specification's name
    mediaType: str = ""  # noqa: N815 - the specification's name
    manifests: Annotated[list[Descriptor], msgspec.Meta(max_length=MAX_PARTS)]
    annotations: dict[str, str] | None = None


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """`oci-layout`."""

    imageLayoutVersion: str  # noqa: N815 - the specification's name


def described(
    content: bytes,
    media_type: str,
    annotations: dict[str, str] | None = None,
    artifact_type: str | None = None,
) -> Descriptor:
    """The descriptor of `content`."""
    return Descriptor(
        mediaType=media_type,
        digest="sha256:" + sha256(content),
        size=len(content),
        artifactType=artifact_type,
        annotations=annotations,
    )


def tag(name: str) -> str:
    """A name as image references spell it: what they cannot say becomes `-`.

    >>> tag("wdbc-3"), tag("../Wör d"), tag("")
    ('wdbc-3', '_.-W-r-d', '_')
    """
    spelled = re.sub(r"[^A-Za-z0-9_.-]", "-", name)[:127]
    spelled = spelled if _NAME.fullmatch(spelled) else "_" + spelled[1:]
    return spelled if _NAME.fullmatch(spelled) else "_"


def decode(content: bytes, kind: type[T], what: str) -> T:
    """A document of the layout; VerificationError when it is none."""
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise VerificationError(
            f"the {what} of the image is malformed: {error}", hint="obtain the image again"
        ) from error


def encode(document: object) -> bytes:
    """A document, the same bytes each time."""
    return msgspec.json.encode(document, order="deterministic")
