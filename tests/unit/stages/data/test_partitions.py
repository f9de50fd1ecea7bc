"""A folder whose folders' names hold columns is the table that its writer meant."""

import os

import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest

from casemate.config import ColumnTable, DataTable
from casemate.core.errors import ConfigError, DataError
from casemate.stages.data import files, source
from casemate.stages.data.files.partitions import MISSING

OPTIONS = DataTable(source="t", target="y")


def whole(count: int = 60) -> pa.Table:
    return pa.table(
        {
            "x": [float(row) for row in range(count)],
            "y": ["p" if row % 2 else "q" for row in range(count)],
            "year": [2020 + row % 3 for row in range(count)],
            "ward": ["a b" if row % 4 else "c=d/é" for row in range(count)],
        }
    )


def columns(where, options=OPTIONS):
    return files.columns(where, options, (), [])


def test_columns_that_pyarrow_keeps_in_names_of_folders_come_back_with_their_rows(tmp_path):
    table = whole()
    pq.write_to_dataset(table, tmp_path / "t", partition_cols=["year", "ward"])
    found = columns(tmp_path / "t")
    assert found.column_names == ["x", "y", "year", "ward"]
    assert found["year"].type == pa.int64()
    assert found.sort_by("x").equals(table)
    theirs = pyarrow.dataset.dataset(tmp_path / "t", partitioning="hive").to_table()
    assert theirs.sort_by("x")["ward"].to_pylist() == found.sort_by("x")["ward"].to_pylist()
    assert files.names(tmp_path / "t", OPTIONS) == found.column_names
    assert files.shape(tmp_path / "t", OPTIONS, counted=True) == (60, 4)
    pieces = pa.concat_tables(files.pieces(tmp_path / "t", OPTIONS, (), []))
    assert pieces.equals(found)


def test_text_in_folders_is_typed_over_all_of_them_and_kept_where_it_is_no_number(tmp_path):
    for folder, cell in (("code=007/day=1", "1"), (f"code=8/day={MISSING}", "2")):
        (tmp_path / "t" / folder).mkdir(parents=True)
        (tmp_path / "t" / folder / "part.csv").write_text(f"x,y\n{cell},p\n{cell},q\n")
    table = columns(tmp_path / "t")
    assert table["code"].to_pylist() == ["007", "007", "8", "8"]
    assert table["day"].to_pylist() == [1, 1, None, None]
    declared = DataTable(source="t", target="y", columns={"day": ColumnTable(type="category")})
    assert columns(tmp_path / "t", declared)["day"].to_pylist() == ["1", "1", None, None]
    assert source.read(tmp_path / "t", OPTIONS)[0]["day"].type == pa.float64()
    # one folder alone is no table of several files
    assert columns(tmp_path / "t" / "code=8")["day"].to_pylist() == [None, None]
    assert columns(tmp_path / "t" / "code=8" / f"day={MISSING}").column_names == ["x", "y"]


def test_a_file_that_is_moved_to_another_folder_makes_another_table(tmp_path):
    pq.write_to_dataset(whole(), tmp_path / "t", partition_cols=["year"])
    before = files.digest(tmp_path / "t", columns(tmp_path / "t"))
    (tmp_path / "t" / "year=2022").rename(tmp_path / "t" / "year=2023")
    assert files.digest(tmp_path / "t", columns(tmp_path / "t")) != before


@pytest.mark.parametrize(
    ("folders", "said"),
    [
        (("year=1", "month=2"), "lie in folders that name other columns: 'year' and 'month'"),
        (("year=1", "."), "lie in folders that name other columns"),
        (("year=1/year=2",), "one of them twice"),
        (("=1",), "name no column"),
        (("x=1",), "'x' is a column of .*, and one in the names of its folders"),
    ],
)
def test_folders_that_do_not_say_one_thing_are_refused_with_what_to_do(tmp_path, folders, said):
    for number, folder in enumerate(folders):
        (tmp_path / "t" / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / "t" / folder / f"{number}.csv").write_text("x,y\n1,p\n")
    with pytest.raises(DataError, match=said) as caught:
        columns(tmp_path / "t")
    assert caught.value.hint


def years(folder, *names):
    for name in names:
        (folder / name).mkdir(parents=True)
        (folder / name / "part.csv").write_text("x,y\n1,p\n2,q\n")
    return folder


@pytest.mark.parametrize("mode", [0o000, 0o444, 0o111])
def test_a_folder_of_the_table_that_this_user_cannot_read_is_no_table_without_it(
    tmp_path, shut, mode
):
    years(tmp_path / "t", "year=2023", "year=2024", "year=2025/part=1")
    with (
        shut(tmp_path / "t" / "year=2025", mode) as table,
        pytest.raises(ConfigError, match=r"year=2025.* cannot be read: Permission denied") as told,
    ):
        columns(table.parent)
    assert told.value.hint


def test_what_links_of_a_folder_lead_to_is_in_the_table_once(tmp_path):
    table = years(tmp_path / "t", "year=2023")
    years(tmp_path / "other disk", "old")
    (table / "year=2022").symlink_to(tmp_path / "other disk" / "old")
    assert columns(table)["year"].to_pylist() == [2022, 2022, 2023, 2023]
    (table / "year=2022" / "again").symlink_to(table)
    with pytest.raises(ConfigError, match="is a folder of the table already"):
        columns(table)
    (table / "year=2022" / "again").unlink()
    (table / "year=2022" / "more.csv").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match=r"more\.csv cannot be read: No such file"):
        columns(table)


def test_a_hidden_folder_is_not_looked_into(tmp_path, monkeypatch):
    table = years(tmp_path / "t", "year=2023", "_temporary")
    looked = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda place: [looked.append(str(place)), scandir(place)][1])
    assert columns(table).num_rows == 2
    assert str(table) in looked and str(table / "_temporary") not in looked
