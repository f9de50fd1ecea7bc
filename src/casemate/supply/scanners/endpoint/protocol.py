"""Requests that nobody should send: what has two lengths, no end, too much of everything, or is no
HTTP at all; and TLS as it was. What is to come is what the gateway documents
(docs/explanation/gateway.md), from RFC 9112 (sections 2.2, 5, 6, 7 and 11) and RFC 8446.
"""

import gzip
import socket
import ssl
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from casemate.core.types.scan import Grade, ScanKind
from casemate.supply.scanners.endpoint.matrix import place_of
from casemate.supply.scanners.fault import CouldNotLook
from casemate.supply.scanners.interface import Hit, Looked, Place
from casemate.supply.scanners.running import Client, Target, show

QUIET_SECONDS = 3.0
"""Without another byte after which no more answers are waited for."""
HEAD_SECONDS, BODY_SECONDS = 10.0, 30.0
"""How long a head and a body may take to arrive (docs/explanation/gateway.md)."""
GRACE_SECONDS = 6.0
"""Beyond that: the gateway looks once a second, and a machine may be busy."""
LIVE = "/v2/health/live"
ENDED, SILENT = "ended", "silent"
"""Instead of an answer: the connection was ended; nothing came."""
MOST_ANSWERS = 2**20
MOST_SENT = 64 * 2**20
"""Bytes of a body that are sent to see that it is refused; where more is allowed, none is."""
LARGE_HEAD = 80 * 1024
DEEP = 100_000
INFER = "/v2/models/{served}/infer"


@dataclass(frozen=True)
class Case:
    """A request, and what may come of it."""

    name: str
    raw: bytes
    allowed: tuple[str, ...] = ("400",)
    """Answers that are as they should be: status codes with a blank between several, `ended`,
    `silent`.
    """
    grade: Grade = "high"
    references: tuple[str, ...] = ("CWE-444", "OWASP-API8:2023")


def head(*lines: str, path: str = LIVE, method: str = "GET") -> bytes:
    """The head of a request with these header lines beside a host."""
    first = f"{method} {path} HTTP/1.1\r\nHost: scan\r\n"
    return (first + "".join(f"{line}\r\n" for line in lines) + "\r\n").encode("latin-1")


SECOND = head("Connection: close")
"""What follows hidden in another one's body: if it is answered, it was smuggled."""


def smuggled() -> Iterator[Case]:
    """Requests with two ends (RFC 9112, section 11.2)."""
    post = {"method": "POST"}
    hidden = b"0\r\n\r\n" + SECOND
    both = [f"Content-Length: {len(hidden)}", "Transfer-Encoding: chunked"]
    yield Case("both lengths", head(*both, **post) + hidden)
    yield Case("both lengths, the other way round", head(*reversed(both), **post) + hidden)
    lengths = ["Content-Length: 0", f"Content-Length: {len(SECOND)}"]
    yield Case("two lengths", head(*lengths, **post) + SECOND)
    yield Case("a list of lengths", head(f"Content-Length: 0, {len(SECOND)}", **post) + SECOND)
    for value in ("xchunked", "chunked, identity", "\x0bchunked", "chunked, chunked"):
        line = f"Transfer-Encoding: {value}"
        yield Case(f"coding {value.strip()!r}", head(line, **post) + hidden)
    for value in ("-1", "+0", "0x0", "1e1", "9" * 40, "0 0", ""):
        yield Case(f"length {value[:8]!r}", head(f"Content-Length: {value}", **post) + SECOND)
    yield Case("a blank before the colon", head("Content-Length : 0", **post) + SECOND)
    yield Case("a folded line", head("X-A: b", " c: d") + b"")
    bare = f"POST {LIVE} HTTP/1.1\nHost: scan\nContent-Length: 0\n\n".encode()
    yield Case("lines that end in LF alone", bare + SECOND)
    yield Case("a bare CR", head("X-A: b\rX-C: d"))
    yield Case("a NUL in a header", head("X-A: b\0c"))
    yield Case("a NUL in a name", head("X\0A: b"))
    yield Case("a header without a name", head(": b"))
    chunked = head("Transfer-Encoding: chunked", **post)
    yield Case("a chunk's size is no number", chunked + b"zz\r\n\r\n" + SECOND)
    yield Case("a chunk's size overflows", chunked + b"f" * 20 + b"\r\n" + SECOND)
    yield Case("a chunk longer than it says", chunked + b"1\r\nabc\r\n0\r\n\r\n")


def no_http() -> Iterator[Case]:
    """What only looks like it."""
    yield Case("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", grade="low")
    for name, first in (("version", b"GET / HTTP/9.9"), ("method", b"G{T / HTTP/1.1")):
        yield Case(f"a {name} that is none", first + b"\r\nHost: scan\r\n\r\n", grade="low")
    yield Case("bytes", bytes(range(256)) + b"\r\n\r\n", grade="low")
    yield Case("two requests at once", head() + SECOND, ("200 200", "200 503", "503 503"))


def paths() -> Iterator[Case]:
    """Ways around the door (OWASP API8:2023): nobody gets in without credentials."""
    for path in ("//metrics", "/metrics/", "/./metrics", "/v2/health/live/../../../metrics",
                 "/v2/health/live/..%2f..%2f..%2fmetrics", "/%6detrics", "/metrics;a=b",
                 "/metrics%00", "/METRICS", "/metrics?a=/v2/health/live", "/v2/health/live%2f",
                 "/v2/health/live?/../../metrics#"):  # fmt: skip
        raw = head("Connection: close", path=path)
        allowed = ("200", "503") if path.startswith("/v2/health/live?") else ("401", "400")
        refs = ("CWE-22", "CWE-863", "OWASP-API5:2023")
        yield Case(f"path {path}", raw, allowed, "critical", refs)
    for method in ("TRACE", "CONNECT", "PROPFIND"):
        raw = head("Connection: close", path="/metrics", method=method)
        yield Case(f"method {method}", raw, ("401", "400", "405"), "medium")
    for name in ("X-HTTP-Method-Override", "X-Original-URL", "X-Rewrite-URL", "X-Forwarded-User"):
        raw = head(f"{name}: {LIVE}", "Connection: close", path="/metrics")
        yield Case(f"header {name}", raw, ("401",), "critical", ("CWE-290", "OWASP-API2:2023"))


def large(target: Target) -> Iterator[Case]:
    """Too much of something (CWE-400, OWASP API4:2023)."""
    refs = ("CWE-400", "CWE-770", "OWASP-API4:2023")
    ended = (ENDED, "400", "431", "414", "413")
    yield Case("a head of 80 KiB", head("X-A: " + "a" * LARGE_HEAD), ended, references=refs)
    lines = [f"X-{number}: a" for number in range(LARGE_HEAD // 8)]
    yield Case("a head of 10,000 lines", head(*lines), ended, references=refs)
    yield Case("a path of 80 KiB", head(path="/" + "a" * LARGE_HEAD), ended, references=refs)
    bearer = f"Authorization: Bearer {_asker(target)}"
    path = INFER.format(served=target.known.served)
    ask = {"path": path, "method": "POST"}
    json_ = "Content-Type: application/json"
    close = "Connection: close"
    yield Case(
        "a body of 10 GiB", head(bearer, json_, close, f"Content-Length: {10 * 2**30}", **ask),
        ("413",), references=refs,
    )  # fmt: skip
    if target.known.most_body < MOST_SENT:
        bomb = gzip.compress(b" " * MOST_SENT, 9)
        lines = [bearer, json_, close, "Content-Encoding: gzip", f"Content-Length: {len(bomb)}"]
        yield Case("a body that inflates to 64 MiB", head(*lines, **ask) + bomb, ("413",),
                   references=refs)  # fmt: skip
        piece = b"10000\r\n" + b" " * 65536 + b"\r\n"
        count = target.known.most_body // 65536 + 2
        chunked = head(bearer, json_, close, "Transfer-Encoding: chunked", **ask)
        yield Case("a body in chunks that is too large", chunked + piece * count,
                   ("413", ENDED), references=refs)  # fmt: skip
    for name, body in (
        ("deep JSON", b"[" * DEEP),
        ("deep objects", b'{"a":' * DEEP),
        ("a number of 100,000 digits", b'{"inputs":' + b"9" * DEEP + b"}"),
        ("no UTF-8", b'{"inputs": "\xff\xfe"}'),
    ):
        lines = [bearer, json_, close, f"Content-Length: {len(body)}"]
        yield Case(name, head(*lines, **ask) + body, ("400", "422"), "medium", refs)
    for kind in ("text/xml", "application/x-www-form-urlencoded", "multipart/form-data",
                 "application/json; charset=utf-16", "application/x-python-serialize"):  # fmt: skip
        body = (
            b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>'
        )
        lines = [bearer, f"Content-Type: {kind}", close, f"Content-Length: {len(body)}"]
        yield Case(f"a body of {kind}", head(*lines, **ask) + body, ("400", "415"), "medium",
                   ("CWE-436", "OWASP-API8:2023"))  # fmt: skip


def _asker(target: Target) -> str:
    """The token of somebody who may ask the model."""
    wanted = {f"{action} served" for action in ("model:infer", "model:infer-label")}
    for one in target.known.identities:
        if (
            one.state == "good"
            and one.token
            and one.kind == "Service"
            and wanted & set(one.allowed)
        ):
            return one.token
    raise CouldNotLook("the scan has no credentials of anybody who may ask the model")


def exchanged(target: Target, raw: bytes, seconds: float = QUIET_SECONDS) -> str:
    """What comes back over a connection of its own; see `exchange`."""
    with target.connect(seconds) as connection:
        return exchange(connection, raw)


def exchange(connection: socket.socket, raw: bytes) -> str:
    """What comes back: status codes in their order, else `ended` or `silent`."""
    got = b""
    is_ended = False
    try:
        connection.sendall(raw)
    except TimeoutError:
        return SILENT
    except OSError:
        is_ended = True  # what it said before may still be read
    try:
        while len(got) < MOST_ANSWERS and (more := connection.recv(65536)):
            got += more
        is_ended = True
    except TimeoutError:
        pass
    except OSError:
        is_ended = True
    codes = [part[:3].decode("latin-1") for part in got.split(b"HTTP/1.1 ")[1:]]
    if got and not codes:
        return "no HTTP"
    return " ".join(codes) or (ENDED if is_ended else SILENT)


class Protocol:
    """Looks at what the gateway does with what is no ordinary request."""

    id = "casemate-protocol"
    kind: ScanKind = "endpoint"

    def __init__(self, *, patient: bool = True) -> None:
        self.patient = patient
        """Whether it also sends slowly, which takes 46 seconds."""

    def look(self, place: Place) -> Looked:
        """See `Scanner.look`."""
        target = place.running()
        found: list[Hit] = []
        unseen: dict[str, str] = {}
        count = 0
        late = [_Slow(target, *one) for one in slow(target)] if self.patient else []
        for one in late:
            one.start()
        notes = [] if self.patient else ["slow senders"]
        try:
            for case in (*smuggled(), *no_http(), *paths(), *large(target)):
                count += 1
                got = exchanged(target, case.raw)
                if got not in case.allowed:
                    found.append(_hit(case.name, case.grade, got, case.allowed, case.references))
            if target.is_tls:
                for hit in tls(target):
                    count += 1
                    found += [hit] if hit else []
            else:
                notes.append("TLS: something in front does it")
            for one in late:
                count += 1
                one.join()
                if one.fault is not None:
                    raise one.fault
                found += [one.hit] if one.hit else []
            with Client(target) as client:
                status = client.ask("GET", LIVE).status
            if status != 200:
                found.append(_hit("afterwards", "critical", str(status), ("200",), ("CWE-400",)))
        except CouldNotLook as error:
            unseen[""] = f"after {count} requests: {error.sentence}"
        return Looked(scanner=self.id, kind=self.kind, version="1", hits=found, count=count,
                      unseen=unseen, notes=notes)  # fmt: skip


def _hit(
    name: str, grade: Grade, got: str, allowed: Sequence[str], references: Sequence[str]
) -> Hit:
    return Hit(
        rule="endpoint.protocol",
        severity=grade,
        message=f"{name}: answered {got}, not {' or '.join(allowed)}",
        path=place_of(""),
        material=name,
        references=list(references),
        mend="see serve/http.py, and what stands in front of the gateway",
    )


def tls(target: Target) -> Iterator[Hit | None]:
    """Versions that are not offered (RFC 8996; docs/how-to/serve.md: 1.3 alone), and plain
    HTTP on a port of TLS.
    """
    refs = ("CWE-326", "CWE-327", "OWASP-API8:2023")
    for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # it is only asked whether a version is offered
        show(context, target.known.certificate)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.set_ciphers("ALL:@SECLEVEL=0")
            context.minimum_version = context.maximum_version = version
        target.meter.take()
        name = version.name.replace("_", ".").replace("v", " ")
        grade: Grade = "low" if version is ssl.TLSVersion.TLSv1_2 else "high"
        yield _hit(name, grade, "greeted", ("refused",), refs) if _greets(target, context) else None
    target.meter.take()
    with socket.create_connection((target.host, target.port), QUIET_SECONDS) as plain:
        try:
            plain.sendall(head())
            got = plain.recv(64)
        except OSError:
            got = b""
    is_http = got.startswith(b"HTTP/")
    yield _hit("plain HTTP", "high", "answered", ("ended",), ("CWE-319",)) if is_http else None


def _greets(target: Target, context: ssl.SSLContext) -> bool:
    with socket.create_connection((target.host, target.port), QUIET_SECONDS) as plain:
        try:
            with context.wrap_socket(plain, server_hostname=target.host):
                return True
        except OSError:
            return False


def slow(target: Target) -> Iterator[tuple[str, bytes, float]]:
    """(name, what is sent before the pieces, seconds after which it must be over)."""
    yield "a head that takes its time", b"GET / HTTP/1.1\r\nX-A: ", HEAD_SECONDS
    bearer = f"Authorization: Bearer {_asker(target)}"
    lines = [bearer, "Content-Type: application/json", "Content-Length: 1000"]
    begun = head(*lines, path=INFER.format(served=target.known.served), method="POST")
    yield "a body that takes its time", begun, HEAD_SECONDS + BODY_SECONDS


class _Slow(threading.Thread):
    """Sends a byte a second until it is over."""

    def __init__(self, target: Target, name: str, begun: bytes, seconds: float) -> None:
        super().__init__(daemon=True)
        self.target, self.what, self.begun, self.seconds = target, name, begun, seconds
        self.hit: Hit | None = None
        self.fault: CouldNotLook | None = None

    def run(self) -> None:
        end = time.monotonic() + self.seconds + GRACE_SECONDS
        try:
            with self.target.connect(1.0) as connection:
                connection.sendall(self.begun)
                while time.monotonic() < end:
                    try:
                        connection.recv(4096)
                        return  # told that it is too slow, or ended
                    except TimeoutError:
                        connection.sendall(b" ")
        except CouldNotLook as error:
            self.fault = error
            return
        except OSError:
            return
        told = (f"ended after {self.seconds:g} s",)
        refs = ("CWE-400", "CWE-770", "OWASP-API4:2023")
        self.hit = _hit(self.what, "high", "nothing, and the connection stays", told, refs)
