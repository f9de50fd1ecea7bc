"""New lines on their way to the log store and to the spool of sinks."""

import datetime

import msgspec
import pytest
from bench.watch import traffic
from tests.unit.conftest import refused

import casemate
from casemate.core.errors import BackendError
from casemate.operations.logs.ingest import ingest, store_of
from casemate.operations.sinks import spool_of
from casemate.watch.logs import incoming
from casemate.watch.logs.line import LogLine
from casemate.watch.logs.store import LogStore
from casemate.watch.sinks.spool import Spool

SINK = '\n[sinks.one]\nkind = "file"\nto = "lines.jsonl"\n'


@pytest.fixture
def root(tiny_project):
    with (tiny_project / "casemate.toml").open("a") as file:
        file.write(SINK)
    return tiny_project


def taken(root, at=None, **more):
    """The project once its new lines were taken."""
    at = at or casemate.open(root)
    store = store_of(at)
    vars(store).update(more)
    with store.writing():
        ingest(at, store)
    return at


def test_a_sink_that_is_configured_again_begins_anew(root):
    spool = spool_of(taken(root))
    spool.keep("one", spool.batch("one", spool.end(), frozenset(), 9).behind)
    stood = spool.kept("one")
    assert stood.line > 0
    table = root / "casemate.toml"
    whole = table.read_text()
    taken(root)
    assert spool.kept("one") == stood
    table.write_text(whole.removesuffix(SINK))
    taken(root)
    table.write_text(whole)
    begins = spool_of(casemate.open(root)).kept("one")
    assert (begins.line, begins.dropped) == (0, 0)


def spooled(root):
    """Ids of the lines that were given to the spool."""
    paths = sorted(spool_of(casemate.open(root)).folder.glob("*.jsonl"))
    rows = b"".join(path.read_bytes() for path in paths).splitlines()
    return [msgspec.json.decode(row)["event.id"] for row in rows]


def came_in(root, *names, days=0):
    time = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)
    time = time.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    lines = [
        LogLine(time=time, level="info", message=name, id=name, dataset="casemate.request")
        for name in names
    ]
    writer = incoming.Writer(store_of(casemate.open(root)).incoming, 10**9)
    writer.append([msgspec.json.encode(line) for line in lines])


def test_a_store_that_takes_nothing_repeats_no_line_in_the_spool_and_sinks_go_on(root, monkeypatch):
    came_in(root, "a", "b")
    taken(root)
    before = spooled(root)
    assert before[-2:] == ["a", "b"]

    def damaged(*_):
        raise BackendError("a day is damaged")

    for names in (["c"], ["d", "e"]):
        came_in(root, *names)
        with monkeypatch.context() as patched:
            patched.setattr(LogStore, "add", damaged)
            for _ in range(2):
                with refused("CM-BACKEND", "damaged"):
                    taken(root)
    assert spooled(root) == [*before, "c", "d", "e"]
    came_in(root, "f")
    at = taken(root)
    assert spooled(root) == [*before, "c", "d", "e", "f"]
    assert incoming.waiting(store_of(at).incoming) == []
    assert at.logs.search("dataset:casemate.request", limit=99).matched == 6


def test_who_dies_before_it_is_kept_that_a_batch_was_spooled_repeats_that_batch_and_no_more(
    root, monkeypatch
):
    came_in(root, "a")
    taken(root)
    before = spooled(root)

    def dies(*_):
        raise KeyboardInterrupt

    came_in(root, "b")
    with monkeypatch.context() as patched:
        patched.setattr(Spool, "keep_fed", dies)
        with pytest.raises(KeyboardInterrupt):
            taken(root)
    for _ in range(2):
        taken(root)
    assert spooled(root) == [*before, "b", "b"]


def test_lines_that_come_while_the_store_adds_others_are_in_the_spool_before_they_go(
    root, monkeypatch
):
    came_in(root, "a")
    real, late = LogStore.add, ["b", "c"]

    def add(store, lines):
        if late:
            came_in(root, late.pop(0))
        return real(store, lines)

    monkeypatch.setattr(LogStore, "add", add)
    at = taken(root)
    assert incoming.waiting(store_of(at).incoming) == []
    assert spooled(root)[-3:] == ["a", "b", "c"]
    assert at.logs.search("dataset:casemate.request", limit=99).matched == 3


def test_a_spool_begins_with_what_comes_once_there_is_a_sink(root):
    table = root / "casemate.toml"
    whole = table.read_text()
    table.write_text(whole.removesuffix(SINK))
    came_in(root, "a")
    taken(root)
    for begun in ("b", "c"):
        table.write_text(whole)
        came_in(root, begun)
        taken(root)
        assert spooled(root)[-1] == begun
        table.write_text(whole.removesuffix(SINK))
        came_in(root, f"not {begun}")
        taken(root)
    assert [name for name in spooled(root) if len(name) < 9] == ["b", "c"]


def test_one_day_that_is_too_large_stops_the_store_until_the_next_one_and_sinks_never(root):
    came_in(root, "a")
    taken(root, most=1)
    came_in(root, "b")
    with refused("CM-BACKEND", "max_megabytes"):
        taken(root, most=1)
    assert spooled(root)[-1] == "b"
    tomorrow = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)
    came_in(root, "c", days=1)
    later = taken(root, traffic.opened(root, tomorrow.timestamp()), most=1)
    assert store_of(later).days() == [tomorrow.date().isoformat()]
    assert spooled(root)[-1] == "c"
    assert later.logs.search("dataset:casemate.request").matched == 1


def test_a_line_that_was_erased_reaches_no_sink_when_it_came_while_others_were_added(
    root, monkeypatch
):
    came_in(root, "a")
    taken(root)
    came_in(root, "b")
    real, late = LogStore.positions, ["zebra"]

    def positions(store):
        if late and "fed" in calls:
            casemate.open(root).access.add_user(late.pop(), [], "four or five words")
        return real(store)

    calls = []
    fed = Spool.append

    def append(spool, lines):
        calls.append("fed")
        fed(spool, lines)

    monkeypatch.setattr(Spool, "append", append)
    monkeypatch.setattr(LogStore, "positions", positions)
    at = casemate.open(root)
    assert at.logs.erase('resource:User::"zebra"').lines
    assert late == []
    taken(root)
    raw = b"".join(path.read_bytes() for path in spool_of(at).folder.glob("*.jsonl"))
    assert b"zebra" not in raw
