import re
import tomllib

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from casemate.config import ColumnTable, DataTable
from casemate.core.errors import ConfigError, DataError
from casemate.stages.data import files, odd, schema, source


def read(tmp_path, content: bytes | str, **options):
    path = tmp_path / "t.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return source.read(path, DataTable(**{"source": "t.csv", "target": "y", **options}))


@pytest.mark.parametrize(
    ("content", "kind", "expected"),
    [
        (b"", DataError, "is empty"),
        (b"a,y\n", DataError, "no rows"),
        (b"a,y\n1,0\n2,1,9\n", DataError, "line 3: .*ragged"),
        (b"a,y\n1,0\n2\n", DataError, "ragged"),
        (b"a,a,y\n1,2,0\n", DataError, "appears twice"),
        (b"a,y\n\xff\xfe,1\n", DataError, "not UTF-8"),
        (b"\xff\xfea,y\n1,1\n", DataError, "not UTF-16"),
        (b"a,b\n1,2\n", ConfigError, "no column 'y'"),
        (b"a,y\ninf,1\n", DataError, "infinite"),
        (b'a,y\n"1,2\n', DataError, "line 2: a quote is opened and never closed"),
    ],
)
def test_a_malformed_file_is_refused_with_a_reason(tmp_path, content, kind, expected):
    with pytest.raises(kind, match=expected) as caught:
        read(tmp_path, content)
    assert caught.value.hint


def test_a_missing_file_is_a_configuration_error(tmp_path):
    with pytest.raises(ConfigError, match="no such file"):
        source.read(tmp_path / "none.csv", DataTable(source="none.csv", target="y"))


def test_what_is_wrong_with_a_folder_is_said_without_an_option_that_nobody_gave(tmp_path):
    """`casemate watch drift` reads folders that no casemate.toml names."""
    with pytest.raises(ConfigError, match=f"^there is no file in {tmp_path}$") as caught:
        files.frame(tmp_path)
    assert "casemate.toml" not in caught.value.hint
    assert "project" not in caught.value.hint


def test_a_file_over_the_limit_is_refused(tmp_path):
    with pytest.raises(DataError, match="max_bytes"):
        read(tmp_path, "a,y\n1,0\n", max_bytes=3)


def test_a_header_less_file_is_recognised(tmp_path):
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, "39,77516,13,0\n50,83311,13,1\n")
    assert "no header line" in caught.value.hint


def test_names_can_be_given_for_a_header_less_file(tmp_path):
    table, _ = read(tmp_path, "39,0\n50,1\n", header=["age", "y"])
    assert table.column_names == ["age", "y"]
    assert table.num_rows == 2


def test_cells_are_trimmed_and_null_values_are_missing(tmp_path):
    table, _ = read(tmp_path, "a,y\n x ,0\n ?,1\n", null_values=["", "?"])
    assert table["a"].to_pylist() == ["x", None]


def test_blank_numbers_are_an_error_that_names_column_and_rows(tmp_path):
    with pytest.raises(
        DataError, match=r"'a' is numeric but 2 cells are blank or text: rows 1, 3"
    ) as caught:
        read(tmp_path, "a,y\n1.5,0\n ,1\n2,0\nx,1\n3,1\n")
    assert "coerce = true" in caught.value.hint


def test_coercion_makes_them_missing_and_a_finding_names_the_rows(tmp_path):
    table, findings = read(
        tmp_path, "a,y\n1.5,0\n ,1\n2,0\n", columns={"a": ColumnTable(type="number", coerce=True)}
    )
    assert table["a"].to_pylist() == [1.5, None, 2.0]
    assert findings[0].location == "row 1 (counting from 0)"


def test_a_declared_null_value_in_a_numeric_column_is_no_error(tmp_path):
    table, findings = read(tmp_path, "a,y\n 1,0\n ?,1\n 2,1\n", null_values=["", "?"])
    assert table["a"].to_pylist() == [1.0, None, 2.0]
    assert findings == []


def test_a_number_can_be_declared_a_category(tmp_path):
    table, _ = read(tmp_path, "a,y\n1,0\n2,1\n", columns={"a": ColumnTable(type="category")})
    assert table["a"].to_pylist() == ["1", "2"]


def test_codes_keep_their_leading_zeros(tmp_path):
    columns = {"zip": ColumnTable(type="category"), "id": ColumnTable(column_class="identifier")}
    table, _ = read(tmp_path, "zip,id,y\n08123,007,01\n10000,008,02\n", columns=columns)
    assert table.to_pydict() == {"zip": ["08123", "10000"], "id": ["007", "008"], "y": ["01", "02"]}


def test_integral_targets_read_alike_from_csv_and_parquet(tmp_path):
    pq.write_table(pa.table({"a": [1, 2], "y": [0.0, 1.0]}), tmp_path / "t.parquet")
    options = DataTable(source="t.parquet", target="y")
    assert source.read(tmp_path / "t.parquet", options)[0]["y"].to_pylist() == ["0", "1"]
    assert read(tmp_path, "a,y\n1,0\n2,1\n")[0]["y"].to_pylist() == ["0", "1"]


@pytest.mark.parametrize(
    "target", [pa.array([0.0, 1.0, float("nan")]), pa.array([1, 2, None], pa.date32())]
)
def test_a_target_of_parquet_is_text_or_missing(tmp_path, target):
    pq.write_table(pa.table({"a": [1.0, 2.0, 3.0], "y": target}), tmp_path / "t.parquet")
    found, _ = source.read(tmp_path / "t.parquet", DataTable(source="t.parquet", target="y"))
    assert pa.types.is_string(found["y"].type)
    assert found["y"].to_pylist()[2] is None


def test_a_truncated_parquet_file_is_refused(tmp_path):
    pq.write_table(
        pa.table({"a": np.arange(1000), "y": np.arange(1000) % 2}), tmp_path / "t.parquet"
    )
    content = (tmp_path / "t.parquet").read_bytes()
    (tmp_path / "t.parquet").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="not a readable Parquet file"):
        source.read(tmp_path / "t.parquet", DataTable(source="t.parquet", target="y"))


def test_nested_columns_are_refused(tmp_path):
    pq.write_table(pa.table({"a": [[1], [2]], "y": [0, 1]}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match="nested"):
        source.read(tmp_path / "t.parquet", DataTable(source="t.parquet", target="y"))


def infer(table, **options):
    return schema.infer(table, DataTable(**{"source": "t", "target": "y", **options}))[0]


def test_a_target_with_one_class_is_refused():
    with pytest.raises(DataError, match="one class only"):
        infer(pa.table({"a": [1.0, 2.0], "y": ["x", "x"]}))


def test_a_missing_target_names_the_rows():
    with pytest.raises(DataError, match="missing in row 1"):
        infer(pa.table({"a": [1.0, 2.0, 3.0], "y": ["x", None, "z"]}))


def test_a_quantity_as_target_is_refused():
    with pytest.raises(DataError, match="200 different values"):
        infer(pa.table({"a": [1.0] * 200, "y": [str(i) for i in range(200)]}))


def test_the_positive_class_comes_last():
    assert infer(pa.table({"a": [1.0, 2.0], "y": ["bad", "good"]}), positive="bad").classes == [
        "good",
        "bad",
    ]


def test_a_schema_survives_its_file(tmp_path, tiny):
    pinned = infer(tiny)
    (tmp_path / "schema.toml").write_text(schema.dump(pinned))
    assert schema.load(tmp_path / "schema.toml") == pinned


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda t: t.drop_columns("a"), "column 'a' is missing"),
        (lambda t: t.append_column("z", t["a"]), "column 'z' is new"),
        (
            lambda t: t.set_column(0, "a", pa.array(["x"] * 120)),
            "'a' is category, pinned as number",
        ),
        (lambda t: t.set_column(0, "a", pa.array([1e9] + [0.0] * 119)), "above"),
        (lambda t: t.set_column(0, "a", pa.array([None] + [0.0] * 119)), "'a' is missing in row 0"),
        (
            lambda t: t.set_column(2, "c", pa.array(["mauve"] + ["red"] * 119)),
            "unknown category in row 0",
        ),
        (lambda t: t.set_column(3, "y", pa.array(["2"] + ["1"] * 119)), "unknown class in row 0"),
    ],
)
def test_a_table_that_breaks_its_pinned_schema_is_refused(tiny, change, expected):
    options = DataTable(source="t", target="y")
    with pytest.raises(DataError, match=expected):
        schema.check(change(tiny), infer(tiny), options)


def test_a_malformed_schema_file_is_refused(tmp_path):
    (tmp_path / "schema.toml").write_text("target = 3")
    with pytest.raises(DataError, match="pinned schema"):
        schema.load(tmp_path / "schema.toml")


IDENTIFIERS = [
    "000042",
    "42",
    "1582218195625938100",
    "1582218195625938101",
    "1e5",
    "True",
    "a b",
    "+49",
    ".5",
    "1_000",
    "0x1f",
]


def names_of(tmp_path, cells, **options):
    content = "id,y\n" + "".join(f"{cell},{n % 2}\n" for n, cell in enumerate(cells))
    return read(tmp_path, content, **options)[0]["id"].to_pylist()


@pytest.mark.parametrize(
    "options",
    [
        {"subject": "id"},
        {"columns": {"id": ColumnTable(column_class="identifier")}},
        {"columns": {"i*": ColumnTable(column_class="identifier")}},
        {"columns": {"id": ColumnTable(column_class="identifier", type="number", coerce=True)}},
    ],
)
def test_what_says_who_somebody_is_is_text_to_the_last_digit(tmp_path, options):
    for cells in (
        IDENTIFIERS,
        ["000042", "42"],
        ["1582218195625938100", "1582218195625938101"],
        ["1e5", "100000"],
        ["True", "true"],
    ):
        assert names_of(tmp_path, cells, **options) == cells
    assert names_of(tmp_path, [" 7", "7 "], trim=False, **options) == ["7", "7"]


@pytest.mark.parametrize(
    "options", [{"subject": "id"}, {"columns": {"id": ColumnTable(column_class="identifier")}}]
)
@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (
            pa.array([1582218195625938100, 1582218195625938101, -1]),
            ["1582218195625938100", "1582218195625938101", "-1"],
        ),
        (pa.array([2**64 - 1, 0, None], pa.uint64()), ["18446744073709551615", "0", None]),
        (pa.array([7.0, float("nan"), 42.0]), ["7", None, "42"]),
        (pa.array([1.5, 2.25, None]), ["1.5", "2.25", None]),
        (pa.array(["007", "7", None]).dictionary_encode(), ["007", "7", None]),
        (pa.array([True, False, None]), ["true", "false", None]),
        (pa.array([0, 1, None], pa.date32()), ["1970-01-01", "1970-01-02", None]),
    ],
)
def test_identifiers_of_parquet_are_text_to_the_last_digit(tmp_path, options, values, expected):
    pq.write_table(pa.table({"id": values, "y": [0, 1, 0]}), tmp_path / "t.parquet")
    found, _ = source.read(
        tmp_path / "t.parquet", DataTable(source="t.parquet", target="y", **options)
    )
    assert found["id"].to_pylist() == expected


@pytest.mark.parametrize(
    "values", [pa.array([2.0**53, 1.0]), pa.array([2.0**24, 1.0], pa.float32())]
)
def test_identifiers_that_floating_point_numbers_have_rounded_are_refused(tmp_path, values):
    pq.write_table(pa.table({"id": values, "y": [0, 1]}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r"too large to be exact: row 0 "):
        source.read(tmp_path / "t.parquet", DataTable(source="t.parquet", target="y", subject="id"))


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("1.234,50 €", {"decimal": ","}),
        ("$1,234.50", {"decimal": "."}),
        ("<0,1", {"decimal": ",", "censored": True}),
        ("1h 30min", {"format": "duration"}),
        ("-1", {"missing": ["-1"], "min": -3.0}),
        ("1,5", {}),  # [data] decimal says it of the whole file
    ],
)
def test_the_hint_about_odd_cells_keeps_how_the_column_is_written(tmp_path, cell, said):
    text = f"Preis in €;y\n{cell};0\n{cell};1\nentfällt;0\n{cell};1\n"
    entry = ColumnTable(type="number", **said)
    ways = {"delimiter": ";", "decimal": ","}
    with pytest.raises(odd.MixedColumn, match=r"1 cells are blank or text: row 2") as caught:
        read(tmp_path, text, columns={"Preis in €": entry}, **ways)
    line = re.search(r"under \[data\.columns\]: (.*); if the column is text", caught.value.hint)[1]
    new = msgspec.convert(tomllib.loads(line)["Preis in €"], ColumnTable)
    assert new == msgspec.structs.replace(entry, coerce=True)
    table, _ = read(tmp_path, text, columns={"Preis in €": new}, **ways)
    cells = table["Preis in €"].to_pylist()
    assert cells[2] is None and (cells[0] is None) == (cell == "-1")


def test_one_word_makes_no_text_of_a_column_with_the_decimal_commas_of_its_file(tmp_path):
    text = "a;y\n1,5;0\n2,5;1\nweg;0\n1.000,25;1\n"
    with pytest.raises(odd.MixedColumn, match=r"1 cells are blank or text: row 2"):
        read(tmp_path, text, delimiter=";", decimal=",")
    entry = ColumnTable(type="number", coerce=True)
    table, _ = read(tmp_path, text, delimiter=";", decimal=",", columns={"a": entry})
    assert table["a"].to_pylist() == [1.5, 2.5, None, 1000.25]
