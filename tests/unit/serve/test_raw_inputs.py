"""A gateway makes features of the table's own columns as the signed card says, the same whatever
the protocol, and as at training.
"""

import datetime
import json

import numpy as np
import pyarrow as pa
import pytest
from tests.unit.serve.test_serving import Shape

from casemate.config import ColumnTable, DataTable
from casemate.core.errors import RequestError
from casemate.ml.frame import features_of
from casemate.serve.called import Raw
from casemate.serve.protocols import invocations, oip, oip_grpc
from casemate.serve.protocols.tensors import packed
from casemate.stages.data import schema as schemas
from casemate.stages.data import source
from casemate.stages.release import reading
from casemate.stages.release.bundle import Card

COLUMNS = {
    "admitted": ColumnTable(
        type="time", format="%d.%m.%Y", parts=["month", "weekday", "days"], since="left"
    ),
    "left": ColumnTable(type="time", format="iso", use=False),
    "cost": ColumnTable(type="number", decimal=",", missing=["-1"]),
    "lab": ColumnTable(type="number", censored=True),
    "notes": ColumnTable(type="text", parts=["words"]),
    "zip": ColumnTable(type="category", missing=["?"]),
}
OPTIONS = DataTable(source="t.csv", target="y", columns=COLUMNS)
ROWS = 40
DRAWN = np.random.default_rng(7)
FIRST = datetime.date(2024, 1, 1)
DAYS = [FIRST + datetime.timedelta(days=int(n)) for n in DRAWN.integers(0, 900, ROWS)]
TABLE = {
    "admitted": [f"{day:%d.%m.%Y}" for day in DAYS],
    "left": [str(day + datetime.timedelta(days=n)) for n, day in enumerate(DAYS)],
    "cost": [["1.234,50", "0,3", "-1", "12,07 €"][n % 4] for n in range(ROWS)],
    "lab": [["<0.1", ">9", "3.7", ""][n % 4] for n in range(ROWS)],
    "notes": [["Fever, cough", "cough", "no fever since Tuesday", ""][n % 4] for n in range(ROWS)],
    "zip": [["01234", "04711", "?"][n % 3] for n in range(ROWS)],
    "plain": [str(n / 7) for n in range(ROWS)],
    "y": [str(n % 2) for n in range(ROWS)],
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """(an endpoint's shape, the features as the model was trained on them)."""
    path = tmp_path_factory.mktemp("raw") / "t.csv"
    names = list(TABLE)
    lines = [
        ";".join(names),
        *(";".join(f'"{TABLE[name][row]}"' for name in names) for row in range(ROWS)),
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
    table, _ = source.read(path, OPTIONS)
    schema, _ = schemas.infer(table, OPTIONS)
    said = reading.of(OPTIONS, schema)
    return Shape(schema, raw=Raw(said, [column.name for column in schema.features])), features_of(
        table, schema
    )


def given(**changed):
    return {
        name: changed.get(name, values)
        for name, values in TABLE.items()
        if name != "y" and changed.get(name, values) is not None
    }


def tensors(columns):
    return [
        {"name": name, "shape": [len(values)], "datatype": "BYTES", "data": values}
        for name, values in columns.items()
    ]


def rest(shape, inputs):
    return oip.read(shape, "m", json.dumps({"inputs": inputs}).encode(), None, 100).rows


def binary(shape, columns):
    parts = [packed(values) for values in columns.values()]
    inputs = [
        {
            "name": name,
            "shape": [ROWS, 1],
            "datatype": "BYTES",
            "parameters": {"binary_data_size": len(part)},
        }
        for (name, part) in zip(columns, parts, strict=True)
    ]
    head = json.dumps({"inputs": inputs}).encode()
    return oip.read(shape, "m", head + b"".join(parts), len(head), 100).rows


def called(shape, columns):
    request = oip_grpc.message("ModelInferRequest")(model_name="m")
    for name, values in columns.items():
        tensor = request.inputs.add(name=name, shape=[len(values)], datatype="BYTES")
        tensor.contents.bytes_contents.extend(value.encode() for value in values)
    return oip_grpc.read(shape, "m", request, 100).rows


def as_csv(shape, columns):
    lines = [
        ",".join(columns),
        *(",".join('"' + values[row] + '"' for values in columns.values()) for row in range(ROWS)),
    ]
    return invocations.read(shape, "\n".join(lines).encode(), b"text/csv", 100).rows


def as_lines(shape, columns):
    body = b"\n".join(
        json.dumps({name: values[row] for name, values in columns.items()}).encode()
        for row in range(ROWS)
    )
    return invocations.read(shape, body, b"application/jsonlines", 100).rows


def as_split(shape, columns):
    body = {
        "dataframe_split": {
            "columns": list(columns),
            "data": list(zip(*columns.values(), strict=True)),
        }
    }
    return invocations.read(shape, json.dumps(body).encode(), b"application/json", 100).rows


def same(rows, frame):
    assert list(rows) == list(frame)
    for name in frame:
        kind = np.float64 if frame[name].dtype == np.float64 else object
        left, right = np.asarray(rows[name], kind), frame[name].to_numpy()
        assert (
            left.tobytes() == right.tobytes()
            if kind is np.float64
            else left.tolist() == right.tolist()
        ), name


@pytest.mark.parametrize(
    "ask",
    [
        lambda shape, columns: rest(shape, tensors(columns)),
        binary,
        called,
        as_csv,
        as_lines,
        as_split,
    ],
    ids=lambda ask: ask.__name__,
)
def test_raw_columns_become_to_the_last_bit_what_the_model_was_trained_on_in_every_protocol(
    trained, ask
):
    shape, frame = trained
    assert len(frame.columns) == 3 + 1 + 2 + 16 + 1 + 1
    same(ask(shape, given()), frame)


def test_ready_features_go_beside_raw_ones_and_before_them(trained):
    shape, frame = trained
    ready = [
        {
            "name": name,
            "shape": [ROWS],
            "datatype": "FP64",
            "data": [None if np.isnan(v) else v for v in frame[name]],
        }
        for name in ("cost", "lab", "lab_censored", "admitted_month", "plain")
    ]
    raw = tensors(given(cost=None, lab=None, plain=None))
    same(rest(shape, ready + raw), frame)
    moved = [
        {**one, "data": [7.0] * ROWS} if one["name"] == "admitted_month" else one for one in ready
    ]
    assert set(rest(shape, moved + raw)["admitted_month"]) == {7.0}


def test_a_number_sent_as_one_is_no_amount_to_be_read_and_what_means_missing_is_missing(trained):
    shape, _ = trained
    columns = {**given(), "cost": [1234.5, -1, -1.0, 0.25] * 10, "lab": [0.5] * ROWS}
    body = {"inputs": columns}
    rows = invocations.read(shape, json.dumps(body).encode(), b"application/json", 100).rows
    assert np.array_equal(rows["cost"][:4], [1234.5, np.nan, np.nan, 0.25], equal_nan=True)
    assert set(rows["lab_censored"]) == {0.0}


@pytest.mark.parametrize(
    ("changed", "row", "name", "why"),
    [
        (
            {"admitted": [*TABLE["admitted"][:5], "2024-31-31", *TABLE["admitted"][6:]]},
            5,
            "admitted",
            "a time (%d.%m.%Y)",
        ),
        (
            {"cost": [*TABLE["cost"][:9], "many", *TABLE["cost"][10:]]},
            9,
            "cost",
            "decimal sign ','",
        ),
        ({"left": ["yesterday", *TABLE["left"][1:]]}, 0, "left", "a time (iso)"),
    ],
)
def test_a_cell_that_is_written_otherwise_is_named_by_row_and_column(
    trained, changed, row, name, why
):
    shape, _ = trained
    with pytest.raises(RequestError) as refused:
        rest(shape, tensors(given(**changed)))
    (wrong,) = refused.value.rows
    assert (wrong.row, wrong.input) == (row, name) and why in wrong.why
    assert not any(cell in str(refused.value) for cell in ("2024-31-31", "many", "yesterday"))


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"left": None}, "'left' is missing: days are counted to it"),
        ({"notes": None}, "'notes_word00' is missing (16 of 24), and so is 'notes'"),
        ({"zip": None}, "'zip' is missing"),
    ],
)
def test_a_raw_column_that_is_not_there_is_asked_for_by_name(trained, changed, expected):
    shape, _ = trained
    with pytest.raises(RequestError) as refused:
        rest(shape, tensors(given(**changed)))
    assert expected in str(refused.value)


def test_raw_columns_are_no_strangers_where_what_a_model_does_not_take_is_refused(trained):
    shape, frame = trained
    strict = Shape(shape.schema, "refuse", shape.raw)
    same(rest(strict, tensors(given())), frame)
    with pytest.raises(RequestError, match="no input called 'patient'"):
        rest(strict, tensors({**given(), "patient": ["a"] * ROWS}))


def test_the_card_says_how_the_table_was_written_and_an_older_card_nothing(trained):
    shape, _ = trained
    told = {one["name"]: one for one in shape.raw.described}
    assert list(told) == ["admitted", "left", "cost", "lab", "notes", "zip"]
    assert told["admitted"] == {
        "name": "admitted",
        "datatype": "BYTES",
        "shape": [-1],
        "type": "time",
        "format": "%d.%m.%Y",
        "since": "left",
        "gives": ["admitted_month", "admitted_weekday", "admitted_days"],
    }
    assert told["lab"]["gives"] == ["lab", "lab_censored"] and told["cost"]["decimal"] == ","
    assert (
        Card.__struct_defaults__[
            Card.__struct_fields__.index("reading") - len(Card.__struct_fields__)
        ]
        is None
    )


def test_a_table_of_plain_cells_has_nothing_to_say():
    table = pa.table({"a": [1.0, 2.0], "y": ["0", "1"]})
    options = DataTable(source="t.csv", target="y")
    schema, _ = schemas.infer(table, options)
    assert reading.of(options, schema) is None


def test_a_decimal_comma_of_the_whole_table_is_one_of_every_number_that_says_nothing_else():
    table = pa.table({"a": [1.5, 2.5], "b": [1.0, 2.0], "y": ["0", "1"]})
    options = DataTable(
        source="t.csv",
        target="y",
        decimal=",",
        columns={"a": ColumnTable(unit="kg"), "b": ColumnTable(decimal=".")},
    )
    schema, _ = schemas.infer(table, options)
    assert [(column.name, column.decimal) for column in reading.of(options, schema).columns] == [
        ("a", ","),
        ("b", "."),
    ]


def test_a_model_of_words_alone_takes_the_one_column_of_text_in_every_form():
    options = DataTable(
        source="t.csv", target="y", columns={"notes": ColumnTable(type="text", parts=["words"])}
    )
    table = pa.table({"notes": TABLE["notes"], "y": TABLE["y"]})
    made = source.derived.add(table, options, {})
    schema, _ = schemas.infer(made, options)
    shape = Shape(
        schema, raw=Raw(reading.of(options, schema), [column.name for column in schema.features])
    )
    expected = features_of(made, schema).to_numpy()
    columns = {"notes": TABLE["notes"]}
    nested = [
        {
            "name": "notes",
            "shape": [ROWS, 1],
            "datatype": "BYTES",
            "data": [[cell] for cell in TABLE["notes"]],
        }
    ]
    for rows in (
        rest(shape, tensors(columns)),
        rest(shape, nested),
        binary(shape, columns),
        as_csv(shape, columns),
        as_split(shape, columns),
    ):
        assert np.array_equal(rows, expected) and len(expected) == ROWS
