"""Syslog: RFC 5424 messages in RFC 5425 frames over TLS.

The protocol has no answer. A batch counts as taken when the receiver, after it was told that no
more comes, closes its end without an error: then it has read everything.
"""

import contextlib
import re
import socket
import ssl
import unicodedata
from collections.abc import Sequence
from typing import Any

import msgspec

from casemate.watch.logs.line import LogLine
from casemate.watch.sinks.interface import Item, Kind, Sent
from casemate.watch.sinks.wire import Place, connected

AUDIT, LOCAL = 13, 16
"""Facilities (RFC 5424, 6.2.1): log audit, local use 0."""
SEVERITY = {"debug": 7, "info": 6, "warning": 4, "error": 3}
"""As RFC 5424, section 6.2.1, numbers them."""
ELEMENT = "casemate@32473"
"""Of structured data. 32473 is kept for examples (RFC 5612): casemate has no number of its own."""
APART = ("@timestamp", "log.level", "message", "ecs.version", "event.dataset")
"""Fields of a line that stand elsewhere in a message."""
MOST_FRAME = 8192
"""Bytes that receivers should take (RFC 5425, 4.3.1); rsyslog takes 8 KiB unless told otherwise."""
MOST_VALUE = 255
"""Characters of a value."""
_ESCAPED = re.compile(r'["\\\]]')
_NO_NAME = re.compile(r"[^!-~]")


class Syslog:
    """Sends to one receiver, a connection a batch."""

    takes: frozenset[Kind] = frozenset({"lines"})

    def __init__(self, to: Place, host: str) -> None:
        self.to, self.host = to, host

    def send(self, batch: Sequence[Item]) -> Sent:
        """See `Sender`."""
        frames = [
            frame(item.content, self.host) for item in batch if isinstance(item.content, LogLine)
        ]
        with connected(self.to) as sock:
            sock.sendall(b"".join(frames))
            _finish(sock)
        return Sent(accepted=len(batch))


def _finish(sock: socket.socket) -> None:
    """Say that no more comes, and wait until the other end is closed; OSError where it breaks."""
    if isinstance(sock, ssl.SSLSocket):
        # rsyslog closes the connection without saying so in TLS first
        with contextlib.suppress(ssl.SSLEOFError):
            sock = sock.unwrap()
    with contextlib.suppress(OSError):  # it may have closed already
        sock.shutdown(socket.SHUT_WR)
    while sock.recv(4096):
        pass


def frame(line: LogLine, host: str) -> bytes:
    """A message with its length before it (RFC 5425, 4.3)."""
    content = message(line, host)
    return b"%d %s" % (len(content), content)


def message(line: LogLine, host: str) -> bytes:
    """A line as RFC 5424 has it, at most `MOST_FRAME` bytes.

    Args:
        line: what is told.
        host: of this machine, where the line names no other.
    """
    facility = AUDIT if line.dataset == "casemate.audit" else LOCAL
    fields: dict[str, Any] = msgspec.to_builtins(line)
    parameters = "".join(
        f' {name}="{_escaped(str(value))}"' for name, value in fields.items() if name not in APART
    )
    priority = facility * 8 + SEVERITY[line.level]
    where = _NO_NAME.sub("?", line.node or host)[:255] or "-"
    head = f"<{priority}>1 {line.time} {where} casemate - {line.dataset} [{ELEMENT}{parameters}] "
    text = printable(line.message)
    mark = "" if text.isascii() else "\ufeff"  # MSG-UTF8 begins with it
    content = f"{head}{mark}{text}".encode()
    return content[:MOST_FRAME].decode(errors="ignore").encode()


def _escaped(value: str) -> str:
    return _ESCAPED.sub(lambda found: "\\" + found[0], printable(value[:MOST_VALUE]))


def printable(text: str) -> str:
    r"""Without characters that end a line or drive a terminal: `\n` or `\u001b` stands for them.

    >>> printable("a\nb\x1b")
    'a\\nb\\u001b'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        character
        if unicodedata.category(character) not in {"Cc", "Cf", "Cs", "Zl", "Zp"}
        else {"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(character, f"\\u{ord(character):04x}")
        for character in text
    )
