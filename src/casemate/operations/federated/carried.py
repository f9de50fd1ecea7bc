"""A site's and a coordinator's place on somebody else's transport: a Unix socket, in a folder that
nobody else can enter.

What comes there is believed no more than what comes over the internet: it is TLS between site and
coordinator, and whoever carries it can lose it and nothing else. `deploy.flower` says how it goes.
"""

import contextlib
import os
import secrets
import socket
import stat
import threading
import time
from pathlib import Path
from typing import NamedTuple

from casemate.controls.federation import wire
from casemate.controls.federation.wire import NONE, Piece
from casemate.core.errors import BackendError, BusyError, ConfigError

LONGEST_PATH = 100
"""Bytes of a socket's path; Linux takes 107."""
CARRIERS = 8
"""Pieces at once: one is worth something, and whoever carries may come anew."""


def listener_at(place: Path, backlog: int) -> socket.socket:
    """A Unix socket there, for its owner and, where the folder lets them in, the owner's group.

    Args:
        place: of the socket; one that nobody listens at any more is replaced.
        backlog: connections that may wait.

    Raises:
        ConfigError: its folder is not there, or others could enter it. BusyError: somebody listens
            there. BackendError: it cannot be made.
    """
    where = place.absolute()
    if len(os.fsencode(where)) > LONGEST_PATH:
        raise ConfigError(
            f"{where} is too long for a socket", hint=f"a path of at most {LONGEST_PATH} bytes"
        )
    try:
        folder = where.parent.stat()
    except OSError as error:
        raise ConfigError(
            f"{where.parent} cannot be entered: {error.strerror}",
            hint=f"mkdir -m 700 {where.parent}",
        ) from error
    if folder.st_uid != os.geteuid() or stat.S_IMODE(folder.st_mode) & 0o027:
        raise ConfigError(
            f"{where.parent} is not this user's own, or others may enter it or write to it",
            hint=f"chmod 700 {where.parent}, or 2710 where its group carries what comes and goes",
        )
    made = socket.socket(socket.AF_UNIX)
    try:
        _free(where)
        made.bind(str(where))
        where.chmod(0o660)  # who gets as far says the folder
        made.listen(backlog)
    except OSError as error:
        made.close()
        raise BackendError(
            f"nobody can listen at {where}: {error.strerror or error}",
            hint="see the folder, and what is there",
        ) from error
    except BaseException:
        made.close()
        raise
    return made


def _free(where: Path) -> None:
    """Remove a socket that is left of a process before."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(where.lstat().st_mode):
            raise BusyError(f"{where} is there already, and no socket", hint="another path")
        with socket.socket(socket.AF_UNIX) as found:
            found.settimeout(1.0)
            try:
                found.connect(str(where))
            except ConnectionRefusedError:
                where.unlink()
                return
        raise BusyError(f"another process listens at {where}", hint="end it, or another path")


class _Stream(NamedTuple):
    id: bytes
    socket: socket.socket

    def hang_up(self) -> None:
        """Whoever waits for it hears so."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


class Wire:
    """A site's end: what it dials goes out and in by whoever comes to the socket."""

    def __init__(self, place: Path) -> None:
        """Listens; see `listener_at` for what it raises."""
        self._place = place.absolute()
        self._listener = listener_at(place, CARRIERS)
        self._changed = threading.Condition()
        self._room = threading.Semaphore(CARRIERS)
        self._turn = 0
        """Of the newest piece: what an older one waits for is nobody's any more."""
        self._fresh: _Stream | None = None
        self._stream: _Stream | None = None
        self._number = 0
        self._closed = False
        threading.Thread(target=self._accept, name="casemate-wire", daemon=True).start()

    def dial(self) -> socket.socket:
        """A connection to wherever the transport ends; nothing answers until it is carried."""
        mine, theirs = socket.socketpair()
        with self._changed:
            if self._fresh is not None:
                self._fresh.hang_up()
            self._fresh = _Stream(secrets.token_bytes(len(NONE)), theirs)
            self._changed.notify_all()
        return mine

    def close(self) -> None:
        """Hang up, and leave no socket."""
        with self._changed:
            self._closed = True
            self._turn += 1
            for stream in (self._fresh, self._stream):
                if stream is not None:
                    stream.hang_up()
            self._fresh = self._stream = None
            self._changed.notify_all()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._place.unlink(missing_ok=True)

    def _accept(self) -> None:
        while True:
            self._room.acquire()
            try:
                carrier, _ = self._listener.accept()
            except OSError:
                if self._closed:
                    return
                self._room.release()  # no descriptor or no memory
                time.sleep(wire.PAUSE)
                continue
            threading.Thread(target=self._heard, args=(carrier,), daemon=True).start()

    def _heard(self, carrier: socket.socket) -> None:
        try:
            # whoever brings what is no piece hears nothing
            with carrier, contextlib.suppress(OSError, ValueError):
                piece = wire.unpacked(wire.whole(carrier, wire.STEP))
                answer = self._exchanged(piece)
                carrier.settimeout(wire.STEP)
                carrier.sendall(answer.packed())
        finally:
            self._room.release()

    def _exchanged(self, piece: Piece) -> Piece:
        """What this side says to a piece."""
        with self._changed:
            self._turn += 1
            mine = self._turn
            self._changed.notify_all()
            if piece.stream == NONE or not self._follows(piece):
                # the other side knows of no connection, or of another one
                self._drop()
            if piece.stream == NONE:
                self._changed.wait_for(
                    lambda: self._fresh is not None or self._turn != mine, wire.ASK_HOLD
                )
                if self._fresh is None or self._turn != mine:
                    return Piece()
                self._stream, self._fresh = self._fresh, None
            if self._stream is None:
                return Piece(piece.stream, piece.number, ends=True)
            self._number, stream = piece.number, self._stream
        return self._passed(stream, piece, mine)

    def _follows(self, piece: Piece) -> bool:
        known = self._stream
        return known is not None and (piece.stream, piece.number) == (known.id, self._number + 1)

    def _drop(self) -> None:
        if self._stream is not None:
            self._stream.hang_up()
            self._stream = None

    def _passed(self, stream: _Stream, piece: Piece, mine: int) -> Piece:
        """Give it to who dialled, and take what that one says."""
        seconds = wire.HOLD if piece.content or piece.stream == NONE else wire.BRIEF
        ended = piece.ends
        try:
            stream.socket.settimeout(wire.STEP)
            stream.socket.sendall(piece.content)
        except OSError:
            ended = True
        if ended or piece.more:
            found = wire.Came(b"", ended, more=False)
        else:
            found = wire.came(stream.socket, seconds, lambda: self._turn == mine)
        if found.ended:
            with self._changed:
                if self._stream is stream:
                    self._drop()
        return Piece(stream.id, piece.number, *found)
