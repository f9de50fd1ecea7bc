"""Ticket systems that are told and not asked: a signed webhook, and a thread of mails."""

import base64
import email
import email.policy
import hashlib
import hmac
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import msgspec
import pytest
from tests.contract.test_trackers import TICKET, Clock
from tests.ports import free_port

from casemate.config import TrackerTable
from casemate.core.errors import ConfigError, TransientError
from casemate.core.store.sqlite import SqliteStore
from casemate.respond.trackers import Reference, open_tracker

KEY = "a key that both sides know"


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        mac = hmac.new(KEY.encode(), digestmod=hashlib.sha256)
        mac.update(f"{self.headers['webhook-id']}.{self.headers['webhook-timestamp']}.".encode())
        mac.update(body)
        signed = (
            f"v1,{base64.b64encode(mac.digest()).decode()}" == self.headers["webhook-signature"]
        )
        self.server.got.append((self.headers["webhook-id"], signed, json.loads(body)))
        self.send_response(self.server.status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def opened(tmp_path):
    store = SqliteStore(tmp_path / "catalog.db")
    store.upgrade()
    yield lambda table: open_tracker("told", table, store, Clock(), tmp_path, lambda _: KEY)
    store.close()


@pytest.fixture
def web():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    server.got, server.status = [], 200
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def hook(web, opened):
    url = f"http://127.0.0.1:{web.server_port}/tickets"
    return opened(TrackerTable(kind="webhook", url=url, token="env:KEY", labels=["ward"]))


@pytest.fixture
def box():
    smtpd = pytest.importorskip(
        "aiosmtpd.controller", reason="no SMTP server: pip install aiosmtpd"
    )

    class Keep:
        mails: list = []

        async def handle_DATA(self, server, session, envelope):
            policy = email.policy.default
            self.mails.append(email.message_from_bytes(envelope.content, policy=policy))
            return "250 OK"

    keep, port = Keep(), free_port()
    keep.mails = []
    controller = smtpd.Controller(keep, hostname="127.0.0.1", port=port)
    controller.start()
    keep.server = f"127.0.0.1:{port}"
    yield keep
    controller.stop()


@pytest.fixture
def mail(box, opened):
    return opened(TrackerTable(kind="mail", to="duty@x.test", server=box.server, sender="c@x.test"))


def test_events_of_a_ticket_are_signed_and_name_it_alike(web, hook):
    made = hook.create("incident-1", TICKET)
    assert hook.create("incident-1", TICKET) == made
    hook.update(made, TICKET, "It spreads.")
    hook.close(made, "Over.")
    hook.reopen(made, "Not over.")
    assert all(signed for _, signed, _ in web.got)
    events = [body["event"].removeprefix("ticket:") for _, _, body in web.got]
    assert events == ["create", "update", "close", "reopen"]
    assert {body["content"]["ticket"] for _, _, body in web.got} == {made.id}
    first = web.got[0][2]["content"]
    assert (first["title"], first["labels"]) == (TICKET.title, ["casemate", "ward"])
    assert "incident-1" not in str(web.got)


def test_a_repetition_after_a_lost_answer_has_the_same_key_and_other_news_have_another(web, hook):
    web.status = 500
    for _ in range(2):
        with pytest.raises(TransientError):
            hook.create("incident-1", TICKET)
    web.status = 200
    made = hook.create("incident-1", TICKET)
    for text in ("a", "a", "b"):
        hook.update(made, TICKET, text)
    keys = [key for key, _, _ in web.got]
    assert keys[0] == keys[1] == keys[2]
    assert keys[3] == keys[4] != keys[5]


def test_mails_of_a_ticket_are_one_thread(box, mail):
    made = mail.create("incident-1", TICKET)
    assert mail.create("incident-1", TICKET) == made
    mail.update(made, msgspec.structs.replace(TICKET, title="Drift of age and sex"), "Worse.")
    mail.close(made, "Over.")
    first, second, third = box.mails
    assert first["message-id"] == f"<{made.id}@casemate>"
    assert first["references"] is None
    assert {second["references"], third["in-reply-to"]} == {first["message-id"]}
    assert len({one["message-id"] for one in box.mails}) == 3
    assert first["subject"] == "[casemate] Drift of age"
    assert TICKET.body in first.get_content().replace("\r\n", "\n")
    assert "Worse." in second.get_content()


def test_a_title_cannot_put_a_header_into_a_mail(box, mail):
    for title in ("x\r\nBcc: all@x.test", "x\nSubject: y"):
        with pytest.raises(ConfigError, match="line breaks"):
            mail.create("i", msgspec.structs.replace(TICKET, title=title))
    assert box.mails == []


def test_what_goes_one_way_cannot_be_read_and_is_checked_by_its_table_alone(hook, mail):
    for tracker in (hook, mail):
        assert not tracker.reads
        with pytest.raises(ConfigError, match="one way"):
            tracker.read(Reference(id="casemate1", url=""))
        assert tracker.check().problems == ()
