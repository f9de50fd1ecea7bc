"""A request's body, within limits of size and time, and content codings both ways (RFC 9110,
section 8.4.1).
"""

import asyncio
import zlib
from collections.abc import Awaitable, Callable
from typing import Any, TypedDict

from casemate.core.errors import RequestError
from casemate.serve.types import Reply

BODY_SECONDS = 30.0
"""How long a body may take to arrive: slow senders do not hold places. Chosen."""
LEAST_DEFLATED = 1024
"""Bytes from which a reply is compressed for a caller who takes it."""
CODINGS = {b"gzip": 31, b"deflate": 15}
"""Content codings and zlib's `wbits` of each."""


class Scope(TypedDict, total=False):
    """A request's ASGI scope (asgi.readthedocs.io/en/latest/specs/www.html), and what the server
    adds for the application; over gRPC one is made of the same keys.
    """

    type: str
    method: str
    path: str
    raw_path: bytes
    query_string: bytes
    headers: list[tuple[bytes, bytes]]
    client: tuple[str, int] | None

    certificate: str | None
    """SHA-256 of the client's certificate, which tokens are bound to."""
    service: str | None
    """Name of the service that the certificate is of."""
    known: Callable[[], bool]
    """Called once the caller has shown who it is; False: there is no room for another one."""
    whole: bool
    """The body came with its head: no clock is needed for it."""
    locate: Callable[[], str]
    """Over gRPC, instead of `path`: parses the request, once the caller is known, and gives it."""
    message: Any
    """Over gRPC, the request as it was parsed."""


Receive = Callable[[], Awaitable[dict[str, Any]]]


class TooLarge(RequestError):
    """The body is larger than allowed."""

    code = "CM-TOO-LARGE"
    http_status = 413


class TooSlow(RequestError):
    """The body did not arrive in time."""

    code = "CM-TOO-SLOW"
    http_status = 408


async def read(scope: Scope, headers: dict[bytes, bytes], receive: Receive, most: int) -> bytes:
    """The body of at most `most` bytes; TooLarge, TooSlow or RequestError."""
    declared = headers.get(b"content-length", b"0")
    if not declared.isdigit() or int(declared[:20]) > most:
        raise TooLarge(f"the body is larger than {most} bytes")
    if scope.get("whole"):  # it came with its head: no clock is needed
        return await _gathered(receive, most)
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await _gathered(receive, most)
    except TimeoutError as error:
        raise TooSlow(f"the body did not arrive within {BODY_SECONDS:g} s") from error


async def _gathered(receive: Receive, most: int) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise RequestError("the caller hung up")
        body += message.get("body", b"")
        if len(body) > most:
            raise TooLarge(f"the body is larger than {most} bytes")
        if not message.get("more_body"):
            return bytes(body)


def inflated(headers: dict[bytes, bytes], body: bytes, most: int) -> bytes:
    """The body without its content coding; never more than `most` bytes of it are made."""
    coding = headers.get(b"content-encoding", b"identity")
    if coding == b"identity":
        return body
    if coding not in CODINGS:
        raise RequestError("content codings that are read: gzip, deflate")
    inflater = zlib.decompressobj(CODINGS[coding])
    try:
        found = inflater.decompress(body, most)
    except zlib.error as error:
        raise RequestError(f"the body is no {coding.decode()}") from error
    if inflater.unconsumed_tail:
        raise TooLarge(f"the body inflates to more than {most} bytes")
    if not inflater.eof or inflater.unused_data:
        raise RequestError(f"the body is not one whole {coding.decode()} stream")
    return found


def deflated(reply: Reply, accepted: bytes) -> Reply:
    """The reply in the first coding of ours that the caller takes (`q=0` refuses it), where that
    pays.
    """
    if len(reply.body) < LEAST_DEFLATED:
        return reply
    for item in accepted.lower().split(b","):
        name, _, weight = item.partition(b";")
        coding = name.strip()
        if coding in CODINGS and weight.replace(b" ", b"") not in {
            b"q=0",
            b"q=0.0",
            b"q=0.00",
            b"q=0.000",
        }:
            deflater = zlib.compressobj(1, wbits=CODINGS[coding])
            body = deflater.compress(reply.body) + deflater.flush()
            return reply._replace(
                headers=[*reply.headers, (b"content-encoding", coding)], body=body
            )
    return reply
