"""`[notices]` and `[outbox]`: what leaves, and how hard it is tried."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from casemate.config.table import Event, Table


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
