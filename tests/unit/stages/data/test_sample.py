"""Of a table that is too long to be held a declared number of rows is read, and no others."""

import gzip

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.config import DataTable
from casemate.core.errors import ConfigError, DataError
from casemate.stages.data import files, source
from casemate.stages.data.files import content, evenly

ROWS, MOST = 5_000, 1_000
BLOCK = 1 << 12


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(content, "BLOCK", BLOCK)


def table(count: int = ROWS) -> pa.Table:
    numbers = np.arange(count)
    words = [f'ward "{number % 7}",\nfloor {number % 3}' for number in numbers]
    return pa.table({"number": numbers, "ward": words, "y": numbers % 2})


def csv(path, rows: pa.Table):
    lines = ["number,ward,y"]
    for row in rows.to_pylist():
        quoted = row["ward"].replace('"', '""')
        lines.append(f'{row["number"]},"{quoted}",{row["y"]}')
    path.write_text("\n".join(lines))  # the last row without a line end
    return path


def parquet(path, rows: pa.Table):
    pq.write_table(rows, path, row_group_size=700)
    return path


def read(where, **options):
    return source.read(
        where, DataTable(**{"source": "t", "target": "y", "sample": MOST, **options})
    )


@pytest.mark.parametrize("write", [csv, parquet])
def test_so_many_rows_are_read_as_they_are_in_their_order_and_the_same_each_time(tmp_path, write):
    where = write(tmp_path / "t", table())
    found, findings = read(where)
    numbers = [int(one) for one in found["number"].to_pylist()]
    assert len(numbers) == MOST
    assert numbers == sorted(set(numbers))
    everything = source.read(where, DataTable(source="t", target="y"))[0]
    assert found.equals(everything.take(pa.array(numbers)))
    assert read(where)[0].equals(found)
    assert "1000 of 5000 rows were drawn" in "".join(one.message for one in findings)
    # from all of it: of 10 parts none has less than half or more than twice its share
    assert all(50 < len([n for n in numbers if n // 500 == part]) < 200 for part in range(10))


def test_text_and_parquet_and_files_of_a_folder_give_the_same_rows(tmp_path):
    (tmp_path / "parts").mkdir()
    for part in range(4):
        csv(tmp_path / "parts" / f"{part}.csv", table().slice(part * 1250, 1250))
    numbers = [
        read(where)[0]["number"].to_pylist()
        for where in (
            csv(tmp_path / "t.csv", table()),
            parquet(tmp_path / "t.parquet", table()),
            tmp_path / "parts",
        )
    ]
    assert numbers[0] == numbers[1] == numbers[2]


def test_a_file_that_is_listed_twice_is_drawn_from_twice(tmp_path):
    where = csv(tmp_path / "t", table())
    found, _ = read([where, where])
    assert found.num_rows == MOST


@pytest.mark.parametrize("write", [csv, parquet])
def test_a_table_with_no_more_rows_is_read_whole_without_a_word(tmp_path, write):
    found, findings = read(write(tmp_path / "t", table(MOST)))
    assert (found.num_rows, [one.id for one in findings]) == (MOST, [])


def test_a_sample_may_be_of_more_bytes_than_a_table_may_have(tmp_path):
    where = csv(tmp_path / "t", table())
    with pytest.raises(DataError, match="max_bytes"):
        read(where, sample=None, max_bytes=1_000)
    assert read(where, max_bytes=1_000)[0].num_rows == MOST


def test_what_is_read_whole_anyway_is_no_place_for_a_sample(tmp_path):
    where = tmp_path / "t.arrow"
    with pa.OSFile(str(where), "wb") as file, pa.ipc.new_file(file, table().schema) as writer:
        writer.write_table(table())
    with pytest.raises(ConfigError, match="read whole"):
        read(where)
    with pytest.raises(ConfigError, match="not of a database"):
        files.once("postgresql://127.0.0.1/x", DataTable(source="t", target="y", sample=MOST))


def test_a_packed_text_is_sampled_and_its_unpacked_size_is_bounded(tmp_path):
    where = tmp_path / "t.csv.gz"
    where.write_bytes(gzip.compress(csv(tmp_path / "t", table()).read_bytes()))
    assert read(where)[0].num_rows == MOST
    with pytest.raises(DataError, match="unpacks to more"):
        read(where, max_bytes=10_000)


def test_a_row_that_is_wrong_is_refused_where_it_is_drawn_and_put_aside_where_that_is_wanted(
    tmp_path,
):
    where = tmp_path / "t"
    rows = [f"{number},{number % 2}" for number in range(ROWS)]
    where.write_text("\n".join(["a,y", *(f"{one},surplus" for one in rows[:300]), *rows[300:]]))
    with pytest.raises(DataError, match="ragged"):
        read(where)
    found, findings = read(where, bad_rows="quarantine")
    assert 900 < found.num_rows < MOST
    assert [one.id for one in findings] == ["data.sample", "data.bad-rows"]


@given(st.lists(st.text('ab\n\r",', max_size=12), min_size=1, max_size=60), st.randoms())
def test_rows_are_cut_out_where_they_begin_and_end(tmp_path_factory, cells, chance):
    rows = [f'"{cell.replace(chr(34), chr(34) * 2)}"\n'.encode() for cell in cells]
    text = content.Content(tmp_path_factory.getbasetemp(), b"".join(rows), start=0)
    assert evenly.count(text, quoted=True, headed=False) == len(rows)
    wanted = sorted(chance.sample(range(len(rows)), chance.randint(0, len(rows))))
    numbers = np.array(wanted, dtype=np.int64)
    assert evenly.chosen(text, numbers, quoted=True, headed=False) == b"".join(
        rows[at] for at in wanted
    )
