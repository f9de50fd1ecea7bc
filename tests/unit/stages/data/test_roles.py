"""What `init` takes the columns of a stranger's table for; see `stages.data.roles`."""

import datetime
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.conftest import write_csv

from casemate import config as configuration
from casemate.config import ColumnTable, DataTable
from casemate.core.errors import DataError
from casemate.operations import scaffold
from casemate.serve.called import Called
from casemate.stages.data import files, notation, roles, source

ROWS = 400
DAYS = [
    datetime.date(2019, 1, 1) + datetime.timedelta(days=int(n))
    for n in np.random.default_rng(5).integers(0, 1200, ROWS)
]


def numbers(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(50, 10, ROWS)


def plan_of(folder, columns: dict, target: str = "y", **options):
    columns = {**columns, "a": [f"{value:.1f}" for value in numbers(1)]}
    columns |= {} if target in columns else {target: [str(n % 2) for n in range(ROWS)]}
    return scaffold.from_table(
        folder, write_csv(folder / "t.csv", pa.table(columns)), target, **options
    )


def role_of(plan, name: str = "x"):
    return next(role for role in plan.roles if role.name == name)


def values_of(plan, folder, name: str = "x"):
    """The column as a run reads it, from the casemate.toml that would be written."""
    data = configuration.parse(scaffold.text.casemate_toml(plan, "p-1", None)).data
    table, _ = source.read(folder / "t.csv", data)
    return table[name].to_pylist()


@pytest.mark.parametrize(
    ("name", "cells", "role"),
    [
        ("", [str(n) for n in range(ROWS)], "row number"),
        ("Unnamed: 0", [str(n) for n in range(ROWS)], "row number"),
        ("x", [str(n + 17) for n in range(ROWS)], "row number"),
        ("x", [str(n) for n in np.random.default_rng(1).permutation(ROWS) + 1000], "key"),
        (
            "patient_id",
            [str(n) for n in np.random.default_rng(1).integers(0, 150, ROWS) * 7919],
            "person",
        ),
        (
            "patient_nbr",
            [str(n * 31) for n in np.random.default_rng(1).integers(0, 300, ROWS)],
            "person",
        ),
        ("customerID", [f"{n * 7919 % 10007}-AB" for n in range(ROWS)], "person"),
        ("encounter_id", [str(n * 7919) for n in range(ROWS)], "key"),
        ("x", [str(1582218195625938000 + n * 977) for n in range(ROWS)], "key"),
    ],
)
def test_row_numbers_keys_and_persons_are_no_features_numeric_or_not(tmp_path, name, cells, role):
    plan = plan_of(tmp_path, {name: cells})
    found = role_of(plan, name or "unnamed_1")
    assert found.role == role
    assert found.reason and found.example == cells[0]
    assert [column.name for column in plan.inferred if column.use and column.name != "y"] == ["a"]


def test_persons_that_repeat_stay_on_one_side_of_every_split(tmp_path):
    plan = plan_of(tmp_path, {"patient_id": [str(n % 150 * 7919) for n in range(ROWS)]})
    assert plan.data.subject == "patient_id"
    assert (
        plan_of(tmp_path, {"visit_id": [str(n * 7919) for n in range(ROWS)]}).data.subject is None
    )


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("x", [f"{n % 30 + 100:05d}" for n in range(ROWS)]),
        ("zip", [str(n % 30 + 81000) for n in range(ROWS)]),
        ("diag_code", [str(n % 12) for n in range(ROWS)]),
        ("site_id", [str(n % 5) for n in range(ROWS)]),
    ],
)
def test_codes_are_categories_and_keep_their_digits(tmp_path, name, cells):
    plan = plan_of(tmp_path, {name: cells})
    assert plan.data.columns[name] == ColumnTable(type="category")
    assert values_of(plan, tmp_path, name) == cells


def test_counts_ages_and_years_are_no_codes_and_no_keys(tmp_path):
    draw = np.random.default_rng(2)
    columns = {
        "age": draw.integers(18, 90, ROWS),
        "children": draw.integers(0, 5, ROWS),
        "year": draw.integers(1990, 2020, ROWS),
    }
    columns |= {
        "income": draw.integers(10_000, 90_000, ROWS),
        "num_visits": draw.integers(0, 30, ROWS),
    }
    plan = plan_of(tmp_path, columns)
    assert plan.data.columns == {}
    assert sum(column.use for column in plan.inferred if column.name in columns) == len(columns)


@pytest.mark.parametrize(
    ("write", "read"),
    [
        (lambda v: f"${v:,.2f}", 2),
        (lambda v: f"{v:.1f}%", 1),
        (lambda v: f"{v * 1000:,.0f}", None),
        (lambda v: f"{v:.2f}".replace(".", ","), 2),
        (lambda v: f"{v * 100:,.2f} €".replace(",", "_").replace(".", ",").replace("_", "."), None),
        (lambda v: f"CHF {v * 1000:,.2f}".replace(",", "'"), None),
        (lambda v: f"{v * 1000:,.1f}".replace(",", "\u00a0").replace(".", ","), None),
    ],
)
def test_amounts_percent_thousands_and_decimal_commas_are_numbers(tmp_path, write, read):
    plan = plan_of(tmp_path, {"x": [write(value) for value in numbers()]})
    found = np.array(values_of(plan, tmp_path))
    ratio = found / numbers()
    assert np.allclose(ratio, np.round(np.median(ratio)), rtol=0.01)
    assert role_of(plan).role == "number" and role_of(plan).example == write(numbers()[0]).replace(
        "\u00a0", " "
    )


def test_censored_numbers_keep_their_mark_as_a_feature(tmp_path):
    cells = [f"{value:.1f}" for value in numbers()]
    cells[::10], cells[5::10] = ["> 89"] * 40, ["<0.1"] * 40
    plan = plan_of(tmp_path, {"x": cells})
    assert values_of(plan, tmp_path)[:6:5] == [89.0, 0.1]
    assert values_of(plan, tmp_path, "x_censored")[:6] == [1, 0, 0, 0, 0, -1]
    assert any("80 censored cells" in note for note in plan.notes)


@pytest.mark.parametrize(
    "form",
    [
        "%d.%m.%Y",
        "%m/%d/%Y",
        "%d/%m/%Y",
        "%Y-%m-%d",
        "%Y/%m/%d",
        "%d %b %Y",
        "%b %d, %Y",
        "%d-%b-%Y",
        "%d.%m.%y",
        "%Y-%m-%dT00:00:00Z",
        "%Y-%m-%d %H:%M",
    ],
)
def test_dates_in_the_usual_notations_are_times_and_give_features(tmp_path, form):
    cells = [day.strftime(form) for day in DAYS]
    plan = plan_of(tmp_path, {"admitted": cells})
    assert [
        value if type(value) is datetime.date else value.date()
        for value in values_of(plan, tmp_path, "admitted")
    ] == DAYS
    assert values_of(plan, tmp_path, "admitted_month") == [day.month for day in DAYS]
    assert values_of(plan, tmp_path, "admitted_weekday") == [day.weekday() for day in DAYS]
    assert plan.data.time == "admitted"


@pytest.mark.parametrize(("unit", "form"), [(1, "epoch-s"), (1000, "epoch-ms")])
def test_numbers_since_1970_are_times_under_the_name_of_one(tmp_path, unit, form):
    seconds = [
        int(datetime.datetime(day.year, day.month, day.day, 7, tzinfo=datetime.UTC).timestamp())
        for day in DAYS
    ]
    plan = plan_of(tmp_path, {"created_at": [second * unit for second in seconds]})
    assert plan.data.columns["created_at"].format == form
    assert values_of(plan, tmp_path, "created_at_hour") == [7.0] * ROWS


def test_a_date_that_can_be_read_in_two_ways_is_asked_about_or_read_as_the_others_are(tmp_path):
    both = [f"{n % 12 + 1:02d}/{n // 12 % 12 + 1:02d}/2019" for n in range(ROWS)]
    alone = plan_of(tmp_path, {"x": both})
    assert role_of(alone).role == "unsure" and not any(
        column.name.startswith("x") and column.use for column in alone.inferred
    )
    assert any("%d/%m/%Y" in note and "%m/%d/%Y" in note for note in alone.notes)
    beside = plan_of(tmp_path, {"x": both, "other": [day.strftime("%m/%d/%Y") for day in DAYS]})
    assert beside.data.columns["x"].format == "%m/%d/%Y"


def test_days_count_to_the_rows_own_time_and_a_birth_date_is_an_age(tmp_path):
    born = [
        (day - datetime.timedelta(days=365 * (20 + n % 50))).isoformat()
        for n, day in enumerate(DAYS)
    ]
    plan = plan_of(tmp_path, {"birth_date": born, "admitted": [day.isoformat() for day in DAYS]})
    assert values_of(plan, tmp_path, "birth_date_days")[:3] == [365 * 20, 365 * 21, 365 * 22]
    assert plan.data.time == "admitted"


def test_one_odd_word_becomes_missing_and_is_told_and_many_are_asked_about(tmp_path):
    for cells, kept in (
        ([day.isoformat() for day in DAYS], "time"),
        (["true", "false"] * (ROWS // 2), "number"),
        ([f"{value:.1f}" for value in numbers()], "number"),
    ):
        one = plan_of(tmp_path, {"x": ["soon", *cells[1:]]})
        assert (one.data.columns["x"].type, one.data.columns["x"].coerce) == (kept, True)
        assert any("1 cells" in note and "'soon'" in note for note in one.notes)
        assert sum(value is None for value in values_of(one, tmp_path)) == 1
        many = plan_of(tmp_path, {"x": ["soon"] * 40 + cells[40:]})
        assert not many.data.columns["x"].coerce and role_of(many).role == "unsure"
        assert any("40 of 400" in note and "coerce = true" in note for note in many.notes)
        assert sum(value is None for value in values_of(many, tmp_path)) == 0


@pytest.mark.parametrize(
    ("mark", "sure"), [("-1", True), ("999", True), ("-9999", True), ("?", True), ("unknown", True)]
)
def test_marks_for_missing_are_noticed(tmp_path, mark, sure):
    plan = plan_of(tmp_path, {"x": [mark] * 20 + [f"{value:.1f}" for value in numbers()[20:]]})
    assert (plan.data.columns["x"].missing == [mark]) is sure
    assert values_of(plan, tmp_path)[:21].count(None) == 20
    assert any(mark in note and "20" in note for note in plan.notes)


def test_ordinary_numbers_are_no_marks(tmp_path):
    plan = plan_of(
        tmp_path,
        {"x": [str(n % 3 - 1) for n in range(ROWS)], "z": [str(n % 1000) for n in range(ROWS)]},
    )
    assert not any(column.missing for column in plan.data.columns.values())


def test_free_text_gives_bounded_features_that_depend_on_its_row_alone(tmp_path):
    draw = np.random.default_rng(4)
    cells = [
        " ".join(draw.choice(["fever", "cough", "pain", "asthma", "none"], 5)) for _ in range(ROWS)
    ]
    plan = plan_of(tmp_path, {"notes": cells})
    made = [column for column in plan.inferred if column.made_of == "notes"]
    assert len(made) == 16 and all(
        (column.use and column.declared == ["max", "min"]) or column.use for column in made
    )
    table = pa.table(
        {f"{n:02d}": values_of(plan, tmp_path, f"notes_word{n:02d}") for n in range(16)}
    )
    turned = plan_of(tmp_path, {"notes": cells[::-1]})
    assert (
        pa.table(
            {f"{n:02d}": values_of(turned, tmp_path, f"notes_word{n:02d}")[::-1] for n in range(16)}
        )
        == table
    )


def test_ten_thousand_categories_are_bounded(tmp_path):
    plan = plan_of(
        tmp_path, {"x": [f"v{n}" for n in np.random.default_rng(3).integers(0, 300, ROWS)]}
    )
    assert plan.data.columns["x"] == ColumnTable(type="text", parts=["words"])


def test_rows_without_a_target_are_left_out_and_counted(tmp_path):
    plan = plan_of(tmp_path, {"y": [None if n % 2 else str(n % 4) for n in range(ROWS)]})
    assert plan.data.missing_target == "drop"
    assert any(note.startswith("NOTE WELL: 200 of 400 rows") for note in plan.notes)
    table, found = source.labelled(source.read(tmp_path / "t.csv", plan.data)[0], plan.data)
    assert table.num_rows == 200 and found[0].severity == "medium"


def test_empty_and_constant_columns_are_dropped_and_told(tmp_path):
    plan = plan_of(tmp_path, {"e": [None] * ROWS, "c": ["7"] * ROWS, "w": ["w"] * ROWS})
    assert all(plan.data.columns[name].use is False for name in "ecw")
    assert all(any(f"'{name}'" in note for note in plan.notes) for name in "ecw")


def test_a_table_without_any_feature_is_refused_with_each_columns_reason(tmp_path):
    table = pa.table(
        {
            "n": range(ROWS),
            "c": ["7"] * ROWS,
            "patient_id": [n * 31 for n in range(ROWS)],
            "y": [n % 2 for n in range(ROWS)],
        }
    )
    with pytest.raises(DataError, match="no column is left") as caught:
        scaffold.from_table(tmp_path, write_csv(tmp_path / "t.csv", table), "y")
    assert all(word in caught.value.message for word in ("row number", "constant", "person"))


def test_classes_and_columns_that_differ_by_case_or_blanks_are_told(tmp_path):
    plan = plan_of(
        tmp_path,
        {"Age": ["1", "2"] * 200, "age ": ["1", "2"] * 200, "y": ["Yes", "yes ", "No", "no"] * 100},
    )
    assert sum("differ by case or blanks only" in note for note in plan.notes) == 3
    assert plan.classes == ["No", "Yes", "no", "yes"]


def test_a_parquet_file_is_inferred_alike(tmp_path):
    table = pa.table(
        {
            "__index_level_0__": range(ROWS),
            "patient_id": [n % 150 * 7919 for n in range(ROWS)],
            "day": pa.array(DAYS, pa.date32()),
            "x": numbers(),
            "y": [n % 2 for n in range(ROWS)],
        }
    )
    pq.write_table(table, tmp_path / "t.parquet")
    plan = scaffold.from_table(tmp_path, tmp_path / "t.parquet", "y")
    assert [role.role for role in plan.roles] == ["row number", "person", "date", "number"]


def test_likely_protected_attributes_are_named_and_no_others():
    from casemate.stages.data.roles import names

    assert all(
        names.protected(name)
        for name in ("AGEP", "RAC1P", "SEX", "gender_cd", "patientAge", "marital.status", "race")
    )
    assert not any(
        names.protected(name)
        for name in ("dosage", "page", "stage", "sextant", "trace", "average", "mar")
    )


def test_a_table_as_it_is_written_gives_a_caller_what_the_model_was_trained_on(tmp_path):
    cells = {
        "day": [day.strftime("%d.%m.%Y") for day in DAYS],
        "cost": [f"${value:,.2f}" for value in numbers()],
        "lab": ["<0.1", *[f"{value:.1f}" for value in numbers(2)[1:]]],
        "notes": [f"fever and cough number {n}" for n in range(ROWS)],
    }
    plan = plan_of(tmp_path, cells)
    table, _ = source.read(tmp_path / "t.csv", plan.data)
    sent, wrong = Called(plan.data).read(cells)
    features = [column.name for column in plan.inferred if column.use and column.name != "y"]
    assert len(features) == 22
    assert all(
        [float(cell) for cell in sent[name]] == table[name].to_pylist()
        for name in features
        if name in sent
    )
    assert set(features) - {"a"} <= set(sent)
    assert wrong == {}


def test_a_cell_that_is_not_written_as_said_is_named_and_does_not_go_as_missing(tmp_path):
    plan = plan_of(
        tmp_path, {"cost": [f"${value:,.2f}" for value in numbers()], "other": numbers(3)}
    )
    sent, wrong = Called(plan.data).read(
        {"cost": ["$1,234.50", "many", "", None], "other": [1.0, 2.0, 3.0, 4.0]}
    )
    assert [None if cell is None else float(cell) for cell in sent["cost"]] == [
        1234.5,
        None,
        None,
        None,
    ]
    assert wrong == {1: ("cost", "is not written as [data.columns] says")}
    assert sent["other"] == [1.0, 2.0, 3.0, 4.0]


def test_cells_of_blanks_in_a_column_of_numbers_are_missing_and_told(tmp_path):
    cells = [" " if n % 40 == 0 else f"{value:.2f}" for n, value in enumerate(numbers(5))]
    plan = plan_of(tmp_path, {"x": cells})
    assert role_of(plan).entry.missing == [""] and "blanks" in role_of(plan).note
    read = values_of(plan, tmp_path)
    assert read[0] is None and read[1] == float(cells[1])


def test_what_is_said_of_a_pattern_of_columns_is_read_of_callers_cells_too():
    options = DataTable(
        source="t.csv", target="y", columns={"px*": ColumnTable(type="number", decimal=",")}
    )
    sent, wrong = Called(options).read({"px1": ["1.234,50", "many"], "other": ["a", "b"]})
    assert float(sent["px1"][0]) == 1234.5 and wrong == {
        1: ("px1", "is not written as [data.columns] says")
    }


@pytest.mark.parametrize(
    ("form", "cells", "days"),
    [
        (
            "%d.%m.%Y",
            ["31.02.2024", "29.02.2024", "30.02.2023", "01.03.2023", None, "3.3.2024"],
            [None, 29, None, 1, None, 3],
        ),
        ("%Y%m%d", ["20240231", "20240131", "20230229", "20230302"], [None, 31, None, 2]),
        (
            "%b %d, %Y %H:%M",
            ["Feb 30, 2024 10:00", "Mar 1, 2024 10:00", "Apr 31, 2024 00:00"],
            [None, 1, None],
        ),
        ("iso", ["2024-02-31", "2024-02-29"], [None, 29]),
    ],
)
def test_a_day_that_there_is_not_is_no_other_day(form, cells, days):
    found = notation.times(pa.chunked_array([cells[:2], cells[2:]], pa.string()), form)
    assert [None if time is None else time.day for time in found.to_pylist()] == days


def test_a_day_that_there_is_not_keeps_a_column_text_where_one_notation_is_said_of_the_whole_file(
    tmp_path,
):
    options = DataTable(source="t.csv", target="y", date_format="%d.%m.%Y")
    for last, kind in (
        ("31.02.2024", "string"),
        ("29.02.2024", "timestamp[s]"),
        ("2024-02-29", "timestamp[s]"),
    ):
        (tmp_path / "t.csv").write_text(f"d,y\n01.03.2024,a\n,b\n{last},a\n")
        table, _ = source.read(tmp_path / "t.csv", options)
        assert str(table["d"].type) == kind, last


LATE = 203
"""A row that is not among every tenth."""


def _late(usual: list[str], odd: str) -> list[str]:
    return [*usual[:LATE], odd, *usual[LATE + 1 :]]


@pytest.mark.parametrize(
    "columns",
    [
        {"x": _late(["3"] * ROWS, "4")},
        {"x": _late([""] * ROWS, "late")},
        {"x": _late(["same"] * ROWS, "")},
        {"x": _late([str(n % 40) for n in range(ROWS)], "many")},
        {"x": _late([f"{n % 28 + 1:02d}.{n % 12 + 1:02d}.2019" for n in range(ROWS)], "soon")},
        {
            "x": [f"a\nb, {n % 7}" for n in range(ROWS)],
            "z": [f'say "{n % 5}"' for n in range(ROWS)],
        },
        {"x": [f"{n % 90:05d}" for n in range(ROWS)]},
        {"x": _late([str(n) for n in range(ROWS)], str(2**60 + 1))},
        {"y": _late([str(n % 2) for n in range(ROWS)], "")},
        {"y": _late([str(n) for n in range(ROWS)], "high"), "x": [str(n % 3) for n in range(ROWS)]},
        {"y": [str(n % 2) if n % 10 == 0 else f"{n}.5" for n in range(ROWS)]},
        {"": _late([""] * ROWS, "1")},
        {"a": [], "y": [str(n % 2) for n in range(ROWS)], "": [""] * ROWS},
    ],
    ids=[
        "constant",
        "empty",
        "filled",
        "word",
        "date",
        "line ends",
        "zeros",
        "large",
        "target",
        "classes",
        "quantity",
        "unnamed",
        "last",
    ],
)
def test_a_long_table_is_taken_for_the_same_by_some_of_its_rows_as_by_all(
    tmp_path, monkeypatch, columns
):
    monkeypatch.setattr(roles, "MOST_ROWS", 40)
    monkeypatch.setattr(sys.modules["casemate.stages.data.roles.infer"], "MOST_ROWS", 40)

    def seen():
        try:
            plan = plan_of(tmp_path, columns)
        except DataError as error:
            return str(error)
        return (
            plan.data,
            plan.train,
            plan.rows,
            plan.classes,
            [(one.name, one.type, one.use) for one in plan.inferred],
            plan.protected,
        )

    some = seen()
    monkeypatch.setattr(files, "some", lambda *_: None)
    assert some == seen()


def test_some_rows_of_a_text_are_its_header_and_every_nth_row_whatever_ends_its_lines(tmp_path):
    cells = [f'{n},"a\n{n}"' if n % 3 else f"{n},b" for n in range(100)]
    for end in ("\n", "\r\n"):
        (tmp_path / "t.csv").write_text(end.join(["n,x", *cells]), newline="")
        found, whole = source.some(tmp_path / "t.csv", DataTable(source="t.csv", target="x"), 20)
        assert not whole
        assert found["n"].to_pylist() == [str(n) for n in range(0, 100, 5)]


def test_a_fault_in_a_row_that_nobody_looked_at_is_still_found(tmp_path, monkeypatch):
    monkeypatch.setattr(roles, "MOST_ROWS", 40)
    for fault in ("1,2,3", '1"2,0', 'x,"0', "1,2\0"):
        lines = [f"{n / 7},{n % 2}" for n in range(ROWS)]
        lines[LATE] = fault
        (tmp_path / "t.csv").write_text("a,y\n" + "\n".join(lines) + "\n")
        with pytest.raises(DataError, match=str(LATE + 2)):
            scaffold.from_table(tmp_path / "p", tmp_path / "t.csv", "y")


def amount_of(value: float, thousands: str, decimal: str) -> str:
    return f"{value:,.2f}".replace(",", "_").replace(".", decimal).replace("_", thousands)


@pytest.mark.parametrize("task", [None, "regression"])
@pytest.mark.parametrize(
    ("before", "thousands", "decimal", "after"),
    [("", ".", ",", ""), ("", "", ",", ""), ("$", ",", ".", ""), ("", " ", ",", " €"), ("", ",", ".", "%")],
)  # fmt: skip
def test_a_quantity_is_one_however_its_numbers_are_written(
    tmp_path, task, before, thousands, decimal, after
):
    truth = [round(1234.5 + 17.25 * n, 2) for n in range(ROWS)]
    cells = [before + amount_of(value, thousands, decimal) + after for value in truth]
    plan = plan_of(tmp_path, {"y": cells}, task=task)
    assert plan.data.task == "regression"
    assert values_of(plan, tmp_path, "y") == truth


def test_a_few_numbers_with_decimal_commas_are_classes_as_they_are_written(tmp_path):
    plan = plan_of(tmp_path, {"y": [("1,5", "2,5")[n % 2] for n in range(ROWS)]})
    assert plan.data.task == "classification"
    assert plan.classes == ["1,5", "2,5"]
    assert "y" not in plan.data.columns


def euros(value: int) -> str:
    return f"{value:,}".replace(",", ".")


WHOLE = {
    "plain": str,
    "thousands": euros,
    "no cents": lambda value: f"{euros(value)},-",
    "euro": lambda value: f"{euros(value)} €",
    "dollar": lambda value: f"${value:,}",
    "apostrophe": lambda value: f"{value:,}".replace(",", "'"),
}


@pytest.mark.parametrize("written", WHOLE)
@pytest.mark.parametrize(
    ("rows", "steps"), [(60, 50), (400, 50), (400, 1)], ids=["few rows", "round", "any"]
)
def test_whole_amounts_are_a_quantity_however_they_are_written(tmp_path, written, rows, steps):
    random = np.random.default_rng(3)
    truth = [int(value) * steps for value in random.integers(2, 60 if steps > 1 else 90_000, rows)]
    size = [f"{value:.1f}" for value in random.normal(50, 10, rows)]
    cells = [WHOLE[written](value) for value in truth]
    path = write_csv(tmp_path / "t.csv", pa.table({"size": size, "y": cells, "x": cells}))
    plan = scaffold.from_table(tmp_path, path, "y")
    assert plan.data.task == "regression"
    assert values_of(plan, tmp_path, "y") == values_of(plan, tmp_path, "x") == truth


@pytest.mark.parametrize(
    ("name", "cells", "task"),
    [
        ("y", [str(n % 10) for n in range(ROWS)], "classification"),
        ("letter", [str(n % 26) for n in range(ROWS)], "classification"),
        ("letter", [str(1 + n % 26) for n in range(ROWS)], "classification"),
        ("icd9", [str(240 + 7 * (n % 30)) for n in range(ROWS)], "classification"),
        ("y", [f"{7 * (n % 30):04d}" for n in range(ROWS)], "classification"),
        ("age", [str(18 + n % 73) for n in range(ROWS)], "regression"),
        ("visits", [str(n % 26 if n < 390 else 26 + n % 10) for n in range(ROWS)], "regression"),
        ("days", [str(1 + n % 90) for n in range(ROWS)], "regression"),
        ("start", [f"{n % 24:02d}:{n % 60:02d}" for n in range(ROWS)], "regression"),
        ("stay", [f"{n % 9}h {n % 60}min" for n in range(ROWS)], "regression"),
    ],
)
def test_whole_numbers_that_count_classes_stay_classes(tmp_path, name, cells, task):
    plan = plan_of(tmp_path, {name: cells}, name)
    assert plan.data.task == task
    assert plan_of(tmp_path, {name: cells}, name, task=task).data.columns == plan.data.columns


@pytest.mark.parametrize(
    ("cells", "other", "first"),
    [
        (["12.345", "9.871", "350.125"], "1,5", 12345.0),  # its file has decimal commas
        (["12.345", "9.871", "350.125"], "1.5", 12.345),
        (["1.250", "350", "2.800"], "1.5", 1250.0),  # neither fixed nor shortest
        (["1.250", "350", "2.801"], "1.5", 1250.0),
        (["1.251", "350", "2.801"], "1.5", 1.251),
        (["1.250", "0.350", "2.800"], "1.5", 1.25),
        (["1.250", "0.350", "2.800"], "1,5", 1.25),
        (["1.250", "35.5", "2.800"], "1.5", 1.25),
        (["1.459 €", "1.519 €", "1.600 €"], "1.5", 1.459),  # a litre of fuel
        (["28.000 €", "1.519 €", "9.600 €"], "1.5", 28000.0),
        (["1.250.000", "350", "2.800"], "1.5", 1_250_000.0),
        (["150,-", "1.250,-", "99,-"], "1.5", 150.0),
        (["150.-", "1'250.-", "99.-"], "1.5", 150.0),
    ],
)
def test_a_point_parts_thousands_where_cells_or_their_file_say_so(tmp_path, cells, other, first):
    text = "".join(f"{cells[n % 3]};{other};{'ab'[n % 2]}\n" for n in range(ROWS))
    (tmp_path / "t.csv").write_text(f"x;z;y\n{text}")
    plan = scaffold.from_table(tmp_path, tmp_path / "t.csv", "y")
    assert values_of(plan, tmp_path)[0] == first


def test_rows_whose_target_is_blank_or_no_number_are_left_out_and_counted(tmp_path):
    for cells in (["ill", "well", " ", ""], ["1", "0", " ", ""]):
        plan = plan_of(tmp_path, {"y": [cells[n % 4] for n in range(ROWS)]})
        assert plan.data.missing_target == "drop"
        assert any(f"200 of {ROWS} rows (50.0%) have no 'y'" in note for note in plan.notes)
    values = [float("nan") if n % 4 == 0 else n / 7 for n in range(ROWS)]
    pq.write_table(pa.table({"x": numbers(), "y": values}), tmp_path / "t.parquet")
    plan = scaffold.from_table(tmp_path, tmp_path / "t.parquet", "y")
    assert (plan.data.task, plan.data.missing_target) == ("regression", "drop")
    assert any(f"100 of {ROWS} rows (25.0%) have no 'y'" in note for note in plan.notes)


def test_codes_with_zeros_and_letters_are_a_category_that_nobody_is_asked_about(tmp_path):
    plan = plan_of(tmp_path, {"x": [("01", "02", "11", "A3")[n % 4] for n in range(ROWS)]})
    assert role_of(plan).role == "code" and plan.notes == []
    assert set(values_of(plan, tmp_path)) == {"01", "02", "11", "A3"}
    plan = plan_of(tmp_path, {"x": [*(f"{7 * n:06d}" for n in range(ROWS - 1)), "Summe"]})
    assert plan.data.columns["x"] == ColumnTable(column_class="identifier")
    plan = plan_of(tmp_path, {"x": ["n.b."] * 40 + [f"{value:.1f}" for value in numbers()[40:]]})
    assert plan.data.columns["x"] == ColumnTable(type="number", missing=["n.b."])


@pytest.mark.parametrize("form", ["%Y-%m-%d", "%d.%m.%Y"])
def test_an_end_of_all_times_and_shifted_dates_are_dates_too(tmp_path, form):
    born = [(day - datetime.timedelta(days=20_000)).strftime(form) for day in DAYS]
    until = [
        (day.replace(year=9999) if n % 3 else day).strftime(form) for n, day in enumerate(DAYS)
    ]
    plan = plan_of(tmp_path, {"birth_date": born, "valid_until": until})
    assert plan.data.columns["birth_date"].parts == ["month", "weekday", "days"]
    found = values_of(plan, tmp_path, "birth_date_days")
    assert min(found) == 20_000 and max(found) > 2_900_000


@pytest.mark.parametrize(
    ("name", "person"),
    [
        *((name, True) for name in ("Kundennr", "Patientennummer", "Pat.-Nr.", "ID_paciente")),
        *((name, True) for name in ("Versichertennummer", "Kunden-ID", "numero_cliente")),
        *((name, False) for name in ("Fallnummer", "Kontonummer", "Telefon", "e-mail", "Nachname")),
    ],
)
def test_people_and_keys_are_known_by_names_of_other_languages_too(tmp_path, name, person):
    random = np.random.default_rng(2)
    cells = [f"{value * 7919:07d}" for value in random.integers(1, 150, ROWS)]
    if name in ("e-mail", "Nachname"):
        cells = [f"m{cell}@example.org" if name == "e-mail" else f"M{cell}" for cell in cells]
    plan = plan_of(tmp_path, {name: cells})
    assert plan.data.columns[name].column_class == "identifier"
    assert plan.data.subject == (name if person else None)


@pytest.mark.parametrize(
    "name", ["Mitarbeiter", "Kunden", "num_patients", "Personal", "email_opens", "phone", "PAT"]
)
def test_counts_of_people_and_calls_stay_numbers(tmp_path, name):
    random = np.random.default_rng(2)
    plan = plan_of(tmp_path, {name: [str(value) for value in random.integers(0, 900, ROWS)]})
    assert role_of(plan, name).role == "number"
