"""The coordinator's HTTPS face, over real sockets: who gets in, and what is bounded."""

import contextlib
import datetime
import gc
import http.client
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from tests.ports import free_port
from tests.unit.operations.owners import LEADER, OWNERS, Site, charter, meeting_of, table
from tests.unit.operations.wards import Owner

from casemate.controls.federation.messages import (
    PATH,
    FromCoordinator,
    Hello,
    Next,
    No,
    Over,
    Wait,
    Welcome,
)
from casemate.controls.keys import pki
from casemate.controls.keys.tls import moment
from casemate.core.errors import BackendError, ConfigError
from casemate.operations.federated import listening as face
from casemate.operations.federated.listening import address, listening
from casemate.operations.federated.meeting import Meeting

MOST = 100_000
CHARTER = charter(3)


class Host(NamedTuple):
    """A coordinator that listens."""

    meeting: Meeting
    port: int
    folder: Path


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    meeting, port = meeting_of(CHARTER, poll=0.1), free_port()
    with listening(meeting, LEADER.authority, tmp_path, ("127.0.0.1", port), MOST):
        yield Host(meeting, port, tmp_path)


def context(
    host: Host, owner: Owner | None, *, kind: pki.Kind = "client", trusted: Owner = LEADER
) -> ssl.SSLContext:
    """A site's settings; without an owner it shows nothing."""
    made = ssl.create_default_context(cadata=trusted.card.authority)
    if owner is not None:
        names = [owner.name] if kind == "client" else ["127.0.0.1"]
        chain, key = owner.authority.issue(kind, names, 1, "p256")
        with moment(host.folder, chain) as one, moment(host.folder, key) as other:
            made.load_cert_chain(one, other)
    return made


@contextlib.contextmanager
def dialled(host: Host, settings: ssl.SSLContext) -> Iterator[http.client.HTTPSConnection]:
    made = http.client.HTTPSConnection("127.0.0.1", host.port, context=settings, timeout=10)
    try:
        yield made
    finally:
        made.close()


def said(
    connection: http.client.HTTPSConnection, body: bytes, path: str = PATH, method: str = "POST"
) -> tuple[int, FromCoordinator]:
    connection.request(method, path, body)
    answer = connection.getresponse()
    return answer.status, msgspec.msgpack.decode(answer.read(), type=FromCoordinator)


HELLO = msgspec.msgpack.encode(Hello(charter=CHARTER.digest, versions={}))


def test_each_site_is_the_one_whose_authority_issued_its_certificate(host: Host) -> None:
    for number in (2, 0, 1):
        with dialled(host, context(host, OWNERS[number])) as connection:
            status, found = said(connection, HELLO)
            assert (status, isinstance(found, Welcome) and found.site) == (200, number)
            # the same connection again
            assert said(connection, HELLO)[0] == 200


REFUSED = (ssl.SSLError, ConnectionError, http.client.HTTPException)


@pytest.mark.parametrize("who", ["nobody", "stranger", "coordinator", "server"])
def test_whoever_shows_no_client_certificate_of_a_site_says_nothing(host: Host, who: str) -> None:
    owner = {"nobody": None, "stranger": OWNERS[4], "coordinator": LEADER, "server": OWNERS[0]}[who]
    settings = context(host, owner, kind="server" if who == "server" else "client")
    with dialled(host, settings) as connection, pytest.raises(REFUSED):
        said(connection, HELLO)
    assert not host.meeting.versions_of(0)


def test_an_authority_that_calls_itself_like_a_sites_is_none(host: Host) -> None:
    with dialled(host, context(host, Owner("ward-a"))) as connection, pytest.raises(REFUSED):
        said(connection, HELLO)


def test_an_old_certificate_is_refused(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    before = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=9)
    with monkeypatch.context() as patch:
        patch.setattr(pki, "_now", lambda: before)
        settings = context(host, OWNERS[0])
    with dialled(host, settings) as connection, pytest.raises(REFUSED):
        said(connection, HELLO)


def test_older_tls_is_refused(host: Host) -> None:
    settings = context(host, OWNERS[0])
    settings.maximum_version = ssl.TLSVersion.TLSv1_2
    with dialled(host, settings) as connection, pytest.raises(REFUSED):
        said(connection, HELLO)


def test_a_site_that_trusts_the_coordinators_authority_alone_knows_it_by_the_charters_host(
    host: Host,
) -> None:
    for trusted in (OWNERS[0], OWNERS[1]):
        settings = context(host, OWNERS[0], trusted=trusted)
        with dialled(host, settings) as connection, pytest.raises(ssl.SSLCertVerificationError):
            said(connection, HELLO)
    made = http.client.HTTPSConnection(
        "localhost", host.port, context=context(host, OWNERS[0]), timeout=10
    )
    with contextlib.closing(made), pytest.raises(ssl.SSLCertVerificationError):
        said(made, HELLO)


@pytest.mark.parametrize(
    ("body", "path", "method", "status"),
    [
        (HELLO, "/", "POST", 404),
        (HELLO, PATH + "?x=1", "POST", 404),
        (HELLO, PATH, "PUT", 405),
        (b"", PATH, "POST", 400),
        (b"\xc1", PATH, "POST", 400),
        (b"\x91" * 5_000, PATH, "POST", 400),
        (HELLO[:-3], PATH, "POST", 400),
        (msgspec.msgpack.encode({"type": "Welcome", "site": 0, "job": b""}), PATH, "POST", 400),
    ],
)
def test_what_is_no_message_is_answered_shortly(
    host: Host, body: bytes, path: str, method: str, status: int
) -> None:
    with dialled(host, context(host, OWNERS[0])) as connection:
        answer = said(connection, body, path, method)
        assert (answer[0], type(answer[1])) == (status, No)
    with dialled(host, context(host, OWNERS[0])) as connection:
        assert said(connection, HELLO)[0] == 200


def test_a_message_that_says_it_is_too_large_is_not_read(host: Host) -> None:
    with dialled(host, context(host, OWNERS[0])) as connection:
        connection.putrequest("POST", PATH)
        connection.putheader("Content-Length", str(MOST + 1))
        connection.endheaders()
        assert connection.getresponse().status == 413


def test_a_message_without_a_length_is_not_read(host: Host) -> None:
    with dialled(host, context(host, OWNERS[0])) as connection:
        connection.request("POST", PATH, iter([HELLO]), encode_chunked=True)
        assert connection.getresponse().status in (411, 413)


def test_a_head_that_does_not_end_is_cut_off(host: Host) -> None:
    with socket.create_connection(("127.0.0.1", host.port), timeout=10) as plain:
        with context(host, OWNERS[0]).wrap_socket(plain, server_hostname="127.0.0.1") as line:
            with contextlib.suppress(OSError):  # it may hang up before all of it is sent
                line.sendall(b"POST / HTTP/1.1\r\n" + b"x: y\r\n" * face.HEAD)
            answer = b""
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                answer = line.recv(100)
            assert answer == b"" or b" 400 " in answer


def test_a_site_has_few_connections_and_the_newest_ones_stay(host: Host) -> None:
    settings = context(host, OWNERS[0])
    with contextlib.ExitStack() as stack:
        lines = [stack.enter_context(dialled(host, settings)) for _ in range(face.CONNECTIONS + 2)]
        for one in lines:
            assert said(one, HELLO)[0] == 200
        assert said(lines[-1], HELLO)[0] == 200
        with pytest.raises(REFUSED):
            said(lines[0], HELLO)


def test_whoever_waits_is_told_to_ask_again_and_then_that_it_is_over(host: Host) -> None:
    rows, codes, _ = table(30)
    site = Site(host.meeting, 0, rows, codes)
    site.introduce()
    message = msgspec.msgpack.encode(Next(job=host.meeting.job.id))
    with dialled(host, context(host, OWNERS[0])) as connection:
        assert said(connection, message) == (200, Wait())
        host.meeting.dismiss(Over(record=b"r", why=""), 0.0)
        assert said(connection, message) == (200, Over(record=b"r", why=""))


def test_a_coordinator_that_is_interrupted_while_a_site_waits_ends_at_once_and_without_a_fault(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    meeting, port, heard = meeting_of(CHARTER, poll=30.0), free_port(), threading.Event()
    own = LEADER.authority
    rows, codes, _ = table(30)
    Site(meeting, 0, rows, codes).introduce()
    message = msgspec.msgpack.encode(Next(job=meeting.job.id))
    hear = meeting.hear

    def noticed(*words: Any) -> FromCoordinator:
        heard.set()
        return hear(*words)

    meeting.hear = noticed  # type: ignore[method-assign]
    host = Host(meeting, port, tmp_path)
    with contextlib.ExitStack() as stack:
        with (
            pytest.raises(KeyboardInterrupt),
            listening(meeting, own, tmp_path, ("127.0.0.1", port), MOST),
        ):
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))  # and says nothing
            connection = stack.enter_context(dialled(host, context(host, OWNERS[0])))
            connection.request("POST", PATH, message)
            assert heard.wait(10)
            raise KeyboardInterrupt
        for one in threading.enumerate():
            if one.name.startswith("casemate-federation"):
                one.join(5)
                assert not one.is_alive()
    gc.collect()  # a task that nobody ended says so when it goes
    assert capfd.readouterr().err == ""


def test_where_nobody_can_listen_is_said(host: Host) -> None:
    own = LEADER.authority
    taken = listening(host.meeting, own, host.folder, ("127.0.0.1", host.port), MOST)
    with pytest.raises(BackendError, match=r"can listen on .*: Address already in use$") as caught:
        with taken:
            pass
    assert "another process" in caught.value.hint
    nobody = listening(host.meeting, own, host.folder, ("nobody.invalid", host.port), MOST)
    with pytest.raises(BackendError, match=r"can listen on nobody\.invalid") as caught:
        with nobody:
            pass
    assert "another process" not in caught.value.hint


def test_nothing_of_a_key_stays_on_disk(host: Host) -> None:
    assert list(host.folder.iterdir()) == []


@pytest.mark.parametrize("given", ["8460", "x:", ":1", "a:0", "a:99999", "a:١", "[]:1", "a..b:1"])
def test_an_address_that_is_none_is_refused(given: str) -> None:
    with pytest.raises(ConfigError):
        address(CHARTER, given)


def test_a_coordinator_listens_where_the_charter_says_or_where_it_is_told() -> None:
    assert address(CHARTER, "") == ("127.0.0.1", 8460)
    assert address(CHARTER, "0.0.0.0:99") == ("0.0.0.0", 99)
    assert address(CHARTER, "[::1]:99") == ("::1", 99)


def test_certificates_tell_sites_apart_by_key_and_not_by_name() -> None:
    known = face.Authorities(CHARTER)
    for number, owner in enumerate(OWNERS[:3]):
        chain, _ = owner.authority.issue("client", ["anybody"], 1, "p256")
        leaf = x509.load_pem_x509_certificates(chain)[0]
        assert known.site_of(leaf.public_bytes(Encoding.DER)) == number
