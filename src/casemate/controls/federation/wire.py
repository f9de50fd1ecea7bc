"""How a TLS connection between a site and its coordinator goes over somebody else's messages.

A site's end waits for a piece of what the coordinator sent and answers it with a piece of what the
site sends; so a transport in which only the coordinator's side begins carries both directions. A
piece that is lost, repeated or changed ends the connection, never more: TLS at both ends believes
nothing on the way, and a site makes a new connection and says the same again.

This file is laid into the Flower app as it is, where there is no casemate: standard library only.
"""

import contextlib
import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

MOST = 16 * 2**20
"""Bytes of a connection in one piece."""
QUIET = 0.2
"""Seconds without a further byte after which what came is sent on."""
HOLD = 600.0
"""Seconds that a piece waits at a site for what the site says to it: it may train."""
ASK_HOLD = 60.0
"""Seconds that the question for a new connection waits at a site."""
BRIEF = 2.0
"""Seconds that a piece without content waits there."""
ANSWER = 25.0
"""Seconds for the coordinator's side to wait before it looks whether the site has more to say; a
coordinator may take 20 to say that there is nothing."""
STEP = 60.0
"""Seconds for one write."""
PAUSE = 1.0
"""Seconds until what failed is tried again."""
NONE = bytes(16)
"""No connection."""
_HEAD = struct.Struct(">4s16sIB")
_MAGIC = b"cmw1"
_ENDS, _MORE = 1, 2


class Lost(Exception):
    """The transport brought no answer to a piece."""


class Piece(NamedTuple):
    """Some bytes of a connection."""

    stream: bytes = NONE
    """Which connection: 16 bytes, drawn at the site; `NONE` from the coordinator's side asks for a
    new one, and from a site's says that there is none.
    """
    number: int = 0
    """From 1, of the coordinator's side; an answer has that of what it answers."""
    content: bytes = b""
    ends: bool = False
    """Nothing follows: that side has hung up."""
    more: bool = False
    """There is more at once: answer without waiting."""

    def packed(self) -> bytes:
        """As it is sent."""
        flags = _ENDS * self.ends | _MORE * self.more
        return _HEAD.pack(_MAGIC, self.stream, self.number, flags) + self.content


def unpacked(raw: bytes) -> Piece:
    """The piece; ValueError: it is none."""
    if not _HEAD.size <= len(raw) <= _HEAD.size + MOST:
        raise ValueError("a piece has another length")
    magic, stream, number, flags = _HEAD.unpack_from(raw)
    if magic != _MAGIC or flags > _ENDS | _MORE:
        raise ValueError("that is no piece of this version")
    return Piece(stream, number, raw[_HEAD.size :], bool(flags & _ENDS), bool(flags & _MORE))


class Came(NamedTuple):
    """What came of a connection."""

    content: bytes
    ended: bool
    more: bool


def came(stream: socket.socket, seconds: float, still: Callable[[], bool] = lambda: True) -> Came:
    """Bytes of a connection: the first within some seconds, the others until it is quiet.

    Args:
        stream: the connection.
        seconds: for the first byte.
        still: whether it is still worth waiting.
    """
    found, until = bytearray(), time.monotonic() + seconds
    while len(found) < MOST:
        stream.settimeout(QUIET if found else max(min(until - time.monotonic(), QUIET), 0.001))
        try:
            part = stream.recv(min(65536, MOST - len(found)))
        except TimeoutError:
            if found or time.monotonic() >= until or not still():
                break
            continue
        except OSError:
            part = b""
        if not part:
            return Came(bytes(found), ended=True, more=False)
        found += part
    return Came(bytes(found), ended=False, more=len(found) == MOST)


def whole(stream: socket.socket, seconds: float) -> bytes:
    """What the other side sends until it sends no more; OSError: too long, or too much."""
    found, until = bytearray(), time.monotonic() + seconds
    while True:
        stream.settimeout(max(until - time.monotonic(), 0.001))
        part = stream.recv(65536)
        if not part:
            return bytes(found)
        found += part
        if len(found) > _HEAD.size + MOST:
            raise OSError("a piece does not end")


def exchanged(place: Path, raw: bytes) -> bytes:
    """What a site's `casemate federate join --through` answers to a piece.

    Args:
        place: its socket.
        raw: the piece.

    Returns:
        a piece; of no connection, where nobody is there.
    """
    until = time.monotonic() + ASK_HOLD
    while True:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as site:
            site.settimeout(STEP)
            site.connect(str(place))
            site.sendall(raw)
            site.shutdown(socket.SHUT_WR)
            found = whole(site, HOLD + STEP)
            if found:
                return found
        if unpacked(raw).stream != NONE or time.monotonic() > until:
            return Piece().packed()
        time.sleep(PAUSE)


def carry(
    call: Callable[[Piece], Piece],
    dial: Callable[[], socket.socket],
    over: Callable[[], bool],
) -> None:
    """Carry one site's connections, one after the other, until it is over.

    Args:
        call: what the site answers to a piece; `Lost` where no answer comes.
        dial: a new connection to the coordinator.
        over: whether it is.
    """
    while not over():
        try:
            first = call(Piece())
            if first.stream != NONE:
                _carried(call, dial, first)
        except (Lost, OSError, ValueError):
            time.sleep(PAUSE)


def _carried(call: Callable[[Piece], Piece], dial: Callable[[], socket.socket], up: Piece) -> None:
    """One connection, from its first bytes to its end; OSError: nobody could be dialled."""
    try:
        lead = dial()
    except OSError:
        call(Piece(up.stream, 1, ends=True))
        raise
    with lead:
        stream, number = up.stream, 0
        while not up.ends:
            found = Came(b"", ended=False, more=False)
            try:
                lead.settimeout(STEP)
                lead.sendall(up.content)
                if not up.more:
                    found = came(lead, ANSWER)
            except OSError:
                found = Came(b"", ended=True, more=False)
            number += 1
            up = call(Piece(stream, number, *found))
            if found.ended or (up.stream, up.number) != (stream, number):
                return
        with contextlib.suppress(OSError):
            lead.settimeout(STEP)
            lead.sendall(up.content)
