"""A site says nothing to whoever does not prove to be the coordinator, and calls again whoever was
away.
"""

import contextlib
import datetime
import http.client
import socket
import ssl
import threading
import time
from typing import NamedTuple

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from tests.unit.operations import wards

from casemate.controls.federation import messages
from casemate.controls.federation.messages import Next, Wait
from casemate.controls.keys.pki import Authority
from casemate.controls.keys.tls import moment
from casemate.core.errors import AccessDenied, BackendError
from casemate.operations.federated import calling
from casemate.operations.federated.calling import Line, NotAnswered, StrangeCoordinator

LEADER, SITE, STRANGER = (wards.Coordinator(name) for name in ("leader", "ward-0", "stranger"))
SAID = Next(job="1" * 32)


def answer(message, status=200):
    """What a coordinator sends."""
    content = message if isinstance(message, bytes) else msgspec.msgpack.encode(message)
    head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(content)}\r\n\r\n"
    return head.encode() + content


class Late(NamedTuple):
    """What a coordinator sends after a while."""

    seconds: float
    content: bytes


class Listening:
    """A coordinator that answers each request with the next of some bytes; nothing left: it hangs
    up.
    """

    def __init__(self, folder, answers, certificate=None, authority=None, clients=None, once=False):
        self.once = once
        chain, key = certificate or (authority or LEADER.authority).issue_server(["127.0.0.1"])
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_3
        self.context.verify_mode = ssl.CERT_REQUIRED
        self.context.load_verify_locations(cadata=(clients or SITE.authority).pem.decode())
        with moment(folder, chain) as one, moment(folder, key) as other:
            self.context.load_cert_chain(one, other)
        self.answers, self.heard, self.names = list(answers), [], []
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join(10)

    def _serve(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            with contextlib.suppress(OSError), connection:
                connection.settimeout(10)
                with self.context.wrap_socket(connection, server_side=True) as stream:
                    self.names.append(stream.getpeercert()["subjectAltName"])
                    self._answer(stream)

    def _answer(self, stream):
        file = stream.makefile("rb")
        while line := file.readline():
            method, path, _ = line.decode().split()
            headers = http.client.parse_headers(file)
            self.heard.append((method, path, file.read(int(headers["Content-Length"]))))
            found = self.answers.pop(0) if self.answers else None
            if found is None:  # dies in the middle
                return
            if isinstance(found, Late):
                time.sleep(found.seconds)
                found = found.content
            stream.sendall(found)
            if self.once:
                return


def line_to(folder, port, patience=5.0, **more):
    charter = msgspec.structs.replace(
        wards.charter_of([SITE.card, STRANGER.card], LEADER), url=f"https://127.0.0.1:{port}"
    )
    return Line(charter, "ward-0", SITE.authority, folder, patience, sleep=lambda _: None, **more)


def test_a_message_is_a_post_whose_answer_is_understood(tmp_path):
    with Listening(tmp_path, [answer(Wait()), answer(Wait())]) as there:
        line = line_to(tmp_path, there.port)
        assert line.say(SAID) == Wait()
        assert line.say(SAID) == Wait()
        line.close()
    assert [one[:2] for one in there.heard] == [("POST", messages.PATH)] * 2
    assert msgspec.msgpack.decode(there.heard[0][2], type=messages.FromSite) == SAID
    assert there.names == [(("URI", "casemate:client/ward-0"),)]  # one connection for both


def test_no_key_stays_on_disk(tmp_path):
    with Listening(tmp_path, [answer(Wait())]) as there:
        line = line_to(tmp_path, there.port)
        line.say(SAID)
        line.close()
    assert list(tmp_path.iterdir()) == []


def expired(authority):
    """(chain, key) that were good until yesterday."""
    chain, key = authority.issue_server(["127.0.0.1"])
    old = x509.load_pem_x509_certificate(chain)
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(
        old.issuer, old.subject, old.public_key(), old.serial_number,
        now - datetime.timedelta(days=9), now - datetime.timedelta(days=1), list(old.extensions),
    )  # fmt: skip
    made = builder.sign(authority.key, hashes.SHA256())
    from cryptography.hazmat.primitives.serialization import Encoding

    return made.public_bytes(Encoding.PEM) + authority.pem, key


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"authority": STRANGER.authority}, "certificate"),
        ({"certificate": expired(LEADER.authority)}, "expired"),
        ({"certificate": LEADER.authority.issue_server(["example.org"])}, "127.0.0.1"),
        (
            {"certificate": LEADER.authority.issue("client", ["127.0.0.1"], 1, "p256")},
            "certificate",
        ),
    ],
    ids=["another authority", "an old certificate", "another host", "a client"],
)
def test_nothing_is_sent_to_whoever_does_not_prove_to_be_the_coordinator(tmp_path, given, said):
    with Listening(tmp_path, [answer(Wait())], **given) as there:
        line = line_to(tmp_path, there.port)
        with pytest.raises(StrangeCoordinator, match=said):
            line.say(SAID)
    assert there.heard == []


def test_nothing_is_sent_over_an_older_tls(tmp_path):
    there = Listening(tmp_path, [answer(Wait())])
    there.context.minimum_version = there.context.maximum_version = ssl.TLSVersion.TLSv1_2
    with there, pytest.raises((AccessDenied, NotAnswered), match="ALERT|alert"):
        line_to(tmp_path, there.port, patience=0.0).say(SAID)
    assert there.heard == []


def test_a_coordinator_that_does_not_take_the_site_s_certificate_hears_nothing(tmp_path):
    found = set()
    with Listening(tmp_path, [answer(Wait())], clients=STRANGER.authority) as there:
        for _ in range(10):  # the reason may be lost where the connection is reset
            with pytest.raises((AccessDenied, NotAnswered)) as caught:
                line_to(tmp_path, there.port, patience=0.0).say(SAID)
            found.add(caught.type)
    assert there.heard == []
    assert AccessDenied in found


@pytest.mark.parametrize("broken", [None, answer(b"", 503), answer(b"", 429)])
def test_a_coordinator_that_was_away_is_called_again_with_the_same_message(tmp_path, broken):
    with Listening(tmp_path, [broken, broken, answer(Wait())]) as there:
        line = line_to(tmp_path, there.port)
        assert line.say(SAID) == Wait()
        line.close()
    assert len({body for _, _, body in there.heard}) == 1
    assert len(there.heard) == 3


def test_whoever_waits_for_a_coordinator_hears_that_nobody_answers(tmp_path):
    heard = []
    with Listening(tmp_path, [None, None, None, None, answer(Wait())]) as there:
        line = line_to(tmp_path, there.port, heard=heard.append)
        line.say(SAID)
        line.close()
    (text,) = heard
    assert f"127.0.0.1:{there.port} does not answer" in text
    assert text.endswith("it is called again")


def test_a_coordinator_that_stays_away_is_given_up(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(NotAnswered, match=f"127.0.0.1:{port} does not answer") as caught:
        line_to(tmp_path, port, patience=0.0).say(SAID)
    assert "called for 0 s" in caught.value.message
    assert "[federate] patience" in caught.value.hint


def test_that_nobody_can_be_dialled_is_said_at_once_and_for_how_long_it_is_tried(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    heard, waits = [], []
    line = line_to(tmp_path, port, patience=0.3, heard=heard.append)
    line._sleep = lambda seconds: waits.append((seconds, len(heard)))
    with pytest.raises(NotAnswered):
        line.say(SAID)
    assert waits[0] == (calling.FIRST, 1), "it was said before the first wait"
    (text,) = heard
    assert "for 0.3 s, which [federate] patience says" in text


def test_whoever_takes_a_call_and_says_nothing_is_called_again_soon(tmp_path, monkeypatch):
    """As a coordinator's host does that is switched off: no packet comes back."""
    monkeypatch.setattr(calling, "DIAL", 0.1)
    heard = []
    with socket.create_server(("127.0.0.1", 0)) as silent:
        line = line_to(tmp_path, silent.getsockname()[1], patience=0.0, heard=heard.append)
        with pytest.raises(NotAnswered, match="timed out"):
            line.say(SAID)


def test_an_answer_may_take_longer_than_somebody_who_takes_the_call(tmp_path, monkeypatch):
    monkeypatch.setattr(calling, "DIAL", 0.5)
    with Listening(tmp_path, [Late(1.0, answer(Wait()))]) as there:
        line = line_to(tmp_path, there.port, patience=0.0)
        assert line.say(SAID) == Wait()
        line.close()


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (answer(b"\xc1"), BackendError),
        (answer(b'{"type": "Wait"}'), BackendError),
        (answer(msgspec.msgpack.encode({"type": "Shell", "command": "rm"})), BackendError),
        (answer(msgspec.msgpack.encode({"type": "Wait", "more": 1})), BackendError),
        (answer(b"", 404), AccessDenied),
        (
            b"HTTP/1.1 302 X\r\nLocation: https://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
            AccessDenied,
        ),
    ],
)
def test_what_no_coordinator_says_is_refused(tmp_path, sent, error):
    with Listening(tmp_path, [sent]) as there:
        line = line_to(tmp_path, there.port)
        with pytest.raises(error):
            line.say(SAID)
        line.close()
    assert len(there.heard) == 1


def test_an_answer_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(calling, "MOST", 1000)
    long = b"HTTP/1.1 200 X\r\nContent-Length: 5000\r\n\r\n" + bytes(5000)
    with Listening(tmp_path, [long]) as there:
        with pytest.raises(NotAnswered, match="does not end"):
            line_to(tmp_path, there.port, patience=0.0).say(SAID)


def test_an_answer_that_breaks_off_is_none(tmp_path):
    with Listening(tmp_path, [answer(Wait())[:-1]], once=True) as there:
        with pytest.raises(NotAnswered, match="IncompleteRead"):
            line_to(tmp_path, there.port, patience=0.0).say(SAID)


def test_a_proxy_in_the_environment_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    with Listening(tmp_path, [answer(Wait())]) as there:
        line = line_to(tmp_path, there.port)
        assert line.say(SAID) == Wait()
        line.close()


def test_the_authority_of_a_site_is_not_that_of_its_coordinator():
    assert isinstance(LEADER.authority, Authority)
    assert LEADER.card.authority != SITE.card.authority
