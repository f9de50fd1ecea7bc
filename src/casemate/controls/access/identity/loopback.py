"""Where the browser comes back to after a login: one address on this machine, for one answer (RFC
8252, section 7.3).
"""

import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from casemate.core.errors import AccessDenied

PATH = "/callback"
SECONDS = 300.0
"""For a person to log in at the provider. A judgement."""
MAX_QUERY = 16 * 1024
"""Characters of the answer's path that are parsed."""
_PAGE = "<!doctype html><meta charset=utf-8><title>casemate</title><p>{}</p>"


class Loopback:
    """Listens on a free port of 127.0.0.1 while it is open."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._server = _Server(("127.0.0.1", 0), _Once)
        self._server.answer = None  # type: ignore[attr-defined]
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}{PATH}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.server_close()

    def wait(self, belongs: Callable[[Mapping[str, str]], bool]) -> Mapping[str, str]:
        """Parameters of the first answer that belongs to this login; others are refused and change
        nothing.

        Raises:
            AccessDenied: none came in time.
        """
        self._server.belongs = belongs  # type: ignore[attr-defined]
        end = time.monotonic() + self._seconds
        while (left := end - time.monotonic()) > 0:
            self._server.timeout = min(left, 0.1)
            self._server.handle_request()
            found: Mapping[str, str] | None = self._server.answer  # type: ignore[attr-defined]
            if found is not None:
                return found
        raise AccessDenied(
            "nobody came back from the provider in time",
            hint="begin again, or use --device where there is no browser",
        )


class _Server(ThreadingHTTPServer):
    """A thread per connection: one that says nothing holds up no other."""

    daemon_threads = True
    block_on_close = False


class _Once(BaseHTTPRequestHandler):
    timeout = 5.0

    def do_GET(self) -> None:
        """Take the answer, if it is one."""
        parts = urlsplit(self.path[:MAX_QUERY])
        pairs = parse_qsl(parts.query)
        answer = dict(pairs)
        server: Any = self.server
        if parts.path == PATH and len(answer) == len(pairs) and server.belongs(answer):
            server.answer = answer
            self._say(200, "Go back to where you began to log in. You may close this window.")
        else:
            self._say(400, "This is no answer to a login.")

    def _say(self, status: int, text: str) -> None:
        body = _PAGE.format(text).encode()
        self.send_response_only(status)
        for name, value in (
            ("Content-Type", "text/html; charset=utf-8"),
            ("Content-Length", str(len(body))),
            ("Content-Security-Policy", "default-src 'none'"),
            ("Referrer-Policy", "no-referrer"),
            ("Cache-Control", "no-store"),
            ("Connection", "close"),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        """Say nothing: the address holds the code."""
