"""Delivery: each sink as far as it takes, put off, given up with a reason, never in each other's
way.
"""

import datetime
import threading

import msgspec
import pytest
from tests.unit.watch.test_spool import MEGABYTE, ids, line, lines

from casemate.core.errors import ConfigError
from casemate.watch.sinks.delivery import (
    MOST_ITEMS,
    MOST_PAUSE,
    MOST_REQUESTS,
    Manner,
    Route,
    deliver,
    send_all,
)
from casemate.watch.sinks.interface import Item, NotTaken, Refusal, Sent, SinkAway
from casemate.watch.sinks.spool import EVERYTHING, Spool


class Clock:
    def __init__(self):
        self.time = datetime.datetime(2026, 11, 29, 8, tzinfo=datetime.UTC)

    def now(self):
        return self.time

    def after(self, seconds):
        self.time += datetime.timedelta(seconds=seconds)


class Sink:
    """Takes lines; `fault` is raised instead, `bad` ids make it refuse a request."""

    takes = frozenset({"lines"})

    def __init__(self, bad=()):
        self.got, self.bad, self.fault, self.requests = [], set(bad), None, 0

    def send(self, batch):
        self.requests += 1
        if self.fault is not None:
            raise self.fault
        if self.bad & {item.id for item in batch}:
            raise NotTaken("it answered 400: no such thing")
        self.got += [item.id for item in batch]
        return Sent(accepted=len(batch))


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def spool(tmp_path):
    found = Spool(tmp_path, 8 * MEGABYTE, ["one", "other"])
    found.append(lines(0, 10))
    return found


def sent(spool, clock, *sinks, **more):
    routes = [
        Route(name, sink, EVERYTHING) for name, sink in zip(("one", "other"), sinks, strict=False)
    ]
    return send_all(spool, routes, Manner(clock, 10.0, **more))


def test_a_sink_that_is_away_keeps_nobody_from_another_one_and_misses_nothing(spool, clock):
    away, well = Sink(), Sink()
    away.fault = SinkAway("host was not reached", hint="see that it runs")
    first, second = sent(spool, clock, away, well)
    assert (first.accepted, first.error) == (
        0,
        "CM-SINK-AWAY: host was not reached (see that it runs)",
    )
    assert (second.accepted, second.error) == (10, "")
    away.fault = None
    clock.after(11)
    assert sent(spool, clock, away, well)[0].accepted == 10
    assert away.got == well.got == ids(0, 10)
    assert spool.cursor("one").error == ""


def test_pauses_double_with_chance_up_to_a_quarter_of_an_hour(spool, clock):
    away = Sink()
    away.fault = SinkAway("away")
    pauses = []
    for _ in range(10):
        (done,) = sent(spool, clock, away)
        due = datetime.datetime.fromisoformat(done.due)
        pauses.append((due - clock.now()).total_seconds())
        requests = away.requests
        clock.after(pauses[-1] - 0.5)
        sent(spool, clock, away)
        assert away.requests == requests  # not before its time
        clock.after(1)
    for at, pause in enumerate(pauses):
        most = min(10.0 * 2**at, MOST_PAUSE)
        assert most / 2 <= pause <= most
    assert len({pause / min(10.0 * 2**at, MOST_PAUSE) for at, pause in enumerate(pauses)}) > 1
    sent(spool, clock, away, now=True)
    assert away.requests == 11


def test_a_receiver_that_asks_to_wait_is_not_tried_before(spool, clock):
    away = Sink()
    away.fault = SinkAway("busy", after=120.0)
    sent(spool, clock, away)
    clock.after(119)
    sent(spool, clock, away)
    assert away.requests == 1
    clock.after(2)
    sent(spool, clock, away)
    assert away.requests == 2


def test_a_clock_that_was_set_back_holds_nobody_up(spool, clock):
    away = Sink()
    away.fault = SinkAway("busy")
    sent(spool, clock, away)
    clock.after(-86_400)
    sent(spool, clock, away)
    assert away.requests == 2


def test_what_a_receiver_takes_of_a_batch_is_settled_and_the_rest_comes_again(spool, clock):
    class Half(Sink):
        def send(self, batch):
            some = batch[: len(batch) // 2] or batch
            self.got += [item.id for item in some]
            return Sent(accepted=len(some), left=len(batch) - len(some), why="429: queue is full")

    half = Half()
    (done,) = sent(spool, clock, half)
    assert (done.accepted, "queue is full" in done.error) == (5, True)
    for _ in range(4):
        clock.after(1000)
        sent(spool, clock, half)
    assert half.got == ids(0, 10)
    assert spool.cursor("one").accepted == 10


def test_lines_that_are_refused_are_found_kept_with_the_reason_and_not_sent_again(spool, clock):
    sink = Sink(bad={"000003", "000004", "000009"})
    (done,) = sent(spool, clock, sink)
    assert (done.accepted, done.refused, done.error) == (7, 3, "")
    letters = [
        msgspec.json.decode(row)
        for row in (spool.folder / "dead" / "one.jsonl").read_bytes().splitlines()
    ]
    assert [letter["id"] for letter in letters] == ["000003", "000004", "000009"]
    assert letters[0]["reason"] == "it answered 400: no such thing"
    assert msgspec.json.decode(letters[0]["raw"])["message"] == "line 3"
    requests = sink.requests
    sent(spool, clock, sink)
    assert sink.requests == requests


def test_a_receiver_that_refuses_everything_is_not_believed(spool, clock):
    sink = Sink(bad=ids(0, 10))
    (done,) = sent(spool, clock, sink)
    assert (done.accepted, done.refused) == (0, 0)
    assert "takes none of them" in done.error
    sink.bad = set()
    clock.after(1000)
    assert sent(spool, clock, sink)[0].accepted == 10


def test_finding_out_what_is_refused_has_an_end(clock):
    batch = [Item(one, msgspec.json.encode(one)) for one in lines(0, MOST_ITEMS)]
    sink = Sink(bad=ids(0, MOST_ITEMS)[1::2])
    found = deliver(sink, batch)
    assert sink.requests <= MOST_REQUESTS + 1
    assert found.accepted > 20 and found.left > 0
    settled = MOST_ITEMS - found.left
    assert sink.got == ids(0, settled)[::2][: found.accepted]
    assert [one.id for one in found.refused] == ids(0, settled)[1::2]


def test_many_refused_lines_in_a_row_block_no_sink(spool, clock):
    sink = Sink(bad=ids(0, 300))
    spool.append(lines(10, MOST_ITEMS))
    before = 0
    while (stands := spool.cursor("one").line) < MOST_ITEMS:
        (done,) = sent(spool, clock, sink, now=True)
        assert "takes none" not in done.error
        assert spool.cursor("one").line > stands
        before += 1
    assert before < 10
    letters = (spool.folder / "dead" / "one.jsonl").read_bytes().splitlines()
    assert [msgspec.json.decode(letter)["id"] for letter in letters] == ids(0, 300)
    assert sorted(set(sink.got)) == ids(300, MOST_ITEMS)


def test_a_receiver_that_refuses_all_that_it_is_asked_about_and_the_last_one_is_not_believed(clock):
    batch = [Item(one, msgspec.json.encode(one)) for one in lines(0, MOST_ITEMS)]
    sink = Sink(bad=ids(0, MOST_ITEMS))
    with pytest.raises(NotTaken, match="takes none of them"):
        deliver(sink, batch)
    assert sink.requests <= MOST_REQUESTS + 2


def test_a_receiver_that_goes_away_while_it_is_asked_about_halves_settles_what_it_took(clock):
    class Tired(Sink):
        def send(self, batch):
            if self.requests == 3:
                raise SinkAway("gone")
            return super().send(batch)

    batch = [Item(one, msgspec.json.encode(one)) for one in lines(0, 8)]
    found = deliver(Tired(bad={"000003"}), batch)
    assert (found.accepted, found.left, found.why) == (2, 6, "gone")


def test_a_sink_that_is_not_set_up_right_says_so_and_waits(spool, clock):
    sink = Sink()
    sink.fault = ConfigError("the secret 'env:KEY' is empty", hint="set it")
    (done,) = sent(spool, clock, sink)
    assert done.error == "CM-CONFIG: the secret 'env:KEY' is empty (set it)"
    assert spool.cursor("one").failures == 1


def test_sinks_are_sent_to_at_once(spool, clock):
    barrier = threading.Barrier(2, timeout=60)

    class Waits(Sink):
        def send(self, batch):
            barrier.wait()
            return super().send(batch)

    assert [one.accepted for one in sent(spool, clock, Waits(), Waits())] == [10, 10]


def test_what_is_put_aside_is_counted_and_no_success(spool, clock):
    class Aside(Sink):
        def send(self, batch):
            return Sent(accepted=0, diverted=len(batch))

    (done,) = sent(spool, clock, Aside())
    assert (done.accepted, done.diverted, done.error) == (0, 10, "")
    assert spool.cursor("one").sent is None


def test_what_overflows_while_a_batch_is_sent_is_counted_without_what_was_taken(tmp_path, clock):
    spool = Spool(tmp_path, 32 * 1000, ["one"])
    spool.append(lines(0, 126))

    class Slow(Sink):
        def send(self, batch):
            if not self.requests:
                spool.append(lines(126, 600))  # meanwhile the spool overflows
            return super().send(batch)

    sink = Slow()
    while spool.cursor("one").line < 600:
        sent(spool, clock, sink)
    missing = set(ids(0, 600)) - set(sink.got)
    kept = spool.cursor("one")
    assert missing
    assert (kept.dropped, kept.accepted) == (len(missing), len(sink.got))
    assert kept.lost == "2026-11-29T08:00:00+00:00"


def test_half_of_a_batch_that_is_taken_while_the_spool_overflows_is_counted(tmp_path, clock):
    spool = Spool(tmp_path, 32 * 1000, ["one"])
    spool.append(lines(0, 6))

    class Half(Sink):
        def send(self, batch):
            if not self.got:
                spool.append(lines(6, 600))
                self.got += [item.id for item in batch[:3]]
                return Sent(accepted=3, left=len(batch) - 3, why="429: queue is full")
            return super().send(batch)

    sink = Half()
    while spool.cursor("one").line < 600:
        sent(spool, clock, sink, now=True)
    assert sink.got[:3] == ids(0, 3)
    assert spool.cursor("one").dropped == 600 - len(sink.got) > 0


def test_dead_letters_are_bounded(spool, clock, monkeypatch):
    from casemate.watch.sinks import delivery

    monkeypatch.setattr(delivery, "MOST_DEAD", 2000)

    class Refuses(Sink):
        def send(self, batch):
            return Sent(
                accepted=0, refused=[Refusal(id=item.id, reason="400: no") for item in batch]
            )

    for start in range(10, 200, 10):
        sent(spool, clock, Refuses())
        spool.append(lines(start, start + 10))
    sizes = {path.name: path.stat().st_size for path in (spool.folder / "dead").iterdir()}
    assert sorted(sizes) == ["one.1.jsonl", "one.jsonl"]
    assert max(sizes.values()) < 2000 + 10 * 400
    assert spool.cursor("one").refused == 190


def test_a_letter_that_was_half_written_spoils_neither_the_next_one_nor_an_erasure(spool, clock):
    sent(spool, clock, Sink(bad={"000003"}))
    path = spool.folder / "dead" / "one.jsonl"
    with path.open("ab") as torn:
        torn.write(path.read_bytes()[:90])
    spool.append(lines(10, 20))
    sent(spool, clock, Sink(bad={"000012", "000013"}))
    rows = path.read_bytes().splitlines()
    assert len(rows) == 4
    spool.erase({"000012"})
    left = [msgspec.json.decode(row)["id"] for row in path.read_bytes().splitlines()]
    assert left == ["000003", "000013"]  # what nobody can read may be about what is erased


def test_a_line_that_is_damaged_in_the_spool_is_a_dead_letter_and_counted_once(spool, clock):
    (segment,) = spool.folder.glob("*.jsonl")
    segment.write_bytes(segment.read_bytes().replace(b"line 4", b"line\x004"))
    sink = Sink()
    (done,) = sent(spool, clock, sink)
    assert (done.accepted, done.refused) == (9, 1)
    assert "damaged" in (spool.folder / "dead" / "one.jsonl").read_text()
    assert line(5).id in sink.got
