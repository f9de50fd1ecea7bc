"""Where requests are kept in the catalogue."""

from typing import Any

import msgspec
import sqlalchemy as sa

from casemate.core.errors import ConfigError, VerificationError
from casemate.core.store import METADATA, decode
from casemate.respond.requests.states import OVER, Asked
from casemate.respond.tables import INDEX

REQUESTS = sa.Table(
    "request",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("state", sa.String, nullable=False),
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("subject", sa.String, nullable=False),
    sa.Column("content", sa.LargeBinary, nullable=False),
    sa.Index("request_state", "state"),
)
LINES = sa.Table(
    "request_line",
    METADATA,
    sa.Column("request", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("entry", INDEX, primary_key=True, autoincrement=False),
)


class NoRequest(ConfigError):
    """There is no request of this number."""

    code = "CM-NO-REQUEST"
    http_status = 404
    who = "whoever asks: casemate privacy request list"


def put(tx: sa.Connection, asked: Asked, is_new: bool) -> None:
    """Write the row of a request."""
    if is_new:
        tx.execute(REQUESTS.insert().values(id=asked.id, **_row(asked)))
    else:
        tx.execute(REQUESTS.update().where(REQUESTS.c.id == asked.id).values(**_row(asked)))


def _row(asked: Asked) -> dict[str, Any]:
    row = {"state": asked.state, "kind": asked.kind, "subject": asked.subject}
    return row | {"content": msgspec.json.encode(asked)}


def request(tx: sa.Connection, number: int) -> Asked:
    """A request as its row says it.

    Raises:
        NoRequest: there is none. VerificationError: the row contradicts itself.
    """
    found = tx.execute(sa.select(REQUESTS).where(REQUESTS.c.id == number)).mappings().first()
    if found is None:
        raise NoRequest(f"there is no request {number}", hint="casemate privacy request list")
    made = decode(bytes(found["content"]), Asked)
    # not the bytes of the content: an older casemate wrote fewer fields; the log decides about them
    if {**found, "content": b""} != {"id": made.id, **_row(made), "content": b""}:
        raise VerificationError(
            f"the row of request {number} contradicts itself", hint="casemate fsck"
        )
    return made


def requests(tx: sa.Connection, *where: Any) -> list[Asked]:
    """Requests, the newest first."""
    query = sa.select(REQUESTS.c.content).where(*where).order_by(REQUESTS.c.id.desc())
    return [decode(bytes(content), Asked) for (content,) in tx.execute(query)]


def running(tx: sa.Connection) -> list[Asked]:
    """Requests that are not over."""
    return requests(tx, REQUESTS.c.state.not_in(OVER))
