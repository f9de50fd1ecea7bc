"""Of a table that is sampled every row is looked at, and what is said of it is what is said of a
table that is read at once.
"""

import dataclasses
import re

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.conftest import write_csv

import casemate
from casemate.config import ColumnTable, DataTable, RuleTable
from casemate.core.errors import DataError, Error
from casemate.operations import scaffold
from casemate.operations.runs import run_context
from casemate.pipeline import data_tools
from casemate.stages.data import derived, pinning, report, source, stage, weights
from casemate.stages.data.files import content, evenly
from casemate.stages.data.files import sampled as sampled_rows
from casemate.stages.data.moments import Moments

ROWS, MOST = 6_000, 1_000
NAMES = ["x", "w", "n", "y"]
AT = [4_000, 5_000]
OWN = {"data.sample", "data.whole"}
"""Said of a sampled table alone."""


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr(content, "BLOCK", 1 << 12)
    monkeypatch.setattr(evenly, "PIECE", 1 << 14)
    monkeypatch.setattr(evenly, "LONGEST", 1 << 16)


@pytest.fixture(scope="module")
def cells() -> list[list[str]]:
    draw = np.random.default_rng(0)
    columns = (
        [f"{one:.6f}" for one in draw.standard_normal(ROWS)],
        [f'"ward {one}"' for one in draw.integers(0, 30, ROWS)],
        [str(one) for one in draw.integers(0, 1_000, ROWS)],
        [str(one) for one in draw.integers(0, 2, ROWS)],
    )
    return [list(row) for row in zip(*columns, strict=True)]


@pytest.fixture(scope="module")
def tools(home, tmp_path_factory):
    root = tmp_path_factory.mktemp("whole")
    table = pa.table({"x": np.arange(100) / 7, "y": np.arange(100) % 2})
    scaffold.create(root, scaffold.from_table(root, write_csv(root / "t.csv", table), "y"))
    return data_tools(run_context(casemate.open(root)))


@pytest.fixture
def say(tools):
    """What the stage does between reading and screening, once with a sample and once without."""

    def agreed(pinned, **options):
        options = DataTable(**{"source": "t.csv", "target": "y", **options})
        own = dataclasses.replace(tools, config=msgspec.structs.replace(tools.config, data=options))
        table, findings = source.read(own.place, options, looked_at=True)
        table, unlabelled = source.labelled(table, options)
        told = derived.declared(options, table.column_names)
        own = dataclasses.replace(own, config=msgspec.structs.replace(own.config, data=told))
        found = pinning.agreed(own, table, pinned, findings + unlabelled, [])
        weights.require(table, options)
        return found

    def both(pinned=None, **options):
        answers = []
        for sample in (MOST, None):
            try:
                answers.append(agreed(pinned, **options, sample=sample))
            except Error as error:
                answers.append(f"{type(error).__name__}: {error.message}")
        return answers

    return both


def write(tools, rows):
    lines = [",".join(NAMES), *(row if isinstance(row, str) else ",".join(row) for row in rows)]
    (tools.root / "t.csv").write_text("\n".join(lines))


def changed(cells, column, text):
    rows = [list(row) for row in cells]
    for at in AT:
        rows[at][column] = text
    return rows


def told(answer):
    return sorted(one.message for one in answer.findings if one.id not in OWN)


@pytest.mark.parametrize("ward", ['"ward {}"', '"ward,\n{},\n"'])
def test_a_sound_table_has_the_schema_and_the_words_of_one_that_is_read_at_once(
    tools, say, cells, ward
):
    write(tools, [[row[0], ward.format(at % 7), *row[2:]] for at, row in enumerate(cells)])
    sampled, once = say()
    assert sampled.schema == once.schema
    assert sampled.schema.rows == ROWS
    assert told(sampled) == told(once)
    assert "whole table: 6000 rows" in "".join(one.message for one in sampled.findings)
    again, _ = say(pinned=once.schema)
    assert again.schema == once.schema


@pytest.mark.parametrize("pinned", [False, True])
@pytest.mark.parametrize(
    ("column", "text"),
    [
        (0, "tall"),
        (0, " "),
        (0, "-inf"),
        (2, "99999999999999999999"),
        (2, ""),
        (2, "5000"),
        (1, "elsewhere"),
        (3, ""),
        (1, 'a "quote"'),
        (1, '"open'),
        (1, '"1","2"'),
    ],
)
def test_what_is_wrong_outside_of_the_sample_is_said_as_of_a_table_that_is_read_at_once(
    tools, say, cells, column, text, pinned
):
    write(tools, cells)
    schema = say()[1].schema if pinned else None
    write(tools, changed(cells, column, text))
    sampled, once = say(pinned=schema)
    if isinstance(once, str):
        assert sampled == once
        assert "4000" in once or "line 4002" in once or "2^53" in once
    else:
        assert sampled.schema == once.schema
        assert told(sampled) == told(once)


@pytest.mark.parametrize(
    ("column", "text"), [(0, "tall"), (0, "-inf"), (3, ""), (1, '"open'), (1, '"1","2"')]
)
def test_what_is_wrong_in_a_drawn_row_is_said_with_its_number_in_the_whole_table(
    tools, say, cells, column, text
):
    drawn = sampled_rows.drawn([tools.root], lambda _: ROWS, MOST, [])[0]
    rows = [list(row) for row in cells]
    for at in (int(drawn[600]), int(drawn[700])):
        rows[at][column] = text
    write(tools, rows)
    sampled, once = say()
    assert sampled == once


@pytest.mark.parametrize(
    ("column", "options"),
    [
        (0, {"columns": {"x": ColumnTable(min=-3.0, max=3.0)}}),
        (1, {"columns": {"w": ColumnTable(categories=["ward 1", "ward 2"])}}),
        (2, {"columns": {"n": ColumnTable(nullable=False)}}),
        (2, {"columns": {"n": ColumnTable(type="number", coerce=True)}}),
        (2, {"columns": {"n": ColumnTable(type="time", format="%Y")}}),
        (2, {"columns": {"n": ColumnTable(column_class="sensitive")}}),
        (2, {"weight": "n"}),
        (3, {"missing_target": "drop"}),
        (2, {"rules": [RuleTable(name="low", check="n < 998", tolerate=0.0)]}),
    ],
)
def test_what_is_declared_holds_for_every_row(tools, say, cells, column, options):
    write(tools, changed(cells, column, ""))
    sampled, once = say(**options)
    if isinstance(once, str):
        assert sampled == once
    else:
        assert sampled.schema == once.schema
        assert told(sampled) == told(once)


def test_a_class_that_no_drawn_row_has_is_refused(tools, say, cells):
    write(tools, changed(cells, 3, "7"))
    sampled, once = say()
    assert "a class that none of the drawn rows has, in rows 4000, 5000 (" in sampled
    assert once.schema.classes == ["0", "1", "7"]


def test_a_rule_is_asked_of_every_row(tools, say, cells):
    write(tools, changed(cells, 2, "5000"))
    rules = [RuleTable(name="low", check="n < 1000", when="x is not None")]
    sampled, _ = say(rules=rules)
    answer, kept = sampled.looked.rules.answer()
    assert (kept[0].rows, kept[0].broken) == (ROWS, 2)
    assert answer.findings[0].location == "rows 4000, 5000 (counting from 0)"


def test_a_rule_about_times_with_a_zone_holds_where_a_piece_has_none(tools, say, cells):
    rows = [["2024-01-02T10:00:00Z", row[1], "2024-01-01T00:00:00Z", row[3]] for row in cells]
    for row in rows[1_000:5_000]:
        row[0] = ""
    write(tools, rows)
    sampled, once = say(rules=[RuleTable(name="later", check="x > n")])
    assert sampled.schema == once.schema
    (kept,) = sampled.looked.rules.answer()[1]
    assert (kept.rows, kept.broken, kept.unknown) == (ROWS, 0, 4_000)


def test_a_column_with_too_many_categories_beyond_the_sample_is_text(tools, say, cells):
    rows = [[row[0], f"w{at % 1_400}", *row[2:]] for at, row in enumerate(cells)]
    write(tools, rows)
    sampled, once = say()
    assert sampled.schema == once.schema
    assert sampled.schema.column("w").type == "text"
    assert told(sampled) == told(once)


def test_a_column_that_is_empty_in_the_sample_alone_is_told(tools, say, cells):
    rows = [[row[0], row[1], "", row[3]] for row in cells]
    for at in AT:
        rows[at][2] = "4"
    write(tools, rows)
    sampled, _ = say()
    found = next(one for one in sampled.findings if one.id == "data.empty-in-sample")
    assert (found.location, "in 2 others" in found.message) == ("n", True)


def test_rows_that_are_put_aside_and_rows_without_cells_are_counted_in_all(tools, say, cells):
    rows = [list(row) for row in cells]
    rows[4_000] = "1,2"
    rows[5_000] = ",,,"
    write(tools, rows)
    sampled, once = say(bad_rows="quarantine")
    assert told(sampled) == told(once)
    assert sampled.schema == once.schema
    assert sampled.looked.whole.rows == ROWS - 2


@pytest.mark.parametrize("treated", ["refuse", "drop"])
def test_a_table_of_which_no_row_that_is_read_has_a_target_is_refused(tools, say, cells, treated):
    write(tools, [[*row[:3], ""] for row in cells])
    for said in say(missing_target=treated):
        assert said.startswith("DataError: the target 'y' is missing in ")


def test_blank_rows_that_fill_pieces_of_their_own_are_counted_and_no_more(tools, say, cells):
    write(tools, [*cells[: AT[0]], *[",,,"] * 8_000, *cells[AT[0] :]])
    sampled, once = say(columns={"w": ColumnTable(type="text", parts=["words"])})
    assert sampled.schema == once.schema
    assert told(sampled) == told(once)
    assert sampled.looked.whole.rows == ROWS


def test_a_file_without_a_header_of_which_no_row_is_drawn_is_read_like_the_others(
    tools, say, cells
):
    folder = tools.root / "headless"
    folder.mkdir()
    for name, rows in ("a", cells[: AT[0]]), ("b", [cells[AT[0]]]), ("c", cells[AT[0] + 1 :]):
        (folder / name).write_text("\n".join(map(",".join, rows)))
    sampled, once = say(source="headless", header=NAMES)
    assert sampled.schema == once.schema
    assert told(sampled) == told(once)
    assert sampled.looked.whole.rows == ROWS


def test_parquet_and_several_files_are_looked_at_as_one_text_is(tools, say, cells):
    write(tools, cells)
    text, _ = say()
    columns = list(zip(*cells, strict=True))
    table = pa.table(
        {
            "x": pa.array([float(one) for one in columns[0]]),
            "w": pa.array([one.strip('"') for one in columns[1]]).dictionary_encode(),
            "n": pa.array([int(one) for one in columns[2]]),
            "y": pa.array(columns[3]),
        }
    )
    (tools.root / "parts").mkdir()
    for part in range(3):
        pq.write_table(table.slice(part * 2_000, 2_000), tools.root / "parts" / f"{part}.parquet")
    sampled, once = say(source="parts")
    assert sampled.schema == once.schema == text.schema
    ours, theirs = sampled.looked.whole, text.looked.whole
    assert (ours.rows, ours.missing, ours.classes) == (theirs.rows, theirs.missing, theirs.classes)
    for name, found in theirs.statistics.items():
        assert ours.statistics[name] == pytest.approx(found)


def test_an_unclosed_quote_is_not_waited_for_to_the_end_of_a_long_text(tools, say, cells):
    rows = [list(row) for row in cells]
    rows[10][1] = '"open'
    for row in rows[11:]:
        row[1] = "ward"
    write(tools, rows)
    sampled, once = say()
    assert sampled == once
    assert "line 12: a quote is opened" in once


@given(
    st.lists(
        st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6)), min_size=1, max_size=20), max_size=8
    )
)
def test_moments_of_pieces_are_those_of_all_numbers(pieces):
    moments = Moments()
    for piece in pieces:
        moments.add(pa.chunked_array([pa.array(piece, pa.float64())]))
    numbers = [one for piece in pieces for one in piece if one is not None]
    assert moments.count == len(numbers)
    if numbers:
        assert moments.mean == pytest.approx(np.mean(numbers), rel=1e-9, abs=1e-6)
        assert moments.deviation == pytest.approx(np.std(numbers), rel=1e-6, abs=1e-4)


@pytest.mark.slow
def test_record_and_report_say_what_all_rows_show(tools, cells):
    write(tools, cells)
    options = msgspec.structs.replace(tools.config.data, sample=MOST)
    own = dataclasses.replace(tools, config=msgspec.structs.replace(tools.config, data=options))
    record = stage.seal(own)
    assert (record.rows, record.whole.rows, record.whole.read) == (MOST, ROWS, ROWS)
    numbers = [float(row[0]) for row in cells]
    assert record.whole.statistics["x"]["mean"] == pytest.approx(np.mean(numbers))
    assert record.whole.statistics["x"]["max"] == max(numbers)
    assert sum(record.whole.classes["y"].values()) == ROWS
    page = report.draw(record, own.objects.get(record.profile), b"[]")["report.html"].decode()
    assert re.search(r"6000 rows, looked at in a stream", page)
    with pytest.raises(DataError, match="rows 4000, 5000"):
        write(tools, changed(cells, 0, "tall"))
        stage.seal(own)
