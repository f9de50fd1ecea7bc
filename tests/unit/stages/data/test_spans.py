"""Times of day become hours and durations seconds, however people and tools write them; what could
be something else stays as it is.
"""

import datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.unit.stages.data.test_roles import ROWS, plan_of, role_of, values_of

from casemate import config as configuration
from casemate.config import parse
from casemate.core.errors import ConfigError
from casemate.operations import scaffold
from casemate.serve.called import Called
from casemate.stages.data import source, spans

DRAWN = np.random.default_rng(3).integers(0, 86_400, ROWS)


def clock(seconds, form="%H:%M:%S"):
    return (
        datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
        + datetime.timedelta(seconds=int(seconds))
    ).strftime(form)


def numbers(cells, form):
    return spans.numbers(pa.chunked_array([cells], pa.string()), form).to_pylist()


@pytest.mark.parametrize(
    ("cell", "hours"),
    [
        *[
            ("08:15", 8.25),
            ("8:15 PM", 20.25),
            ("12:00 am", 0.0),
            ("12:30p.m.", 12.5),
            ("23:59:59.5", 86_399.5 / 3600),
            ("24:00", 24.0),
        ],
        *[
            ("24:01", None),
            ("13:00 pm", None),
            ("8:60", None),
            ("8.15", None),
            ("8", None),
            ("", None),
            (None, None),
            ("08:15 h", None),
        ],
    ],
)
def test_a_time_of_day_is_hours_since_midnight(cell, hours):
    assert numbers([cell], "clock") == [hours]


@pytest.mark.parametrize(
    ("cell", "seconds"),
    [
        *[
            ("1h 30m", 5400.0),
            ("90 min", 5400.0),
            ("1 hour and 30 minutes", 5400.0),
            ("1,5 h", 5400.0),
            ("3d4h", 273_600.0),
            ("500ms", 0.5),
        ],
        *[
            ("PT1H30M", 5400.0),
            ("P1DT2H", 93_600.0),
            ("P2W", 1_209_600.0),
            ("-PT5M", -300.0),
            ("PT0.5S", 0.5),
        ],
        *[
            ("26:10", 94_200.0),
            ("26:10:00", 94_200.0),
            ("1 day, 2:03:04", 93_784.0),
            ("0 days 00:10:00.5", 600.5),
            ("-2h", -7200.0),
        ],
        *[
            ("P1Y", None),
            ("P1M", None),
            ("P", None),
            ("PT", None),
            ("5", None),
            ("h", None),
            ("1h x", None),
            ("1:75", None),
            ("5 kg", None),
        ],
    ],
)
def test_a_duration_is_seconds_and_years_and_months_have_no_fixed_length(cell, seconds):
    assert numbers([cell], "duration") == [seconds]


@pytest.mark.parametrize(
    ("name", "cells", "form"),
    [
        ("x", [clock(n, "%H:%M") for n in DRAWN], "clock"),
        ("x", [clock(n, "%I:%M %p") for n in DRAWN], "clock"),
        ("x", [clock(n) for n in DRAWN[:-1]] + ["n/a"], "clock"),
        ("waiting_time", [clock(n, "%H:%M") for n in DRAWN], "duration"),
        ("x", [f"{n // 1500}:{n % 60:02d}" for n in DRAWN], "duration"),
        ("x", [f"{n // 3600}h {n // 60 % 60}m" for n in DRAWN], "duration"),
        ("x", [f"PT{n}S" for n in DRAWN], "duration"),
        ("x", [str(datetime.timedelta(seconds=int(n) * 3)) for n in DRAWN], "duration"),
    ],
)
def test_init_finds_them_says_so_and_a_run_reads_them_as_numbers(tmp_path, name, cells, form):
    plan = plan_of(tmp_path, {name: cells})
    role = role_of(plan, name)
    assert (role.role, role.entry.type, role.entry.format) == ("number", "number", form)
    assert spans.UNITS[form] in role.reason
    assert ("1:30 is read as hours" in role.note) == (
        form == "duration" and ":" in cells[0] and cells[0].count(":") == 1
    )
    text = scaffold.text.casemate_toml(plan, "p-1", None)
    assert f'format = "{form}"' in text
    read = values_of(plan, tmp_path, name)
    assert (
        read == numbers([None if cell == "n/a" else cell for cell in cells], form)
        and len(set(read)) > 50
    )


@pytest.mark.parametrize(
    "cells",
    [
        [f"{n % 50} m" for n in DRAWN],
        [f"{n % 50} w" for n in DRAWN],
        [f"{n % 9}d" for n in DRAWN],
        [f"P{n % 6}Y" for n in DRAWN],
    ],
)
def test_metres_watts_dimensions_and_years_are_not_taken_for_seconds(tmp_path, cells):
    assert role_of(plan_of(tmp_path, {"x": cells})).entry.format is None


def test_a_few_slips_become_missing_and_are_told_and_many_are_asked_about(tmp_path):
    cells = [clock(n, "%H:%M") for n in DRAWN]
    few = role_of(plan_of(tmp_path, {"x": ["late", "25:99", *cells[2:]]}))
    assert (
        few.entry.coerce
        and "2 cells are no times of day and become missing: 'late', '25:99'" in few.note
    )
    many = role_of(plan_of(tmp_path, {"x": ["late"] * 100 + cells[100:]}))
    assert many.role == "unsure" and 'format = "clock"' in many.note


def test_the_types_of_parquet_become_the_same_numbers(tmp_path):
    times = [datetime.time.fromisoformat(clock(n)) for n in DRAWN]
    took = [datetime.timedelta(seconds=int(n)) for n in DRAWN]
    table = pa.table({"at": times, "took": took, "y": [str(n % 2) for n in range(ROWS)]})
    pq.write_table(table, tmp_path / "t.parquet")
    plan = scaffold.from_table(tmp_path, tmp_path / "t.parquet", "y")
    assert any("'took' holds durations, which are read as seconds" in note for note in plan.notes)
    assert plan.data.columns["at"].format == "clock"
    read, _ = source.read(
        tmp_path / "t.parquet",
        configuration.parse(scaffold.text.casemate_toml(plan, "p-1", None)).data,
    )
    assert read["at"].to_pylist() == [int(n) / 3600 for n in DRAWN] and read[
        "took"
    ].to_pylist() == [float(n) for n in DRAWN]


def test_a_caller_sends_them_as_the_table_has_them(tmp_path):
    cells = [clock(n) for n in DRAWN]
    plan = plan_of(tmp_path, {"x": cells})
    sent, wrong = Called(plan.data).read({"x": [*cells[:5], "late", datetime.time(8, 15)]})
    assert [None if cell is None else float(cell) for cell in sent["x"]] == [
        *numbers(cells[:5], "clock"),
        None,
        8.25,
    ]
    assert wrong == {5: ("x", "is not written as [data.columns] says")}


def test_their_formats_are_refused_of_what_is_no_number():
    toml = (
        '[project]\nname = "p"\nid = "p"\n[data]\nsource = "t"\ntarget = "y"\n[data.columns]\nx = {'
        ' type = "time", format = "clock" }\n[train]\nentry = "t.py:b"\n'
    )
    with pytest.raises(ConfigError, match='format says nothing of type = "time"'):
        parse(toml)
