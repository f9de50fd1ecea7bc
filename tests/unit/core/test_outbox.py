"""The outbox: at least once, one key, backoff, dead letters; webhooks, mail and folders for
real.
"""

import base64
import datetime
import hashlib
import hmac
import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

import casemate
from casemate.core.errors import ConfigError, TransientError
from casemate.core.outbox import DeliveryPolicy, Message, Outbox, Route, folder, mail, webhook
from casemate.core.store.sqlite import SqliteStore

MESSAGE = Message(
    key="run-1/end/x", event="run:passed", created="2026-01-01T00:00:00+00:00", content={"run": "1"}
)


class Fixed:
    def __init__(self):
        self.time = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)

    def now(self):
        return self.time

    def go(self, seconds):
        self.time += datetime.timedelta(seconds=seconds)


class Receiver:
    def __init__(self):
        self.taken, self.broken = [], False

    def __call__(self, message):
        if self.broken:
            raise TransientError("away")
        self.taken.append(message)


@pytest.fixture
def box(tmp_path):
    store = SqliteStore(tmp_path / "catalog.db")
    store.upgrade()
    receiver = Receiver()
    box = Outbox(
        store,
        Fixed(),
        [Route("x", ("run:passed",), receiver)],
        DeliveryPolicy(attempts=3, backoff=10.0, timeout=1.0),
    )
    box.receiver = receiver
    return box


def enqueue(box, event="run:passed", key="k"):
    with box.store.transaction() as tx:
        box.enqueue(tx, event, key, {"a": 1})


def test_a_message_is_queued_once_per_key_and_delivered_once(box):
    enqueue(box)
    enqueue(box)
    enqueue(box, event="run:failed", key="other")
    assert [(message.key, fault) for message, fault in box.send()] == [("k/x", None)]
    assert box.send() == []
    assert [m["state"] for m in box.messages()] == ["sent"]
    assert box.receiver.taken[0].content == {"a": 1}


def test_a_rolled_back_cause_leaves_no_message(box):
    with pytest.raises(RuntimeError), box.store.transaction() as tx:
        box.enqueue(tx, "run:passed", "k", {})
        raise RuntimeError
    assert box.messages() == []


def test_tries_back_off_and_end_dead_until_a_person_retries(box):
    box.receiver.broken = True
    enqueue(box)
    assert len(box.send()) == 1
    assert box.send() == []
    box.clock.go(10)
    assert len(box.send()) == 1
    box.clock.go(10)
    assert box.send() == []
    box.clock.go(10)
    assert len(box.send()) == 1
    (message,) = box.messages("dead")
    assert (message["attempts"], message["error"]) == (3, "CM-RETRY: away")
    box.clock.go(10_000)
    assert box.send() == []
    box.receiver.broken = False
    with box.store.transaction() as tx:
        assert box.retry(tx, []) == 1
    assert box.send()[0][1] is None


def test_a_failed_delivery_is_due_after_its_pause_however_long_a_delivery_may_take(box):
    box.delivery = DeliveryPolicy(attempts=3, backoff=0.0, timeout=30.0)
    box.receiver.broken = True
    enqueue(box)
    assert [len(box.send()) for _ in range(4)] == [1, 1, 1, 0]


def test_a_sender_that_dies_while_delivering_loses_nothing(box):
    def die(_message):
        raise KeyboardInterrupt

    box.routes["x"] = Route("x", ("*",), die)
    enqueue(box)
    with pytest.raises(KeyboardInterrupt):
        box.send()
    box.routes["x"] = Route("x", ("*",), box.receiver)
    assert box.send() == []
    box.clock.go(11)
    assert len(box.send()) == 1


def test_a_clock_that_was_set_back_holds_no_message_for_longer_than_its_pause(box):
    box.receiver.broken = True
    enqueue(box)
    box.send()
    box.receiver.broken = False
    box.clock.go(-86_400)
    assert len(box.send()) == 1


class Web(BaseHTTPRequestHandler):
    answers: list = []

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        status = self.server.status
        self.server.got.append((dict(self.headers.items()), body))
        self.send_response(status)
        if status == 302:
            self.send_header("location", "http://127.0.0.1:1/elsewhere")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def web():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Web)
    server.got, server.status = [], 200
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_a_webhook_is_signed_and_carries_its_idempotency_key(web):
    webhook.deliver_to(f"http://127.0.0.1:{web.server_port}/hook", lambda: "top secret", 5.0)(
        MESSAGE
    )
    headers, body = web.got[0]
    headers = {name.lower(): value for name, value in headers.items()}
    assert headers["idempotency-key"] == headers["webhook-id"] == MESSAGE.key
    signed = f"{MESSAGE.key}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(b"top secret", signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert json.loads(body)["content"] == {"run": "1"}


@pytest.mark.parametrize("status", [302, 404, 500])
def test_a_webhook_that_is_not_taken_is_tried_again_later(web, status):
    web.status = status
    with pytest.raises(TransientError, match=str(status)):
        webhook.deliver_to(f"http://127.0.0.1:{web.server_port}/hook", None, 5.0)(MESSAGE)
    assert len(web.got) == 1


@pytest.mark.parametrize(
    "url", ["http://example.org/x", "ftp://127.0.0.1/", "nothing", "https://user:pass@example.org/"]
)
def test_a_webhook_that_would_leak_is_refused(url):
    with pytest.raises(ConfigError):
        webhook.deliver_to(url, None, 1.0)


def test_mail_goes_through_a_real_smtp_server():
    smtpd = pytest.importorskip(
        "aiosmtpd.controller", reason="no SMTP server: pip install aiosmtpd"
    )

    class Keep:
        def __init__(self):
            self.mails = []

        async def handle_DATA(self, server, session, envelope):
            self.mails.append(envelope)
            return "250 OK"

    keep = Keep()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    controller = smtpd.Controller(keep, hostname="127.0.0.1", port=port)
    controller.start()
    try:
        mail.deliver_to("ops@example.org", f"127.0.0.1:{port}", "casemate@example.org", 5.0)(
            MESSAGE
        )
    finally:
        controller.stop()
    assert keep.mails[0].rcpt_tos == ["ops@example.org"]
    assert b"Subject: casemate: run:passed" in keep.mails[0].content


def test_mail_to_a_server_that_is_away_is_tried_again():
    with pytest.raises(TransientError, match="did not take"):
        mail.deliver_to("a@b", "127.0.0.1:1", "c@d", 1.0)(MESSAGE)
    for address, server in (
        ("nobody", "h:1"),
        ("a@b", "h"),
        ("a b@c", "h:1"),
        ("a@b", "h:99999"),
        ("a@b", "h:２５"),
    ):
        with pytest.raises(ConfigError):
            mail.deliver_to(address, server, "c@d", 1.0)


def test_a_folder_gets_one_file_a_message_however_often_it_is_delivered(tmp_path):
    deliver = folder.deliver_to(tmp_path / "out")
    deliver(MESSAGE)
    deliver(MESSAGE)
    (file,) = (tmp_path / "out").iterdir()
    assert json.loads(file.read_text())["event"] == "run:passed"


def test_a_run_tells_its_receivers_and_what_is_away_is_seen_and_delivered_later(clinic, web, cli):
    toml = (clinic / "casemate.toml").read_text()
    hook = f'[notices.hook]\nkind = "webhook"\nto = "http://127.0.0.1:{web.server_port}/x"\n'
    (clinic / "casemate.toml").write_text(
        toml + f'\n{hook}\n[notices.drop]\nkind = "folder"\nto = "out"\non = ["run:passed"]\n'
    )
    web.status = 500
    result = casemate.open(clinic).run(start="release")
    assert len(result.undelivered) == 1
    assert len(list((clinic / "out").iterdir())) == 1
    assert "1 messages wait" in cli("status", "--config", clinic).out
    listed = cli("outbox", "list", "--config", clinic, "--format", "json").value
    assert {m["target"]: m["state"] for m in listed} == {"hook": "pending", "drop": "sent"}
    web.status = 200
    assert cli("outbox", "retry", listed[0]["id"], "--config", clinic).code == 0
    assert json.loads(web.got[-1][1])["content"]["run"] == result.id
    assert cli("outbox", "show", 99, "--config", clinic).code == 2
