"""Files that nobody on this project wrote."""

import json

import pytest

from casemate.config import DataTable
from casemate.core.errors import DataError
from casemate.stages.data import files

DIFFERENT = {"location_coordinates", "newlines_crlf"}
"""The answers of these two name another telephone number, and other line ends, than their tables
hold.
"""


def test_the_csv_spectrum_is_read_as_its_answers_say(case):
    folder = case("vectors/csv_spectrum")
    paths = sorted((folder / "csvs").glob("*.csv"))
    assert len(paths) > 8
    for path in paths:
        answer = json.loads(
            (folder / "json" / f"{path.stem}.json").read_bytes().decode(errors="replace")
        )
        answer = answer if isinstance(answer, list) else [answer]
        table = files.columns(
            path, DataTable(source="", target="", null_values=["(none)"]), list(answer[0]), []
        )
        assert table.num_rows == len(answer)
        assert path.stem in DIFFERENT or table.to_pylist() == answer, path.stem


def test_malformed_parquet_files_are_refused(case):
    for path in sorted(case("vectors/parquet_bad").glob("*.parquet")):
        with pytest.raises(DataError, match="not a readable Parquet file"):
            files.columns(path, DataTable(source="", target=""), (), [])


def test_semicolons_and_decimal_commas_of_a_stranger_are_found(case):
    path = case("strangers/07/befund.csv")
    assert files.found(path, DataTable(source="", target="")) == {"delimiter": ";", "decimal": ","}
    table = files.columns(path, DataTable(source="", target="befund"), (), [])
    assert str(table["kreatinin"].type) == "double"
    assert table.num_rows == 400
