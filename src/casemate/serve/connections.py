"""Who is connected to a worker: strangers have a little room, callers who have shown who they are
have theirs, and neither takes the other's.

A connection is a stranger's until a request on it was authenticated. Strangers are bounded for each
address and in all, and a newcomer takes the place of whoever has kept one longest without saying
who it is, at the address that holds most of them: who means to call needs milliseconds, who only
wants to fill the room waits.
"""

import asyncio
import contextlib
import ipaddress
import resource
import socket
import ssl
from collections.abc import Callable
from typing import Any

from casemate.config import ServeTable
from casemate.serve.metrics import Metrics

HANDSHAKE_SECONDS = 10.0
"""asyncio waits 60; a connection that says nothing holds a place that others need. A judgement."""
SHUTDOWN_SECONDS = 5.0
"""For the other side's close_notify; asyncio waits 30. A judgement."""
ACCEPTS = 8
"""Connections that are taken in one turn of the event loop: the other workers get theirs."""
PAUSE_SECONDS = 0.1
"""How long nobody is let in when the process has no descriptor left."""
OWN_FILES = 256
"""Descriptors that are kept for the catalogue, the log and the rest."""


class Entry:
    """One connection, and what is known of it."""

    __slots__ = ("address", "end", "known")

    def __init__(self, address: str) -> None:
        self.address = address
        self.known = False
        self.end: Callable[[], Any] = lambda: None
        """Ends it at once."""


class Connections:
    """The connections of one worker."""

    def __init__(self, table: ServeTable, metrics: Metrics) -> None:
        """Nobody is connected.

        Args:
            table: the `[serve]` table.
            metrics: where they are counted.
        """
        self._metrics = metrics
        self._most_strangers = table.strangers
        # Behind a proxy everybody has the proxy's address.
        self._most_of_one = (
            table.strangers
            if table.tls == "proxy"
            else min(table.strangers_per_address, table.strangers)
        )
        self._most = room(table)[0]
        self._strangers: dict[str, dict[Entry, None]] = {}
        self._waiting = 0
        self._known = 0

    def admit(self, address: str) -> Entry:
        """A new connection from this address; whose place it takes is ended."""
        place = _network(address)
        theirs = self._strangers.setdefault(place, {})
        if len(theirs) >= self._most_of_one:
            self._evict(theirs, "address")
        elif self._waiting >= self._most_strangers:
            self._evict(max(self._strangers.values(), key=len), "strangers")
        entry = Entry(place)
        self._strangers.setdefault(place, {})[entry] = None
        self._waiting += 1
        return entry

    @property
    def waiting(self) -> int:
        """How many strangers there are."""
        return self._waiting

    def know(self, entry: Entry) -> bool:
        """A request on it was authenticated; False when there is no room for another caller."""
        if self._known >= self._most:
            return False
        self._forget(entry)
        entry.known = True
        self._known += 1
        return True

    def gone(self, entry: Entry) -> None:
        """It has ended; may be told more than once."""
        if entry.known:
            entry.known = False
            self._known -= 1
        else:
            self._forget(entry)

    def press(self) -> None:
        """The process has no descriptor left: the longest stranger goes."""
        if self._waiting:
            self._evict(max(self._strangers.values(), key=len), "descriptors")

    def gauge(self) -> None:
        """Say how many there are."""
        self._metrics.gauges["casemate_connections", "caller"] = self._known
        self._metrics.gauges["casemate_connections", "stranger"] = self._waiting

    def _evict(self, theirs: dict[Entry, None], why: str) -> None:
        oldest = next(iter(theirs))
        self._forget(oldest)
        self._metrics.count("casemate_connections_ended", why)
        oldest.end()

    def _forget(self, entry: Entry) -> None:
        theirs = self._strangers.get(entry.address)
        if theirs is not None and entry in theirs:
            del theirs[entry]
            self._waiting -= 1
            if not theirs:
                del self._strangers[entry.address]


class Acceptor:
    """Takes connections from a listening socket that other processes take from too; in
    `uvicorn.Server.servers` it stands for a server.
    """

    def __init__(
        self,
        listener: socket.socket,
        connections: Connections,
        protocol: Callable[[], Any],
        context: ssl.SSLContext | None,
    ) -> None:
        """Start taking connections.

        Args:
            listener: shared by all workers.
            connections: who is connected.
            protocol: makes one for each connection; it gets its `entry`.
            context: for TLS.
        """
        self._listener, self._connections, self._protocol, self._context = (
            listener,
            connections,
            protocol,
            context,
        )
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._open = True
        listener.setblocking(False)
        self._loop.add_reader(listener, self._accept)

    def _accept(self) -> None:
        for _ in range(ACCEPTS):
            try:
                made, peer = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionError):
                return
            except OSError:  # no descriptor or no memory
                self._connections.press()
                self._loop.remove_reader(self._listener)
                self._loop.call_later(PAUSE_SECONDS, self._resume)
                return
            made.setblocking(False)
            entry = self._connections.admit(peer[0])
            task = self._loop.create_task(self._establish(made, entry))
            entry.end = task.cancel
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _resume(self) -> None:
        if self._open:
            self._loop.add_reader(self._listener, self._accept)

    async def _establish(self, made: socket.socket, entry: Entry) -> None:
        """Greet, and leave the connection to its protocol."""

        def protocol() -> Any:
            found = self._protocol()
            found.entry, found.connections_of = entry, self._connections
            return found

        times = (
            {"ssl_handshake_timeout": HANDSHAKE_SECONDS, "ssl_shutdown_timeout": SHUTDOWN_SECONDS}
            if self._context is not None
            else {}
        )
        try:
            await self._loop.connect_accepted_socket(protocol, made, ssl=self._context, **times)
        # a handshake that failed, took too long or gave way to another one
        except (OSError, asyncio.CancelledError):
            made.close()
            self._connections.gone(entry)

    def close(self) -> None:
        """Take no more connections; those that there are go on."""
        if self._open:
            self._open = False
            self._loop.remove_reader(self._listener)

    async def wait_closed(self) -> None:
        """Nothing is left to wait for: handshakes that are not done yet end with the loop."""
        for task in list(self._tasks):
            task.cancel()


def _network(address: str) -> str:
    """What counts as one address: of IPv6 the network of 64 bits that a host has for itself."""
    if ":" not in address:
        return address
    with contextlib.suppress(ValueError):
        found = ipaddress.IPv6Address(address.partition("%")[0])
        return str(found.ipv4_mapped or (int(found) >> 64))
    return address


def room(table: ServeTable) -> tuple[int, int]:
    """(callers' connections, connections of gRPC's library if it serves) that this process has
    descriptors for.
    """
    files = _files() - OWN_FILES
    beside = (
        0 if table.grpc_port is None else min(table.max_connections + table.strangers, files // 2)
    )
    return max(min(table.max_connections, files - beside - table.strangers), 1), max(beside, 1)


def _files() -> int:
    """Descriptors that this process may have, after asking for all that it may ask for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    found = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return 2**31 if found == resource.RLIM_INFINITY else found
