"""A site's line to its coordinator: it dials, shows a certificate of its own authority, and
believes one of the coordinator's authority alone, as the charter has it.

Nothing is sent before the other side has proven who it is. No proxy, no redirect, no compression;
answers are bounded in size and time. A coordinator that is away for a while is called again.
"""

import http.client
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from casemate.controls.federation.cards import Charter, address_of
from casemate.controls.federation.messages import MOST, PATH, FromCoordinator, FromSite
from casemate.controls.keys.pki import Authority
from casemate.controls.keys.tls import moment
from casemate.core.errors import AccessDenied, BackendError, TransientError, VerificationError

DIAL = 15.0
"""Seconds until somebody answers at all, and for each step of the handshake."""
STEP = 60.0
"""Seconds for each step of what is said: three times as long as a coordinator lets one wait."""
CARRIED_STEP = 300.0
"""Seconds where somebody else's transport carries it: it may bring messages one by one."""
WHOLE = 600.0
"""Seconds for all of one answer."""
PIECE = 1 << 20
FIRST, LONGEST = 0.2, 10.0
"""Seconds until a call is tried again: twice as many each time."""
SOON = 0.2
"""Seconds within which an alert has come, or none has been sent."""
AGAIN = 4 * FIRST
"""The wait from which on it is said of a line that breaks: that it broke once is no news, as it is
that nobody can be dialled.
"""
DAYS = 1
"""That a site's certificate is good for; each connection has a new one."""


class StrangeCoordinator(VerificationError):
    """Whoever listens at the coordinator's address does not prove to be the coordinator."""

    code = "CM-COORDINATOR"
    who = "the coordinator's owner; until it is explained nothing is sent there"


class NotAnswered(TransientError):
    """The coordinator was not reached, or did not answer to the end."""

    dialled = True
    """Whether there was a line to it."""


class Line:
    """One connection, made when it is needed and again when it breaks."""

    def __init__(
        self,
        charter: Charter,
        name: str,
        authority: Authority,
        folder: Path,
        patience: float,
        sleep: Callable[[float], None] = time.sleep,
        heard: Callable[[str], None] = lambda _: None,
        dial: Callable[[], socket.socket] | None = None,
    ) -> None:
        """Nothing is dialled yet.

        Args:
            charter: names the coordinator, its address and its authority.
            name: of this site's card.
            authority: this project's, which issues a certificate for each connection.
            folder: private; takes two files for a moment.
            patience: seconds that a coordinator may be away: `[federate] patience`.
            sleep: waits so many seconds.
            heard: hears why a call is made again, once for each message.
            dial: a connection that ends at the coordinator, however it gets there; default: of the
                charter's address.
        """
        self._host, self._port = address_of(charter.url)
        self._trusted = charter.coordinator.authority
        self._name, self._authority, self._folder = name, authority, folder
        self._patience, self._sleep, self._told = patience, sleep, heard
        self._dial = dial
        self._connection: http.client.HTTPSConnection | None = None

    def say(self, message: FromSite) -> FromCoordinator:
        """What the coordinator answers; a call that breaks is made again, with the same message.

        Raises:
            StrangeCoordinator: it does not prove who it is; nothing was sent.
            AccessDenied: it does not take this site's certificate, or the message.
            NotAnswered: it was away for longer than `patience`.
        """
        content = msgspec.msgpack.encode(message)
        wait, until, quiet = FIRST, time.monotonic() + self._patience, True
        while True:
            try:
                return self._once(content)
            except NotAnswered as error:
                if time.monotonic() + wait > until:
                    error.message += f"; it was called for {self._patience:g} s"
                    raise
                if quiet and (wait >= AGAIN or not error.dialled):
                    quiet = False
                    self._told(
                        f"{error.message}; for {self._patience:g} s, which [federate] patience"
                        " says, it is called again"
                    )
            self._sleep(wait)
            wait = min(2 * wait, LONGEST)

    def close(self) -> None:
        """Hang up."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _once(self, content: bytes) -> FromCoordinator:
        dialled = False
        try:
            connection = self._connected()
            fresh = connection.sock is None
            if fresh:
                connection.connect()
                connection.sock.settimeout(STEP if self._dial is None else CARRIED_STEP)
            dialled = True
            connection.request(
                "POST", PATH, content, {"Content-Type": "application/msgpack", "Accept": "*/*"}
            )
            answer = connection.getresponse()
            body = _body(answer)
        except ssl.SSLCertVerificationError as error:
            self.close()
            raise StrangeCoordinator(
                f"{self._host} shows a certificate that is not the coordinator's, or no longer"
                f" valid: {error.verify_message}",
                hint="see the clocks of both machines, and [federate] in the coordinator's project",
            ) from error
        except (OSError, http.client.HTTPException) as error:
            alert = self._alert(error)
            self.close()
            if alert:
                raise AccessDenied(
                    f"the coordinator does not take this site's certificate: {alert}",
                    hint="see that this project's card is in its charter, and the clocks",
                ) from error
            away = NotAnswered(
                f"the coordinator at {self._host}:{self._port} does not answer: {error}",
                hint=(
                    "it listens while `casemate federate lead` runs there; [federate] patience is"
                    " how long this site calls"
                ),
            )
            away.dialled = dialled
            raise away from error
        return self._understood(answer.status, body)

    def _alert(self, error: Exception) -> str:
        """What the other side's TLS says of this one, as far as it arrived: of TLS 1.3 a client
        hears whether its certificate is taken after it has begun to send (RFC 8446, appendix E.1),
        and a connection that is reset may lose it.
        """
        if not isinstance(error, ssl.SSLError) or "ALERT" not in (error.reason or ""):
            try:
                if self._connection is None or self._connection.sock is None:
                    return ""
                self._connection.sock.settimeout(SOON)
                self._connection.sock.recv(1)
            except ssl.SSLError as said:
                error = said
            except OSError:
                return ""
        found = getattr(error, "reason", None) or ""
        return found if "ALERT" in found else ""

    def _understood(self, status: int, body: bytes) -> FromCoordinator:
        if status in (408, 425, 429) or status >= 500:
            self.close()
            raise NotAnswered(f"the coordinator at {self._host} answered {status}", hint="wait")
        if status != 200:
            self.close()
            raise AccessDenied(
                f"the coordinator at {self._host} answered {status}",
                hint="see that both run the same casemate, and that this site is in its charter",
            )
        try:
            said: FromCoordinator = msgspec.msgpack.decode(body, type=FromCoordinator)
            return said
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            self.close()
            raise BackendError(
                f"the coordinator at {self._host} says what this casemate does not know: {error}",
                hint="both need the same version of casemate",
            ) from error

    def _connected(self) -> http.client.HTTPSConnection:
        if self._connection is None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.minimum_version = ssl.TLSVersion.TLSv1_3
            context.verify_flags |= ssl.VERIFY_X509_STRICT
            context.load_verify_locations(cadata=self._trusted)
            chain, key = self._authority.issue("client", [self._name], DAYS, "p256")
            with moment(self._folder, chain) as certificate, moment(self._folder, key) as private:
                context.load_cert_chain(certificate, private)
            if self._dial is None:
                self._connection = http.client.HTTPSConnection(
                    self._host, self._port, timeout=DIAL, context=context
                )
            else:
                self._connection = _Carried(self._host, self._port, context, self._dial)
        return self._connection


class _Carried(http.client.HTTPSConnection):
    """The same over a connection that somebody else carries."""

    def __init__(
        self, host: str, port: int, context: ssl.SSLContext, dial: Callable[[], socket.socket]
    ) -> None:
        super().__init__(host, port, context=context)
        self._settings, self._dialled = context, dial

    def connect(self) -> None:
        """Be connected, and know that it is with `host`."""
        plain = self._dialled()
        plain.settimeout(CARRIED_STEP)
        try:
            self.sock = self._settings.wrap_socket(plain, server_hostname=self.host)
        except BaseException:
            plain.close()
            raise


def _body(answer: http.client.HTTPResponse) -> bytes:
    """All of it; HTTPException where it is too long, or comes too slowly."""
    parts: list[bytes] = []
    until, size = time.monotonic() + WHOLE, 0
    while piece := answer.read1(PIECE):
        size += len(piece)
        parts.append(piece)
        if size > MOST or time.monotonic() > until:
            raise http.client.HTTPException("the answer does not end")
    if answer.length:
        raise http.client.IncompleteRead(b"", answer.length)
    answer.close()  # `read1` leaves it open, and the connection could not be used again
    return b"".join(parts)
