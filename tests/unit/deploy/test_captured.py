"""What SageMaker captured becomes a table; what cannot be read is counted, and nothing of it told."""

import base64
import csv
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from casemate.core.errors import ConfigError, DataError
from casemate.deploy.aws import captured
from casemate.serve.protocols import invocations


def event(asked, answered=None, kind="application/json", encoding="JSON", **more):
    def side(said, mode):
        text = said if isinstance(said, str) else json.dumps(said)
        if encoding == "BASE64":
            text = base64.b64encode(text.encode()).decode()
        return {"observedContentType": kind, "mode": mode, "data": text, "encoding": encoding}

    data = {"endpointInput": side(asked, "INPUT")}
    if answered is not None:
        data["endpointOutput"] = side(answered, "OUTPUT")
    when = {"eventId": "e-1", "inferenceTime": "2026-11-29T10:00:00Z"}
    return json.dumps({"captureData": data, "eventMetadata": when, "eventVersion": "0", **more})


def read(path):
    with path.open(newline="") as file:
        return [*csv.reader(file)]


def table(tmp_path, *lines, names=None):
    (tmp_path / "1.jsonl").write_text("".join(f"{line}\n" for line in lines))
    made = captured.table(tmp_path / "1.jsonl", tmp_path / "out.csv", names)
    return made, read(tmp_path / "out.csv")


ROWS = [["1.5", "a"], ["", "b"]]
SPLIT = {"dataframe_split": {"columns": ["x", "y"], "data": [[1.5, "a"], [None, "b"]]}}
RECORDS = [{"x": 1.5, "y": "a"}, {"x": None, "y": "b"}]
ANSWER = {"predictions": ["no", "yes"], "probabilities": [[0.9, 0.1], [0.2, 0.8]]}
LINES = "\n".join(map(json.dumps, RECORDS))
FORMS = {
    "split": (SPLIT, "application/json"),
    "records": ({"dataframe_records": RECORDS}, "application/json"),
    "instances": ({"instances": RECORDS}, "application/json; charset=utf-8"),
    "inputs": ({"inputs": {"x": [1.5, None], "y": ["a", "b"]}}, "application/json"),
    "lines": (LINES, "application/jsonlines"),
    "csv": ("x,y\n1.5,a\n,b\n", "text/csv"),
}


@pytest.mark.parametrize("encoding", ["own", "BASE64"])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_that_callers_send_becomes_the_same_rows(tmp_path, form, encoding):
    asked, kind = FORMS[form]
    answered = {
        "text/csv": "no,0.9,0.1\nyes,0.2,0.8\n",
        "application/jsonlines": '{"prediction":"no"}\n{"prediction":"yes"}\n',
    }.get(kind, ANSWER)
    own = "CSV" if kind == "text/csv" else "JSON"
    line = event(asked, answered, kind, own if encoding == "own" else encoding)
    made, found = table(tmp_path, line)
    assert found[0] == ["inference_time", "request", "prediction", "x", "y"]
    assert [row[2:] for row in found[1:]] == [["no", *ROWS[0]], ["yes", *ROWS[1]]]
    assert found[1][:2] == ["2026-11-29T10:00:00Z", "e-1"]
    assert (made.requests, made.rows, made.left_out) == (1, 2, {})


@pytest.mark.parametrize("kind", [kind.decode() for kind in invocations.LINES])
def test_lines_of_every_content_type_that_the_container_takes_are_read(tmp_path, kind):
    answered = '{"prediction":"no"}\n{"prediction":"yes"}\n'
    made, found = table(tmp_path, event(LINES, answered, kind))
    assert [row[2:] for row in found[1:]] == [["no", *ROWS[0]], ["yes", *ROWS[1]]]
    assert made.left_out == {}


def test_a_text_with_a_line_separator_is_no_two_lines(tmp_path):
    odd = "a\u2028b\x85c"
    asked = json.dumps({"x": 1, "y": odd}, ensure_ascii=False) + "\n"
    answered = json.dumps({"prediction": odd}, ensure_ascii=False) + "\n"
    made, found = table(tmp_path, event(asked, answered, "application/jsonlines", "BASE64"))
    assert [row[2:] for row in found[1:]] == [[odd, "1", odd]]
    assert made.left_out == {}


@pytest.mark.parametrize(
    ("asked", "kind"), [({"inputs": [[1, 2]]}, "application/json"), ("1,2\n", "text/csv")]
)
def test_rows_without_names_need_names(tmp_path, asked, kind):
    line = event(asked, kind=kind)
    with pytest.raises(DataError, match="no rows that can be read"):
        table(tmp_path, line)
    assert not (tmp_path / "out.csv").exists()
    _, found = table(tmp_path, line, names=["x", "y"])
    assert found[1][2:] == ["", "1", "2"]
    titled = event("y,x\n1,2\n", kind="text/csv")
    (tmp_path / "out.csv").unlink()
    assert table(tmp_path, titled, names=["x", "y"])[1][0][3:] == ["y", "x"]


def test_what_does_not_fit_is_left_out_counted_and_never_repeated(tmp_path):
    secret = "hunter2"
    lines = [
        event(SPLIT, ANSWER),
        "{}",
        secret,
        "[" * 100_000,
        event({"inputs": {"z": [secret]}}),
        event(SPLIT, {"predictions": ["one"]}),
        event({"instances": [{"x": {"a": secret}, "y": 1}]}),
        event({"instances": [{"x": 1}], "inputs": []}),
        event(SPLIT, encoding="XML"),
        json.dumps({"captureData": {}, "eventMetadata": {"eventId": "e"}}),
        event({"inputs": {"request": [1]}}),
        event("x,y\n1\n", kind="text/csv"),
        event(SPLIT, ANSWER).replace('"data": "', '"data": "\\u0000', 1),
    ]
    made, found = table(tmp_path, *lines)
    assert (made.requests, made.rows, len(found)) == (1, 2, 3)
    assert sum(made.left_out.values()) == len(lines) - 1
    assert secret not in str(made.left_out)
    assert set(made.left_out) == {
        captured.NO_EVENT,
        captured.NO_ROWS,
        captured.OTHER,
        captured.UNANSWERED,
    }


def test_a_line_that_is_too_long_is_passed_over(tmp_path, monkeypatch):
    monkeypatch.setattr(captured, "MOST_LINE", 2000)
    made, _ = table(tmp_path, event({"inputs": {"x": [1] * 2000}}), event(SPLIT, ANSWER))
    assert (made.requests, made.left_out) == (1, {captured.NO_EVENT: 1})


def test_folders_are_read_in_order_and_links_are_not(tmp_path):
    days = tmp_path / "capture" / "endpoint" / "casemate" / "2026"
    days.mkdir(parents=True)
    for hour in ("02", "01"):
        when = event(SPLIT, ANSWER).replace("e-1", f"e-{hour}")
        (days / f"{hour}.jsonl").write_text(when)
    (tmp_path / "elsewhere.jsonl").write_text(event(SPLIT, ANSWER))
    (days / "03.jsonl").symlink_to(tmp_path / "elsewhere.jsonl")
    made = captured.table(tmp_path / "capture", tmp_path / "out.csv")
    assert made.requests == 2
    assert [row[1] for row in read(tmp_path / "out.csv")[1::2]] == ["e-01", "e-02"]
    with pytest.raises(ConfigError, match="exists already"):
        captured.table(tmp_path / "capture", tmp_path / "out.csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no file"):
        captured.table(tmp_path / "empty", tmp_path / "other.csv")


JSONS = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda one: st.lists(one, max_size=3) | st.dictionaries(st.sampled_from(
        ["inputs", "instances", "dataframe_split", "columns", "data", "x"]), one, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(JSONS, JSONS, st.sampled_from(["JSON", "CSV", "BASE64"]))
@settings(deadline=None)
def test_no_capture_ends_in_anything_but_a_table_or_a_refusal(tmp_path_factory, asked, said, how):
    folder = tmp_path_factory.mktemp("captured")
    try:
        table(folder, event(asked, said, encoding=how))
    except DataError:
        assert not (folder / "out.csv").exists()


def test_who_names_another_file_is_not_told_to_name_columns(tmp_path):
    with pytest.raises(DataError, match=f"1 {captured.NO_EVENT}") as raised:
        table(tmp_path, "a,b,c")
    assert raised.value.hint == captured.FETCHED
    with pytest.raises(DataError, match=f"1 {captured.NO_ROWS}") as raised:
        table(tmp_path, event({"inputs": [[1, 2]]}))
    assert raised.value.hint == captured.NAMED


def test_inputs_that_are_called_as_our_own_columns_are_left_out(tmp_path):
    with pytest.raises(DataError, match=f"1 {captured.OTHER}"):
        table(tmp_path, event({"inputs": {"request": [1], "x": [2]}}))


def test_hours_that_cannot_be_read_are_not_left_out(tmp_path, shut):
    for hour in ("01", "02"):
        (tmp_path / "day" / hour).mkdir(parents=True)
        (tmp_path / "day" / hour / "a.jsonl").write_text(f"{event('{}')}\n")
    with shut(tmp_path / "day" / "02") as closed, pytest.raises(PermissionError):
        captured.table(closed.parent, tmp_path / "out.csv", None)
