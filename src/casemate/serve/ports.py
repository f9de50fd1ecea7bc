"""Listening sockets; a port that is taken is one clear message."""

import contextlib
import socket
from collections.abc import Iterator
from typing import Any

from casemate.core.errors import BackendError

BACKLOG = 2048
"""Connections that the kernel holds before they are accepted: as uvicorn asks for. The kernel takes
the lower of this and `net.core.somaxconn`.
"""


def listen(host: str, port: int, setting: str = "[serve] port") -> socket.socket:
    """A listening socket; BackendError, which names the setting, when the port is taken."""
    with _told(host, port, setting):
        return socket.create_server((host, port), family=_family(host), backlog=BACKLOG)


def bound(host: str, port: int) -> socket.socket:
    """A socket on which nobody listens yet (`begin`); BackendError when the port is taken."""
    with _told(host, port):
        # refused when anybody listens there
        with socket.create_server((host, port), family=_family(host)) as alone:
            port = alone.getsockname()[1]
        made = socket.socket(_family(host))
        # what a former gateway's connections left does not keep a new one out
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if made.family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind((host, port))
        return made


def begin(listener: socket.socket) -> None:
    """Listen on a bound socket, whoever else of this gateway does already; BackendError when the
    port was taken meanwhile.
    """
    with _told(*listener.getsockname()[:2]):
        listener.listen(BACKLOG)


def reserve(host: str, port: int, setting: str) -> socket.socket:
    """A socket that keeps the port for this user's shared sockets without taking connections;
    BackendError when the port is taken.
    """
    with _told(host, port, setting):
        # refused when anybody listens there
        with socket.create_server((host, port), family=_family(host)) as alone:
            port = alone.getsockname()[1]
        kept = socket.socket(_family(host))
        # what a former server's connections left does not keep a new one out
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        kept.bind((host, port))
        return kept


def _family(host: str) -> Any:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


@contextlib.contextmanager
def _told(host: str, port: int, setting: str = "[serve] port") -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BackendError(
            f"cannot listen on {host}:{port}: {error.strerror}",
            hint=f"stop the other server or set {setting}",
        ) from error
