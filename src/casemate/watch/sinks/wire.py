"""Connections to receivers: verified, and over at the latest when their time is, however slowly
somebody answers.
"""

import contextlib
import http.client
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from casemate.core.errors import ConfigError
from casemate.core.http import retry_after
from casemate.watch.sinks.interface import NotTaken, SinkAway, reason_of

MOST_REPLY = 8 * 2**20
"""Bytes of a reply: Elasticsearch says some hundred bytes of each of a thousand lines."""
MENDABLE = {401: "see the secret", 403: "see the secret and its rights", 404: "see the address"}
"""Statuses that say nothing of what was sent -> what to do."""


@dataclass(frozen=True)
class Place:
    """Where a receiver is."""

    url: str
    """`https`, `http`, `tls` or `tcp`; which of them may be is checked in the configuration."""
    ca: Path | None
    """The only authority that is believed for it; None: those of the system."""
    timeout: float
    """Seconds of a request, all in all; looking up a name is not counted."""

    @cached_property
    def _parts(self) -> SplitResult:
        return urlsplit(self.url)

    @property
    def host(self) -> str:
        """Its name or address."""
        return self._parts.hostname or ""

    @property
    def port(self) -> int:
        """Of the connection."""
        return self._parts.port or (443 if self._is_tls else 80)

    @property
    def path(self) -> str:
        """Of a URL, without a slash at the end."""
        return self._parts.path.rstrip("/")

    @property
    def _is_tls(self) -> bool:
        return self._parts.scheme in ("https", "tls")

    @property
    def name(self) -> str:
        """For messages."""
        return f"{self.host}:{self.port}"

    @cached_property
    def context(self) -> ssl.SSLContext | None:
        """How its certificate is verified; None: without TLS, on this machine.

        Raises:
            ConfigError: `ca` holds no certificates.
        """
        if not self._is_tls:
            return None
        try:
            return ssl.create_default_context(cafile=None if self.ca is None else str(self.ca))
        except OSError as error:  # ssl.SSLError is one
            raise ConfigError(
                f"{self.ca} holds no certificates", hint="the PEM file of the receiver's authority"
            ) from error


@contextlib.contextmanager
def connected(to: Place) -> Iterator[socket.socket]:
    """A connection that is cut when its time is over.

    Raises:
        SinkAway: it cannot be made, breaks or is cut, also while it is used. ConfigError: see
            `Place.context`.
    """
    over, context = threading.Event(), to.context
    try:
        with contextlib.ExitStack() as stack:
            raw = socket.create_connection((to.host, to.port), timeout=to.timeout)
            sock = stack.enter_context(raw)
            if context is not None:
                sock = stack.enter_context(
                    context.wrap_socket(raw, server_hostname=to.host, do_handshake_on_connect=False)
                )
            timer = threading.Timer(to.timeout, _cut, (sock, over))
            timer.daemon = True
            timer.start()
            stack.callback(timer.cancel)
            if isinstance(sock, ssl.SSLSocket):
                sock.do_handshake()
            yield sock
            if over.is_set():  # what was read as an end was ours
                raise TimeoutError
    except (OSError, http.client.HTTPException, ValueError) as error:
        if over.is_set() or isinstance(error, TimeoutError):
            text = f"{to.name} did not answer within {to.timeout:g} s"
        else:
            text = f"{to.name} was not reached: {reason_of(error) or type(error).__name__}"
        hint = "see that it runs and that its certificate is valid"
        raise SinkAway(text, hint=hint) from error


def _cut(sock: socket.socket, over: threading.Event) -> None:
    over.set()
    with contextlib.suppress(OSError):
        # of the connection itself, not of the TLS in it, which another thread is in
        socket.socket.shutdown(sock, socket.SHUT_RDWR)


@dataclass(frozen=True)
class Reply:
    """An answer."""

    status: int
    after: float
    """Seconds that it asks to wait; 0: it does not."""
    body: bytes


def request(
    to: Place, method: str, path: str, body: bytes | None, headers: dict[str, str]
) -> Reply:
    """One request over a connection of its own; no redirect is followed.

    Raises:
        SinkAway: nobody answered in time, or no HTTP.
    """
    with connected(to) as sock:
        connection = http.client.HTTPConnection(to.host, to.port)
        connection.sock = sock
        fixed = {"user-agent": "casemate", "connection": "close", "accept": "application/json"}
        connection.request(method, f"{to.path}{path}", body, fixed | headers)
        answer = connection.getresponse()
        content = answer.read(MOST_REPLY + 1)
        after = retry_after(answer.headers.get("retry-after", "")) or 0.0
    if len(content) > MOST_REPLY:
        raise SinkAway(f"{to.name} answered with more than {MOST_REPLY} bytes")
    return Reply(answer.status, after, content)


def taken(to: Place, reply: Reply) -> bytes:
    """The body of an answer that says that the request was heard.

    Raises:
        NotTaken: what stands in the request is refused. SinkAway: anything else.
    """
    if 200 <= reply.status < 300:
        return reply.body
    said = reason_of(reply.body[:2000].decode(errors="replace"))
    text = f"{to.name} answered {reply.status}" + (f": {said}" if said else "")
    if reply.status in (400, 413, 422):
        raise NotTaken(text)
    raise SinkAway(text, hint=MENDABLE.get(reply.status, ""), after=reply.after)
