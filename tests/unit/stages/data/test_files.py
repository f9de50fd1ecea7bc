"""Any file people have: found by content, read whole or refused by its line."""

import bz2
import csv
import datetime
import gzip
import io
import lzma
import sqlite3
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.orc
import pyarrow.parquet as pq
import pytest

import casemate
from casemate.config import ColumnTable, DataTable
from casemate.core.errors import ConfigError, DataError
from casemate.stages.data import files, source
from casemate.stages.data.files import content

ROWS = 40


def rows(sign: str = ",", decimal: str = ".", quote: str = "", end: str = "\n") -> str:
    """Two features, a code and a target."""
    lines = [sign.join(["age", "pressure", "ward", "y"])]
    for row in range(ROWS):
        age = f"{20 + row}.5".replace(".", decimal)
        ward = f"{quote}ward{sign}{row % 3}{quote}" if quote else f"w{row % 3}"
        lines.append(sign.join([age, str(100 + row), ward, "well" if row % 2 else "ill"]))
    return end.join(lines) + end


def read(path, content: bytes | str | None = None, **options):
    if content is not None:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return source.read(path, DataTable(**{"source": path.name, "target": "y", **options}))


def is_whole(table: pa.Table, ward: str = "w") -> bool:
    return (
        table.column_names == ["age", "pressure", "ward", "y"]
        and table["age"].to_pylist() == [20.5 + row for row in range(ROWS)]
        and table["pressure"].to_pylist() == [100.0 + row for row in range(ROWS)]
        and table["ward"].to_pylist() == [f"{ward}{row % 3}" for row in range(ROWS)]
        and table["y"].to_pylist() == ["well" if row % 2 else "ill" for row in range(ROWS)]
    )


@pytest.mark.parametrize("decimal", [".", ","])
@pytest.mark.parametrize("sign", [",", ";", "\t", "|", ":"])
@pytest.mark.parametrize("quote", ["", '"', "'"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_delimiter_decimal_sign_quotes_and_line_ends_are_found_by_content(
    tmp_path, sign, decimal, quote, end
):
    if sign == decimal:
        pytest.skip("nobody could tell")
    table, _ = read(tmp_path / "t.xls", rows(sign, decimal, quote, end))
    assert is_whole(table, f"ward{sign}" if quote else "w")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_marked_encodings_are_found(tmp_path, encoding):
    table, _ = read(tmp_path / "t.csv", rows().replace("ward,", "Größe,").encode(encoding))
    assert table.column_names == ["age", "pressure", "Größe", "y"]


def test_an_unmarked_encoding_is_asked_for_with_line_and_letter_and_then_used(tmp_path):
    content = rows().replace("w1", "Zürich").encode("cp1252")
    with pytest.raises(
        DataError, match=r"line 3 holds the byte 0xfc, which is 'ü' in Western Europe's cp1252"
    ) as caught:
        read(tmp_path / "t.csv", content)
    assert "--encoding cp1252" in caught.value.hint
    table, _ = read(tmp_path / "t.csv", content, encoding="cp1252")
    assert table["ward"][1].as_py() == "Zürich"


def test_columns_that_blanks_align_are_found_where_that_is_sure(tmp_path):
    lines = [" ".join(f"{cell:>9}" for cell in line.split(",")) for line in rows().splitlines()]
    table, _ = read(tmp_path / "t.txt", "\n".join(lines))
    assert is_whole(table)


def test_blanks_align_columns_though_names_in_quotes_hold_some_and_a_tab_stands_before_them(
    tmp_path,
):
    """Also once the delimiter that was found is written down, as `init` does."""
    lines = [
        f'{18 + row % 9}.0   {row % 3}   {300 + row}.5      {3500 - row}.\t"buick skylark {row}"'
        for row in range(30)
    ]
    for text in (
        "mpg   cylinders   size      weight   name\n" + "\n".join(lines),
        "mpg cylinders size weight name\n" + "\n".join(lines) + "\n",
    ):
        (tmp_path / "t.data").write_text(text)
        for said in ({}, files.found(tmp_path / "t.data", DataTable(source="x", target="name"))):
            table, _ = read(tmp_path / "t.data", target="name", **said)
            assert table.column_names == ["mpg", "cylinders", "size", "weight", "name"]
            assert (table["mpg"].to_pylist()[:2], table["name"][1].as_py()) == (
                [18.0, 19.0],
                "buick skylark 1",
            )
    places, _ = read(tmp_path / "t.tsv", "at\ty\n" + "1.5 2.5\tan inn\n" * 9)
    assert places["at"][0].as_py() == "1.5 2.5", (
        "a tab between cells with single blanks is the delimiter"
    )


def test_a_blank_after_each_delimiter_is_no_part_of_quoted_cells(tmp_path):
    content = "age, ward, y\n" + '61, "a, ""b"" c", ill\n34, "d, e", well\n' * 9
    table, _ = read(tmp_path / "t.csv", content)
    assert table["ward"].to_pylist()[:2] == ['a, "b" c', "d, e"]


def test_quotes_behind_a_backslash_are_found(tmp_path):
    table, _ = read(
        tmp_path / "t.csv", "age,ward,y\n" + '61,"a, \\"b\\" c",ill\n34,"d, e",well\n' * 9
    )
    assert table["ward"].to_pylist()[:2] == ['a, "b" c', "d, e"]


def test_quotes_are_letters_where_tabs_separate_and_no_cell_is_quoted(tmp_path):
    table, _ = read(
        tmp_path / "t.tsv", "age\tsize\ty\n" + '61\t5" pipe\till\n34\t"Bob" Ray\twell\n' * 9
    )
    assert table["size"].to_pylist()[:2] == ['5" pipe', '"Bob" Ray']


@pytest.mark.parametrize(
    "pack",
    [
        gzip.compress,
        bz2.compress,
        lzma.compress,
        lambda data: pa.compress(data, "zstd", asbytes=True),
    ],
)
def test_compressed_files_are_unpacked_within_the_limit_and_refused_when_truncated(tmp_path, pack):
    packed = pack(rows().encode())
    table, _ = read(tmp_path / "t.csv", packed)
    assert is_whole(table)
    with pytest.raises(DataError, match="max_bytes"):
        read(tmp_path / "t.csv", pack(rows().encode() * 50), max_bytes=len(rows()) * 40)
    with pytest.raises(DataError, match="damaged"):
        read(tmp_path / "t.csv", pack(np.random.default_rng(0).bytes(5000))[:-40])


def arrow() -> pa.Table:
    return pa.table(
        {
            "age": [20.5 + row for row in range(ROWS)],
            "pressure": [100 + row for row in range(ROWS)],
            "ward": [f"w{row % 3}" for row in range(ROWS)],
            "y": ["well" if row % 2 else "ill" for row in range(ROWS)],
        }
    )


def write_stream(table, path):
    with pa.ipc.new_stream(path, table.schema) as writer:
        writer.write_table(table)


def write_json(table, path):
    import json

    path.write_text("\n".join(map(json.dumps, table.to_pylist())))


def write_array(table, path):
    import json

    path.write_text(json.dumps(table.to_pylist(), indent=1))


def write_sqlite(table, path):
    with sqlite3.connect(path) as base:
        base.execute("CREATE TABLE visits (age REAL, pressure INTEGER, ward TEXT, y TEXT)")
        base.executemany(
            "INSERT INTO visits VALUES (?, ?, ?, ?)",
            [tuple(row.values()) for row in table.to_pylist()],
        )
    base.close()


def write_duckdb(table, path):
    duckdb = pytest.importorskip(
        "duckdb", reason='no reader of DuckDB files: pip install "casemate[duckdb]"'
    )
    with duckdb.connect(str(path)) as base:
        base.register("given", table)
        base.execute("CREATE TABLE visits AS SELECT * FROM given")


def write_xlsx(table, path):
    pytest.importorskip(
        "python_calamine", reason='no reader of spreadsheets: pip install "casemate[spreadsheets]"'
    )
    openpyxl = pytest.importorskip("openpyxl", reason="nothing that writes a workbook")
    book = openpyxl.Workbook()
    book.active.append(table.column_names)
    for row in table.to_pylist():
        book.active.append(list(row.values()))
    book.create_sheet("empty")
    book.save(path)


def write_ods(table, path):
    pytest.importorskip(
        "python_calamine", reason='no reader of spreadsheets: pip install "casemate[spreadsheets]"'
    )
    cell = "<table:table-cell office:value-type='{}' {}><text:p>{}</text:p></table:table-cell>"

    def written(value):
        number = not isinstance(value, str)
        return cell.format(
            "float" if number else "string", f"office:value='{value}'" if number else "", value
        )

    lines = [table.column_names, *(list(row.values()) for row in table.to_pylist())]
    body = "".join(
        "<table:table-row>" + "".join(map(written, line)) + "</table:table-row>" for line in lines
    )
    names = " ".join(
        f"xmlns:{name}='urn:oasis:names:tc:opendocument:xmlns:{name}:1.0'"
        for name in ("office", "table", "text")
    )
    text = (
        f"<office:document-content {names}><office:body><office:spreadsheet><table:table"
        f" table:name='one'>{body}</table:table></office:spreadsheet>"
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        archive.writestr("content.xml", text + "</office:body></office:document-content>")
        archive.writestr(
            "META-INF/manifest.xml",
            "<manifest:manifest"
            " xmlns:manifest='urn:oasis:names:tc:opendocument:xmlns:manifest:1.0'/>",
        )


WRITERS = {
    "parquet": pq.write_table,
    "feather": pyarrow.feather.write_feather,
    "stream": write_stream,
    "orc": pyarrow.orc.write_table,
    "json lines": write_json,
    "json array": write_array,
    "sqlite": write_sqlite,
    "duckdb": write_duckdb,
    "xlsx": write_xlsx,
    "ods": write_ods,
}


@pytest.mark.parametrize("kind", WRITERS)
def test_every_format_is_known_by_its_content_whatever_its_name(tmp_path, kind):
    suffix = ".xlsx" if kind == "xlsx" else ".dat"
    WRITERS[kind](arrow(), tmp_path / f"t{suffix}")
    path = (tmp_path / f"t{suffix}").rename(tmp_path / "t.csv")
    table, findings = read(path)
    assert is_whole(table)
    assert not findings


CELLS = ["DATE", "Qty", "Price", "Type", "Description", "Comments"]


def polluted_base() -> list[list[str]]:
    kinds, texts, comments = (
        ["Ink", "Laser, colour"],
        ['HP 6" tray', 'Canon "best"', "plain", "a, b; c"],
        ["", "fine", "two\r\nlines"],
    )
    return [
        [
            f"0{row % 9 + 1}/12/2018",
            str(row % 5 + 1),
            f"{row * 3.5:.2f}",
            kinds[row % 2],
            texts[row % 4],
            comments[row % 3],
        ]
        for row in range(20)
    ]


def written(cells: list[str]) -> str:
    line = io.StringIO()
    csv.writer(line).writerow(cells)
    return line.getvalue()[:-2]


def pollutions() -> dict[str, str]:
    """One change of a sound file each; what is read of it is the table, or it is refused or
    told.
    """
    header, rows_of = written(CELLS), polluted_base()
    body = [written(row) for row in rows_of]
    text = "\r\n".join([header, *body, ""])
    found = {
        "preamble": f"All sales\r\n{text}",
        "wide preamble": f"All sales,,,,,\r\n{text}",
        "footer": f"{text}Total,,84,,,\r\n",
        "short footer": f"{text}84 rows\r\n",
        "second header line": "\r\n".join([header, "d,n,eur,t,t,t", *body, ""]),
        "same table again": text + text,
        "table of the same width": "\r\n".join([text + "A,B,C,D,E,F", *body, ""]),
        "narrow table": f"{text}A,B\r\n1,2\r\n",
        "wide table": f"{text}\r\n{header},G\r\n1,2,3,4,5,6,7\r\n",
        "NUL": text.replace("fine", "fi\0ne", 1),
    }
    for at, row in enumerate(rows_of):

        def put(name: str, line: str, at: int = at) -> None:
            found[f"{name} in row {at}"] = "\r\n".join(
                [header, *body[:at], line, *body[at + 1 :], ""]
            )

        cells = [written([cell]) if cell else "" for cell in row]
        for column, cell in enumerate(cells):
            for name, new in {
                "after": f'{cell}"',
                "before": f'"{cell}',
                "inside": f'{cell[:1]}"{cell[1:]}',
            }.items():
                put(
                    f"a quote {name} cell {column}",
                    ",".join([*cells[:column], new, *cells[column + 1 :]]),
                )
            put(
                f"a delimiter before cell {column}",
                ",".join([*cells[:column], "", *cells[column:]]),
            )
            if column:
                put(
                    f"no delimiter before cell {column}",
                    ",".join(
                        [*cells[: column - 1], cells[column - 1] + cell, *cells[column + 1 :]]
                    ),
                )
                put(
                    f"another delimiter before cell {column}",
                    ",".join(cells[:column]) + ";" + ",".join(cells[column:]),
                )
        line = ",".join(cells)
        for place in [place for place, letter in enumerate(line) if letter == '"']:
            put(f"no quote at {place}", line[:place] + line[place + 1 :])
        put("a quote around everything", f'"{line.replace(chr(34), chr(34) * 2)}"')
        put("all delimiters others", line.replace(",", ";"))
        put("a blank line", f"\r\n{line}")
        put("no cell", "," * (len(cells) - 1))
    return found


@pytest.mark.slow
def test_no_polluted_file_is_misread(tmp_path):
    expected, misread, read_right = [tuple(row) for row in polluted_base()], [], 0
    for name, text in pollutions().items():
        findings: list = []
        (tmp_path / "t.csv").write_bytes(text.encode())
        try:
            table = files.columns(
                tmp_path / "t.csv", DataTable(source="t.csv", target="Qty"), CELLS, findings
            )
        except DataError as error:
            assert error.hint, name
            continue
        rows_read = [
            tuple("" if cell is None else cell for cell in row.values())
            for row in table.to_pylist()
        ]
        read_right += (
            rows_read == [tuple(cell.replace("\r\n", "\n") for cell in row) for row in expected]
            or rows_read == expected
        )
        if not findings and rows_read != expected:
            misread.append(name)
    assert misread == []
    assert read_right >= 20  # blank lines do no harm


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ('a,b,y\n1,2,p\n3,"4,q\n5,6,p\n', 3, "opened and never closed"),
        ('a,b,y\n1,2,p\n3,"4"x,q\n', 3, "text follows a closing quote"),
        ('a,b,y\n1,2,p\n3,4"4,q\n', 3, "a quote stands inside"),
        ('a,b,y\n"1\nx",2,p\n3,4\n', 4, "it has 2 cells, the header has 3"),
        ("a,b,y\n1,2,p\n\n3,4,5,q\n", 4, "it has 4 cells, the header has 3"),
        ('a,b,y\n1,"2,p\n3,4,q\n5,6",p\n', 2, "runs over whole rows"),
        ("a,b,y\n1,2,p\n3,\0,q\n", 3, "NUL"),
        ("\n\na,b,y\n1,2,p\n3,q\n", 5, "it has 2 cells"),
    ],
)
def test_what_is_wrong_is_named_by_its_line_or_put_aside(tmp_path, text, line, said):
    with pytest.raises(DataError, match=rf"line {line}: .*{said}") as caught:
        read(tmp_path / "t.csv", text)
    assert "quarantine" in caught.value.hint
    sound = text.rstrip("\n") + "\n" + "7,8,p\n8,9,q\n" * 20
    if "never closed" in said:
        sound = text + "7,8,p\n8,9,q\n" * 20
    table, findings = read(
        tmp_path / "t.csv", sound, bad_rows="quarantine", columns={"a": ColumnTable(type="text")}
    )
    assert [finding.id for finding in findings] == ["data.bad-rows"]
    assert findings[0].location.startswith(f"lines {line}")
    assert table["y"].to_pylist()[-40:] == ["p", "q"] * 20


def frames():
    import pandas as pd

    table = arrow()
    made = {"pandas index": pd.DataFrame(table.to_pylist(), index=[f"p{n}" for n in range(ROWS)])}
    try:
        import polars
    except ImportError:
        return made
    return made | {"polars": polars.from_arrow(table)}


def test_a_table_in_memory_becomes_a_project_that_reads_what_a_file_would_give(tmp_path):
    pq.write_table(arrow(), tmp_path / "t.parquet")
    expected = source.read(tmp_path / "t.parquet", DataTable(source="", target="y"))[0]
    for kind, frame in frames().items():
        project = casemate.create(frame, target="y", folder=tmp_path / kind)
        path = project.root / "data/table.parquet"
        assert project.config.data.source == "data/table.parquet"
        assert path.stat().st_mode & 0o777 == 0o600
        table = source.read(path, project.config.data)[0]
        assert table.column_names == [
            *expected.column_names,
            *(["index"] if kind == "pandas index" else []),
        ]
        assert table.select(expected.column_names).equals(expected)


def test_a_project_is_created_of_a_path_and_nothing_stays_behind_where_the_table_is_refused(
    tmp_path,
):
    path = tmp_path / "t.csv"
    path.write_text(rows(";", ","))
    project = casemate.create(path, target="y", folder=tmp_path / "p", null_values=["", "?"])
    assert casemate.open(tmp_path / "p").root == project.root
    assert (
        project.config.data.delimiter,
        project.config.data.decimal,
        project.config.data.null_values,
    ) == (";", ",", ["", "?"])
    for table, options, said in (
        (arrow(), {"target": "z"}, "no column 'z'"),
        (
            arrow().append_column("l", pa.array([[1]] * ROWS)),
            {"target": "y"},
            "column 'l' is nested",
        ),
        ({"y": [1]}, {"target": "y"}, "a dict is no table"),
        (path, {"target": "y", "sep": ";"}, "there is no option 'sep'"),
    ):
        with pytest.raises((ConfigError, DataError), match=said):
            casemate.create(table, folder=tmp_path / "q", **options)
        assert not (tmp_path / "q").exists()


def test_several_files_are_one_table_in_the_order_of_their_names(tmp_path):
    lines = rows().splitlines(keepends=True)
    header = lines[0]
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "_SUCCESS").write_text("")
    (tmp_path / "t" / "b.csv").write_text(header + "".join(lines[21:]))
    (tmp_path / "t" / "a.csv").write_text(header + "".join(lines[1:21]))
    assert is_whole(read(tmp_path / "t")[0])
    options = DataTable(source=["t/a.csv", "t/b.csv"], target="y")
    assert is_whole(source.read(files.place(tmp_path, options.source), options)[0])
    (tmp_path / "t" / "b.csv").write_text(
        "ward,pressure,age,y\n"
        + "".join(f"{w},{p},{a},{y}" for a, p, w, y in (one.split(",") for one in lines[21:]))
    )
    assert is_whole(read(tmp_path / "t")[0])
    (tmp_path / "t" / "c.csv").write_text("age,weight,ward,y\n1,2,w1,ill\n")
    with pytest.raises(DataError, match=r"c\.csv is of another table than a\.csv: .*'weight'"):
        read(tmp_path / "t")


def test_a_code_that_looks_like_a_number_in_one_file_only_is_text_in_all(tmp_path):
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "a.csv").write_text("code,x,y\n007,1,p\n008,2.5,q\n" * 1)
    (tmp_path / "t" / "b.csv").write_text("code,x,y\nA09,1,p\n010,2,q\n")
    table = files.columns(tmp_path / "t", DataTable(source="t", target="y"), (), [])
    assert table["code"].to_pylist() == ["007", "008", "A09", "010"]
    assert table["x"].to_pylist() == [1.0, 2.5, 1.0, 2.0]


def test_parquet_parts_of_a_folder_may_differ_in_the_width_of_numbers_and_not_in_kind(tmp_path):
    (tmp_path / "t").mkdir()
    for name, kind in (("0.parquet", pa.int32()), ("1.parquet", pa.float64())):
        pq.write_table(
            pa.table({"x": pa.array([1, 2], kind), "y": ["p", "q"]}), tmp_path / "t" / name
        )
    assert read(tmp_path / "t")[0]["x"].to_pylist() == [1.0, 2.0] * 2
    pq.write_table(
        pa.table({"x": pa.array([0, 1], pa.timestamp("s")), "y": ["p", "q"]}),
        tmp_path / "t" / "2.parquet",
    )
    with pytest.raises(DataError, match="column 'x' is of another type"):
        read(tmp_path / "t")


def test_which_table_or_sheet_is_asked_where_there_are_several(tmp_path):
    write_sqlite(arrow(), tmp_path / "t.db")
    with sqlite3.connect(tmp_path / "t.db") as base:
        base.execute("CREATE TABLE other (a)")
    base.close()
    with pytest.raises(ConfigError, match="has 2 tables: other, visits") as caught:
        read(tmp_path / "t.db")
    assert "--from-table" in caught.value.hint
    assert is_whole(read(tmp_path / "t.db", table="visits")[0])
    with pytest.raises(ConfigError, match="no table 'visit'"):
        read(tmp_path / "t.db", table="visit")


def test_an_sqlite_column_of_several_kinds_is_text_and_nothing_is_rounded(tmp_path):
    with sqlite3.connect(tmp_path / "t.db") as base:
        base.execute("CREATE TABLE t (code, big INTEGER, y)")
        base.executemany(
            "INSERT INTO t VALUES (?, ?, ?)",
            [("007", 2**60 + 1, "p"), (8, 2**60 + 3, "q"), (1.5, None, "p")],
        )
    base.close()
    table, _ = read(
        tmp_path / "t.db",
        columns={"code": ColumnTable(type="category"), "big": ColumnTable(type="category")},
    )
    assert table["code"].to_pylist() == ["007", "8", "1.5"]
    assert table["big"].to_pylist() == [str(2**60 + 1), str(2**60 + 3), None]


@pytest.fixture
def book():
    pytest.importorskip(
        "python_calamine", reason='no reader of spreadsheets: pip install "casemate[spreadsheets]"'
    )
    openpyxl = pytest.importorskip("openpyxl", reason="nothing that writes a workbook")
    made = openpyxl.Workbook()
    made.active.append(["code", "when", "x", "y"])
    for row in range(6):
        made.active.append(
            [f"00{row}", datetime.datetime(2024, 1, row + 1), row or None, "pq"[row % 2]]  # noqa: DTZ001
        )
    return made


def test_a_sheet_keeps_codes_dates_and_gaps(tmp_path, book):
    book.save(tmp_path / "t.xlsx")
    table = files.columns(tmp_path / "t.xlsx", DataTable(source="", target="y"), (), [])
    assert table["code"].to_pylist() == [f"00{row}" for row in range(6)]
    assert str(table["when"].type).startswith("timestamp") or str(table["when"].type).startswith(
        "date"
    )
    assert table["x"].to_pylist() == [None, 1, 2, 3, 4, 5]


def test_merged_cells_second_sheets_and_formulas_without_a_result_are_refused_by_name(
    tmp_path, book
):
    book.create_sheet("other").append(["a"])
    book["other"].append([1])
    book.save(tmp_path / "t.xlsx")
    with pytest.raises(ConfigError, match="2 sheets with rows: 'Sheet', 'other'"):
        read(tmp_path / "t.xlsx")
    assert read(tmp_path / "t.xlsx", table="Sheet")[0].num_rows == 6
    book["Sheet"]["C4"] = "=C3*2"
    book.save(tmp_path / "t.xlsx")
    with pytest.raises(DataError, match="1 formulas have no result, the first one in C4"):
        read(tmp_path / "t.xlsx", table="Sheet")
    book["Sheet"]["C4"] = None
    book["Sheet"].merge_cells("A5:B6")
    book.save(tmp_path / "t.xlsx")
    with pytest.raises(DataError, match="the cells A5:B6 are merged"):
        read(tmp_path / "t.xlsx", table="Sheet")


def test_errors_in_cells_are_missing_and_told(tmp_path, book):
    cell = book.active["C4"]
    cell.value, cell.data_type = "#N/A", "e"
    book.save(tmp_path / "t.xlsx")
    table, findings = read(tmp_path / "t.xlsx")
    assert table["x"].to_pylist()[2] is None
    assert "data.sheet-errors" in [finding.id for finding in findings]


def test_a_title_above_the_header_is_skipped_if_said(tmp_path, book):
    book.active.insert_rows(1)
    book.active["A1"] = "All visits"
    book.save(tmp_path / "t.xlsx")
    with pytest.raises(DataError, match="names 1 of 4 columns") as caught:
        read(tmp_path / "t.xlsx")
    assert "skip_lines = 1" in caught.value.hint
    assert read(tmp_path / "t.xlsx", skip_lines=1)[0].column_names == ["code", "when", "x", "y"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"%PDF-1.7", "a PDF"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"<html><table><tr><td>1</td></tr></table>", "HTML"),
        (b"PARE" + bytes(8), "encrypted Parquet"),
        (b"\x80\x04\x95abc", "pickle"),
        (b"PK\x03\x04broken", "damaged zip"),
        (b"SQLite format 3\x00" + bytes(100), "not a readable SQLite"),
        (b"PAR1" + bytes(100), "not a readable Parquet"),
        (b"ARROW1" + bytes(100), "not a readable Arrow"),
        (b'{"a": 1}\n{"a": \n', "line 2 is no JSON"),
        (b'{"a": 1, "y": "p"}\n[1, 2]\n', "line 2 is no JSON object"),
        (b'[{"a": 1}, 7]', "no JSON"),
        (b'{"a": 1}\n{"a": "x"}\n', "same fields|changed from"),
        (b"\0" * 50, "NUL|no text|not UTF-8"),
        (b"\n\n\n", "no text"),
        (b"a,b,y\n", "no rows"),
    ],
)
def test_what_is_no_table_is_called_what_it_is(tmp_path, content, said):
    with pytest.raises(DataError, match=said) as caught:
        read(tmp_path / "t.csv", content)
    assert caught.value.hint


@pytest.mark.parametrize("length", range(0, 2000, 97))
@pytest.mark.parametrize("kind", ["parquet", "feather", "orc", "sqlite", "xlsx"])
def test_a_truncated_file_is_refused_in_every_format(tmp_path, kind, length):
    path = tmp_path / f"t.{kind}"
    WRITERS[kind](arrow(), path)
    content = path.read_bytes()
    if 0 < length < len(content) - 200:
        with pytest.raises((DataError, ConfigError)) as caught:
            read(path, content[:length])
        assert caught.value.hint


def test_five_thousand_columns_one_row_and_one_column(tmp_path):
    wide = ",".join(f"c{n}" for n in range(5000)) + ",y\n"
    table, _ = read(tmp_path / "t.csv", wide + (",".join("1" for _ in range(5000)) + ",p\n") * 3)
    assert table.num_columns == 5001
    assert read(tmp_path / "t.csv", "a,y\n1,p\n")[0].to_pylist() == [{"a": 1.0, "y": "p"}]
    assert read(tmp_path / "t.csv", "y\np\nq\n")[0].to_pylist() == [{"y": "p"}, {"y": "q"}]


def test_blank_lines_trailing_delimiters_and_rows_without_cells_do_no_harm(tmp_path):
    clean = [{"a": 1.0, "y": "p"}, {"a": 2.0, "y": "q"}]
    for text in (
        "a,y\n1,p\n\n2,q\n\n\n",
        "a,y\n1,p\n   \n2,q\n",
        "a,y,\n1,p,\n2,q,\n",
        "a,y\n1,p,\n2,q,\n",
        "\n\na,y\n1,p\n2,q",
        "a,y\n1,p\n,\n2,q\n,\n",
    ):
        assert read(tmp_path / "t.csv", text)[0].to_pylist() == clean, text


def test_names_are_cleaned_and_told_and_equal_ones_left_alone(tmp_path):
    table, findings = read(tmp_path / "t.csv", ',"b ",k,"k ", Y ,"two\nlines",y \n0,1,2,3,4,5,p\n')
    assert table.column_names == ["unnamed_1", "b", "k", "k ", "Y", "two lines", "y"]
    assert findings[0].id == "data.renamed"
    assert "'' is called 'unnamed_1'" in findings[0].message


def test_integers_of_128_bits_in_duckdb_keep_every_digit_or_are_refused(tmp_path):
    duckdb = pytest.importorskip(
        "duckdb", reason='no reader of DuckDB files: pip install "casemate[duckdb]"'
    )
    for number, kept in ((2**100, True), (2**128 - 1, False)):
        (tmp_path / "t").unlink(missing_ok=True)
        with duckdb.connect(str(tmp_path / "t")) as base:
            base.execute(
                f"CREATE TABLE t AS SELECT {number}::UHUGEINT AS code, {2**90}::HUGEINT AS signed,"
                " 'p' AS y"
            )
        kinds = {name: ColumnTable(type="category") for name in ("code", "signed")}
        if kept:
            assert read(tmp_path / "t", columns=kinds)[0].to_pylist() == [
                {"code": str(number), "signed": str(2**90), "y": "p"}
            ]
        else:
            with pytest.raises(DataError, match="DECIMAL"):
                read(tmp_path / "t", columns=kinds)


def test_line_ends_inside_of_cells_are_kept_wherever_a_text_is_cut_into_pieces(tmp_path):
    cells = [f"{n}\n" * (n % 301) + "end" for n in range(6000)]
    columns = {"x": cells, "y": [str(n % 2) for n in range(len(cells))]}
    with (tmp_path / "t.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    assert (tmp_path / "t.csv").stat().st_size > 3 * content.BLOCK
    table, _ = source.read(tmp_path / "t.csv", DataTable(source="t.csv", target="y"))
    assert table["x"].to_pylist() == cells
    long = "a" * (content.BLOCK * 2)
    (tmp_path / "t.csv").write_text(f"x,y\n{long},1\nb,0\n")
    table, _ = source.read(tmp_path / "t.csv", DataTable(source="t.csv", target="y"))
    assert table["x"].to_pylist() == [long, "b"]


@pytest.mark.parametrize("line", ["sep=;\n", "\ufeffsep=;\r\n", "\nSEP=;\n", '"sep=;"\n'])
def test_the_line_that_tells_excel_the_delimiter_is_no_header(tmp_path, line):
    rows = "".join(f"{n};{n % 7},5;{'pq'[n % 2]}\n" for n in range(60))
    (tmp_path / "t.csv").write_text(f"{line}nr;x;y\n{rows}", newline="")
    options = DataTable(source="t.csv", target="y")
    assert files.found(tmp_path / "t.csv", options) == {"delimiter": ";", "decimal": ","}
    table = files.columns(tmp_path / "t.csv", options, (), [])
    assert table.column_names == ["nr", "x", "y"] and table.num_rows == 60
    assert table["x"].to_pylist()[1] == 1.5
    assert files.shape(tmp_path / "t.csv", options, counted=True) == (60, 3)
    assert pa.concat_tables(files.pieces(tmp_path / "t.csv", options, (), [])).num_rows == 60
