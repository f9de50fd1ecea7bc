"""The beginning of `[serve]`: which models are offered, under which names, and where."""

from typing import Annotated

import msgspec
from msgspec import Meta

from casemate.config.table import Name, Table


class OfferedTable(Table, frozen=True, kw_only=True):
    """What the gateway offers, and on which address."""

    host: Annotated[str, Meta(description="Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, Meta(description="TCP port.", ge=0, le=65535)] = 8443
    grpc_port: Annotated[
        Annotated[int, Meta(ge=0, le=65535)] | None,
        Meta(description="TCP port of the same protocol over gRPC; needs `casemate[grpc]`."),
    ] = None
    names: Annotated[
        list[str], Meta(description="DNS names and addresses in the server certificate.")
    ] = msgspec.field(default_factory=lambda: ["localhost", "127.0.0.1"])
    models: Annotated[
        dict[Name, str],
        Meta(
            description=(
                "Per name that callers use, `NAME` (what was promoted, or the newest) or"
                " `NAME@VERSION`; default: the project's."
            )
        ),
    ] = {}
    release: Annotated[
        str,
        Meta(
            description=(
                "Exported model, mount or image layout that is served instead of what was trained"
                " here, `casemate serve --release` as well; relative to the project."
            )
        ),
    ] = ""
    trusted: Annotated[
        list[str],
        Meta(
            description=(
                "With `release`: files or folders with its owner's public keys and `withdrawn.json`"
                " (not with `-s`)."
            )
        ),
    ] = []
    withdrawn_days: Annotated[
        Annotated[float, Meta(gt=0, le=3650)] | None,
        Meta(
            description=(
                "With `release`: days after which its owner's `withdrawn.json` is too old to serve"
                " by, and none is refused; default: any age, or none."
            )
        ),
    ] = None
    stage: Annotated[Name, Meta(description="Only models signed for this stage are served.")] = (
        "production"
    )
