"""`[run] memory_gb`: a table that would need more memory is refused before it is read, with the
number of rows that fit.
"""

import gzip
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.conftest import write_csv

from casemate.config import DataTable
from casemate.core.errors import OutOfMemory
from casemate.stages.data import room

ROWS = 20_000
TABLE = pa.table(
    {"x": np.arange(ROWS), "word": [f'a, "b"\n{at}' for at in range(ROWS)], "y": [1] * ROWS}
)
GB = (room.OWN + ROWS * 3 * room.CELL) / 2**30


def options(**said) -> DataTable:
    return DataTable(**{"source": "t", "target": "y", **said})


@pytest.fixture(params=["csv", "parquet", "parts"])
def where(request, tmp_path):
    if request.param == "csv":
        return write_csv(tmp_path / "t", TABLE)
    if request.param == "parquet":
        pq.write_table(TABLE, tmp_path / "t")
        return tmp_path / "t"
    for part in range(2):
        write_csv(tmp_path / f"{part}.csv", TABLE.slice(part * ROWS // 2, ROWS // 2))
    return tmp_path


def test_a_table_that_fits_is_read(where):
    room.require(where, options(), None)
    room.require(where, options(), GB * 1.05)


def test_one_that_does_not_is_refused_with_a_sample_that_does(where):
    bound = (room.OWN + ROWS * 3 * room.CELL / 2) / 2**30
    with pytest.raises(OutOfMemory, match="of 3 columns need about") as caught:
        room.require(where, options(), bound)
    fits = int(re.search(r"sample = (\d+) fits", caught.value.hint)[1])
    assert ROWS * 0.4 < fits <= ROWS / 2
    room.require(where, options(sample=fits), bound)
    with pytest.raises(OutOfMemory, match=rf"{fits * 2} rows \(\[data\] sample\)"):
        room.require(where, options(sample=fits * 2), bound)


def test_where_nothing_fits_no_sample_is_named(where):
    with pytest.raises(OutOfMemory) as caught:
        room.require(where, options(), 0.1)
    assert "no sample of the table fits" in caught.value.hint


def test_what_cannot_be_reckoned_before_it_is_read_is_not_refused_here(tmp_path):
    packed = tmp_path / "t.csv.gz"
    packed.write_bytes(gzip.compress(write_csv(tmp_path / "t", TABLE).read_bytes()))
    room.require(packed, options(), 0.1)
    room.require(TABLE, options(), 0.1)


def test_rows_are_counted_before_a_table_is_refused_whose_first_ones_are_short(tmp_path):
    short, long = 60_000, 5_000
    lines = ["x,word,y\n", *["1,,1\n"] * short, *[f"1,{'w' * 500},1\n"] * long]
    (tmp_path / "t").write_text("".join(lines))
    gb = (room.OWN + (short + long) * 3 * room.CELL) / 2**30
    room.require(tmp_path / "t", options(), gb)
    with pytest.raises(OutOfMemory, match=f"{short + long} rows of 3 columns"):
        room.require(tmp_path / "t", options(), gb - 0.001)


def test_a_file_without_a_column_is_left_to_whoever_reads_it(tmp_path):
    (tmp_path / "t").write_text("\n\n")
    room.require(tmp_path / "t", options(), 0.1)
