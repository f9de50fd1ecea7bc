"""Any file people have: found by content, read whole or refused by its line."""

import bz2
import csv
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

from casemate.config import ColumnTable, DataTable
from casemate.core.errors import DataError
from casemate.stages.data import files, source

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


CELLS = ["DATE", "Qty", "Price", "Type", "Description", "Comments"]


def polluted_base() -> list[list[str]]:
    kinds, texts, comments = ["Ink", "Laser, colour"], ['HP 6" tray', 'Canon "best"', "plain", "a, b; c"], ["", "fine", "two\r\nlines"]
    return [[f"0{row % 9 + 1}/12/2018", str(row % 5 + 1), f"{row * 3.5:.2f}", kinds[row % 2], texts[row % 4], comments[row % 3]] for row in range(20)]


def written(cells: list[str]) -> str:
    line = io.StringIO()
    csv.writer(line).writerow(cells)
    return line.getvalue()[:-2]


def pollutions() -> dict[str, str]:
    """One change of a sound file each; what is read of it is the table, or it is refused or told."""
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
            found[f"{name} in row {at}"] = "\r\n".join([header, *body[:at], line, *body[at + 1 :], ""])

        cells = [written([cell]) if cell else "" for cell in row]
        for column, cell in enumerate(cells):
            for name, new in {"after": f'{cell}"', "before": f'"{cell}', "inside": f'{cell[:1]}"{cell[1:]}'}.items():
                put(f"a quote {name} cell {column}", ",".join([*cells[:column], new, *cells[column + 1 :]]))
            put(f"a delimiter before cell {column}", ",".join([*cells[:column], "", *cells[column:]]))
            if column:
                put(f"no delimiter before cell {column}", ",".join([*cells[: column - 1], cells[column - 1] + cell, *cells[column + 1 :]]))
                put(f"another delimiter before cell {column}", ",".join(cells[:column]) + ";" + ",".join(cells[column:]))
        line = ",".join(cells)
        for place in [place for place, letter in enumerate(line) if letter == '"']:
            put(f"no quote at {place}", line[:place] + line[place + 1 :])
        put("a quote around everything", f'"{line.replace(chr(34), chr(34) * 2)}"')
        put("all delimiters others", line.replace(",", ";"))
        put("a blank line", f"\r\n{line}")
        put("no cell", "," * (len(cells) - 1))
    return found


def test_no_polluted_file_is_misread(tmp_path):
    expected, misread, read_right = [tuple(row) for row in polluted_base()], [], 0
    for name, text in pollutions().items():
        findings: list = []
        (tmp_path / "t.csv").write_bytes(text.encode())
        try:
            table = files.columns(tmp_path / "t.csv", DataTable(source="t.csv", target="Qty"), CELLS, findings)
        except DataError as error:
            assert error.hint, name
            continue
        rows_read = [tuple("" if cell is None else cell for cell in row.values()) for row in table.to_pylist()]
        read_right += rows_read == [tuple(cell.replace("\r\n", "\n") for cell in row) for row in expected] or rows_read == expected
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
    table, findings = read(tmp_path / "t.csv", sound, bad_rows="quarantine", columns={"a": ColumnTable(type="text")})
    assert [finding.id for finding in findings] == ["data.bad-rows"]
    assert findings[0].location.startswith(f"lines {line}")
    assert table["y"].to_pylist()[-40:] == ["p", "q"] * 20
