"""The gateway's parts one by one: guards, outputs, quotas, batches, releases, the forms of
`invocations`.
"""

import asyncio
import datetime
import time
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conftest import often

from casemate.config import GuardTable, LimitsTable, OutputsTable
from casemate.controls.access.usage import Usage
from casemate.core.clock import SystemClock
from casemate.core.errors import BackendError, ConfigError, RequestError, VerificationError, Wrong
from casemate.core.store.sqlite import SqliteStore
from casemate.core.types import MISSING_CATEGORY, ColumnSchema, Profile, Schema
from casemate.ml.frame import joined, rows_bytes, rows_from
from casemate.serve import outputs
from casemate.serve.batch import Batcher, Job, TooLate
from casemate.serve.cells import Cells
from casemate.serve.guard import Guard, Unfit
from casemate.serve.protocols import invocations, oip, oip_grpc
from casemate.serve.protocols.interface import Asked
from casemate.serve.quota import Quota, TooMany
from casemate.serve.types import Answer
from casemate.stages.release.rollout import Rollouts

NUMBERS = Schema(
    target="y",
    classes=["no", "yes"],
    columns=[
        ColumnSchema(name="a", type="number", min=0.0, max=1.0),
        ColumnSchema(name="b", type="number", nullable=True),
    ],
)
MIXED = Schema(
    target="y",
    classes=["no", "yes"],
    columns=[
        *NUMBERS.columns,
        ColumnSchema(name="c", type="category", categories=["red", "green"]),
    ],
)
PROFILE = Profile(mean=[0.5, 0.0], scale=[2.0, 1.0], whiten=[], limit=9.0)


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self):
        self.time = datetime.datetime(2026, 11, 25, 12, 0, 0, tzinfo=datetime.UTC)

    def now(self):
        return self.time


@pytest.fixture
def store(tmp_path):
    found = SqliteStore(tmp_path / "catalog.db")
    found.upgrade()
    yield found
    found.close()


def noticed(guard, rows):
    marks, _ = guard(rows)
    return {name: mark.tolist() for name, mark in marks.items()}


def test_rows_within_the_schema_and_like_the_training_data_are_not_noticed():
    assert noticed(Guard(NUMBERS, PROFILE, GuardTable()), np.array([[0.5, 0.0], [1.0, 1.0]])) == {}


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ([np.nan, 0.0], {"missing"}),
        ([np.inf, 0.0], {"outside", "infinite", "unusual"}),
        ([1.5, 0.0], {"outside"}),
        ([0.5, np.nan], set()),
        ([0.5, 9.0], {"unusual"}),
        ([-3.0, np.nan], {"outside", "unusual"}),
    ],
)
def test_a_guard_notices_the_row_that_is_wrong_and_no_other(row, expected):
    found = noticed(Guard(NUMBERS, PROFILE, GuardTable()), np.array([[0.5, 0.0], row, [0.4, 0.1]]))
    assert set(found) == expected
    assert all(mark == [False, True, False] for mark in found.values())


@pytest.mark.parametrize(
    "neighbour", [[np.inf, 0.0], [1e308, 1e308], [np.nan, np.nan], [-np.inf, np.inf]]
)
def test_no_neighbour_hides_what_a_guard_notices_in_a_row(neighbour):
    profile = Profile(
        mean=[0.5, 0.0], scale=[2.0, 1.0], whiten=[[1.0, -0.5], [-0.5, 1.0]], limit=9.0
    )
    marks = noticed(
        Guard(NUMBERS, profile, GuardTable()), np.array([neighbour, [0.5, 9.0], [0.5, 0.0]])
    )
    assert marks["unusual"][1:] == [True, False]
    if not np.isnan(neighbour).any():
        assert marks["unusual"][0], "what has no distance is not usual"


def test_a_missing_category_is_missing_whatever_its_neighbour_lacks():
    rows = {
        "a": np.array([0.5, 0.5]),
        "b": np.array([0.0, 0.0]),
        "c": np.array(["(missing)", "mauve"], dtype=object),
    }
    assert noticed(Guard(MIXED, None, GuardTable(unknown="flag")), rows) == {
        "missing": [True, False],
        "unknown": [False, True],
    }


def test_categories_that_the_schema_does_not_list_are_refused_and_no_value_is_quoted():
    guard = Guard(MIXED, None, GuardTable())
    rows = {
        "a": np.array([0.5, 0.5]),
        "b": np.array([0.0, 0.0]),
        "c": np.array(["red", "secret"], dtype=object),
    }
    marks, words = guard(rows)
    assert marks["unknown"].tolist() == [False, True]
    assert guard.refuses({"unknown": 1}) == "unknown"
    assert words(0, 2) == [Wrong(1, "c", "has an unknown category")]
    assert words(0, 1) == []
    assert "secret" not in str(Unfit.rows_of(words(0, 2)))


@pytest.mark.parametrize("reaction", ["flag", "refuse"])
def test_what_is_noticed_is_refused_only_where_the_project_says_so(reaction):
    guard = Guard(NUMBERS, PROFILE, GuardTable(outside=reaction, unusual=reaction))
    assert (guard.refuses({"outside": 1}) is not None) is (reaction == "refuse")
    assert guard.refuses({"missing": 1}) == "missing"


def test_outputs_show_no_more_than_they_may():
    probabilities = np.array([[0.123456, 0.6, 0.276544]], dtype=np.float32)
    names: Any = SimpleNamespace(classes=["a", "b", "c"], regression=False, labels=[])
    assert (
        outputs.shown(names, [1], probabilities, OutputsTable())["probabilities"] is probabilities
    )
    assert outputs.shown(names, [1], probabilities, outputs.LABEL_ONLY) == {"label": ["b"]}
    top = outputs.shown(names, [1], probabilities, OutputsTable(show="top", top=2, digits=2))
    assert top["top"] == ["b", "c"]
    assert top["top_probabilities"].round(6).tolist() == [[pytest.approx(0.6), pytest.approx(0.28)]]


def test_a_rate_holds_across_gateways_and_restarts_and_comes_back_with_time(store):
    clock = Clock()
    one, other = (Quota(Usage(store), clock, LimitsTable(), lambda *_: None) for _ in range(2))
    for _ in range(3):
        one.rate("token", 5)
    asyncio.run(flushed(one))
    for quota in (other, Quota(Usage(store), clock, LimitsTable(), lambda *_: None)):
        quota.rate("token", 5)
        quota.rate("token", 5)
        with pytest.raises(TooMany):
            quota.rate("token", 5)
    clock.time += datetime.timedelta(seconds=121)
    one.rate("token", 5)


async def flushed(quota):
    await quota.flush(asyncio.get_running_loop())


def test_rows_over_days_are_counted_for_ever_and_for_each_model_alone(store):
    clock, table = Clock(), LimitsTable(rows=10, days=2)
    quota = Quota(Usage(store), clock, table, lambda *_: None)
    rows = np.zeros((8, 2))
    quota.enter("uid")
    quota.reserve("uid", "m", 8)
    quota.served("uid", "m", rows, 8, 0, clock.time.timestamp())
    quota.leave("uid", "m", 8)
    asyncio.run(flushed(quota))
    for again in (quota, Quota(Usage(store), clock, table, lambda *_: None)):
        with pytest.raises(TooMany, match="used up"):
            again.reserve("uid", "m", 3)
        again.reserve("uid", "n", 3)
    clock.time += datetime.timedelta(days=3)
    quota.reserve("uid", "m", 10)
    with pytest.raises(TooMany, match="used up"):
        quota.reserve("uid", "m", 1)  # what is asked about just now counts already


def test_requests_at_once_are_bounded_for_each_caller(store):
    quota = Quota(Usage(store), SystemClock(), LimitsTable(concurrent=2), lambda *_: None)
    quota.enter("a")
    quota.enter("a")
    with pytest.raises(TooMany):
        quota.enter("a")
    quota.enter("b")
    quota.leave("a", "", 0)
    quota.enter("a")


def test_an_alarm_that_cannot_be_recorded_counts_nothing_twice_and_its_caller_waits_outside(store):
    faults, alarms = [OSError("nobody hears")] * 3, []

    def alarm(*told):
        if faults:
            raise faults.pop()
        alarms.append(told)

    clock = Clock()
    quota = Quota(Usage(store), clock, LimitsTable(probing=0.1), alarm)
    quota.enter("uid")
    quota.served("uid", "m", np.zeros((300, 2)), 300, 300, clock.time.timestamp())
    for _ in range(3):
        asyncio.run(flushed(quota))
        quota.enter("other")
        with pytest.raises(BackendError):
            quota.enter("uid")
    assert alarms == []
    asyncio.run(flushed(quota))  # without more use
    assert [told[0] for told in alarms] == ["uid"]
    quota.enter("uid")
    assert [used.rows for used in Usage(store).of("uid", "m", 86400, 0).values()] == [300]


def test_a_caller_is_let_in_while_the_alarm_about_them_is_being_recorded(store):
    met = []

    def alarm(principal, _message):
        quota.enter(principal)
        met.append(principal)

    clock = Clock()
    quota = Quota(Usage(store), clock, LimitsTable(probing=0.1), alarm)
    quota.served("uid", "m", np.zeros((300, 2)), 300, 300, clock.time.timestamp())
    asyncio.run(flushed(quota))
    assert met == ["uid"]


@pytest.mark.parametrize("probing", [True, False])
def test_asking_for_one_feature_after_the_other_is_told_and_ordinary_rows_are_not(store, probing):
    alarms, generator = [], np.random.default_rng(0)
    clock = Clock()
    quota = Quota(Usage(store), clock, LimitsTable(), lambda *told: alarms.append(told))
    row = generator.normal(size=5)
    for step in range(300):
        row = row.copy() if probing else generator.normal(size=5)
        row[step % 5] += 0.01
        quota.served("uid", "m", row[None], 1, 0, clock.time.timestamp())
    asyncio.run(flushed(quota))
    assert bool(alarms) is probing


def test_what_could_not_be_written_down_still_counts(store, monkeypatch):
    clock = Clock()
    quota = Quota(Usage(store), clock, LimitsTable(), lambda *_: None)
    for _ in range(5):
        quota.rate("token", 5)

    def away(*_):
        raise OSError("the catalogue is away")

    with monkeypatch.context() as patch:
        patch.setattr(quota, "_write", away)
        with pytest.raises(OSError, match="away"):
            asyncio.run(flushed(quota))
    with pytest.raises(TooMany):
        quota.rate("token", 5)
    asyncio.run(flushed(quota))
    with pytest.raises(TooMany):
        Quota(Usage(store), clock, LimitsTable(), lambda *_: None).rate("token", 5)


class Summing:
    """A model whose probability is the sum of the row; a row of 13 breaks it."""

    slow, steady = False, True

    def __init__(self, guard=None):
        self.guard = guard or Guard(NUMBERS, None, GuardTable(outside="refuse"))
        self.runs = []

    def in_thread(self, _):
        return self.slow

    def allowance(self, _):
        return 5.0

    def predict(self, rows):
        if (rows == 13).any():
            raise ValueError("13")
        if self.slow:
            time.sleep(0.02)
        self.runs.append(len(rows))
        total = rows.sum(axis=1).astype(np.float32)
        return (total > 1).astype(np.int64), np.column_stack([1 - total, total])


class BatchListener:
    def answered(self, _endpoint, job, codes, probabilities, noticed):
        job.done.set_result((codes, probabilities, noticed))

    def failed(self, _endpoint, job, fault, noticed):
        job.done.set_result((fault, noticed))


def ask(endpoint, parts, deadline=10.0, before=0.0):
    async def work():
        batcher, loop = Batcher(endpoint, deadline, BatchListener()), asyncio.get_running_loop()
        jobs = [
            Job(
                Asked(np.array(rows, dtype=float), len(rows), None),
                time.perf_counter() - before,
                None,
                loop.create_future(),
            )
            for rows in parts
        ]
        for job in jobs:
            batcher.submit(job)
        return await asyncio.gather(*(job.done for job in jobs))

    return asyncio.run(work())


@pytest.mark.parametrize("slow", [False, True])
def test_requests_of_one_turn_share_one_run_and_each_gets_its_own_rows(slow):
    endpoint = Summing()
    endpoint.slow = slow
    found = ask(endpoint, [[[0.1, 0.2]], [[0.5, 0.6], [0.0, 0.0]], [[0.9, 0.9]]])
    assert endpoint.runs == [4]
    assert [codes for codes, _, _ in found] == [[0], [1, 0], [1]]
    assert found[1][1][:, 1].tolist() == pytest.approx([1.1, 0.0])


def test_a_bad_request_fails_alone_whether_a_guard_or_the_model_refuses_it():
    found = ask(Summing(), [[[0.1, 0.2]], [[7.0, 0.0]], [[0.5, 13.0]], [[0.9, 0.9]]])
    assert [type(one[0]).__name__ for one in found] == ["list", "Unfit", "ValueError", "list"]


@pytest.mark.parametrize("slow", [False, True])
def test_whoever_cannot_be_told_gets_the_fault_and_the_queue_goes_on(slow, monkeypatch):
    def broken(*_):
        raise OSError("no record can be made")

    monkeypatch.setattr(BatchListener, "failed", broken)
    monkeypatch.setattr(BatchListener, "answered", broken)
    endpoint = Summing()
    endpoint.slow = slow
    with pytest.raises(OSError, match="no record"):
        ask(endpoint, [[[0.1, 0.2]], [[0.5, 13.0]]])
    monkeypatch.undo()
    assert ask(endpoint, [[[0.1, 0.2]]])[0][0] == [0]


def test_an_answer_after_the_deadline_is_not_computed():
    endpoint = Summing()
    found = ask(endpoint, [[[0.1, 0.2]]], deadline=1.0, before=2.0)
    assert isinstance(found[0][0], TooLate)
    assert endpoint.runs == []


def test_a_model_whose_answers_depend_on_company_is_asked_one_by_one():
    endpoint = Summing()
    endpoint.steady = False
    ask(endpoint, [[[0.1, 0.2]], [[0.5, 0.6]]])
    assert endpoint.runs == [1, 1]


NAMES = st.sampled_from(["red", "green", "(missing)", "ünïcode"])
FLOATS = st.floats(allow_nan=True, allow_infinity=True, width=64)


@given(st.lists(st.tuples(FLOATS, FLOATS, NAMES), min_size=1, max_size=8))
def test_rows_come_back_from_their_bytes_bit_for_bit(values):
    matrix = np.array([value[:2] for value in values])
    assert rows_from(rows_bytes(matrix), NUMBERS).tobytes() == matrix.tobytes()
    columns = {
        "a": matrix[:, 0],
        "b": matrix[:, 1],
        "c": np.array([value[2] for value in values], dtype=object),
    }
    back = rows_from(rows_bytes(columns), MIXED)
    assert {
        name: one.tolist() if one.dtype == object else one.tobytes() for name, one in back.items()
    } == {
        name: one.tolist() if one.dtype == object else one.tobytes()
        for name, one in columns.items()
    }
    assert joined([columns, columns])["c"].tolist() == columns["c"].tolist() * 2


@given(st.binary(max_size=60))
def test_damaged_rows_are_told_from_rows(content):
    for schema in (NUMBERS, MIXED):
        try:
            rows_from(content, schema)
        except VerificationError:
            pass


MISSING = ["", "NA", "NaN", "-"]


class Shape:
    """As much of an endpoint as a protocol looks at."""

    barred = None

    def __init__(self, schema, extra="ignore", raw=None):
        self.schema, self.features, self.takes_matrix = (
            schema,
            schema.features,
            not schema.categories,
        )
        self.cells = {column.name: Cells(column, MISSING) for column in schema.features}
        self.extra, self.raw = extra, raw


def invoke(schema, body, kind=b"application/json", most=100, extra="ignore", accept=b""):
    content = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return invocations.read(Shape(schema, extra), content, kind, most, accept)


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_split": {"columns": ["a", "b"], "data": [[0.5, 2], [1, None]]}},
        {
            "dataframe_split": {
                "columns": ["b", "a"],
                "index": [0, 1],
                "data": [[2, 0.5], [None, 1]],
            }
        },
        {"dataframe_split": {"data": [[0.5, 2], [True, None]]}},
        {"dataframe_records": [{"a": 0.5, "b": 2}, {"b": None, "a": 1}]},
        {"inputs": [[0.5, 2], [1, None]]},
        {"inputs": {"b": [2, None], "a": [0.5, 1]}},
        {"inputs": {"b": [[2], [None]], "a": [[0.5], [1]]}},
        {"instances": [[0.5, 2], [1, None]], "params": {"x": 1}},
        {"instances": [{"a": 0.5, "b": 2}, {"a": 1, "b": None}]},
        b"a,b\n0.5,2\n1,\n",
        b"b,a\r\n2,0.5\r\n,true\r\n",
        b"0.5,2\n1,\n",
        b'\xef\xbb\xbf"a","b"\n0.5,2\n1,\n',
    ],
)
def test_every_form_of_a_body_says_the_same(body):
    asked = invoke(
        NUMBERS,
        body,
        b"text/csv" if isinstance(body, bytes) else b"application/json; charset=utf-8",
    )
    assert asked.count == 2
    assert np.array_equal(asked.rows, [[0.5, 2], [1, np.nan]], equal_nan=True)


def test_categories_and_missing_ones_come_by_name():
    for body, kind in (
        (
            {"dataframe_records": [{"a": 1, "b": 2, "c": "red"}, {"a": 1, "b": 2, "c": None}]},
            b"application/json",
        ),
        (b"c,a,b\nred,1,2\n,1,2\n", b"text/csv"),
    ):
        asked = invoke(MIXED, body, kind)
        assert asked.rows["c"].tolist() == ["red", "(missing)"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, "exactly one"),
        ({"inputs": [[1, 2]], "instances": [[1, 2]]}, "exactly one"),
        ({"rows": [[1, 2]]}, "unknown field"),
        ({"inputs": []}, "no rows"),
        ({"inputs": 3}, "no rows"),
        ({"inputs": [[1]]}, "list of 2 values"),
        ({"inputs": [[1, 2], [1]]}, "list of 2 values"),
        ({"inputs": [["x", 2]]}, "is a number"),
        ({"inputs": [[{"x": 1}, 2]]}, "is a number"),
        ({"inputs": {"a": [1], "bb": [2]}}, "the input 'b' is missing .*did you mean it by 'bb'"),
        ({"inputs": {"a": [1]}}, "is missing"),
        ({"inputs": {"a": [1], "b": [1, 2]}}, "same number of rows"),
        ({"inputs": {"a": [], "b": []}}, "same number of rows"),
        ({"instances": {"a": 1}}, "must be a list"),
        ({"dataframe_records": [[1, 2]]}, "list of records"),
        ({"dataframe_records": [{"a": 1, "b": 2}, {"a": 1, "c": 2}]}, "same names"),
        ({"dataframe_split": {"columns": ["a", "a"], "data": [[1, 2]]}}, "same name"),
        ({"dataframe_split": {"columns": ["a", "b"]}}, "data"),
        ({"inputs": [[1, 2]] * 101}, "more than 100 rows"),
        ({"instances": [[[1, 2, 3]]]}, "the model takes 2"),
        (b"[" * 100_000, "not as expected"),
        (b"\xff", "not as expected"),
    ],
)
def test_a_malformed_body_is_explained(body, expected):
    with pytest.raises(RequestError, match=expected):
        invoke(NUMBERS, body)


@pytest.mark.parametrize(
    "body",
    [b"", b"a,b\n", b"a,b\n1\n", b'"a,b\n1,2', b"a,b\nx,2\n", b"\xff\xfe", b"a\x00,b\n1,2\n"],
)
def test_malformed_csv_is_refused(body):
    with pytest.raises(RequestError):
        invoke(NUMBERS, body, b"text/csv")


def test_other_content_types_are_refused():
    with pytest.raises(RequestError, match="content types"):
        invoke(NUMBERS, b"x", b"application/x-npy")


@settings(max_examples=often(200))
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=3),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["a", "b", "c", "inputs", "instances", "columns", "data"]),
                inner,
                max_size=3,
            )
        ),
    )
)
def test_anything_in_json_is_rows_or_refused(value):
    for form in invocations.FORMS:
        try:
            asked = invoke(MIXED, {form: value})
        except RequestError:
            continue
        assert asked.count >= 1


CONTRACT = Schema(
    target="y",
    classes=["no", "yes"],
    columns=[
        ColumnSchema(name="age", type="number", nullable=True),
        ColumnSchema(name="smoker", type="category", categories=["false", "true"], nullable=True),
        ColumnSchema(name="ward", type="category", categories=["007", "11", "12"], nullable=True),
        ColumnSchema(name="kind", type="category", categories=["-", "1.0", "2.0"]),
    ],
)


def as_csv(**cells):
    return (
        ",".join(cells).encode()
        + b"\n"
        + ",".join(str(cell) for cell in cells.values()).encode()
        + b"\n"
    )


def tensors(**values):
    return {
        "inputs": [
            {"name": name, "shape": [1], "datatype": kind, "data": [value]}
            for name, (kind, value) in values.items()
        ]
    }


SAME = [
    ({"dataframe_records": [{"age": 70, "smoker": True, "ward": 11, "kind": 1}]}, b""),
    ({"dataframe_records": [{"age": "70", "smoker": "True", "ward": 11.0, "kind": 1.0}]}, b""),
    (
        {"dataframe_records": [{"age": 70, "smoker": "TRUE", "ward": "11", "kind": "1"}]},
        b"application/json",
    ),
    (
        {
            "dataframe_records": [
                {"age": 70, "smoker": "true", "ward": "11.0", "kind": "1.0", "patient": "P1"}
            ]
        },
        b"",
    ),
    (
        {
            "dataframe_split": {
                "columns": ["id", "age", "smoker", "ward", "kind"],
                "data": [["P1", 70, True, 11, 1]],
            }
        },
        b"",
    ),
    (
        {
            "inputs": {
                "age": [70],
                "smoker": [[True]],
                "ward": [[11]],
                "kind": ["1.0"],
                "id": ["x", "y"],
            }
        },
        b"",
    ),
    (as_csv(age=70, smoker="true", ward=11, kind=1), b"text/csv"),
    (as_csv(age=" 7e1 ", smoker=" True ", ward="11.0", kind="1.0"), b"text/csv; charset=utf-8"),
    (as_csv(id="P1", kind=1, age="70.", smoker="TRUE", ward=11), b"application/csv"),
    (b'{"age":70,"smoker":true,"ward":11,"kind":1,"id":"P1"}\n', b"application/jsonlines"),
    (b'[70,"true","11","1.0"]\n', b"application/x-ndjson"),
]


@pytest.mark.parametrize(("body", "kind"), SAME, ids=str)
def test_whatever_a_callers_tool_makes_of_a_value_it_means_the_same(body, kind):
    rows = invoke(CONTRACT, body, kind or b"application/json").rows
    assert {name: values.tolist() for name, values in rows.items()} == {
        "age": [70.0],
        "smoker": ["true"],
        "ward": ["11"],
        "kind": ["1.0"],
    }


@pytest.mark.parametrize(
    "inputs",
    [
        {
            "age": ("FP64", 70),
            "smoker": ("BOOL", True),
            "ward": ("INT64", 11),
            "kind": ("FP32", 1.0),
        },
        {
            "age": ("BYTES", "70"),
            "smoker": ("BYTES", "True"),
            "ward": ("UINT8", 11),
            "kind": ("INT8", 1),
        },
        {
            "id": ("BYTES", "P1"),
            "age": ("INT32", 70),
            "smoker": ("BOOL", True),
            "ward": ("FP64", 11.0),
            "kind": ("BYTES", "1"),
        },
    ],
)
@pytest.mark.parametrize("binary", [False, True])
def test_tensors_of_any_datatype_mean_what_the_schema_says(inputs, binary):
    if binary:
        request = oip_grpc.message("ModelInferRequest")()
        for name, (kind, value) in inputs.items():
            tensor = request.inputs.add(name=name, datatype=kind, shape=[1])
            getattr(tensor.contents, oip_grpc.CONTENTS[kind]).append(
                value.encode() if isinstance(value, str) else value
            )
        asked = oip_grpc.read(Shape(CONTRACT), "m", request, 10)
    else:
        asked = oip.read(Shape(CONTRACT), "m", msgspec.json.encode(tensors(**inputs)), None, 10)
    assert asked.count == 1
    assert {name: values.tolist() for name, values in asked.rows.items()} == {
        "age": [70.0],
        "smoker": ["true"],
        "ward": ["11"],
        "kind": ["1.0"],
    }


def test_a_code_keeps_every_digit_and_zero_and_a_doubtful_spelling_means_nothing():
    cells = Cells(CONTRACT.columns[2])
    assert cells.read(["007", "7", 7, "007.0", " 11 "]).tolist() == ["007", "7", "7", "007.0", "11"]
    assert Cells(ColumnSchema(name="c", type="category", categories=["true", "True"])).read(
        ["TRUE", "True", True]
    ).tolist() == [
        "TRUE",
        "True",
        "True",
    ]
    long = 1582218195625938101
    column = ColumnSchema(name="c", type="category", categories=[str(long)])
    shape = Shape(Schema(target="y", classes=["0", "1"], columns=[column]))
    asked = oip.read(shape, "m", msgspec.json.encode(tensors(c=("INT64", long))), None, 10)
    assert asked.rows["c"].tolist() == [str(long)]
    assert Cells(CONTRACT.columns[3]).read(["-", None, "NA"]).tolist() == [
        "-",
        MISSING_CATEGORY,
        "NA",
    ], "what the schema lists is no missing marker"


@pytest.mark.parametrize("marker", [None, "", "NA", "NaN", " - ", float("nan")])
def test_what_null_values_lists_is_missing_in_numbers_and_categories(marker):
    for column in CONTRACT.columns[:2]:
        (found,) = Cells(column, MISSING).read([marker]).tolist()
        assert found == MISSING_CATEGORY if column.type == "category" else np.isnan(found)
    body = b'{"dataframe_records":[{"age":NaN,"smoker":null,"ward":11,"kind":1}]}'
    assert np.isnan(invoke(CONTRACT, body).rows["age"][0]), (
        "numpy's missing number through json.dumps"
    )
    with pytest.raises(RequestError, match="malformed"):
        invoke(CONTRACT, body.replace(b"NaN", b"[NaN, Infinity]"))


@pytest.mark.parametrize("text", ["1_000", "0x10", "\u0661", "1,5", "one", "--1", "true1"])
def test_a_text_that_is_no_number_names_its_row(text):
    with pytest.raises(RequestError, match="'age' is a number") as caught:
        invoke(
            CONTRACT,
            {
                "inputs": {
                    "age": [1, text, "2"],
                    "smoker": [None] * 3,
                    "ward": [None] * 3,
                    "kind": [1] * 3,
                }
            },
        )
    assert caught.value.rows == [Wrong(1, "age", "is not a number")]
    assert text not in str(caught.value.rows)


def test_what_the_model_does_not_take_is_ignored_or_refused_as_the_project_says():
    record = {"a": 0.5, "b": 2, "patient": "P1"}
    assert invoke(NUMBERS, {"dataframe_records": [record]}).rows.tolist() == [[0.5, 2.0]]
    with pytest.raises(RequestError, match="no input called 'patient'"):
        invoke(NUMBERS, {"dataframe_records": [record]}, extra="refuse")
    body = tensors(patient=("BYTES", "P1"), a=("FP64", 0.5), b=("FP64", 2))
    body["inputs"][0] |= {"shape": [3], "data": ["P1", "P2", "P3"]}
    assert oip.read(Shape(NUMBERS), "m", msgspec.json.encode(body), None, 10).count == 1
    with pytest.raises(RequestError, match="the input 'b' is missing"):
        invoke(NUMBERS, {"dataframe_records": [{"a": 0.5, "patient": "P1"}]})


def test_json_lines_are_answered_in_json_lines():
    asked = invoke(
        NUMBERS,
        b'{"a":0.5,"b":2}\n{"a":1,"b":null}\n',
        b"application/jsonlines",
        accept=b"application/jsonlines",
    )
    answer = Answer(
        {
            "label": ["b", "c"],
            "probabilities": np.array([[0.5, 0.5], [0.25, 0.75]], dtype=np.float32),
        },
        {},
    )
    told = msgspec.json.Decoder().decode_lines(asked.encode(NUMBERS, answer)[1])
    assert told == [
        {"prediction": "b", "probabilities": [0.5, 0.5]},
        {"prediction": "c", "probabilities": [0.25, 0.75]},
    ]
    hidden = asked.encode(None, Answer({"prediction": np.array([1.0, 2.0])}, {}))[1]
    assert msgspec.json.Decoder().decode_lines(hidden) == [{"prediction": 1.0}, {"prediction": 2.0}]


def test_every_row_that_is_refused_is_named():
    rows = {
        "a": np.array([0.5, np.inf, np.nan, 0.5, 9.0]),
        "b": np.zeros(5),
        "c": np.array(["red", "red", "x", "(missing)", "red"], dtype=object),
    }
    _, wrong = Guard(MIXED, None, GuardTable(outside="refuse"))(rows)
    assert sorted((one.row, one.input) for one in wrong(0, 5)) == [
        (1, "a"),
        (2, "a"),
        (2, "c"),
        (3, "c"),
        (4, "a"),
    ]
    assert [one.row for one in wrong(3, 5)] == [1, 0], "counted within the request"
    assert {one.row for one in Guard(MIXED, None, GuardTable(unknown="flag"))(rows)[1](0, 5)} == {
        1,
        2,
        3,
    }, "what is flagged is answered"
    usual = Guard(NUMBERS, PROFILE, GuardTable(unusual="refuse"))(
        np.array([[0.5, 0.0], [0.5, 9.0]])
    )[1]
    assert [(one.row, one.input) for one in usual(0, 2)] == [(1, "")]


def test_the_reply_shows_the_best_classes_by_name():
    answer = Answer(
        {
            "label": ["b"],
            "top": ["b", "c"],
            "top_probabilities": np.array([[0.5, 0.25]], dtype=np.float32),
        },
        {},
    )
    assert msgspec.json.decode(invocations.encode(NUMBERS, answer)[1]) == {
        "predictions": ["b"],
        "probabilities": [{"b": 0.5, "c": 0.25}],
    }


NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def test_a_rollback_takes_back_what_is_most_daring_first(store):
    rollouts = Rollouts(store)

    def do(work):
        with store.transaction() as tx:
            return work(tx)

    def released():
        return {one.part: one.version for one in rollouts.all()}

    def promote(version, part="live"):
        do(lambda tx: rollouts.promote(tx, "m", version, part, 0.1, [], "ana", NOW))

    with pytest.raises(ConfigError, match="nothing of"):
        do(lambda tx: rollouts.rollback(tx, "m", "ana", NOW))
    promote(1)
    promote(2)
    promote(3, "canary")
    promote(4, "shadow")
    assert released() == {"live": 2, "canary": 3, "shadow": 4}
    promote(5, "canary")
    assert released() == {"live": 2, "canary": 5, "shadow": 4}
    with pytest.raises(ConfigError, match="live already"):
        promote(2, "canary")
    for expected in ({"live": 2, "shadow": 4}, {"live": 2}, {"live": 1}):
        do(lambda tx: rollouts.rollback(tx, "m", "ana", NOW))
        assert released() == expected
    with pytest.raises(ConfigError, match="nothing to go back to"):
        do(lambda tx: rollouts.rollback(tx, "m", "ana", NOW))
    promote(6, "canary")
    promote(6)
    assert released() == {"live": 6}
