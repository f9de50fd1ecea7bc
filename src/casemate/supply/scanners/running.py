"""What is looked at, with whose credentials, and how much may be asked of it."""

import http.client
import socket
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from casemate.core.types import Record
from casemate.supply.scanners.fault import CouldNotLook

STEP_SECONDS = 20.0
"""For one step of a connection: a head may take 10 s, a body 30 s; an answer takes milliseconds."""
PIPELINE = 20
"""Requests that are sent before the first answer is read; an answer of ours is some 100 bytes."""
MOST_ANSWER = 4 * 2**20
MOST_WAIT = 5.0
"""Seconds of a `Retry-After` that are waited for."""
State = Literal[
    "good", "none", "nonsense", "unknown", "revoked", "expired", "ended", "elsewhere", "narrowed"
]
"""Of credentials. `unknown`: well-formed, of no catalogue; `elsewhere`: bound to another network or
certificate, or made for another audience; `narrowed`: good for one action alone.
"""


class Door(Record, frozen=True, kw_only=True):
    """A door of the gateway, as the gateway lists it."""

    name: str
    path: str
    """With `{names}`."""
    method: str
    action: str
    """What policy decides on."""


class Doors(Record, frozen=True, kw_only=True):
    """All of them."""

    doors: list[Door]
    open: list[str]
    """Paths that answer without credentials."""


class Identity(Record, frozen=True, kw_only=True):
    """Somebody made for the scan."""

    group: str
    """Who it stands for, such as `user auditor` or `service client of other models`."""
    uid: str
    """Cedar's name."""
    kind: Literal["User", "Service", ""]
    roles: list[str]
    state: State
    token: str
    certificate: str = ""
    """Folder of the client certificate that is shown; empty: the scan's own, if there is one."""
    allowed: list[str] = []
    """`ACTION RESOURCE` that the policy engine permits; RESOURCE is `project`, `served` or
    `absent`.
    """


class Input(Record, frozen=True, kw_only=True):
    """What a model takes."""

    name: str
    low: float = 0.0
    high: float = 1.0
    categories: list[str] = []
    """None: it is a number."""


class Known(Record, frozen=True, kw_only=True):
    """What the scan knows of a gateway before it asks anything."""

    identities: list[Identity]
    served: str
    """The model, as callers name it."""
    reference: str
    """NAME@VERSION of it."""
    most_body: int
    """Bytes of the largest body that it takes."""
    abusers: dict[str, Identity] = {}
    """By attack, who takes the model apart."""
    inputs: list[Input] = []
    classes: list[str] = []
    """None: it is a regressor."""
    membership: dict[str, float] = {}
    """Figures of the assessment: how well members were told from others."""
    membership_limit: float = 0.0
    """What the project's gate allows of it."""
    certificate: str = ""
    """Folder of the scan's own client certificate, which stands for nobody; empty: none is
    demanded.
    """
    barred: dict[str, str] = {}
    """In words, which client certificates let nobody connect -> their folders; empty: none."""


@dataclass
class Meter:
    """What is left of a scan's time and requests."""

    seconds: float
    requests: int
    rate: float
    began: float = field(default_factory=time.monotonic)
    sent: int = 0
    _due: float = 0.0

    def take(self, count: int = 1) -> None:
        """Wait until one more may be sent; CouldNotLook when no more may."""
        now = time.monotonic()
        if now - self.began > self.seconds:
            raise CouldNotLook(
                f"the scan's {self.seconds:g} s are over", hint="[scan.endpoint] seconds"
            )
        if self.sent + count > self.requests:
            raise CouldNotLook(
                f"the scan's {self.requests} requests are used up", hint="[scan.endpoint] requests"
            )
        self.sent += count
        if self._due > now:
            time.sleep(self._due - now)
        self._due = max(now, self._due) + count / self.rate


@dataclass(frozen=True)
class Target:
    """A gateway that runs."""

    url: str
    ca: Path | None
    """Of its certificate; None: plain HTTP, or whom this machine trusts."""
    doors: Doors
    known: Known
    meter: Meter
    scratch: bool
    """Whether it is a copy that nobody else uses: only such a one is abused."""
    anomalies: Callable[[str], list[str]] | None = None
    """Tells of a scratch copy which anomalies of a principal it has found."""
    grpc: str = ""
    """HOST:PORT where it answers over gRPC; empty: nowhere."""

    @property
    def host(self) -> str:
        """Name or address."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """TCP port."""
        parts = urlsplit(self.url)
        return parts.port or (443 if parts.scheme == "https" else 80)

    @property
    def is_tls(self) -> bool:
        """Whether it is asked over TLS."""
        return urlsplit(self.url).scheme == "https"

    def context(self, certificate: str | None = None) -> ssl.SSLContext:
        """Whom we believe to be the gateway, and what it is shown.

        Args:
            certificate: folder of the client's; None: of the scan's own; empty: none is shown.
        """
        found = ssl.create_default_context(cafile=None if self.ca is None else str(self.ca))
        show(found, self.known.certificate if certificate is None else certificate)
        return found

    def connect(
        self, timeout: float = STEP_SECONDS, certificate: str | None = None
    ) -> socket.socket:
        """A connection of its own, for what is no HTTP as libraries send it; counts as a request.

        Args:
            timeout: seconds for each step.
            certificate: see `context`.

        Raises:
            CouldNotLook: nobody is there, or no more may be asked.
        """
        self.meter.take()
        try:
            plain = socket.create_connection((self.host, self.port), timeout)
        except OSError as error:
            raise CouldNotLook(f"nobody answers at {self.url}: {error}") from error
        if not self.is_tls:
            return plain
        try:
            return self.context(certificate).wrap_socket(plain, server_hostname=self.host)
        except OSError as error:
            plain.close()
            raise CouldNotLook(f"no TLS with {self.url}: {error}") from error

    def widest(self) -> Identity:
        """Who may do most, a person if there is one.

        Raises:
            CouldNotLook: the scan has no good credentials.
        """
        good = [one for one in self.known.identities if one.state == "good" and one.token]
        if not good:
            raise CouldNotLook("the scan has no good credentials of anybody")
        return max(good, key=lambda one: (len(one.allowed), one.kind == "User"))


def show(context: ssl.SSLContext, certificate: str) -> None:
    """Let a client's TLS show the certificate in a folder; empty: none."""
    if certificate:
        context.load_cert_chain(f"{certificate}/cert.pem", f"{certificate}/key.pem")


class Reply(Record, frozen=True, kw_only=True):
    """What was answered."""

    status: int
    headers: dict[str, str]
    """By their names in small letters."""
    body: bytes


class Question(Record, frozen=True, kw_only=True):
    """What is asked."""

    method: str
    path: str
    token: str = ""
    body: bytes | None = None
    headers: dict[str, str] = {}

    def written(self, host: str) -> bytes:
        """The request (RFC 9112)."""
        headers = {"Host": host, **self.headers}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        if self.body is not None:
            headers.setdefault("Content-Type", "application/json")
            headers["Content-Length"] = str(len(self.body))
        lines = [f"{self.method} {self.path} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + (self.body or b"")


class Client:
    """Asks as one caller over one connection, which is opened again when the gateway closed it."""

    def __init__(self, target: Target, certificate: str | None = None) -> None:
        self.target = target
        self.certificate = certificate
        """See `Target.context`."""
        self._connection: socket.socket | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def ask(
        self,
        method: str,
        path: str,
        token: str = "",
        body: bytes | None = None,
        headers: Mapping[str, str] = {},
    ) -> Reply:
        """One request, and its answer; see `ask_all`."""
        question = Question(method=method, path=path, token=token, body=body, headers=dict(headers))
        return self.ask_all([question])[0]

    def ask_all(self, questions: Sequence[Question]) -> list[Reply]:
        """Several requests, and their answers; `PIPELINE` of them go out at once. Who is told to
        wait waits, once.

        Raises:
            CouldNotLook: nobody answers, what answers is no HTTP, or no more may be asked.
        """
        found: list[Reply] = []
        faults = 0
        while len(found) < len(questions):
            batch = questions[len(found) : len(found) + PIPELINE]
            fresh = self._connection is None
            before = len(found)
            try:
                found += self._batch(batch)
            except (OSError, http.client.HTTPException) as error:
                self.close()
                # an idle connection may end just as it is used again
                faults += 1
                if fresh or faults > 1 or isinstance(error, TimeoutError):
                    one = batch[0]
                    why = f"{type(error).__name__}: {error}"
                    raise CouldNotLook(f"no answer to {one.method} {one.path}: {why}") from error
            if len(found) > before:
                faults = 0
        for place, reply in enumerate(found):
            if reply.status == 429:
                found[place] = self._later(questions[place], reply)
        return found

    def _later(self, question: Question, reply: Reply) -> Reply:
        wait = reply.headers.get("retry-after", "")
        if not wait.isdecimal() or float(wait) > MOST_WAIT:
            return reply
        time.sleep(float(wait))
        try:
            return self._batch([question])[0]
        except (OSError, http.client.HTTPException, IndexError) as error:
            raise CouldNotLook(f"no answer to {question.method} {question.path}") from error

    def _batch(self, questions: Sequence[Question]) -> list[Reply]:
        """Their answers, as many as come before the gateway ends the connection, one at least."""
        if self._connection is None:
            self._connection = self.target.connect(certificate=self.certificate)
        self.target.meter.take(len(questions))
        host = f"{self.target.host}:{self.target.port}"
        self._connection.sendall(b"".join(one.written(host) for one in questions))
        stream = self._connection.makefile("rb")
        found: list[Reply] = []
        for one in questions:
            answer = http.client.HTTPResponse(_Shared(stream), method=one.method)  # type: ignore[arg-type] # all that it asks a socket for
            try:
                answer.begin()
                content = answer.read(MOST_ANSWER)
            except (OSError, http.client.HTTPException):
                if not found:
                    raise
                self.close()
                break
            names = {name.lower(): value for name, value in answer.getheaders()}
            found.append(Reply(status=answer.status, headers=names, body=content))
            if answer.will_close or len(content) >= MOST_ANSWER:
                self.close()
                break
        return found


class _Shared:
    """A stream that `HTTPResponse` may not close: the next answer comes in it."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def makefile(self, _mode: str) -> Any:
        return self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def close(self) -> None:
        """Later, with the connection."""
