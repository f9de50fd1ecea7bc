"""What stands between somebody else's scanner and the gateway: a server of this machine that
forwards requests, in the clear on one side and over the gateway's TLS on the other.

The scanner never has a token, which it could lose, print or write into its report: it has a word
that is worth something here alone, or none, and the relay sends the token. Requests are counted and
paced here, whatever the scanner thinks of its own limits, and one door is the relay's own: it has a
fault that was made for the scan, and who does not find it has not looked.
"""

import contextlib
import http.client
import http.server
import secrets
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from casemate.supply.scanners.fault import CouldNotLook
from casemate.supply.scanners.running import MOST_ANSWER, STEP_SECONDS, Identity, Target

PROBE = "/casemate-probe"
"""The relay's own door: it fails for who has credentials, and shows what it is sent as HTML."""
MOST_BODY = 8 * 2**20
HOP = {
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer",
    "transfer-encoding", "upgrade", "host", "content-length", "expect", "proxy-connection",
}  # fmt: skip
"""Of one connection (RFC 9110, 7.6.1), and what is written anew."""


class Relay:
    """Forwards to a gateway as callers that it knows.

    Args:
        target: the gateway.
        caller: who asks, by method and path: each of those who may, in turn.
        always: send a token with every request; else only in place of `word`.
    """

    def __init__(
        self, target: Target, caller: Callable[[str, str], Identity], *, always: bool
    ) -> None:
        self.target, self.caller, self.always = target, caller, always
        self.word = secrets.token_urlsafe(24)
        """What a scanner sends in place of the token."""
        self.statuses: Counter[int] = Counter()
        """What the gateway answered to requests that had a token."""
        self.failed = False
        """Whether the gateway itself failed: 503 is an answer, and the relay's are not its own."""
        self.groups: Counter[str] = Counter()
        """Who was let in how often."""
        self.strangers = 0
        """Requests without it."""
        self.fault = ""
        """Why the first request that was not forwarded was not."""
        self._lock = threading.Lock()
        self._server: _Server | None = None

    @contextlib.contextmanager
    def open(self) -> "Iterator[Relay]":
        """While it forwards."""
        relay = self

        class Handler(_Handler):
            """Of this relay."""

            of = relay

        self._server = _Server(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()

    @property
    def port(self) -> int:
        """Of this machine."""
        if self._server is None:
            raise CouldNotLook("the relay is not open")
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """What a scanner is told."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def let_in(self) -> int:
        """How often the gateway answered who has a token as somebody that it knows."""
        return self.groups.total()

    def why_not(self) -> dict[str, str]:
        """What of the gateway was not looked at, as far as it is seen here."""
        if self.fault:
            return {"": f"not every request was sent: {self.fault}"}
        if not self.statuses:
            return {"": "it sent no request with the credentials that it was given"}
        if not self.let_in:
            return {"": f"it was let in nowhere, in {self.statuses.total()} requests"}
        return {}

    def take(self) -> None:
        """See `Meter.take`; the reason is remembered."""
        with self._lock:
            try:
                self.target.meter.take()
            except CouldNotLook as error:
                self.fault = self.fault or error.message
                raise

    def missed(self, why: str) -> None:
        """A request was not forwarded."""
        with self._lock:
            self.fault = self.fault or why

    def told(self, status: int, who: Identity | None) -> None:
        """The gateway answered."""
        with self._lock:
            self.failed = self.failed or (status >= 500 and status != 503)
            if who is None:
                self.strangers += 1
                return
            self.statuses[status] += 1
            self.groups[who.group] += status not in (401, 403)


class _Server(http.server.ThreadingHTTPServer):
    """Says nothing on the terminal of a scanner that hangs up."""

    daemon_threads = True

    def handle_error(self, _request: Any, _address: Any) -> None:
        """Remember what was not expected."""
        error = sys.exception()
        if not isinstance(error, OSError):
            relay: Relay = self.RequestHandlerClass.of  # type: ignore[attr-defined] # see `_Handler`
            relay.missed(f"the relay broke: {type(error).__name__}")


class _Handler(http.server.BaseHTTPRequestHandler):
    """One connection of the scanner."""

    of: Relay
    protocol_version = "HTTP/1.1"
    timeout = STEP_SECONDS

    def setup(self) -> None:
        super().setup()
        self.upstream: http.client.HTTPConnection | None = None

    def finish(self) -> None:
        if self.upstream is not None:
            self.upstream.close()
        with contextlib.suppress(OSError):
            super().finish()

    def log_message(self, *_: Any) -> None:
        """Nothing: it would be said on the terminal."""

    def __getattr__(self, name: str) -> Any:
        """`do_METHOD`, whatever the method is: the gateway says what it makes of it."""
        if name.startswith("do_"):
            return self.handle_one
        raise AttributeError(name)

    def handle_one(self) -> None:
        """Forward one request."""
        given = self.headers.get("authorization", "")
        known = self.of.always or given == f"Bearer {self.of.word}"
        try:
            size = int(self.headers.get("content-length") or 0)
            if not 0 <= size <= MOST_BODY or self.headers.get("transfer-encoding"):
                raise ValueError
        except ValueError:
            self.close_connection = True
            self.of.missed(f"a body without a length, or of more than {MOST_BODY} bytes")
            return self.send_error(413)
        body = self.rfile.read(size) if size else None
        if urlsplit(self.path).path == PROBE:
            return self._probe(known)
        try:
            self.of.take()
            status, headers, content = self._forward(body, known, given)
        except CouldNotLook:
            self.close_connection = True
            return self.send_error(503)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close_connection = True
            self.of.missed(f"{self.command} {self.path[:80]}: {type(error).__name__}: {error}")
            return self.send_error(502)
        return self._say(status, headers, content)

    def _forward(
        self, body: bytes | None, known: bool, given: str
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        """What the gateway answers."""
        who = self.of.caller(self.command, urlsplit(self.path).path) if known else None
        given = f"Bearer {who.token}" if who is not None else given
        if self.upstream is None:
            self.upstream = self._connected()
        try:
            answer = self._asked(self.upstream, body, given)
        except (http.client.RemoteDisconnected, ConnectionError, http.client.CannotSendRequest):
            self.upstream.close()  # an idle connection may end just as it is used again
            self.upstream = self._connected()
            answer = self._asked(self.upstream, body, given)
        content = answer.read(MOST_ANSWER)
        self.of.told(answer.status, who)
        if not answer.isclosed():
            self.upstream.close()
            self.upstream = None
        headers = [(name, value) for name, value in answer.getheaders() if name.lower() not in HOP]
        return answer.status, headers, content

    def _asked(
        self, upstream: http.client.HTTPConnection, body: bytes | None, given: str
    ) -> http.client.HTTPResponse:
        path = quote(self.path, safe="%/:=&?~#+!$,;'@()*[]")
        upstream.putrequest(self.command, path, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in HOP | {"authorization"}:
                upstream.putheader(name, value.encode("latin-1", "replace"))
        if given:
            upstream.putheader("Authorization", given.encode("latin-1", "replace"))
        if body is not None or self.command in ("POST", "PUT", "PATCH"):
            upstream.putheader("Content-Length", str(len(body or b"")))
        upstream.endheaders(body)
        return upstream.getresponse()

    def _connected(self) -> http.client.HTTPConnection:
        target = self.of.target
        if target.is_tls:
            return http.client.HTTPSConnection(
                target.host, target.port, timeout=STEP_SECONDS, context=target.context()
            )
        return http.client.HTTPConnection(target.host, target.port, timeout=STEP_SECONDS)

    def _probe(self, known: bool) -> None:
        """The fault that was made for the scan."""
        if self.of.always:
            shown = "".join(parse_qs(urlsplit(self.path).query).get("shown", [""]))
            page = f"<html><body><p>{shown}</p></body></html>".encode()
            return self._say(200, [("Content-Type", "text/html")], page)
        return self._say(500 if known else 401, [("Content-Type", "application/json")], b"{}")

    def _say(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
