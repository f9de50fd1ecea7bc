"""The log store: lines are there once, found by words and names, counted, asked in SQL, forgotten
and erased without a trace.
"""

import datetime
import itertools
import json
import os
import threading

import msgspec
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.conftest import refused

from casemate.core.errors import BackendError, BusyError, ConfigError
from casemate.watch.logs import day as days
from casemate.watch.logs import incoming, sql, store
from casemate.watch.logs.index import BLOCK, Index, library
from casemate.watch.logs.line import CUT, MOST_MESSAGE, LogLine, tidy
from casemate.watch.logs.query import FIELDS, MOST_CLAUSES, parse
from casemate.watch.logs.store import LogStore, Positions

NOW = datetime.datetime(2026, 11, 29, 12, 0, tzinfo=datetime.UTC)
TODAY = "2026-11-29"


class Clock:
    def __init__(self, now=NOW):
        self.time = now

    def now(self):
        return self.time


def line(number, day=TODAY, **fields):
    told = {
        "time": f"{day}T{number // 3600 % 24:02}:{number // 60 % 60:02}:{number % 60:02}.000Z",
        "level": "info",
        "message": f"somebody asked for number{number}",
        "id": f"{day}-{number}",
        "dataset": "casemate.request",
        "action": "infer",
        "model": "wdbc",
        "status": 200,
    }
    return LogLine(**{**told, **fields})


@pytest.fixture
def lines(tmp_path):
    return LogStore(tmp_path / "logs", Clock(), 90, 2048)


def ids(found):
    return [one.id for one in found.lines]


def ask(at, query, limit=50, **more):
    return ids(at.search(parse(query, **more), limit))


def bytes_below(folder):
    """Everything that lies in the folder's files, with what is compressed unpacked: blocks of lines,
    term dictionaries and Parquet are read through readers that are opened anew.
    """
    found = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    for where in folder.rglob("index"):
        index = Index(where)
        found += [msgspec.json.encode(one) for _, block in index.lines() for one in block]
        for field in ("message", "id", "request", "trace"):
            terms = index.searcher.terms_with_prefix(field, "")
            found += [term.encode() for term, _ in terms]
    for path in folder.rglob("*.parquet"):
        found.append(pa.parquet.read_table(path).to_pandas().to_csv().encode())
    return b"\n".join(found)


def test_a_line_is_found_by_words_names_and_numbers_newest_first(lines):
    lines.add([line(n) for n in range(1_000)])
    lines.add([line(5_000, code="CM-DENIED", level="warning", user='User::"ana"', status=403)])
    assert ask(lines, "number77") == [f"{TODAY}-77"]
    assert ask(lines, "", 3) == [f"{TODAY}-5000", f"{TODAY}-999", f"{TODAY}-998"]
    for query in (
        "level:warning",
        "log.level:warning AND model:wdbc",
        "CM-DENIED",
        "code:CM-DENIED",
        "denied",
        "user:ana",
        'user:User::"ana"',
        "status:403",
        "status:>=400",
        "status:[400 TO 499]",
        "-level:info",
        "NOT level:info",
        "level:IN [warning error]",
        f"{TODAY}-5000",
        '"somebody asked for number5000"',
        'message:"asked for number5000"*',
        f"time:[{TODAY}T01:23:20Z TO {TODAY}T01:23:21Z]",
    ):
        assert ask(lines, query) == [f"{TODAY}-5000"], query
    assert lines.search(parse("somebody"), 10).matched == 1_001
    assert lines.search(parse("somebody"), 10).more
    assert not lines.search(parse("number77"), 10).more


def test_lines_of_one_second_are_sorted_by_their_milliseconds(lines):
    times = [300, 900, 100, 500]
    lines.add([line(n, time=f"{TODAY}T08:00:00.{ms}Z") for n, ms in enumerate(times)])
    assert [one.time[-4:-1] for one in lines.search(parse(""), 3).lines] == ["900", "500", "300"]


def test_a_search_goes_back_over_days_and_keeps_to_its_times(lines):
    lines.add([line(n, day) for day in ("2026-11-27", "2026-11-28", TODAY) for n in range(10)])
    assert ask(lines, "number7") == [f"{TODAY}-7", "2026-11-28-7", "2026-11-27-7"]
    since = datetime.datetime(2026, 11, 28, 0, 0, 5, tzinfo=datetime.UTC)
    until = since + datetime.timedelta(seconds=2)
    assert ask(lines, "", since=since, until=until) == ["2026-11-28-6", "2026-11-28-5"]
    assert ask(lines, "", 11, since=since)[-1] == "2026-11-28-9"


def test_a_hidden_data_set_is_in_no_answer(lines):
    lines.add([line(1), line(2, dataset="casemate.audit", code="CM-X")])
    hidden = parse("", hidden="casemate.audit")
    assert ids(lines.search(hidden, 9)) == [f"{TODAY}-1"]
    assert lines.count("code", hidden).groups == []
    assert lines.after({}, hidden) == [line(1)]
    assert sql.ask(lines, "select id from logs", "casemate.audit").rows == [[f"{TODAY}-1"]]


@pytest.mark.parametrize(
    ("query", "character", "said"),
    [
        ("level:error AND foo:x", 17, "there is no field 'foo'"),
        ("(a OR b", 1, "not closed"),
        ("a b)", 4, "nothing was opened"),
        ("level:", 7, "no value follows"),
        ("a AND", 3, "nothing follows"),
        ("OR a", 1, "nothing stands before OR"),
        ('x "two words', 3, "quotation mark"),
        ("a *zeb", 3, "pattern"),
        ("level:/err.*/", 1, "regular expression"),
        ("((((((((((((a", 11, "brackets"),
        (" ".join(["a"] * (MOST_CLAUSES + 1)), 2 * MOST_CLAUSES + 1, "words and values"),
        ("message:*", 1, "asks for everything"),
        ("- a", 1, "a sign without a word"),
    ],
)
def test_a_mistake_in_a_query_is_told_with_its_place_and_what_to_write(query, character, said):
    with refused("CM-CONFIG", said) as caught:
        parse(query)
    assert caught.value.message.startswith(f"character {character} of the query")
    assert caught.value.hint


def test_a_query_of_any_length_is_refused_before_it_is_read():
    with refused("CM-CONFIG", "1000 may be"):
        parse("a" * 1_001)


@settings(deadline=None)
@given(st.text(alphabet='ab:*"()[]{}~^+-/\\<>= .ANDORNOTlevel1\x1b\n', max_size=60))
def test_whatever_is_asked_is_answered_or_refused_in_words(query):
    # one index in memory's place would not do: what tantivy raises is part of what is tested
    try:
        parsed = parse(query)
        ANY.index.query(parsed)
    except ConfigError as error:
        assert error.hint
        assert "\x1b" not in error.message


class _Any:
    """An index that is made when it is first asked for."""

    def __init__(self):
        self.made = None

    @property
    def index(self):
        if self.made is None:
            import tempfile
            from pathlib import Path

            self.folder = tempfile.TemporaryDirectory()
            self.made = Index(Path(self.folder.name))
        return self.made


ANY = _Any()


def test_the_same_line_is_there_once_however_often_it_is_added(lines):
    assert len(lines.add([line(1), line(1), line(2)])) == 2
    assert lines.add([line(2), line(3)]) == [line(3)]
    assert ask(lines, "") == [f"{TODAY}-3", f"{TODAY}-2", f"{TODAY}-1"]


@settings(deadline=None, max_examples=15)
@given(st.lists(st.integers(0, 700), max_size=40), st.integers(1, 300))
def test_every_line_comes_back_as_it_went_in(numbers, size):
    import tempfile
    from pathlib import Path

    given_ = [line(n, trace=f"{n:032x}", duration=n) for n in dict.fromkeys(numbers)]
    with tempfile.TemporaryDirectory() as folder:
        at = LogStore(Path(folder), Clock(), 90, 2048)
        for start in range(0, len(given_), size):
            at.add(given_[start : start + size])
        found = at.search(parse(""), 1_000).lines
    assert sorted(found, key=lambda one: one.id) == sorted(given_, key=lambda one: one.id)


def test_lines_older_than_they_are_kept_are_not_taken_and_days_to_come_are(lines):
    added = lines.add([line(1, "1970-01-01"), line(2, "2026-08-30"), line(3, "2026-12-05")])
    assert [one.id for one in added] == ["2026-12-05-3"]
    assert lines.add([line(4, "2026-08-31")]) == [line(4, "2026-08-31")]


def test_what_is_too_old_is_forgotten_and_said(lines):
    lines.add([line(1, "2026-08-31"), line(2)])
    lines.clock.time = NOW + datetime.timedelta(days=1)
    (dropped,) = lines.forget()
    assert (dropped.days, "90 days" in dropped.why) == (["2026-08-31"], True)
    assert lines.days() == [TODAY]
    assert lines.forget() == []


def test_a_day_to_come_is_forgotten_once_it_was_written_long_ago(lines):
    lines.add([line(1, "2099-01-01"), line(2)])
    assert lines.forget() == []
    meta = lines.folder / "days" / "2099-01-01" / "index" / "meta.json"
    old = (NOW - datetime.timedelta(days=91)).timestamp()
    os.utime(meta, (old, old))
    assert [one.days for one in lines.forget()] == [["2099-01-01"]]


def test_the_oldest_days_go_first_when_all_are_too_large_and_the_newest_stays(lines):
    lines.add([line(n, day) for day in ("2026-11-27", "2026-11-28", TODAY) for n in range(500)])
    lines.most = sum(days.size(lines.folder / "days" / one) for one in ("2026-11-28", TODAY))
    (dropped,) = lines.forget()
    assert dropped.days == ["2026-11-27"]
    lines.most = 1
    assert lines.forget()[0].days == ["2026-11-28"]
    assert lines.days() == [TODAY]
    with refused("CM-BACKEND", "max_megabytes"):
        lines.require_room()
    lines.clock.time = NOW + datetime.timedelta(days=1)
    lines.require_room()
    lines.add([line(1, "2026-11-30")])
    assert lines.forget()[0].days == [TODAY]


def test_nobody_else_can_read_the_store(lines):
    with lines.writing():
        lines.add([line(n, "2026-11-28") for n in range(10)])
        lines.settle(["2026-11-28"])
        lines.keep(Positions(entry=3))
    for path in [lines.folder, *lines.folder.rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0, path


def test_two_write_one_after_the_other(lines):
    with lines.writing(), pytest.raises(BusyError), lines.writing(waits=False):
        pass
    entered = threading.Event()

    def wait():
        with lines.writing():
            entered.set()

    with lines.writing():
        thread = threading.Thread(target=wait)
        thread.start()
        assert not entered.is_set()
    thread.join()
    assert entered.is_set()


def test_lines_are_counted_by_fields_and_times(lines):
    lines.add([line(n, code="" if n % 3 else "CM-DATA") for n in range(7_200)])
    lines.add([line(n, "2026-11-28", code="CM-BUSY") for n in range(5)])
    counts = lines.count("code", parse(""))
    assert counts.lines == 7_205
    assert [(one.value, one.lines) for one in counts.groups] == [("CM-DATA", 2_400), ("CM-BUSY", 5)]
    by_hour = lines.count("hour", parse("model:wdbc"))
    assert [one.lines for one in by_hour.groups] == [5, 3_600, 3_600]
    assert [one.lines for one in lines.count("status", parse("")).groups] == [7_205]
    with refused("CM-CONFIG", "by minute, hour, day, level"):
        lines.count("message", parse(""))


def test_newer_lines_are_told_once_and_in_order(lines):
    lines.add([line(n) for n in range(5)])
    ends = lines.ends()
    assert lines.after(ends, parse("")) == []
    lines.add([line(8), line(7), line(6, "2026-11-28")])
    assert [one.id for one in lines.after(ends, parse("NOT number7"))] == [
        "2026-11-28-6",
        f"{TODAY}-8",
    ]
    assert lines.after(ends, parse("")) == []


def test_sql_sees_settled_and_new_lines_alike(lines, monkeypatch):
    monkeypatch.setattr(days, "SEAL", BLOCK)
    lines.add([line(n, "2026-11-28", duration=n) for n in range(3)])
    lines.add([line(n, duration=n) for n in range(BLOCK + 1)])
    with lines.writing():
        lines.settle([TODAY])
    assert [len(day.sealed()[0]) for day in map(lines.day, lines.days())] == [1, 1]
    lines.add([line(9_000, duration=None)])
    answer = sql.ask(lines, "select count(*), count(duration), min(time), count(code) from logs")
    assert answer.rows == [[BLOCK + 5, BLOCK + 4, "2026-11-28 00:00:00", 0]]
    assert set(sql.ask(lines, "select * from logs limit 1").columns) == set(days.COLUMNS)


@pytest.mark.parametrize(
    "statement",
    [
        "copy logs to 'out.csv'",
        "select 1; select 2",
        "set memory_limit = '9GB'",
        "install httpfs",
        "load httpfs",
        "attach 'x.db'",
        "create table t as select 1",
        "pragma database_list",
        "select * from read_csv('/etc/passwd')",
        "select * from '/etc/passwd'",
        "select content from read_text('/etc/passwd')",
        "select * from glob('/etc/*')",
        "select * from sniff_csv('/etc/passwd')",
        "select * from query('copy logs to ''out.csv''')",
        "select * from read_parquet('https://127.0.0.1/x')",
        "select getenv('HOME')",
        "select * from store",
        "select x from",
        "",
    ],
)
def test_sql_reaches_no_file_no_network_and_no_setting(lines, statement, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines.add([line(1)])
    with refused("CM-CONFIG"):
        sql.ask(lines, statement)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["logs"]


def test_sql_that_answers_without_end_is_ended(lines, monkeypatch):
    monkeypatch.setattr(sql, "MOST_BYTES", 2**20)
    with pytest.raises(BackendError, match="longer than 1 MiB"):
        sql.ask(lines, "select repeat('x', 2000) || range from range(10001)")


def test_sql_that_takes_too_long_or_too_much_memory_is_ended(lines, monkeypatch):
    lines.add([line(1)])
    monkeypatch.setattr(sql, "SECONDS", 0.2)
    with refused("CM-BACKEND", "took more than"):
        sql.ask(lines, "select sum(a.range + b.range) from range(10000000) a, range(10000000) b")
    monkeypatch.setattr(sql, "SECONDS", 60.0)
    monkeypatch.setattr(sql, "MEMORY", "30MB")
    with refused("CM-BACKEND", "memory"):
        sql.ask(lines, "select count(*) from (select distinct range r from range(100000000))")


def test_a_search_that_takes_too_long_is_given_up(lines, monkeypatch):
    lines.add([line(n, day) for day in ("2026-11-28", TODAY) for n in range(2)])
    monkeypatch.setattr(store, "SECONDS", -1.0)
    with refused("CM-BACKEND", "--since"):
        lines.search(parse(""), 5)


def test_what_was_erased_is_in_no_file_any_more_and_all_else_is(lines):
    secret = "zebra-4711-canary"
    lines.add([line(n, "2026-11-28") for n in range(600)])
    lines.add([line(n) for n in range(600)])
    lines.add([line(9_000, "2026-11-28", message=f"it was {secret}"), line(9_001, model=secret)])
    with lines.writing():
        lines.settle(["2026-11-28"])
        assert secret.encode() in bytes_below(lines.folder)
        assert lines.erase(parse(f'"zebra 4711 canary" OR model:{secret}'), len) == {
            "2026-11-28": 1,
            TODAY: 1,
        }
    left = bytes_below(lines.folder)
    for word in (secret, "zebra", "canary", "4711"):
        assert word.encode() not in left
    assert lines.search(parse(""), 1).matched + lines.count("day", parse("")).lines == 600 + 1_200
    assert sql.ask(lines, "select count(*) from logs").rows == [[1_200]]
    assert not (lines.folder / "tmp").exists() or not list((lines.folder / "tmp").iterdir())


def test_a_day_of_which_everything_was_erased_is_gone(lines):
    lines.add([line(1), line(2, "2026-11-28")])
    with lines.writing():
        heard = []
        assert lines.erase(parse(f"time:[{TODAY}T00:00:00Z TO *]"), heard.append) == {TODAY: 1}
        assert [len(ids) for ids in heard] == [1]
    assert lines.days() == ["2026-11-28"]


def test_what_a_killed_erasure_left_is_removed_by_whoever_writes_next(lines):
    left = lines.folder / "tmp" / ".tmp-x" / "2026-11-28"
    left.mkdir(parents=True)
    (left / "lines").write_text("zebra")
    with lines.writing():
        assert not left.exists()


def test_a_day_that_is_damaged_is_told_and_nothing_is_guessed(lines):
    lines.add([line(1)])
    (lines.folder / "days" / TODAY / "index" / "meta.json").write_text("{")
    with refused("CM-BACKEND", TODAY):
        lines.search(parse(""), 5)


def test_a_full_disk_is_told_and_leaves_whole_batches_only(small_disk):
    at = LogStore(small_disk / "logs", Clock(), 90, 2048)
    filler, batches = small_disk / "filler", 0
    at.add([line(n) for n in range(1_000)])
    filler.write_bytes(b"x" * (60 << 20))
    with refused("CM-BACKEND", "disk"):
        for batches in itertools.count(1):
            start = batches * 1_000
            at.add([line(n, message=os.urandom(900).hex()) for n in range(start, start + 1_000)])
    filler.unlink()
    assert at.search(parse(""), 1).matched == batches * 1_000
    assert len(at.add([line(n) for n in range(batches * 1_000, batches * 1_000 + 5)])) == 5


def test_what_a_line_says_drives_no_terminal_and_is_cut_with_a_mark():
    hostile = line(
        1, message="\x1b]0;owned\x07a\x00b\u202ec\n" + "x" * 1_000_000, user="\x1b[2J" * 99
    )
    kept = tidy(hostile)
    assert len(kept.message) == MOST_MESSAGE
    assert kept.message.endswith(CUT)
    assert kept.message.startswith("a?b?c ")
    assert all(character.isprintable() for character in kept.message + kept.user)
    assert tidy(kept) == kept
    assert tidy(line(1)) == line(1)


def test_times_of_any_zone_become_utc_with_milliseconds():
    assert tidy(line(1, time="2026-11-29T02:00:00.123456+05:30")).time == "2026-11-28T20:30:00.123Z"
    with pytest.raises(ValueError, match="isoformat"):
        tidy(line(1, time="noon"))


@given(st.text(), st.text(max_size=400))
def test_tidy_lines_are_printable_whatever_was_said(message, user):
    kept = tidy(line(1, message=message, user=user))
    assert kept == tidy(kept)
    assert not {"\x1b", "\n", "\x00", "\u202e"} & set(kept.message + kept.user)
    msgspec.json.decode(msgspec.json.encode(kept), type=LogLine)


@pytest.fixture
def inbox(tmp_path):
    return tmp_path / "incoming"


def encoded(*some):
    return [msgspec.json.encode(one) for one in some]


def read(path, start=0):
    found, garbage = [], 0
    for some, end, bad in incoming.read(path, start):
        found, garbage, start = found + some, garbage + bad, end
    return found, start, garbage


def test_a_torn_last_line_is_read_once_it_is_whole(inbox):
    incoming.Writer(inbox, 10**9).append(encoded(line(1)))
    (path,) = incoming.waiting(inbox)
    (more,) = encoded(line(2))
    with path.open("ab") as file:
        file.write(more[:50])
    found, end, garbage = read(path)
    assert (found, garbage) == ([line(1)], 0)
    assert incoming.remove(path, end)
    assert path.exists()
    with path.open("ab") as file:
        file.write(more[50:] + b"\n")
    assert not incoming.remove(path, end)
    found, end, garbage = read(path, end)
    assert (found, garbage) == ([line(2)], 0)
    assert incoming.remove(path, end)
    assert not path.exists()


def test_a_torn_last_line_is_given_up_once_whoever_wrote_it_must_be_dead(inbox):
    incoming.Writer(inbox, 10**9).append(encoded(line(1)))
    (path,) = incoming.waiting(inbox)
    with path.open("ab") as file:
        file.write(b"{")
    _, end, _ = read(path)
    os.utime(path, (0, 0))
    assert incoming.remove(path, end)
    assert not path.exists()


@pytest.mark.parametrize(
    "fields",
    [
        {"time": "2099-13-41T99:99:99.999Z"},
        {"time": "0001-01-01T00:00:00.000+14:00"},
        {"size": 10**20},
        {"duration": -1},
    ],
)
def test_a_line_that_no_store_can_keep_is_garbage_and_blocks_nothing_behind_it(inbox, fields):
    inbox.mkdir()
    path = inbox / f"a{incoming.ENDING}"
    content = [msgspec.json.encode(one) for one in (line(1, **fields), line(2))]
    path.write_bytes(b"\n".join(content) + b"\n")
    found, _, garbage = read(path)
    assert (found, garbage) == ([line(2)], 1)


def test_garbage_is_counted_and_skipped_however_long_it_is(inbox, monkeypatch):
    monkeypatch.setattr(incoming, "MOST_LINE", 2_000)
    inbox.mkdir()
    (one, two) = encoded(line(1), line(2))
    deep = b"[" * 1_500
    (noon,) = encoded(line(3, time="noon"))
    bad = [b"", b"{}", b"\xff\xfe", deep, b"x" * 5_000, b'{"@timestamp":"noon"}', one[:-1], noon]
    path = inbox / f"a{incoming.ENDING}"
    path.write_bytes(b"\n".join([one, *bad, two]) + b"\n")
    found, end, garbage = read(path)
    assert (found, garbage) == ([line(1), line(2)], len(bad))
    assert end == path.stat().st_size


def test_a_file_that_became_shorter_is_read_from_its_beginning(inbox):
    incoming.Writer(inbox, 10**9).append(encoded(line(1)))
    (path,) = incoming.waiting(inbox)
    assert read(path, 10_000)[0] == [line(1)]


def test_a_writer_goes_on_in_a_new_file_when_its_file_was_read_or_is_full(inbox, monkeypatch):
    writer = incoming.Writer(inbox, 10**9)
    writer.append(encoded(line(1)))
    (first,) = incoming.waiting(inbox)
    assert incoming.remove(first, read(first)[1])
    writer.append(encoded(line(2)))
    (second,) = incoming.waiting(inbox)
    assert (second != first, read(second)[0]) == (True, [line(2)])
    monkeypatch.setattr(incoming, "MOST_FILE", 10)
    writer.append(encoded(line(3)))
    writer.append(encoded(line(4)))
    assert [read(path)[0] for path in incoming.waiting(inbox)] == [[line(2), line(3)], [line(4)]]


def test_lines_that_nobody_reads_are_dropped_oldest_first_and_counted(inbox, monkeypatch):
    monkeypatch.setattr(incoming, "MOST_FILE", 1_000)
    writer = incoming.Writer(inbox, 5_000)
    for number in range(200):
        writer.append(encoded(line(number)))
    files = incoming.waiting(inbox)
    left = [one for path in files for one in read(path)[0]]
    assert left[-1] == line(199)
    assert writer.lost == 200 - len(left) > 0
    assert sum(path.stat().st_size for path in files) <= 5_000


def test_lines_written_while_others_are_read_are_all_read_once(inbox):
    writers = [incoming.Writer(inbox, 10**9) for _ in range(2)]

    def write(writer, first):
        for number in range(first, first + 300):
            writer.append(encoded(line(number)))

    threads = [
        threading.Thread(target=write, args=(writer, 1_000 * n)) for n, writer in enumerate(writers)
    ]
    for thread in threads:
        thread.start()
    found, positions = [], {}
    while True:
        done = not any(thread.is_alive() for thread in threads)
        for path in incoming.waiting(inbox):
            some, end, _ = read(path, positions.get(path.name, 0))
            found += some
            positions[path.name] = end
            incoming.remove(path, end)
        if done and not incoming.waiting(inbox):
            break
    numbers = sorted(int(one.id.rpartition("-")[2]) for one in found)
    assert numbers == [*range(300), *range(1_000, 1_300)]


def test_a_writer_that_cannot_write_leaves_nothing_half_written(small_disk):
    inbox = small_disk / "incoming"
    writer = incoming.Writer(inbox, 10**9)
    writer.append(encoded(line(0)))
    (small_disk / "filler").write_bytes(b"x" * (62 << 20))
    with pytest.raises(OSError, match="space"):
        for number in itertools.count(1):
            writer.append(encoded(*[line(number, message="y" * 1_900)] * 200))
    (small_disk / "filler").unlink()
    writer.append(encoded(line(1, message="after")))
    found = [one for path in incoming.waiting(inbox) for one in read(path)[0]]
    assert (found[0], found[-1].message) == (line(0), "after")
    assert sum(read(path)[2] for path in incoming.waiting(inbox)) == 0


def test_every_field_that_can_be_asked_for_is_one_of_the_index():
    known = json.loads(json.dumps(sorted(FIELDS)))
    assert {"level", "action", "outcome", "user", "model", "code", "request", "trace"} <= set(known)
    for field in FIELDS:
        ANY.index.query(
            parse(
                f"{field}:>=1"
                if field in ("duration", "size")
                else f"{field}:1"
                if field != "time"
                else "time:[2026-01-01T00:00:00Z TO *]"
            )
        )


def test_a_store_without_its_library_says_what_to_install(monkeypatch):
    import builtins

    real = builtins.__import__

    def missing(name, *rest):
        if name == "tantivy":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", missing)
    with refused("CM-CONFIG", "casemate[logs]"):
        library()


def test_faults_of_the_library_are_the_back_ends(tmp_path):
    with pytest.raises(BackendError, match="log store"):
        Index(tmp_path / "nowhere")
