"""The witness's HTTP face: `POST /add-checkpoint` (https://c2sp.org/tlog-witness) and `GET
/witness.vkey`.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

import uvicorn

from casemate.controls.audit.witness import MAX_REQUEST, PUBLIC, Answer, Witness
from casemate.core.errors import Error
from casemate.serve.http import Bounded, settings, sweep
from casemate.serve.ports import listen

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
BODY_SECONDS = 10.0
"""For a body of some kilobytes: whoever sends it slower holds a place."""


class WitnessApp:
    """A bare ASGI application."""

    def __init__(self, witness: Witness) -> None:
        self.witness = witness

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        answer = await self._answer(scope, receive)
        headers = [(b"content-type", answer.content_type.encode()), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body.encode()})

    async def _answer(self, scope: MutableMapping[str, Any], receive: Receive) -> Answer:
        if (scope["method"], scope["path"]) == ("GET", f"/{PUBLIC}"):
            return Answer(200, self.witness.vkeys)
        if scope["path"] != "/add-checkpoint":
            return Answer(404, "not found\n")
        if scope["method"] != "POST":
            return Answer(405, "POST it\n")
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = await _read(receive)
        except TimeoutError:
            return Answer(408, "the request took too long\n")
        if body is None:
            return Answer(413, "the request is too large\n")
        try:
            return await asyncio.to_thread(self.witness.add_checkpoint, body)
        except (Error, OSError):
            return Answer(
                503, "the witness cannot read or write its memory; its operator must act\n"
            )


async def _read(receive: Receive) -> bytes | None:
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > MAX_REQUEST:
            return None
        if not message.get("more_body"):
            return bytes(body)


def serve(
    witness: Witness,
    host: str,
    port: int,
    certificate: tuple[Path, Path] | None,
    announce: Callable[[str], None],
) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        witness: whose keys and memory.
        host: address to listen on.
        port: TCP port; 0 takes a free one.
        certificate: PEM files of the chain and its key for TLS; without them plain HTTP, for a
            proxy in front.
        announce: called with the URL once the port answers.

    Raises:
        BackendError: the port is taken.
    """
    listener = listen(host, port)
    config = settings(
        WitnessApp(witness),
        Bounded,
        lifespan="off",
        limit_concurrency=100,
        ssl_certfile=certificate[0] if certificate else None,
        ssl_keyfile=certificate[1] if certificate else None,
    )
    url = f"{'https' if certificate else 'http'}://{host}:{listener.getsockname()[1]}"
    try:
        _Announcing(config, lambda: announce(url)).run(sockets=[listener])
    finally:
        listener.close()


class _Announcing(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._started_now = started

    async def startup(self, sockets: list[Any] | None = None) -> None:
        await super().startup(sockets)
        self._sweep = asyncio.create_task(sweep(self.server_state.connections))
        self._started_now()
