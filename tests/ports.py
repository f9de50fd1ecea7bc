"""Ports for real servers that must be told theirs before they begin."""

import itertools
import os
import socket

# Below 32768: from there on Linux lends ports to connections, and a connection of another test
# could hold the one that a server was just promised. Each worker has a stretch of its own, and
# none of its ports is named twice.
FIRST, STRETCH = 12_000, 1_000
_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_begin = FIRST + STRETCH * (_worker % 20)
# Two runs of the suite beside each other begin at different places.
_numbers = itertools.count(os.getpid() * 37)


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody has and that this process names once only."""
    for number in itertools.islice(_numbers, STRETCH):
        port = _begin + number % STRETCH
        with socket.socket() as probe:
            # As servers do: what a closed connection left behind (TIME_WAIT) is no owner.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError(f"no free port from {_begin} on")
