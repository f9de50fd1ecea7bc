"""The spool: in order, bounded, repaired, and every sink at its own pace."""

import errno
import os
import threading

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from casemate.core.errors import BackendError, BusyError
from casemate.watch.levels import Gauge
from casemate.watch.logs.line import LogLine
from casemate.watch.sinks.entries import Cursor
from casemate.watch.sinks.interface import Levels
from casemate.watch.sinks.spool import EVERYTHING, Spool

MEGABYTE = 2**20


def line(number, **more):
    values = {"level": "info", "message": f"line {number}", "dataset": "casemate.audit"}
    time = "2026-11-29T08:00:00.000Z"
    return LogLine(time=time, id=f"{number:06d}", **values | more)


def lines(start, stop, **more):
    return [line(number, **more) for number in range(start, stop)]


def read(spool, name, wanted=EVERYTHING, most=100):
    """Ids of everything that waits for a sink, which is settled by that."""
    found = []
    end = spool.end()
    while True:
        before = spool.cursor(name)
        batch = spool.batch(name, end, wanted, most)
        found += [item.id for item in batch.items]
        spool.keep(name, batch.behind)
        if (before.segment, before.offset) == (batch.behind.segment, batch.behind.offset):
            return found


def ids(start, stop):
    return [f"{number:06d}" for number in range(start, stop)]


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.lists(st.text(max_size=400), max_size=20), max_size=8),
    st.integers(1, 7),
    st.sampled_from([2**12, 2**14, MEGABYTE]),
)
def test_what_was_appended_is_read_in_order_whatever_it_says_and_however_it_is_cut(
    tmp_path_factory, batches, most, size
):
    spool = Spool(tmp_path_factory.mktemp("spool"), size * 32, ["one"])
    count, found = 0, []
    for batch in batches:
        spool.append([line(count + at, message=text) for at, text in enumerate(batch)])
        count += len(batch)
        found += read(spool, "one", most=most)
    assert found == ids(0, count)
    assert spool.end().line == count == spool.cursor("one").line


def test_every_sink_reads_at_its_own_pace_and_a_segment_goes_when_all_have_read_it(tmp_path):
    spool = Spool(tmp_path, 32 * 1000, ["fast", "slow"])
    spool.append(lines(0, 100))
    assert read(spool, "fast") == ids(0, 100)
    spool.trim()
    assert len(list(tmp_path.glob("*.jsonl"))) > 5
    end, found = spool.end(), []
    while batch := spool.batch("slow", end, EVERYTHING, 3):
        found += [item.id for item in batch.items]
        if not batch.items and spool.cursor("slow") == batch.behind:
            break
        spool.keep("slow", batch.behind)
        spool.trim()
    assert found == ids(0, 100)
    assert len(list(tmp_path.glob("*.jsonl"))) == 1
    spool.append(lines(100, 120))
    for name in ("fast", "slow"):
        assert read(spool, name) == ids(100, 120)
        assert spool.cursor(name).dropped == 0


def test_a_full_spool_drops_the_oldest_and_each_sink_counts_what_it_did_not_get(tmp_path):
    spool = Spool(tmp_path, 32 * 1000, ["quick", "late"])
    spool.append(lines(0, 50))
    assert read(spool, "quick") == ids(0, 50)
    spool.append(lines(50, 1000))
    assert spool.size <= 32 * 1000
    for name, had in (("quick", 50), ("late", 0)):
        lost = spool.cursor(name).dropped
        assert lost > 0
        assert read(spool, name) == ids(had + lost, 1000)
        assert spool.cursor(name).dropped == lost


def test_what_a_killed_writer_left_half_written_is_cut_off_before_anything_follows(tmp_path):
    spool = Spool(tmp_path, MEGABYTE, ["one"])
    spool.append(lines(0, 3))
    (segment,) = tmp_path.glob("*.jsonl")
    with segment.open("ab") as torn:
        torn.write(b'{"@timestamp":"2026' + b"x" * 5000)
    assert read(spool, "one") == ids(0, 3)
    spool.append(lines(3, 5))
    assert read(spool, "one") == ids(3, 5)
    assert b"xxx" not in segment.read_bytes()


def test_a_line_that_is_damaged_on_disk_is_reported_and_the_others_are_read(tmp_path):
    spool = Spool(tmp_path, MEGABYTE, ["one"])
    spool.append(lines(0, 3))
    (segment,) = tmp_path.glob("*.jsonl")
    content = bytearray(segment.read_bytes())
    content[content.index(b"line 1")] = 0
    segment.write_bytes(content)
    batch = spool.batch("one", spool.end(), EVERYTHING, 100)
    assert [item.id for item in batch.items] == ["000000", "000002"]
    assert [one.reason for _, one in batch.damaged] == ["damaged in the spool"]


def test_a_spool_that_was_emptied_is_read_from_its_beginning_and_not_skipped(tmp_path):
    spool = Spool(tmp_path, MEGABYTE, ["one"])
    spool.append(lines(0, 10))
    assert read(spool, "one") == ids(0, 10)
    for segment in tmp_path.glob("*.jsonl"):
        segment.unlink()
    spool.append(lines(0, 4))
    assert read(spool, "one") == ids(0, 4)


def test_a_cursor_that_stands_in_the_middle_of_a_line_begins_anew(tmp_path):
    spool = Spool(tmp_path, MEGABYTE, ["one"])
    spool.append(lines(0, 3))
    spool.keep("one", Cursor(segment=0, offset=7, line=1))
    assert read(spool, "one") == ids(0, 3)


def test_a_sink_hears_what_it_wants_and_gauges_are_a_batch_of_their_own(tmp_path):
    spool = Spool(tmp_path, MEGABYTE, ["one"])
    levels = Levels(gauges=[Gauge(name="g", labels={}, value=1.0)], time="2026-11-29T08:00:00.000Z")
    alarm = line(5, dataset="casemate.alarm")
    spool.append([*lines(0, 3), levels, *lines(3, 5), alarm])
    end, sizes = spool.end(), []
    while (batch := spool.batch("one", end, EVERYTHING, 100)).items:
        sizes.append([type(item.content) for item in batch.items])
        spool.keep("one", batch.behind)
    assert sizes == [[LogLine] * 3, [Levels], [LogLine] * 3]
    spool.keep("one", Cursor(segment=0, line=0))
    assert read(spool, "one", frozenset({"casemate.alarm"})) == ["000005"]
    assert spool.cursor("one").line == 7


def test_writers_and_a_reader_at_once_lose_and_repeat_nothing(tmp_path):
    spool = Spool(tmp_path, MEGABYTE, ["one"])
    found, done = [], threading.Event()

    def write(start):
        for at in range(start, start + 100, 10):
            Spool(tmp_path, MEGABYTE).append(lines(at, at + 10))

    writers = [threading.Thread(target=write, args=(start,)) for start in (0, 100, 200)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        found += read(spool, "one")
    done.set()
    found += read(spool, "one")
    assert sorted(found) == ids(0, 300)


def test_only_one_sends_to_a_sink_at_a_time(tmp_path):
    spool = Spool(tmp_path, MEGABYTE, ["one", "other"])
    with spool.reading("one"), spool.reading("other"):
        with pytest.raises(BusyError), Spool(tmp_path, MEGABYTE).reading("one"):
            pass


def test_a_disk_that_fills_while_lines_are_written_leaves_none_of_them_to_be_read(
    tmp_path, monkeypatch
):
    spool = Spool(tmp_path, MEGABYTE, ["one"])
    spool.append(lines(0, 3))
    real, calls = os.pwrite, []

    def full(descriptor, content, offset):
        calls.append(len(content))
        if len(calls) == 1:
            return real(descriptor, content[:500], offset)  # with whole lines in it
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(BackendError, match="disk is full"):
        spool.append(lines(3, 9))
    monkeypatch.undo()
    assert read(spool, "one") == ids(0, 3)
    spool.append(lines(3, 9))
    assert read(spool, "one") == ids(3, 9)


def test_a_sink_that_is_new_begins_with_the_oldest_line_that_is_kept(tmp_path):
    Spool(tmp_path, MEGABYTE, ["one"]).append(lines(0, 5))
    assert read(Spool(tmp_path, MEGABYTE, ["one", "new"]), "new") == ids(0, 5)


def test_cursors_are_read_as_strictly_as_they_are_written():
    cursor = Cursor(segment=3, offset=9, line=4, dropped=2, error="e", due="2026-11-29T08:00:00Z")
    assert msgspec.json.decode(cursor.to_json(), type=Cursor) == cursor


def test_a_line_that_is_erased_leaves_no_byte_and_every_sink_goes_on_behind_it(tmp_path):
    spool = Spool(tmp_path, MEGABYTE, ["a", "b"])
    spool.append([line(0), line(1, message="zebra4711"), line(2)])
    first = spool.batch("a", spool.end(), EVERYTHING, 2)
    spool.keep("a", first.behind)  # stands behind the erased one
    spool.append(lines(3, 5))
    letters = tmp_path / "dead"
    letters.mkdir()
    raw = msgspec.json.encode(line(1, message="zebra4711")).decode()
    kept = {"time": "2026-11-29T08:00:00Z", "id": "000009", "reason": "no", "raw": ""}
    (letters / "a.jsonl").write_bytes(
        b"".join(msgspec.json.encode(one) + b"\n" for one in (kept, {**kept, "id": "", "raw": raw}))
    )
    spool.erase({"000001"})
    everything = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"zebra4711" not in everything
    assert b"000009" in everything
    assert read(spool, "a") == ["000002", "000003", "000004"]
    assert read(spool, "b") == ["000000", "000002", "000003", "000004"]


def test_a_spool_that_overflows_while_it_is_read_has_nothing_for_whoever_stands_behind_the_end(
    tmp_path,
):
    spool = Spool(tmp_path, 32 * 1000, ["one"])
    spool.append(lines(0, 10))
    end = spool.end()
    spool.append(lines(10, 1000))  # every segment that was there then is gone
    batch = spool.batch("one", end, EVERYTHING, 100)
    assert (batch.items, batch.behind) == ([], spool.cursor("one"))
    assert spool.oldest("one", end) is None
    lost = spool.cursor("one").dropped
    assert read(spool, "one") == ids(lost, 1000)


def test_nobody_counts_what_a_sink_lost_while_another_one_sends_to_it(tmp_path):
    spool = Spool(tmp_path, 32 * 1000, ["one"])
    spool.append(lines(0, 10))
    with spool.reading("one"):
        spool.append(lines(10, 1000))
        spool.account("2026-11-29T08:00:00Z")
        assert spool.kept("one") == Cursor(segment=0, line=0)
    spool.account("2026-11-29T09:00:00Z")
    assert spool.kept("one").lost == "2026-11-29T09:00:00Z"
    assert spool.kept("one").dropped == spool.cursor("one").dropped > 0


def test_a_sink_that_is_configured_again_has_lost_nothing_meanwhile(tmp_path):
    Spool(tmp_path, 32 * 1000, ["one", "other"]).append(lines(0, 10))
    Spool(tmp_path, 32 * 1000, ["other"]).retire()
    Spool(tmp_path, 32 * 1000, ["other"]).append(lines(10, 1000))
    spool = Spool(tmp_path, 32 * 1000, ["one", "other"])
    spool.retire()
    assert spool.cursor("one").dropped == 0
    assert spool.cursor("other").dropped > 0
    assert read(spool, "one")[-1] == "000999"


def test_a_cursor_that_somebody_sends_from_stays(tmp_path):
    spool = Spool(tmp_path, MEGABYTE, ["one"])
    with spool.reading("one"):
        Spool(tmp_path, MEGABYTE, []).retire()
        assert spool.kept("one") == Cursor(segment=0, line=0)
