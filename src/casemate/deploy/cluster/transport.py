"""Requests of the Kubernetes client, bounded: its own transport waits for ever where discovery
gets no answer, reads whatever length, follows redirects, and takes a login page for an object.
"""

import io
import json
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from casemate.core.errors import BackendError, TransientError
from casemate.core.http import retry_after

CONNECT_SECONDS = 5.0
SECONDS = 30.0
"""For one answer as a whole."""
MOST = 16 * 1024 * 1024
"""Bytes of an answer."""
TRIES = 5
"""Of a request that the server has no time for (429, or 503 with Retry-After)."""
LONGEST_WAIT = 10.0
PIECE = 64 * 1024
BUSY = (429, 503)


class Bounded:
    """Stands in the place of the client's pool of connections."""

    def __init__(self, pool: Any, sleep: Callable[[float], None] = time.sleep) -> None:
        self.pool, self.sleep = pool, sleep

    def clear(self) -> None:
        """End its connections."""
        self.pool.clear()

    def request(self, method: str, url: str, **more: Any) -> Any:
        """One answer, whole and within bounds, with JSON in it.

        Raises:
            TransientError: nobody answered, or not in time. BackendError: whoever answered is no
                API server that this machine believes.
        """
        for attempt in range(1, TRIES + 1):
            response = self._once(method, url, **more)
            wait = _asked_to_wait(response)
            if wait is None or attempt == TRIES:
                break
            self.sleep(wait)
        return response

    def _once(self, method: str, url: str, **more: Any) -> Any:
        import urllib3

        host = urlsplit(url).netloc
        timeout = urllib3.Timeout(connect=CONNECT_SECONDS, read=SECONDS)
        more |= {"timeout": timeout, "retries": False, "redirect": False, "preload_content": False}
        try:
            response = self.pool.request(method, url, **more)
            body = _read(response, host)
        except urllib3.exceptions.SSLError as error:
            raise BackendError(
                f"{host} is not believed: {_plain(error)}",
                hint="see that its certificate is valid and its authority in the kubeconfig",
            ) from None
        except urllib3.exceptions.HTTPError as error:
            raise TransientError(
                f"the API server {host} was not reached: {_plain(error)}",
                hint="see that it runs and can be reached from here, then the same command again",
            ) from None
        if response.status < 300:
            _require_object(body, host)
        elif response.status < 400:
            raise BackendError(
                f"{host} answers with a redirect, which no API server does",
                hint="name the API server itself in the kubeconfig",
            )
        headers = {
            name: value
            for name, value in response.headers.items()
            if name.lower() not in ("content-encoding", "transfer-encoding", "content-length")
        }
        return urllib3.HTTPResponse(
            io.BytesIO(body),
            headers=headers,
            status=response.status,
            reason=response.reason,
            preload_content=False,
        )


def _asked_to_wait(response: Any) -> float | None:
    text = response.headers.get("Retry-After", "")
    seconds = retry_after(text) if text else (1.0 if response.status == 429 else None)
    if response.status not in BUSY or seconds is None:
        return None
    return min(seconds, LONGEST_WAIT)


def _read(response: Any, host: str) -> bytes:
    end, pieces, size = time.monotonic() + SECONDS, [], 0
    while piece := response.read(PIECE, decode_content=True):
        pieces.append(piece)
        size += len(piece)
        if size > MOST:
            response.close()
            raise BackendError(
                f"{host} answers with more than {MOST // 1024 // 1024} MiB",
                hint="ask in a namespace of its own",
            )
        if time.monotonic() > end:
            response.close()
            raise TransientError(f"the answer of {host} did not come to its end in {SECONDS:.0f} s")
    response.release_conn()
    return b"".join(pieces)


def _require_object(body: bytes, host: str) -> None:
    try:
        is_object = isinstance(json.loads(body), dict)
    except (ValueError, RecursionError):
        is_object = False
    if not is_object:
        raise BackendError(
            f"{host} answers, but not as an API server does",
            hint="see that the kubeconfig names the API server, and no proxy asks for a login",
        )


def _plain(error: Exception) -> str:
    """What happened, without the path that was asked for."""
    reason = getattr(error, "reason", None) or error
    text = str(reason.args[-1] if getattr(reason, "args", ()) else reason)
    return text.split(": ", 1)[-1][:300] if text.startswith("<") else text[:300]
