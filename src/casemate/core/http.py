"""One POST, for what casemate sends by itself: no redirect, no proxy, a bounded answer."""

from typing import Any
from urllib.parse import urlsplit

from casemate.core.errors import TransientError

MAX_ANSWER = 64 * 1024
LOOPBACK = {"localhost", "127.0.0.1", "::1"}


def is_private(url: str) -> bool:
    """Whether nobody on the way can read a request to `url`: https, or http that does not leave this machine."""
    parts = urlsplit(url)
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)


def post(url: str, body: bytes, headers: dict[str, str], timeout: float) -> tuple[int, bytes]:
    """Status and body (at most 64 KiB) of the answer, whatever the status is.

    Args:
        url: http or https; the caller has checked which.
        body: the request's body.
        headers: further headers.
        timeout: seconds for each step of the connection.

    Raises:
        TransientError: nobody answered.
    """
    import urllib.error  # not at start-up: 14 ms
    import urllib.request

    class NoRedirect(urllib.request.HTTPRedirectHandler):
        """A message goes where it was sent and nowhere else."""

        def redirect_request(self, *_: Any) -> None:
            """Refuse."""

    request = urllib.request.Request(url, body, headers, method="POST")  # noqa: S310 - scheme checked by the caller
    opener = urllib.request.build_opener(NoRedirect, urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=timeout) as answer:
            return int(answer.status), answer.read(MAX_ANSWER)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(MAX_ANSWER)
    except (OSError, ValueError) as error:
        raise TransientError(f"{request.host} was not reached: {error}", hint="see that it runs and that its certificate is valid") from error
