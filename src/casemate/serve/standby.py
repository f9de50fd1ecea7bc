"""What answers while no worker does: that the gateway lives, that it is not ready, and to all else
"come again in a moment".

A process of its own beside the workers, which takes connections from their socket only while no
event loop of theirs has turned for a second. It knows no model, asks no catalogue and opens no key:
it can hardly stand still itself.
"""

import asyncio
import contextlib
import secrets
import ssl
import time
from typing import Any

import uvloop
from uvicorn.server import ServerState

from casemate.config import ServeTable
from casemate.serve.bodies import Receive, Scope
from casemate.serve.connections import Acceptor, Connections
from casemate.serve.heartbeat import ENDING, SECOND
from casemate.serve.http import Bounded, Send, settings, sweep
from casemate.serve.metrics import Metrics
from casemate.serve.ports import begin
from casemate.serve.routes import PROBES
from casemate.serve.worker import Place

LOOK_SECONDS = 0.1
"""A judgement: a silent worker's clients wait so much longer at most, and ten looks a second cost
nothing.
"""
SILENT_SECONDS, STARVED_SECONDS = 1.0, 3.0
"""How long no event loop may turn before this process answers: that of a worker which computes, was
stopped or has ended, and that of one which may only be short of processor time.
"""
BUSY = b'{"error":"the gateway cannot answer now","code":"CM-OVERLOAD"}'


async def answer(scope: Scope, _receive: Receive, send: Send) -> None:
    """An ASGI application that lives and is not ready; every connection ends with its answer, so
    that the next one meets a worker.
    """
    probe = PROBES.get(scope["path"]) if scope["method"] in ("GET", "HEAD") else None
    status, body = (
        (200, b'{"live":true}') if probe == "live" else (503, b'{"ready":false}' if probe else BUSY)
    )
    headers = [
        (b"content-type", b"application/json"),
        (b"cache-control", b"no-store"),
        (b"content-length", b"%d" % len(body)),
        (b"connection", b"close"),
        (b"x-request-id", b"standby-" + secrets.token_hex(6).encode()),
        *([] if status == 200 else [(b"retry-after", b"1")]),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


def stand_by(
    table: ServeTable, place: Place, context: ssl.SSLContext | None, seconds: float
) -> None:
    """Watch the workers' heartbeats, and answer while there is none.

    Args:
        table: the `[serve]` table.
        place: whose listening socket and board.
        context: what TLS needs.
        seconds: after which the certificate is too old; the supervisor starts another process then.
    """
    with contextlib.suppress(TimeoutError):
        uvloop.run(asyncio.wait_for(_stand_by(table, place, context), seconds))


async def _stand_by(table: ServeTable, place: Place, context: ssl.SSLContext | None) -> None:
    connections, state = Connections(table, Metrics()), ServerState()
    config = settings(
        answer, type("Guarded", (Bounded,), {"connections_of": connections}), lifespan="off"
    )
    config.load()
    protocol: Any = config.http_protocol_class
    sweeping = asyncio.create_task(sweep(state.connections))
    acceptor: Acceptor | None = None
    while not sweeping.done():
        await asyncio.sleep(LOOK_SECONDS)
        silent = _silent(place)
        if silent and acceptor is None:
            begin(place.listener)
            acceptor = Acceptor(
                place.listener,
                connections,
                lambda: protocol(config=config, server_state=state, app_state={}),
                context,
            )
        elif not silent and acceptor is not None:
            acceptor.close()
            acceptor = None


def _silent(place: Place) -> bool:
    """Whether no event loop has turned for a while."""
    now = time.monotonic_ns()
    for page in place.board.pages:
        silent = (now - page.last) / SECOND if 0 < page.last < ENDING else STARVED_SECONDS
        if silent < SILENT_SECONDS or (
            silent < STARVED_SECONDS and page.runs and not page.computing
        ):
            return False
    return True
