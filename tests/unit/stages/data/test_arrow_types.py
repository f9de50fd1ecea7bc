"""Every type of Arrow that other tools write is read, or refused by its name: never a traceback,
never a digit lost silently.
"""

import datetime as dt
import decimal
import uuid

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from casemate.config import ColumnTable, DataTable
from casemate.core.errors import DataError, Error
from casemate.operations import scaffold
from casemate.stages.data import files, schema, source

N = 24
NUMBERS = list(range(N))
DAY = dt.datetime(2024, 1, 1)  # noqa: DTZ001 - a moment without a zone is what is meant


def extension(kind: pa.DataType, storage: pa.Array) -> pa.Array:
    return pa.ExtensionArray.from_storage(kind, storage)


TYPES = {
    **{
        str(kind): pa.array(NUMBERS, kind)
        for kind in (
            pa.int8(),
            pa.int16(),
            pa.int32(),
            pa.int64(),
            pa.uint8(),
            pa.uint16(),
            pa.uint32(),
            pa.uint64(),
        )
    },
    "half float": pa.array(np.arange(N, dtype=np.float16)),
    "float": pa.array(NUMBERS, pa.float32()),
    "bool": pa.array([n % 2 == 0 if n else None for n in NUMBERS]),
    "bool8": extension(pa.bool8(), pa.array([n % 2 for n in NUMBERS], pa.int8())),
    "null": pa.nulls(N),
    "decimal32": pa.array([decimal.Decimal(n) / 4 for n in NUMBERS], pa.decimal32(6, 2)),
    "decimal128": pa.array([decimal.Decimal(n) / 4 for n in NUMBERS], pa.decimal128(38, 2)),
    "decimal256": pa.array([decimal.Decimal(n) / 4 for n in NUMBERS], pa.decimal256(70, 2)),
    "string": pa.array([f"w{n % 3}" for n in NUMBERS]),
    "large string": pa.array([f"w{n % 3}" for n in NUMBERS], pa.large_string()),
    "string view": pa.array([f"w{n % 3}" for n in NUMBERS], pa.string_view()),
    "binary of text": pa.array([b"w%d" % (n % 3) for n in NUMBERS]),
    "large binary of text": pa.array([b"w%d" % (n % 3) for n in NUMBERS], pa.large_binary()),
    "binary view of text": pa.array([b"w%d" % (n % 3) for n in NUMBERS], pa.binary_view()),
    "fixed binary of text": pa.array([b"w%d" % (n % 3) for n in NUMBERS], pa.binary(2)),
    "binary": pa.array([bytes([255, n]) for n in NUMBERS]),
    "uuid": extension(
        pa.uuid(), pa.array([uuid.UUID(int=n).bytes for n in NUMBERS], pa.binary(16))
    ),
    "json": extension(pa.json_(), pa.array(['{"a": 1}'] * N)),
    "opaque": extension(pa.opaque(pa.int64(), "thing", "somebody"), pa.array(NUMBERS)),
    "tensor": extension(
        pa.fixed_shape_tensor(pa.int8(), [2]),
        pa.array([[n, n] for n in NUMBERS], pa.list_(pa.int8(), 2)),
    ),
    "date32": pa.array([(DAY + dt.timedelta(n)).date() for n in NUMBERS], pa.date32()),
    "date64": pa.array([(DAY + dt.timedelta(n)).date() for n in NUMBERS], pa.date64()),
    "time32": pa.array([dt.time(n) for n in NUMBERS], pa.time32("ms")),
    "time64": pa.array([dt.time(n) for n in NUMBERS], pa.time64("ns")),
    "timestamp": pa.array([DAY + dt.timedelta(hours=n) for n in NUMBERS], pa.timestamp("us")),
    "zoned timestamp": pa.array(
        [DAY + dt.timedelta(hours=n) for n in NUMBERS], pa.timestamp("ns", "Europe/Berlin")
    ),
    "duration": pa.array([dt.timedelta(seconds=n) for n in NUMBERS], pa.duration("ms")),
    "interval": pa.array([pa.MonthDayNano([1, n, 0]) for n in NUMBERS]),
    "dictionary of text": pa.array([f"w{n % 3}" for n in NUMBERS]).dictionary_encode(),
    "dictionary of numbers": pa.array([n % 3 for n in NUMBERS]).dictionary_encode(),
    "dictionary of moments": pa.array([DAY] * N, pa.timestamp("s")).dictionary_encode(),
    "run ends": pa.compute.run_end_encode(pa.array([n // 5 for n in NUMBERS])),
    "list": pa.array([[n] for n in NUMBERS]),
    "list view": pa.array([[n] for n in NUMBERS], pa.list_view(pa.int64())),
    "struct": pa.array([{"a": n} for n in NUMBERS]),
    "map": pa.array([[("a", n)] for n in NUMBERS], pa.map_(pa.string(), pa.int64())),
}
REFUSED = {"list", "list view", "struct", "map", "interval", "binary", "opaque", "tensor"}
WRITERS = {
    "parquet": pq.write_table,
    "arrow": lambda table, path: pyarrow.feather.write_feather(
        table, path, compression="uncompressed"
    ),
}


def stored(tmp_path, kind, name, writer):
    columns = {"x": np.arange(N) * 1.5, "z": TYPES[kind], "y": ["a", "b"] * (N // 2)}
    if name == "y":
        columns = {"x": np.arange(N) * 1.5, "y": TYPES[kind]}
    try:
        WRITERS[writer](pa.table(columns), tmp_path / "t")
    except (pa.ArrowException, NotImplementedError) as error:
        pytest.skip(f"{writer} cannot hold it: {str(error)[:80]}")
    return tmp_path / "t"


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("kind", TYPES)
def test_each_type_is_read_or_refused_by_name_as_feature_category_number_and_identifier(
    tmp_path, kind, writer
):
    path = stored(tmp_path, kind, "z", writer)
    for entry in (
        ColumnTable(),
        ColumnTable(type="category"),
        ColumnTable(type="number"),
        ColumnTable(column_class="identifier"),
    ):
        options = DataTable(source="t", target="y", columns={"z": entry})
        try:
            table, _ = source.read(path, options)
            found, _ = schema.infer(table, options)
            schema.check(table, found, options)
        except Error as error:
            assert "'z'" in error.message
            assert error.hint
            assert kind in REFUSED or entry.type or entry.column_class
            continue
        assert kind not in REFUSED
        assert table.num_rows == N


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_each_type_as_a_target_is_read_or_refused_by_name(tmp_path, kind, task):
    path = stored(tmp_path, kind, "y", "arrow")
    options = DataTable(source="t", target="y", task=task)
    try:
        table, _ = source.read(path, options)
        found, _ = schema.infer(table, options)
        schema.check(table, found, options)
    except Error as error:
        assert error.hint
        return
    assert table.num_rows == N


def test_what_was_read_is_what_was_written(tmp_path):
    expected = {
        "half float": [float(n) for n in NUMBERS],
        "uuid": [str(uuid.UUID(int=n)) for n in NUMBERS],
        "duration": [float(n) for n in NUMBERS],
        "decimal256": [n / 4 for n in NUMBERS],
        "dictionary of numbers": [float(n % 3) for n in NUMBERS],
        "run ends": [float(n // 5) for n in NUMBERS],
        "binary view of text": [f"w{n % 3}" for n in NUMBERS],
    }
    for kind, values in expected.items():
        table, _ = source.read(
            stored(tmp_path, kind, "z", "arrow"), DataTable(source="t", target="y")
        )
        assert table["z"].to_pylist() == values, kind


LONG = 2**53 + 1


@pytest.mark.parametrize("writer", ["parquet", "csv", "json"])
@pytest.mark.parametrize("number", [LONG, 10**22 + 1])
def test_integers_that_numbers_do_not_hold_are_kept_as_codes_told_as_numbers_and_else_refused(
    tmp_path, writer, number
):
    values = [number + n for n in NUMBERS]
    if writer == "parquet":
        kind = pa.int64() if number == LONG else pa.decimal128(38, 0)
        pq.write_table(
            pa.table({"z": pa.array(values, kind), "x": NUMBERS, "y": ["a", "b"] * (N // 2)}),
            tmp_path / "t",
        )
    elif writer == "csv":
        (tmp_path / "t").write_text(
            "z,x,y\n" + "".join(f"{value},{n},{'ab'[n % 2]}\n" for n, value in enumerate(values))
        )
    else:
        (tmp_path / "t").write_text(
            "".join(
                f'{{"z": {value}, "x": {n}, "y": "{"ab"[n % 2]}"}}\n'
                for n, value in enumerate(values)
            )
        )

    def read(entry):
        return source.read(tmp_path / "t", DataTable(source="t", target="y", columns={"z": entry}))

    with pytest.raises(files.InexactColumn) as caught:
        read(ColumnTable())
    assert caught.value.column == "z"
    assert 'type = "category"' in caught.value.hint
    _, findings = read(ColumnTable(type="number"))
    assert [finding.id for finding in findings] == ["data.rounded"]
    if writer == "json" and number != LONG:
        with pytest.raises(Error):
            read(ColumnTable(type="category"))
        return
    for entry in (ColumnTable(type="category"), ColumnTable(column_class="identifier")):
        assert read(entry)[0]["z"].to_pylist() == [str(value) for value in values]


def test_a_page_whose_checksum_does_not_hold_is_refused(tmp_path):
    rng = np.random.default_rng(0)
    table = pa.table({"x": rng.normal(size=2000), "y": ["a", "b"] * 1000})
    pq.write_table(
        table, tmp_path / "t", write_page_checksum=True, compression="none", use_dictionary=False
    )
    content = bytearray((tmp_path / "t").read_bytes())
    at = content.find(np.float64(table["x"][1000].as_py()).tobytes())
    content[at] ^= 1
    (tmp_path / "t").write_bytes(content)
    with pytest.raises(Error, match="not a readable Parquet file"):
        source.read(tmp_path / "t", DataTable(source="t", target="y"))


SEVERAL = 120
"""Rows that `init` sees: enough for a date to have more values than there may be classes."""


def many(kind):
    """A column of that type with as many different cells as it can have."""
    values = TYPES[kind]
    kinds = (pa.types.is_timestamp, pa.types.is_date, pa.types.is_time)
    if any(is_kind(values.type) for is_kind in kinds):
        storage = pa.array(range(SEVERAL), pa.int64())
        day = pa.types.is_date64(values.type)
        scaled = pa.compute.multiply(storage, 86_400_000) if day else storage
        narrow = pa.int32() if values.type.bit_width == 32 else pa.int64()
        return scaled.cast(narrow).view(values.type)
    at = pa.array([n % N for n in range(SEVERAL)])
    return (values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values).take(at)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("place", ["feature", "target"])
def test_init_takes_each_type_or_refuses_it_by_name_and_a_run_reads_what_init_took(
    tmp_path, kind, place
):
    try:
        cells = many(kind)
    except pa.ArrowNotImplementedError as error:
        pytest.skip(f"pyarrow repeats no cells of it: {str(error)[:80]}")
    columns = {"x": np.random.default_rng(1).normal(size=SEVERAL)}
    columns |= {"y": cells} if place == "target" else {"z": cells, "y": ["a", "b"] * (SEVERAL // 2)}
    pyarrow.feather.write_feather(pa.table(columns), tmp_path / "t", compression="uncompressed")
    try:
        plan = scaffold.from_table(tmp_path / "p", tmp_path / "t", "y")
    except Error as error:
        assert repr("y" if place == "target" else "z") in error.message
        assert error.hint
        return
    assert kind not in REFUSED
    table, _ = source.read(tmp_path / "t", plan.data)
    found, _ = schema.infer(source.labelled(table, plan.data)[0], plan.data)
    told = [(column.name, column.type) for column in plan.inferred]
    assert [(column.name, column.type) for column in found.columns] == told


@pytest.mark.parametrize("form", ["2024-{:02d}-{:02d}", "{1:02d}.{0:02d}.2024", "2024-{:02d}-{:02d}T08:15:00.000000000Z"])  # fmt: skip
def test_days_as_a_target_are_refused_with_what_to_do_whichever_task_is_asked_for(tmp_path, form):
    days = [form.format(1 + n % 12, 1 + n // 12) for n in range(SEVERAL)]
    text = "".join(f"{n / 7},{day}\n" for n, day in enumerate(days))
    (tmp_path / "t.csv").write_text(f"x,y\n{text}")
    for task in (None, "classification", "regression"):
        with pytest.raises(DataError, match="'y' is a time, which is neither a quantity nor a"):
            scaffold.from_table(tmp_path / "p", tmp_path / "t.csv", "y", task=task)
