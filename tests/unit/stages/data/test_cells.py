"""Cells of a column whose words repeat are read once each, and mean the same."""

import pyarrow as pa
import pytest

from casemate.config import ColumnTable, DataTable
from casemate.core.errors import DataError
from casemate.stages.data import cells

WORDS = ["1", " 2.5", "", None, "3e2", "-4"]


def column(words, chunks=3):
    return pa.chunked_array([pa.array(words * 4000, pa.string())] * chunks)


@pytest.mark.parametrize("words", [WORDS, ["yes", "no", None], [*WORDS, "a"]])
def test_words_that_repeat_are_read_as_single_ones_are(words, monkeypatch):
    def read():
        found = []
        options = DataTable(
            source="t.csv", target="y", columns={"x": ColumnTable(type="number", coerce=True)}
        )
        return cells.typed(column(words), "x", options, found), found

    once, told = read()
    monkeypatch.setattr(cells, "SAMPLE", 10**9)
    assert read() == (once, told)


def test_a_wrong_word_among_many_is_named_by_its_row():
    words = column(["1"] * 5, 1).to_pylist()
    words[7777] = "x1"
    with pytest.raises(DataError, match="7777"):
        cells.typed(pa.chunked_array([words]), "x", DataTable(source="t", target="y"), [])
