"""The coordinator's HTTPS face: bytes in, bytes out. Who a site is, its certificate says: it is the
one whose authority issued it.

TLS 1.3 alone, with a certificate of one of the charter's authorities; heads, bodies, handshakes and
connections of each site are bounded, and whoever has no certificate gets no further than the
handshake.
"""

import asyncio
import contextlib
import errno
import functools
import os
import socket
import ssl
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature

from casemate.controls.federation.cards import Charter, address_of
from casemate.controls.federation.messages import MOST, PATH, FromSite, No
from casemate.controls.keys.pki import Authority
from casemate.controls.keys.tls import demand, tls_context
from casemate.core.errors import BackendError, ConfigError
from casemate.core.http import host_and_port
from casemate.operations.federated.carried import listener_at
from casemate.operations.federated.meeting import Meeting

HEAD = 16 * 1024
"""Bytes of a request's line and headers; a site sends 200."""
SMALL = 2 * 2**20
"""Bytes of a message beside its numbers: what 256 sites seal for each other."""
HANDSHAKE_SECONDS, BODY_SECONDS = 10.0, 600.0
IDLE_SECONDS = 120
"""A site that trains says nothing; its connection may end, and it dials again."""
CARRIED_SECONDS = 600.0
"""For a handshake that comes by a Unix socket: of this user's own carriers, which may be slow."""
HANDSHAKES = 64
"""Of strangers, at once: who shows no certificate in time makes room for the next one."""
CONNECTIONS = 4
"""Of one site; a newer one takes the place of its oldest."""
THREADS = 512
UNIX = "unix:"
_ELSEWHERE = "--listen 0.0.0.0:PORT, where the charter's host is not one of this machine"
_HINTS = {
    errno.EADDRINUSE: "another process listens there: end it, or --listen HOST:PORT elsewhere",
    errno.EACCES: "--listen HOST:PORT with a port from 1024 on, where something stands before it",
}
"""By what the system says: what to do about it."""
TYPE = [(b"content-type", b"application/msgpack"), (b"cache-control", b"no-store")]
Message = dict[str, Any]


def most_of(size: int) -> int:
    """Bytes of a message, where answers have at most so many numbers."""
    return min(MOST, SMALL + 24 * size)


def address(charter: Charter, listen: str) -> tuple[str, int] | Path:
    """Where to listen: `HOST:PORT`, `unix:SOCKET`, or, of nothing, where the charter says.

    Raises:
        ConfigError: that is none.
    """
    if not listen:
        return address_of(charter.url)
    if listen.startswith(UNIX) and listen != UNIX:
        return Path(listen.removeprefix(UNIX))
    try:
        return host_and_port(listen)
    except ValueError as error:
        raise ConfigError(
            f"--listen {listen}: not an address", hint="such as 0.0.0.0:8460"
        ) from error


class Authorities:
    """Which site a client's certificate is of."""

    def __init__(self, charter: Charter) -> None:
        self._known = [card.certificate for card in charter.sites]

    def site_of(self, presented: bytes) -> int | None:
        """The site's number.

        Args:
            presented: DER, as the handshake has taken it: time, use and chain are as they must be.
        """
        certificate = x509.load_der_x509_certificate(presented)
        for site, authority in enumerate(self._known):
            with contextlib.suppress(ValueError, TypeError, InvalidSignature):
                certificate.verify_directly_issued_by(authority)
                return site
        return None


def context_of(charter: Charter, authority: Authority, folder: Path) -> ssl.SSLContext:
    """A server's TLS settings: a fresh certificate for the charter's host, and clients of its
    sites' authorities alone.

    Args:
        charter: names host and sites.
        authority: the coordinator's.
        folder: private; takes two files for a moment.
    """
    context = tls_context(authority, [address_of(charter.url)[0]], folder)
    demand(context, [card.authority for card in charter.sites])
    context.num_tickets = 0  # each connection shows its certificate
    return context


class App:
    """A bare ASGI application for one site's connections."""

    def __init__(self, meeting: Meeting, most: int, pool: ThreadPoolExecutor) -> None:
        """Nobody is heard yet.

        Args:
            meeting: what answers.
            most: bytes of a message.
            pool: where it may take its time.
        """
        self._meeting, self._most, self._pool = meeting, most, pool
        self._decoder = msgspec.msgpack.Decoder(FromSite)
        self._reading: dict[int, asyncio.Lock] = {}

    async def __call__(self, site: int, scope: Message, receive: Any, send: Any) -> None:
        """One request."""
        status, body = await self._answer(site, scope, receive)
        headers = [*TYPE, (b"content-length", b"%d" % len(body))]
        if status != 200:
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, site: int, scope: Message, receive: Any) -> tuple[int, bytes]:
        if scope["path"] != PATH or scope["query_string"]:
            return 404, _no("there is nothing here")
        if scope["method"] != "POST":
            return 405, _no("messages are posted")
        declared = dict(scope["headers"]).get(b"content-length", b"")
        if not declared.isdigit() or int(declared[:20]) > self._most:
            return 413, _no(f"a message has a length, of at most {self._most} bytes")
        # one large message of a site at a time
        async with self._reading.setdefault(site, asyncio.Lock()):
            try:
                async with asyncio.timeout(BODY_SECONDS):
                    body = await _read(receive, self._most)
            except TimeoutError:
                return 408, _no(f"the message did not come within {BODY_SECONDS:g} s")
        if body is None:
            return 413, _no("the message is longer than it says, or ends early")
        try:
            message = self._decoder.decode(body)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return 400, _no("that is no message of a site")
        del body
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(self._pool, self._meeting.hear, site, message)
        except RuntimeError:  # the pool is closed: the job is over
            return 503, _no("this coordinator has ended")
        return 200, msgspec.msgpack.encode(found)


async def _read(receive: Any, most: int) -> bytes | None:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if len(body) > most:
            return None
        if not message.get("more_body"):
            return bytes(body)


def _no(why: str) -> bytes:
    return msgspec.msgpack.encode(No(why=why))


def _protocol() -> Any:
    """What uvicorn speaks, with connections that are some site's."""
    try:
        from uvicorn.protocols.http.h11_impl import H11Protocol
    except ImportError as error:
        raise BackendError(
            "uvicorn is not installed, which a coordinator listens with",
            hint="pip install 'casemate[serve]'",
        ) from error

    class SiteConnection(H11Protocol):
        """A connection whose other side is a site of the charter."""

        authorities: Authorities
        of_sites: dict[int, deque[Any]]

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            presented = transport.get_extra_info("ssl_object").getpeercert(binary_form=True)
            site = self.authorities.site_of(presented) if presented else None
            if site is None:
                transport.abort()
                return
            self.app = functools.partial(self.app, site)
            mine = self.of_sites.setdefault(site, deque())
            mine.append(transport)
            while len(mine) > CONNECTIONS:
                mine.popleft().abort()

        def connection_lost(self, exc: Exception | None) -> None:
            for mine in self.of_sites.values():
                with contextlib.suppress(ValueError):
                    mine.remove(self.transport)
            super().connection_lost(exc)

    return SiteConnection


class _Host:
    """Takes connections for as long as its loop runs."""

    def __init__(self, listener: socket.socket, context: ssl.SSLContext, protocol: Any) -> None:
        self._listener, self._context, self._protocol = listener, context, protocol
        carried = listener.family == socket.AF_UNIX
        self._seconds = CARRIED_SECONDS if carried else HANDSHAKE_SECONDS
        self._room = asyncio.Semaphore(HANDSHAKES)
        self._greeting: set[asyncio.Task[None]] = set()

    async def accept(self) -> None:
        """Take connections, until it is cancelled."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                await self._room.acquire()
                try:
                    made, _ = await loop.sock_accept(self._listener)
                except OSError:  # no descriptor or no memory
                    self._room.release()
                    await asyncio.sleep(0.1)
                    continue
                task = loop.create_task(self._greet(made))
                self._greeting.add(task)
                task.add_done_callback(self._greeting.discard)
        finally:
            for task in self._greeting:
                task.cancel()

    async def _greet(self, made: socket.socket) -> None:
        made.setblocking(False)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                self._protocol,
                made,
                ssl=self._context,
                ssl_handshake_timeout=self._seconds,
                ssl_shutdown_timeout=1.0,
            )
        except (OSError, asyncio.CancelledError):  # an SSLError is one too
            made.close()
        finally:
            self._room.release()


@contextlib.contextmanager
def listening(
    meeting: Meeting,
    authority: Authority,
    folder: Path,
    where: tuple[str, int] | Path,
    most: int,
) -> Iterator[None]:
    """Sites can dial in for the block.

    Args:
        meeting: what answers them.
        authority: the coordinator's; issues the certificate.
        folder: private; takes two files for a moment.
        where: (host, port) to listen on, or the path of a Unix socket.
        most: bytes of a message, see `most_of`.

    Raises:
        BackendError: the address cannot be listened on, or uvicorn is not installed. ConfigError:
            others could get at the socket.
    """
    kind = _protocol()
    context = context_of(meeting.charter, authority, folder)
    listener = _bound(where)
    threads = min(THREADS, CONNECTIONS * len(meeting.charter.sites) + 4)
    pool = ThreadPoolExecutor(threads, thread_name_prefix="casemate-federation")
    loop = asyncio.new_event_loop()

    def run() -> None:
        asyncio.set_event_loop(loop)
        loop.run_forever()

    kind.authorities, kind.of_sites = Authorities(meeting.charter), {}
    protocol = _factory(kind, App(meeting, most, pool), loop)
    thread = threading.Thread(target=run, name="casemate-federation", daemon=True)
    thread.start()
    accepting = asyncio.run_coroutine_threadsafe(_accepting(listener, context, protocol), loop)
    try:
        yield
    finally:
        accepting.cancel()
        listener.close()
        if isinstance(where, Path):
            where.unlink(missing_ok=True)
        meeting.stop()
        asyncio.run_coroutine_threadsafe(_hung_up(kind), loop).result(5)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        pool.shutdown(wait=False, cancel_futures=True)


async def _accepting(listener: socket.socket, context: ssl.SSLContext, protocol: Any) -> None:
    await _Host(listener, context, protocol).accept()


async def _hung_up(kind: Any) -> None:
    """End connections; what was answered last has a moment to leave."""
    for mine in kind.of_sites.values():
        for transport in list(mine):
            transport.close()
    await asyncio.sleep(0.2)


def _factory(kind: Any, app: App, loop: asyncio.AbstractEventLoop) -> Any:
    import uvicorn
    from uvicorn.server import ServerState

    config = uvicorn.Config(
        app,
        http=kind,
        ws="none",
        lifespan="off",
        interface="asgi3",
        access_log=False,
        log_config=None,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        h11_max_incomplete_event_size=HEAD,
        timeout_keep_alive=IDLE_SECONDS,
    )
    config.load()
    state = ServerState()
    return lambda: kind(config=config, server_state=state, app_state={}, _loop=loop)


def _bound(where: tuple[str, int] | Path) -> socket.socket:
    if isinstance(where, Path):
        made = listener_at(where, HANDSHAKES)
        made.setblocking(False)
        return made
    host, port = where
    try:
        family, *_, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        made = socket.create_server(place[:2], family=family, backlog=HANDSHAKES)
    except OSError as error:
        known = error.errno if not isinstance(error, socket.gaierror) else None
        raise BackendError(
            f"nobody can listen on {host}:{port}:"
            f" {os.strerror(known) if known else error.strerror or error}",
            hint=_HINTS.get(known or 0, _ELSEWHERE),
        ) from error
    made.setblocking(False)
    return made
