"""What the body of a request asks, read by its protocol."""

import asyncio

from casemate.config import ServeTable
from casemate.core.errors import RequestError
from casemate.serve import bodies
from casemate.serve.bodies import Scope
from casemate.serve.endpoint import Endpoint
from casemate.serve.protocols import invocations, oip, oip_grpc
from casemate.serve.protocols.interface import Asked
from casemate.serve.routes import Found

LARGE_BODY = 128 * 1024
"""Bytes from which a body is read in a thread."""


async def understood(
    table: ServeTable,
    max_body: int,
    endpoint: Endpoint,
    alias: str,
    found: Found,
    scope: Scope,
    headers: dict[bytes, bytes],
    body: bytes,
) -> Asked:
    """The rows in a body; what takes long is read beside the other requests."""

    def read() -> Asked:
        """By the protocol of the route."""
        if "message" in scope:
            return oip_grpc.read(endpoint, alias, scope["message"], table.max_rows)
        plain = bodies.inflated(headers, body, max_body)
        if found.route.name == "infer":
            return oip.read(
                endpoint,
                alias,
                plain,
                _length(headers.get(b"inference-header-content-length")),
                table.max_rows,
            )
        kind, accept = (
            headers.get(b"content-type", b"application/json"),
            headers.get(b"accept", b""),
        )
        return invocations.read(endpoint, plain, kind, table.max_rows, accept)

    # Features of raw columns take milliseconds to make, even of one row.
    small = "message" in scope or (len(body) < LARGE_BODY and b"content-encoding" not in headers)
    return read() if small and endpoint.raw is None else await asyncio.to_thread(read)


def _length(header: bytes | None) -> int | None:
    if header is None:
        return None
    if not header.isdigit() or len(header) > 12:
        raise RequestError("Inference-Header-Content-Length is no number")
    return int(header)
