"""One request, for what casemate sends by itself: no redirect, no proxy, a bounded answer."""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from casemate.core.errors import ConfigError, TransientError

MAX_ANSWER = 64 * 1024
LOOPBACK = {"localhost", "127.0.0.1", "::1"}


def is_private(url: str) -> bool:
    """Whether nobody on the way can read a request to `url`: https, or http that does not leave
    this machine.
    """
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
    """Status and body of the answer, whatever the status is.

    Args:
        method: `GET` or `POST`.
        url: http or https; the caller has checked which.
        body: the request's body.
        headers: further headers.
        timeout: seconds for each step of the connection.
        most: bytes of the body that are read; what is longer is cut off.
        ca: PEM file of the only authority that is believed; default: those of the system.

    Raises:
        TransientError: nobody answered. ConfigError: `ca` cannot be read.
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
        with urllib.request.build_opener(*handlers).open(request, timeout=timeout) as answer:
            return int(answer.status), answer.read(most)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(most)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise TransientError(
            f"{request.host} was not reached: {error}",
            hint="see that it runs and that its certificate is valid",
        ) from error
