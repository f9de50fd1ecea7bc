"""`casemate predict`: every row that can be answered is, the others are named; what comes out can
be explained, and opened in a spreadsheet.
"""

import contextlib
import csv
import datetime
import gzip
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.attacks.test_gateway import Caller, new_token
from tests.conftest import serving, write_csv

import casemate
from casemate.config import DataTable, load
from casemate.core.errors import ConfigError, DataError, RequestError
from casemate.operations import scaffold
from casemate.serve.batches import predict_file
from casemate.serve.connect import connect
from casemate.serve.protocols import oip_grpc
from casemate.serve.rows import of_table, open_source
from casemate.serve.written import cell, written

TOML = """[project]
name = "ward"
id = "OWN"

[data]
source = "t.csv"
target = "ill"

[data.columns]
patient = { class = "identifier" }
smokes = { type = "category" }
code = { type = "category" }

[train]
entry = "train.py:build"

[assess]
bootstrap = 20
attack_rows = 10
attack_steps = 1
shadows = 0
importance = false

[robustness]
decision_rows = 0

[gates]
accuracy = { min = 0.5 }

[serve]
inputs = "sealed"

[serve.models]
live = "ward"
"""


@pytest.fixture(scope="module")
def served(home, tmp_path_factory):
    """A gateway for a model of a number, a boolean and a code, served under another name; its
    folder and its URL.
    """
    root = tmp_path_factory.mktemp("ward") / "ward"
    root.mkdir()
    generator = np.random.default_rng(0)
    age, code, smokes = (
        generator.uniform(20, 90, 160).round(1),
        generator.choice([10, 11, 12], 160),
        generator.random(160) < 0.4,
    )
    ill = age + 20 * smokes + generator.normal(0, 5, 160) > 65
    names = [f"P{number:03}" for number in range(160)]
    table = pa.table(
        {
            "patient": names,
            "age": age,
            "smokes": smokes,
            "code": code,
            "ill": np.where(ill, "yes", "no"),
        }
    )
    scaffold.create(root, scaffold.from_table(root, write_csv(root / "t.csv", table), "ill"))
    own = load(root / "casemate.toml").project.id
    (root / "casemate.toml").write_text(TOML.replace("OWN", own))
    assert casemate.open(root).run().verdict.outcome == "passed"
    with serving(root) as running:
        yield root, running.url


ROWS = """patient,age,smokes,code,note
=1+1,70,True,11,-5
P2,not asked,true,11,@x
P3,25.5,false,12.0,+3
P4,30,false,99,"two
lines"
P5,41,false
P6,,TRUE,10,-a
P7,60,FALSE,NA,
P8,33,false,10,plain
"""


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text(ROWS)
    return path


def read(path):
    return list(csv.DictReader(path.open(newline="")))


def test_every_row_that_can_be_is_answered_and_the_others_are_named_with_line_column_value_and_reason(
    served, rows, cli, tmp_path
):
    root, url = served
    answer = cli("predict", rows, "--url", url, "--out", tmp_path / "out.csv", "--config", root)
    assert answer.code == 1, "some rows have no answer"
    assert "5 of 8 rows have no answer" in answer.err and "out.rejected.csv" in answer.err
    found = read(tmp_path / "out.csv")
    assert list(found[0]) == [
        "row",
        "patient",
        "note",
        "label",
        "p_no",
        "p_yes",
        "request",
        "request_row",
    ]
    assert [(one["row"], one["patient"], one["note"]) for one in found] == [
        ("0", "'=1+1", "-5"),
        ("2", "P3", "+3"),
        ("7", "P8", "plain"),
    ]
    assert [one["label"] for one in found] == ["yes", "no", "no"]
    wrong = [tuple(one.values()) for one in read(tmp_path / "out.rejected.csv")]
    assert wrong == [
        ("1", "3", "age", "not asked", "is not a number"),
        ("3", "5", "code", "99", "has an unknown category"),
        ("4", "7", "", "", "has 3 cells, the table has 5 columns"),
        ("5", "8", "age", "", "is missing in a row; it was never missing in training"),
        ("6", "9", "code", "NA", "is missing in a row"),
    ]
    assert (tmp_path / "out.rejected.csv").stat().st_mode & 0o077 == 0, "it holds people's values"
    told = cli(
        "explain",
        found[1]["request"],
        "--row",
        found[1]["request_row"],
        "--format",
        "json",
        "--config",
        root,
    ).value
    assert told["replayed"] is True
    assert {one["feature"]: one["value"] for one in told["counted"]}["age"] == 25.5


def test_rows_without_a_fault_leave_no_list_of_refused_ones_and_an_older_one_goes(
    served, rows, cli, tmp_path, monkeypatch
):
    root, url = served
    monkeypatch.chdir(tmp_path)
    assert cli("predict", rows, "--url", url, "--config", root).code == 1
    assert (tmp_path / "rows.rejected.csv").exists()
    rows.write_text("patient,age,smokes,code\nP1,70,true,11\n")
    answer = cli("predict", rows, "--url", url, "--config", root)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith("row,patient,label,p_no,p_yes,request,request_row\n0,P1,yes,")
    assert not (tmp_path / "rows.rejected.csv").exists()
    (tmp_path / "rows.rejected.csv").write_text("mine")
    assert cli("predict", rows, "--url", url, "--config", root).code == 0
    assert (tmp_path / "rows.rejected.csv").read_text() == "mine"


def test_an_answer_about_a_row_that_a_guard_noticed_says_so_and_a_file_without_inputs_names_them_all(
    served, rows, cli
):
    root, url = served
    rows.write_text("patient,age,smokes,code\nP1,400,true,11\nP2,50,true,11\n")
    answer = cli("predict", rows, "--url", url, "--config", root)
    assert answer.code == 0 and "1 of 2 answers are flagged: outside of the limits" in answer.err
    rows.write_text("patient,code\nP1,11\n")
    assert (
        "the file has no column 'age', 'smokes'"
        in cli("predict", rows, "--url", url, "--config", root).err
    )
    away = cli("predict", rows, "--url", "https://127.0.0.1:1", "--config", root)
    assert away.code == 5 and "--url" in away.err


def test_parquet_comes_in_by_its_content_and_goes_out_with_its_types(served, tmp_path, cli):
    root, url = served
    codes = pa.array([11.0, None, 12.0])  # as pandas keeps integers with a gap
    table = pa.table(
        {
            "key": pa.array([2**60 + 1, 2, 3]),
            "code": codes,
            "smokes": [True, False, True],
            "age": pa.array([70, 40, 30], pa.int16()),
        }
    )
    pq.write_table(table, tmp_path / "rows.data")
    answer = cli(
        "predict",
        tmp_path / "rows.data",
        "--url",
        url,
        "--out",
        tmp_path / "out.parquet",
        "--rejected",
        tmp_path / "no.csv",
        "--config",
        root,
    )
    assert answer.code == 1, answer.err
    found = pq.read_table(tmp_path / "out.parquet")
    assert found.column_names == ["row", "key", "label", "p_no", "p_yes", "request", "request_row"]
    assert found["key"].to_pylist() == [2**60 + 1, 3] and found["key"].type == pa.int64(), (
        "to the last digit"
    )
    assert found["row"].to_pylist() == [0, 2]
    assert [tuple(one.values()) for one in read(tmp_path / "no.csv")] == [
        ("1", "", "code", "", "is missing in a row")
    ]
    content = (tmp_path / "rows.data").read_bytes()
    (tmp_path / "rows.data").write_bytes(content[: len(content) // 2])
    answer = cli("predict", tmp_path / "rows.data", "--url", url, "--config", root)
    assert answer.code == 1 and "truncated" in answer.err and answer.out == ""


def test_a_table_in_memory_gets_a_table_of_answers(served):
    import pandas as pd

    root, url = served
    with connect(casemate.open(root), url=url) as client:
        frame = pd.DataFrame(
            {
                "age": [70, 30, np.inf],
                "smokes": [True, False, True],
                "code": ["11", "12", "10"],
                "other": [1, 2, 3],
            },
            index=[5, 6, 7],
        )
        found = client.predict(frame)
        assert found.answers["label"].to_pylist() == ["yes", "no"]
        assert found.answers["row"].to_pylist() == [0, 1]
        assert [(one.row, one.column, one.why) for one in found.rejected] == [
            (2, "age", "has an infinite value")
        ], "JSON has no infinity"
        assert client.predict(frame[:0]).answers.column_names == found.answers.column_names
        with pytest.raises(DataError, match="no column 'code'"):
            client.predict(frame[["age", "smokes"]])


@pytest.mark.parametrize(
    ("name", "code"), [("live", 0), ("ward", 0), ("live@1", 0), ("live@9", 2), ("other", 2)]
)
def test_a_model_is_asked_by_any_name_that_it_has(served, tmp_path, cli, name, code):
    root, url = served
    (tmp_path / "one.csv").write_text("age,smokes,code\n70,true,11\n")
    answer = cli("predict", tmp_path / "one.csv", "--url", url, "--model", name, "--config", root)
    assert answer.code == code, answer.err
    assert name != "other" or "served are: live" in answer.err


def test_files_are_read_as_data_says_and_columns_are_carried_as_asked(served, tmp_path, cli):
    root, url = served
    with gzip.open(tmp_path / "rows.csv.gz", "wt") as file:
        file.write("70;true;11;x\n30;?;12;y\n")
    options = [
        "-s",
        'data.delimiter=";"',
        "-s",
        'data.header=["age","smokes","code","label"]',
        "-s",
        'data.null_values=["?"]',
    ]
    answer = cli(
        "predict",
        tmp_path / "rows.csv.gz",
        "--url",
        url,
        "--keep",
        "label",
        *options,
        "--rejected",
        tmp_path / "r.csv",
        "--config",
        root,
    )
    assert answer.code == 1
    lines = [line.split(",") for line in answer.out.splitlines()]
    assert lines[0][:3] == ["row", "label (given)", "label"]
    assert lines[1][:3] == ["0", "x", "yes"]
    assert read(tmp_path / "r.csv")[0]["why"] == "is missing in a row"
    answer = cli(
        "predict",
        tmp_path / "rows.csv.gz",
        "--url",
        url,
        "--keep",
        "none",
        *options,
        "--config",
        root,
    )
    assert answer.code == 2 and "--keep none" in answer.err


def test_a_thousand_bad_rows_cost_themselves_and_memory_does_not_grow_with_rows(served, tmp_path):
    root, url = served
    many = 4000
    with (tmp_path / "many.csv").open("w") as file:
        file.write("key,age,smokes,code\n")
        file.writelines(
            f"{number:05},{20 + number % 70},{'maybe' if number % 4 == 0 else 'true'},11\n"
            for number in range(many)
        )
    project = casemate.open(root)
    with connect(project, url=url) as client:
        asked = []
        exchange = client._exchange
        client._exchange = lambda *words: asked.append(words) or exchange(*words)
        with written(tmp_path / "out.csv") as sink:
            counts = predict_file(
                client, tmp_path / "many.csv", project.config.data, sink, tmp_path / "r.csv"
            )
        assert counts == (3000, 1000)
        assert len(asked) == 1 + 2 * many // 1000, (
            "one question about a part, and one about what is left of it"
        )
        assert [one["key"] for one in read(tmp_path / "out.csv")] == [
            f"{number:05}" for number in range(many) if number % 4
        ]
        source = open_source(tmp_path / "many.csv", project.config.data, 10)
        assert len(next(source.parts).numbers) == 10
        source.parts.close()


def test_what_fails_half_way_leaves_nothing_half_written(served, tmp_path, cli):
    root, url = served
    lines = ["age,smokes,code"] + ["70,true,11"] * 1500 + ['70,"true,11']
    (tmp_path / "cut.csv").write_text("\n".join(lines))
    answer = cli(
        "predict",
        tmp_path / "cut.csv",
        "--url",
        url,
        "--out",
        tmp_path / "out.csv",
        "--config",
        root,
    )
    assert answer.code == 1 and "line 1502" in answer.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cut.csv"]
    (tmp_path / "out.csv").write_text("before")
    assert (
        cli(
            "predict",
            tmp_path / "cut.csv",
            "--url",
            url,
            "--out",
            tmp_path / "out.csv",
            "--config",
            root,
        ).code
        == 1
    )
    assert (tmp_path / "out.csv").read_text() == "before"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("=1+1", "'=1+1"), ("+A1", "'+A1"), ("-2+3", "'-2+3"), ("@SUM(1)", "'@SUM(1)"), ("\t=1", "'\t=1"), ("\r=1", "'\r=1"), ("\n=1", "'\n=1"),
        ("\uff1d1", "'\uff1d1"), ("-5", "-5"), ("+5.5e3", "+5.5e3"), (" -5 ", " -5 "), (-5, "-5"), (-0.5, "-0.5"), ("a=1", "a=1"), ("", ""),
        (None, ""), (True, "true"), ("-", "'-"),
    ],
)  # fmt: skip
def test_a_spreadsheet_calculates_nothing_and_numbers_stay_numbers(value, shown):
    assert cell(value) == shown


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a,b\n1,2\n\xff,3\n", "after line . it is not UTF-8"),
        (b"a,a\n1,2\n", "'a' appears twice"),
        (b'a,b\n1,"2"3\n', "from line 2 on"),
        (b"PK\x03\x04\0\0", "damaged zip file or workbook"),
        (b"PAR1junkjunk", "not a readable Parquet file"),
        (b"\x1f\x8b\x08\x00cut", "damaged gzip data"),
    ],
)
def test_a_file_that_cannot_be_read_says_where_it_ends(tmp_path, content, words):
    (tmp_path / "f").write_bytes(content)
    with (
        pytest.raises(DataError, match=words),
        contextlib.closing(
            open_source(tmp_path / "f", DataTable(source="f", target="y"), 10).parts
        ) as parts,
    ):
        list(parts)


def test_empty_tables_and_absent_files(tmp_path):
    options = DataTable(source="f", target="y")
    (tmp_path / "f").write_bytes(b"\xef\xbb\xbfa,b\n\n1,2\n\n")
    (part,) = open_source(tmp_path / "f", options, 10).parts
    assert (list(part.numbers), part.lines, part.columns) == ([0], [3], {"a": ["1"], "b": ["2"]})
    assert list(of_table({"a": []}, 10).parts) == []
    with pytest.raises(ConfigError, match="no such file"):
        open_source(tmp_path / "g", options, 10)


def test_a_row_that_a_model_cannot_answer_and_nobody_names_is_looked_for(served, monkeypatch):
    root, url = served
    with connect(casemate.open(root), url=url) as client:
        exchange = client._exchange

        def fails(method, path, content):
            ages = json.loads(content or "{}").get("inputs", [{"data": []}])[0]["data"]
            return (
                (500, {}, b'{"error":"the model could not answer","code":"CM-MODEL"}')
                if 66.0 in ages
                else exchange(method, path, content)
            )

        monkeypatch.setattr(client, "_exchange", fails)
        found = client.predict(
            {"age": list(range(20, 90)), "smokes": ["true"] * 70, "code": ["11"] * 70}
        )
        assert [one.row for one in found.rejected] == [46]
        assert found.answers["row"].to_pylist() == [row for row in range(70) if row != 46], (
            "in the table's order"
        )
        monkeypatch.setattr(
            client, "_exchange", lambda *_: (500, {}, b'{"error":"no","code":"CM-MODEL"}')
        )
        with pytest.raises(RequestError, match="answered 500"):
            client.predict(
                {"age": list(range(200)), "smokes": ["true"] * 200, "code": ["11"] * 200}
            )


def test_what_the_gateway_puts_off_is_asked_again(served, monkeypatch):
    root, url = served
    replies = [(429, {"retry-after": "0"}, b"{}"), (503, {"retry-after": "0"}, b"{}")]
    with connect(casemate.open(root), url=url) as client:
        exchange = client._exchange
        monkeypatch.setattr(
            client, "_exchange", lambda *words: replies.pop() if replies else exchange(*words)
        )
        assert (
            client.predict({"age": [70], "smokes": ["true"], "code": ["11"]}).answers.num_rows == 1
        )
        assert json.dumps(client.described.parameters)


@pytest.fixture(scope="module")
def visits(home, tmp_path_factory):
    """A gateway for a model of dates, amounts and words, as `init` takes them; its folder, URL, and
    the table.
    """
    root = tmp_path_factory.mktemp("visits") / "visits"
    root.mkdir()
    generator = np.random.default_rng(4)
    days = [
        datetime.date(2024, 1, 1) + datetime.timedelta(days=int(n))
        for n in generator.integers(0, 700, 240)
    ]
    costs = generator.uniform(50, 5000, 240)
    ill = np.array([day.month for day in days]) + costs / 500 + generator.normal(0, 1, 240) > 11
    words = generator.choice(["fever", "cough", "pain", "rash", "fall", "burn"], (240, 4))
    notes = [
        f"{' and '.join(words[n])} since {generator.integers(1, 400)} days" for n in range(240)
    ]
    columns = {
        "day": [f"{day:%d.%m.%Y}" for day in days],
        "cost": [f"${cost:,.2f}" for cost in costs],
        "notes": notes,
    }
    table = pa.table(
        columns
        | {
            "lab": ["<0.1" if n % 9 == 0 else f"{n % 7 + 0.5}" for n in range(240)],
            "ill": np.where(ill, "yes", "no"),
        }
    )
    scaffold.create(root, scaffold.from_table(root, write_csv(root / "t.csv", table), "ill"))
    path = root / "casemate.toml"
    light = TOML[TOML.index("[assess]") : TOML.index("[serve.models]")].replace(
        "accuracy = { min = 0.5 }", "accuracy = { min = 0.0 }"
    )
    text = path.read_text()
    path.write_text(
        text[: text.index("[gates]")].replace("[screen]\n", "[screen]\nlabel_noise = false\n")
        + light
    )
    assert casemate.open(root).run().verdict.outcome == "passed"
    with serving(root) as running:
        yield root, running, table


def test_what_a_client_makes_and_what_the_gateway_makes_of_a_table_gets_the_same_answer_to_the_last_bit(
    visits, tmp_path, cli
):
    root, running, table = visits
    few = table.slice(0, 50).drop_columns(["ill"])
    write_csv(tmp_path / "few.csv", few)
    assert (
        cli(
            "predict",
            tmp_path / "few.csv",
            "--url",
            running.url,
            "--out",
            tmp_path / "out.parquet",
            "--config",
            root,
        ).code
        == 0
    )
    made = pq.read_table(tmp_path / "out.parquet")
    ask = Caller(running, new_token(casemate.open(root), "raw", models=("t",))[0])
    inputs = [
        {"name": name, "shape": [50], "datatype": "BYTES", "data": few[name].to_pylist()}
        for name in few.column_names
    ]
    status, reply = ask("POST", "/v2/models/t/infer", {"inputs": inputs})[:2]
    assert status == 200, reply
    found = {one["name"]: one["data"] for one in json.loads(reply)["outputs"]}
    assert found["label"] == made["label"].to_pylist()
    assert (
        found["probabilities"][1::2] == made["p_yes"].to_pylist()
        and len(set(found["probabilities"])) > 20
    )
    known = json.loads(ask("GET", "/v2/models/t")[1])
    raw = {one["name"]: one for one in known["parameters"]["raw"]}
    assert (
        list(raw) == few.column_names
        and raw["day"]["format"] == "%d.%m.%Y"
        and len(raw["notes"]["gives"]) == 16
    )
    properties = (
        oip_grpc.message("ModelMetadataResponse")
        .FromString(oip_grpc.described(json.dumps(known).encode()))
        .properties
    )
    assert json.loads(properties["raw"]) == known["parameters"]["raw"]
    inputs[0]["data"] = ["31.02.2024", *inputs[0]["data"][1:]]
    status, reply = ask("POST", "/v2/models/t/infer", {"inputs": inputs})[:2]
    assert (status, json.loads(reply)["rows"]) == (
        400,
        [{"row": 0, "input": "day", "why": "is not written as a time (%d.%m.%Y)"}],
    )


def test_the_card_of_a_table_shows_what_the_estimator_is_made_of(visits, cli, tmp_path):
    root, _, _ = visits
    assert cli("model", "export", "t", tmp_path / "m", "--config", root).code == 0
    text = (tmp_path / "m" / "model" / "model-card.md").read_text()
    assert "What it is made of:\n\n- Pipeline\n  - ColumnTransformer\n" in text
    assert '<ul class="parts">' in (tmp_path / "m" / "model" / "model-card.html").read_text()


def test_blank_lines_before_the_header_are_no_rows_and_lines_are_counted_from_the_files_first(
    tmp_path,
):
    (tmp_path / "t.csv").write_text("export of May\n\n \na,b\n1,2\n3\n")
    source = open_source(
        tmp_path / "t.csv", DataTable(source="t.csv", target="y", skip_lines=1), 10
    )
    part = next(source.parts)
    assert (list(source.types), part.columns, part.lines) == (
        ["a", "b"],
        {"a": ["1"], "b": ["2"]},
        [5],
    )
    assert [(one.row, one.line) for one in part.rejected] == [(1, 6)]
