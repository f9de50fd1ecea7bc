"""New lines on their way to the log store and to the spool of sinks."""

import pytest

import casemate
from casemate.operations.logs.ingest import ingest, store_of
from casemate.operations.sinks import spool_of

SINK = '\n[sinks.one]\nkind = "file"\nto = "lines.jsonl"\n'


@pytest.fixture
def root(tiny_project):
    with (tiny_project / "casemate.toml").open("a") as file:
        file.write(SINK)
    return tiny_project


def taken(root):
    """The project once its new lines were taken."""
    at = casemate.open(root)
    store = store_of(at)
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
