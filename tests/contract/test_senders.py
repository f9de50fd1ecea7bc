"""One contract, every sender: what is taken, refused, put off, and what never reaches anybody."""

import pytest
from tests.contract.sink_servers import POISON, Receiver
from tests.interop.receivers import certificates, item, items, line

from casemate.watch.sinks import elastic, file, otlp, splunk, syslog, wire
from casemate.watch.sinks.delivery import deliver
from casemate.watch.sinks.interface import NotTaken, Sent, SinkAway

HTTP = ("elasticsearch", "splunk", "otlp")
KINDS = (*HTTP, "syslog")
SECRET = "s3cret-of-the-sink"
answering = pytest.mark.parametrize("receiver", HTTP, indirect=True)
"""Of kinds that have an answer."""


def sender(kind, to):
    """What sends to a place, as the configuration would make it."""
    if kind == "elasticsearch":
        return elastic.Elastic(to, "logs", None, lambda: SECRET, template=True)
    if kind == "splunk":
        return splunk.Splunk(to, "host", "casemate:test", lambda: SECRET)
    if kind == "otlp":
        return otlp.Otlp(to, {"service.name": "casemate"}, lambda: SECRET)
    return syslog.Syslog(to, "host")


@pytest.fixture(params=KINDS)
def receiver(request, tmp_path):
    """A receiver behind TLS that is trusted by `ca.pem` of the folder."""
    certificates(tmp_path)
    found = Receiver(request.param, tmp_path)
    yield found
    found.close()


@pytest.fixture
def sends(receiver, tmp_path):
    """A sender to it that waits half a second at most."""
    return sender(receiver.kind, wire.Place(receiver.url, tmp_path / "ca.pem", 0.5))


def test_what_is_accepted_is_at_the_receiver(receiver, sends):
    assert sends.send(items(50)) == Sent(accepted=50)
    assert receiver.lines == {f"event-{number:06d}": 1 for number in range(50)}


def test_what_is_sent_twice_is_accepted_once_more_and_recognised_by_its_id(receiver, sends):
    for _ in range(2):
        assert sends.send(items(3)) == Sent(accepted=3)
    assert len(receiver.lines) == 3


@answering
def test_a_line_that_is_refused_is_counted_with_its_reason_and_the_others_are_accepted(
    receiver, sends
):
    batch = items(20)
    batch[7] = item(line(7, message=POISON))
    sent = deliver(sends, batch)
    assert (sent.accepted, sent.left, len(sent.refused)) == (19, 0, 1)
    assert "no such thing" in sent.refused[0].reason or "Invalid data" in sent.refused[0].reason
    if receiver.kind != "otlp":  # which does not say which
        assert sent.refused[0].id == "event-000007"
        assert sent.refused[0].raw == batch[7].raw.decode()
    assert sorted(receiver.lines) == sorted({one.id for one in batch} - {"event-000007"})


@answering
@pytest.mark.parametrize("status", ["429", "500", "502", "503", "504", "401", "403", "404", "302"])
def test_a_receiver_that_is_busy_or_lets_nobody_in_is_tried_later(receiver, sends, status):
    receiver.mode, receiver.after = status, "17"
    with pytest.raises(SinkAway, match=status) as caught:
        deliver(sends, items(5))
    assert caught.value.after == 17
    assert receiver.requests == 1
    assert receiver.lines == {}


@pytest.mark.parametrize("mode", ["silent", "drips"])
def test_a_receiver_that_never_comes_to_an_end_is_left_alone_in_time(receiver, sends, mode):
    receiver.mode = mode
    with pytest.raises(SinkAway) as caught:
        sends.send(items(5))
    # one that talks after it was told that no more comes breaks the rules of TLS first
    assert "within 0.5 s" in caught.value.message or (receiver.kind, mode) == ("syslog", "drips")


@answering
@pytest.mark.parametrize("mode", ["garbage", "cut"])
def test_a_receiver_that_does_not_answer_properly_is_tried_later(receiver, sends, mode):
    receiver.mode = mode
    with pytest.raises(SinkAway) as caught:
        sends.send(items(5))
    assert SECRET not in caught.value.diagnostics()


def test_a_syslog_receiver_that_goes_without_reading_is_tried_later(tmp_path):
    certificates(tmp_path)
    receiver = Receiver("syslog", tmp_path)
    receiver.mode = "cut"
    to = wire.Place(receiver.url, tmp_path / "ca.pem", 5)
    with pytest.raises(SinkAway):
        sender("syslog", to).send(items(5000))
    receiver.close()


@answering
def test_an_answer_that_is_no_answer_of_its_kind_is_tried_later(receiver, sends):
    receiver.mode = "html"
    with pytest.raises(SinkAway, match="did not answer as"):
        sends.send(items(5))


@answering
def test_a_receiver_that_refuses_everything_loses_nothing(receiver, sends):
    receiver.mode = "400"
    with pytest.raises(NotTaken, match="takes none of them.*told so"):
        deliver(sends, items(5))


@pytest.mark.parametrize("fault", ["unknown authority", "another name"])
def test_a_receiver_that_cannot_prove_who_it_is_gets_nothing(receiver, tmp_path, fault):
    other = tmp_path / "other"
    other.mkdir()
    certificates(other, "127.0.0.2")
    if fault == "another name":
        receiver.context.load_cert_chain(other / "server.pem", other / "server.key")
    to = wire.Place(receiver.url, other / "ca.pem", 5)
    with pytest.raises(SinkAway, match="certificate verify failed"):
        sender(receiver.kind, to).send(items(5))
    assert (receiver.lines, receiver.requests) == ({}, 0)


@answering
def test_secrets_travel_in_a_header_and_nowhere_else(receiver, sends):
    sends.send(items(1))
    words = {"elasticsearch": "ApiKey", "splunk": "Splunk", "otlp": "Bearer"}
    assert receiver.headers["authorization"] == f"{words[receiver.kind]} {SECRET}"
    assert [name for name, value in receiver.headers.items() if SECRET in value] == [
        "authorization"
    ]


def elasticsearch(mode):
    receiver = Receiver("elasticsearch")
    receiver.mode = mode
    return receiver, sender("elasticsearch", wire.Place(receiver.url, None, 5))


def test_elasticsearch_that_takes_a_part_of_a_batch_gets_the_rest_later():
    receiver, sends = elasticsearch("partly")
    sent = sends.send(items(5))
    assert (sent.accepted, sent.left) == (1, 4)
    assert "429" in sent.why and "queue is full" in sent.why
    receiver.close()


def test_a_line_in_elasticsearchs_failure_store_is_no_success():
    receiver, sends = elasticsearch("diverts")
    sent = sends.send(items(5))
    assert (sent.accepted, sent.diverted, sent.left) == (0, 5, 0)
    receiver.close()


def test_a_file_holds_what_was_accepted_and_is_renamed_when_it_is_large(tmp_path):
    path = tmp_path / "logs" / "casemate.jsonl"
    sends = file.File(path, 10_000, 2)
    for start in range(0, 200, 20):
        assert sends.send(items(20, start)) == Sent(accepted=20)
    names = sorted(one.name for one in path.parent.iterdir())
    assert names == ["casemate.jsonl", "casemate.jsonl.1", "casemate.jsonl.2"]
    raws = [one.raw.decode() for one in items(200)]
    kept = "".join((path.parent / name).read_text() for name in reversed(names)).splitlines()
    assert kept == raws[-len(kept) :]
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_file_whose_last_line_was_torn_grows_on_a_line_of_its_own_and_never_shrinks(tmp_path):
    path = tmp_path / "casemate.jsonl"
    sends = file.File(path, 10_000, 2)
    sends.send(items(1))
    with path.open("ab") as torn:
        torn.write(b'{"half":')
    size = path.stat().st_size
    sends.send(items(1, 1))
    assert path.stat().st_size > size
    first, broken, last = path.read_bytes().splitlines()
    assert (first, broken, last) == (items(1)[0].raw, b'{"half":', items(1, 1)[0].raw)


def test_a_file_that_cannot_be_written_is_tried_later(tmp_path):
    (tmp_path / "casemate.jsonl").mkdir()
    with pytest.raises(SinkAway):
        file.File(tmp_path / "casemate.jsonl", 10_000, 2).send(items(1))
