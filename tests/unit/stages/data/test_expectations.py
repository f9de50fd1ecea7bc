"""What was learnt from rows is an expectation with a tolerance; what casemate.toml declares is law.
See `stages.data.expectations`.
"""

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from tests.conftest import write_csv

from casemate.config import ColumnTable, DataTable
from casemate.core.errors import DataError
from casemate.stages.data import declared, derived, expectations, schema, source

ROWS = 400


def month(seed: int, rows: int = ROWS) -> dict:
    """An ordinary month of a ward: normal, heavy-tailed, counted and categorical columns, some
    cells missing here and there.
    """
    draw = np.random.default_rng(seed)
    values = {name: draw.normal(50, 10, rows) for name in "abc"}
    columns = {
        name: np.round(cells, 1).astype(str).astype(object) for name, cells in values.items()
    }
    columns["cost"] = np.round(draw.lognormal(3, 1.5, rows), 2).astype(str).astype(object)
    columns["visits"] = draw.poisson(2, rows).astype(str).astype(object)
    columns["site"] = np.array(
        [f"s{place}" for place in np.minimum(draw.zipf(1.8, rows), 60)], dtype=object
    )
    columns["rare"] = columns["a"].copy()
    columns["rare"][draw.random(rows) < 0.002] = ""
    columns["day"] = np.array(
        [
            f"{1 + place % 28:02d}.{1 + place % 12:02d}.2020"
            for place in draw.integers(0, 999, rows)
        ],
        dtype=object,
    )
    columns["y"] = np.where(values["a"] + draw.normal(0, 12, rows) > 50, "ill", "well").astype(
        object
    )
    return columns


OPTIONS = DataTable(
    source="t.csv",
    target="y",
    columns={
        "day": ColumnTable(type="time", format="%d.%m.%Y", parts=["month", "weekday"]),
        "site": ColumnTable(type="category"),
    },
)


@pytest.fixture
def check(tmp_path):
    """Read a table, pin it if it is the first one, else check it; what the stage does between
    reading and screening.
    """
    state = {}

    def run(columns: dict, options: DataTable = OPTIONS, pinned=None):
        write_csv(
            tmp_path / "t.csv", pa.table({name: list(cells) for name, cells in columns.items()})
        )
        table, _ = source.read(tmp_path / "t.csv", options)
        told = derived.declared(options, table.column_names)
        known = pinned or state.get("schema")
        found, findings = (
            schema.infer(table, told) if known is None else declared.apply(known, table, told)
        )
        found, beyond = expectations.widened(found, table)
        schema.check(table, found, told)
        state.setdefault("schema", msgspec.convert(msgspec.to_builtins(found), schema.Schema))
        return found, findings + beyond

    return run


def test_further_months_of_the_same_ward_are_taken(check, scale):
    first, quiet = check(month(0))
    assert quiet == [] and first.rows == ROWS
    months, refused, told = scale(25, 100), 0, 0
    for seed in range(1, months + 1):
        try:
            found, findings = check(month(seed), pinned=first)
        except DataError:
            refused += 1
            continue
        told += bool(findings)
        assert (found == first) is (not findings)
    assert refused <= months // 100 and told > months // 2


def test_a_schema_that_widens_month_by_month_takes_them_all(check, scale):
    found, _ = check(month(0))
    for seed in range(1, scale(12, 60)):
        before = found
        found, _ = check(month(seed), pinned=found)
        assert expectations.law(found) == expectations.law(before)
        assert all(
            new.max is None or old.max is None or new.max >= old.max
            for new, old in zip(found.columns, before.columns, strict=True)
        )


@pytest.mark.parametrize(
    ("name", "change", "word"),
    [
        ("a", lambda cells: [str(float(cell) * 1.8 + 32) for cell in cells], "'a' is above"),
        ("cost", lambda cells: [str(float(cell) * 1000) for cell in cells], "'cost' is above"),
        ("b", lambda cells: [str(-float(cell)) for cell in cells], "'b' is below"),
        ("site", lambda cells: [f"S-{cell}" for cell in cells], "'site' has an unknown category"),
        (
            "c",
            lambda cells: ["" if place % 5 == 0 else cell for place, cell in enumerate(cells)],
            "'c' is missing",
        ),
        ("y", lambda cells: ["dead", *cells[1:]], "'y' has an unknown class"),
    ],
)
def test_another_unit_code_or_class_is_refused(check, name, change, word):
    check(month(0))
    columns = month(1)
    columns[name] = change(columns[name])
    with pytest.raises(DataError, match=word):
        check(columns)


@pytest.mark.parametrize(
    ("said", "cell", "word"),
    [
        (ColumnTable(max=1000), "1001", "above 1000"),
        (ColumnTable(min=0), "-1", "below 0"),
        (ColumnTable(nullable=False), "", "missing"),
    ],
)
def test_one_cell_beyond_a_declared_limit_is_refused(check, said, cell, word):
    options = msgspec.structs.replace(OPTIONS, columns={**OPTIONS.columns, "a": said})
    first, _ = check(month(0), options)
    assert first.column("a").declared == expectations.declared(said)
    columns = month(1)
    columns["a"][7] = cell
    with pytest.raises(DataError, match=f"'a' is .*{word} .*row 7|'a' is {word} in row 7"):
        check(columns, options)
    with pytest.raises(DataError):  # it stays law when casemate.toml no longer says it
        check(columns, OPTIONS)


def test_declared_categories_are_law_and_parts_cannot_leave_the_calendar(check):
    options = msgspec.structs.replace(
        OPTIONS,
        columns={**OPTIONS.columns, "site": ColumnTable(categories=[f"s{n}" for n in range(61)])},
    )
    first, _ = check(month(0), options)
    assert (
        first.column("day_month").min,
        first.column("day_month").max,
        first.column("day_month").declared,
    ) == (1, 12, ["max", "min"])
    columns = month(1)
    columns["site"][0] = "s61"
    with pytest.raises(DataError, match="unknown category in row 0"):
        check(columns, options)


def test_the_pinned_file_says_what_is_law_and_comes_back_as_it_was(check, tmp_path):
    first, _ = check(
        month(0),
        msgspec.structs.replace(OPTIONS, columns={**OPTIONS.columns, "a": ColumnTable(max=1000)}),
    )
    (tmp_path / "schema.toml").write_text(schema.dump(first))
    assert schema.load(tmp_path / "schema.toml") == first
    text = (tmp_path / "schema.toml").read_text()
    assert "rows = 400" in text and 'declared = ["max"]' in text


def test_a_schema_that_was_pinned_before_rows_were_counted_stays_strict(check):
    old = msgspec.structs.replace(check(month(0))[0], rows=0)
    refused = 0
    for seed in range(1, 4):
        try:
            check(month(seed), pinned=old)
        except DataError:
            refused += 1
    assert refused


def test_extremes_of_sensitive_columns_stay_rounded_when_they_widen(check):
    options = msgspec.structs.replace(
        OPTIONS, columns={**OPTIONS.columns, "cost": ColumnTable(column_class="sensitive")}
    )
    check(month(0), options)
    columns = month(1)
    columns["cost"][3] = "123456.78"
    found, _ = check(columns, options)
    assert found.column("cost").max > 123456.78 and found.column("cost").max % 10 == 0
