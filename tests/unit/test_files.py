"""Any file people have: found by content, read whole or refused by its line."""

import bz2
import gzip
import lzma
import sqlite3
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.orc
import pyarrow.parquet as pq
import pytest

from casemate.config import DataTable
from casemate.core.errors import DataError
from casemate.stages.data import source

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
def test_delimiter_decimal_sign_quotes_and_line_ends_are_found_by_content(tmp_path, sign, decimal, quote, end):
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
    with pytest.raises(DataError, match=r"line 3 holds the byte 0xfc, which is 'ü' in Western Europe's cp1252") as caught:
        read(tmp_path / "t.csv", content)
    assert "--encoding cp1252" in caught.value.hint
    table, _ = read(tmp_path / "t.csv", content, encoding="cp1252")
    assert table["ward"][1].as_py() == "Zürich"


def test_columns_that_blanks_align_are_found_where_that_is_sure(tmp_path):
    lines = [" ".join(f"{cell:>9}" for cell in line.split(",")) for line in rows().splitlines()]
    table, _ = read(tmp_path / "t.txt", "\n".join(lines))
    assert is_whole(table)


def test_a_blank_after_each_delimiter_is_no_part_of_quoted_cells(tmp_path):
    content = "age, ward, y\n" + '61, "a, ""b"" c", ill\n34, "d, e", well\n' * 9
    table, _ = read(tmp_path / "t.csv", content)
    assert table["ward"].to_pylist()[:2] == ['a, "b" c', "d, e"]


def test_quotes_behind_a_backslash_are_found(tmp_path):
    table, _ = read(tmp_path / "t.csv", "age,ward,y\n" + '61,"a, \\"b\\" c",ill\n34,"d, e",well\n' * 9)
    assert table["ward"].to_pylist()[:2] == ['a, "b" c', "d, e"]


def test_quotes_are_letters_where_tabs_separate_and_no_cell_is_quoted(tmp_path):
    table, _ = read(tmp_path / "t.tsv", "age\tsize\ty\n" + '61\t5" pipe\till\n34\t"Bob" Ray\twell\n' * 9)
    assert table["size"].to_pylist()[:2] == ['5" pipe', '"Bob" Ray']


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, lambda data: pa.compress(data, "zstd", asbytes=True)])
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
        base.executemany("INSERT INTO visits VALUES (?, ?, ?, ?)", [tuple(row.values()) for row in table.to_pylist()])
    base.close()


def write_duckdb(table, path):
    duckdb = pytest.importorskip("duckdb", reason='no reader of DuckDB files: pip install "casemate[duckdb]"')
    with duckdb.connect(str(path)) as base:
        base.register("given", table)
        base.execute("CREATE TABLE visits AS SELECT * FROM given")


def write_xlsx(table, path):
    pytest.importorskip("python_calamine", reason='no reader of spreadsheets: pip install "casemate[spreadsheets]"')
    openpyxl = pytest.importorskip("openpyxl", reason="nothing that writes a workbook")
    book = openpyxl.Workbook()
    book.active.append(table.column_names)
    for row in table.to_pylist():
        book.active.append(list(row.values()))
    book.create_sheet("empty")
    book.save(path)


def write_ods(table, path):
    pytest.importorskip("python_calamine", reason='no reader of spreadsheets: pip install "casemate[spreadsheets]"')
    cell = "<table:table-cell office:value-type='{}' {}><text:p>{}</text:p></table:table-cell>"

    def written(value):
        number = not isinstance(value, str)
        return cell.format("float" if number else "string", f"office:value='{value}'" if number else "", value)

    lines = [table.column_names, *(list(row.values()) for row in table.to_pylist())]
    body = "".join("<table:table-row>" + "".join(map(written, line)) + "</table:table-row>" for line in lines)
    names = " ".join(f"xmlns:{name}='urn:oasis:names:tc:opendocument:xmlns:{name}:1.0'" for name in ("office", "table", "text"))
    text = (
        f"<office:document-content {names}><office:body><office:spreadsheet><table:table table:name='one'>{body}</table:table></office:spreadsheet>"
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        archive.writestr("content.xml", text + "</office:body></office:document-content>")
        archive.writestr("META-INF/manifest.xml", "<manifest:manifest xmlns:manifest='urn:oasis:names:tc:opendocument:xmlns:manifest:1.0'/>")


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
