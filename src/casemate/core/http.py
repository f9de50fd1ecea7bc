"""One request, for what casemate sends by itself: no redirect, no proxy, a bounded answer."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from casemate.core.errors import ConfigError, TransientError

MAX_ANSWER = 64 * 1024
LOOPBACK = {"localhost", "127.0.0.1", "::1"}


WHOLE = 6
"""An answer may take so many times as long as one step of the connection: whoever sends a byte now
and then keeps no step waiting, and would never end.
"""
PIECE = 64 * 1024


@dataclass(frozen=True)
class Answer:
    """What a server answered."""

    status: int
    headers: Mapping[str, str]
    """By their names in small letters; the last one of a name."""
    body: bytes


def is_address(url: str) -> bool:
    """Whether `url` names a host, and no port that is none."""
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:  # of brackets, or of a port from 65536 on
        return False


def host_and_port(text: str) -> tuple[str, int]:
    """What `HOST:PORT` names; an IPv6 address stands in brackets or without.

    Raises:
        ValueError: there is no host, or no port that anybody can listen on.
    """
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    # `int` takes other scripts' digits, signs and underlines too
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port[:6]) < 2**16:
        raise ValueError(f"{text[:200]!r} is not HOST:PORT")
    host.encode("idna")  # a UnicodeError, of labels that nobody can look up, is a ValueError
    return host, int(port)


def is_private(url: str) -> bool:
    """Whether nobody on the way can read a request to `url`: https, or http that does not leave
    this machine; what is no address is not asked at all.
    """
    if not is_address(url):
        return False
    parts = urlsplit(url)
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)


def post(
    url: str, body: bytes, headers: dict[str, str], timeout: float, ca: Path | None = None
) -> tuple[int, bytes]:
    """Status and body of the answer to a POST; see `send`."""
    return send("POST", url, body, headers, timeout, MAX_ANSWER, ca)


def get(
    url: str,
    headers: dict[str, str],
    timeout: float,
    most: int = MAX_ANSWER,
    ca: Path | None = None,
) -> tuple[int, bytes]:
    """Status and body of the answer to a GET; see `send`."""
    return send("GET", url, None, headers, timeout, most, ca)


def send(
    method: str,
    url: str,
    body: bytes | None,
    headers: dict[str, str],
    timeout: float,
    most: int,
    ca: Path | None,
) -> tuple[int, bytes]:
    """Status and body of the answer, whatever the status is; see `ask`."""
    answer = ask(method, url, body, headers, timeout, most, ca)
    return answer.status, answer.body


def ask(
    method: str,
    url: str,
    body: bytes | None,
    headers: dict[str, str],
    timeout: float,
    most: int,
    ca: Path | None,
) -> Answer:
    """The answer, whatever its status is.

    Args:
        method: such as `GET`.
        url: http or https; the caller has checked which.
        body: the request's body.
        headers: further headers.
        timeout: seconds for each step of the connection; `WHOLE` times as long for all of the
            answer's body.
        most: bytes of the body that are read; what is longer is cut off.
        ca: PEM file of the only authority that is believed; default: those of the system.

    Raises:
        TransientError: nobody answered, or not to the end. ConfigError: `ca` cannot be read.
    """
    import http.client  # not at start-up: 14 ms
    import ssl
    import urllib.error
    import urllib.request

    class NoRedirect(urllib.request.HTTPRedirectHandler):
        """A message goes where it was sent and nowhere else."""

        def redirect_request(self, *_: Any) -> None:
            """Refuse."""

    request = urllib.request.Request(url, body, headers, method=method)  # noqa: S310 - scheme checked by the caller
    handlers: list[Any] = [NoRedirect, urllib.request.ProxyHandler({})]
    if ca is not None:
        try:
            handlers.append(
                urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=str(ca)))
            )
        except OSError as error:  # ssl.SSLError is one
            raise ConfigError(
                f"{ca} holds no certificates", hint="the PEM file of the server's authority"
            ) from error
    try:
        try:
            found = urllib.request.build_opener(*handlers).open(request, timeout=timeout)
        except urllib.error.HTTPError as error:
            found = error
        with found:
            content = _content(found, most, WHOLE * timeout)
            said = {name.lower(): value for name, value in found.headers.items()}
            return Answer(int(found.status), said, content)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise TransientError(
            f"{request.host} was not reached: {error}",
            hint="see that it runs and that its certificate is valid",
        ) from error


def retry_after(text: str) -> float | None:
    """Seconds that a `Retry-After` asks to wait, at least 0; None: it says neither a number nor a
    date (RFC 9110, 10.2.3).
    """
    import datetime
    import email.utils

    text = text.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        until = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    if until.tzinfo is None:
        return None
    return max((until - datetime.datetime.now(datetime.UTC)).total_seconds(), 0.0)


def _content(found: Any, most: int, seconds: float) -> bytes:
    """At most `most` bytes of the body; TimeoutError, or HTTPException where it was cut."""
    import http.client

    end, pieces, size = time.monotonic() + seconds, [], 0
    while size < most and (piece := found.read1(min(PIECE, most - size))):
        pieces.append(piece)
        size += len(piece)
        if time.monotonic() > end:
            raise TimeoutError("the answer did not come to its end")
    if size < most and getattr(found, "length", None):
        raise http.client.IncompleteRead(b"".join(pieces), found.length)
    return b"".join(pieces)
