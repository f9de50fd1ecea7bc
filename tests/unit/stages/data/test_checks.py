"""Is this the table that it should be: rules, units, drift, leakage, order."""

import dataclasses
import datetime
import operator

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import casemate
from casemate import config as configuration
from casemate.config import DataTable, RuleTable
from casemate.core.errors import ConfigError
from casemate.core.types import ColumnSchema, Schema
from casemate.ml.frame import codes_of, features_of
from casemate.operations import checkup, scaffold
from casemate.stages.data import cells
from casemate.stages.data import schema as schemas
from casemate.stages.data.checks import balance, drift, leakage, rules, split, units
from casemate.stages.data.checks.interface import CheckedTable
from casemate.stages.data.checks.profile import TableProfile, bin_names, profile

LEAST = (
    '[project]\nname = "p"\nid = "p-1"\n[train]\nentry = "train.py:build"\n[data]\nsource ='
    ' "t.csv"\ntarget = "y"\n'
)
STAY = pa.table(
    {
        "admitted": pa.array(
            np.array(["2026-01-01", "2026-01-02", "2026-01-03", "2026-01-04"], "datetime64[us]")
        ),
        "left": pa.array(
            np.array(["2026-01-05", "2026-01-01", "NaT", "2026-01-04"], "datetime64[us]")
        ),
        "dose": [1.0, 6.0, None, 2.0],
        "weight": [70.0, 1.0, 80.0, 60.0],
        "ward": ["A", "B", "C", None],
        "a name": [1.0, 2.0, 3.0, 4.0],
    }
)


NOW = datetime.datetime(2026, 1, 3, tzinfo=datetime.UTC)


def broken(check, when=None, **more):
    asked = rules.Asked([RuleTable(name="r", check=check, when=when, **more)])
    asked.add(STAY)
    answer, told = asked.answer()
    return told[0].broken, told[0].unknown, answer


@pytest.mark.parametrize(
    ("check", "when", "wrong", "unknown"),
    [
        ("left >= admitted", None, 1, 1),
        ("dose <= 5 * weight", None, 1, 1),
        ("0 < dose < 5", None, 1, 1),
        ("ward in ['A', 'B']", None, 1, 1),
        ("ward not in ['A']", None, 1, 1),
        ("dose is not None", None, 1, 0),
        ("left is not None or ward == 'C'", None, 0, 0),
        ("dose > 1.5", "ward == 'B'", 0, 0),
        ("dose < 5", "ward == 'B'", 1, 0),
        ("days(left - admitted) <= 3", None, 1, 1),
        ("year(admitted) == 2026 and admitted < '2026-01-04'", None, 1, 0),
        ("abs(-dose) == dose", None, 0, 1),
        ("column('a name') + 1 == column('a name') / 1 - -1", None, 0, 0),
        ("not (ward == 'A')", None, 1, 1),
        ("length(lower(ward)) == 1", None, 0, 1),
    ],
)
def test_a_rule_counts_the_rows_that_break_it_and_those_that_cannot_be_told(
    check, when, wrong, unknown
):
    assert broken(check, when)[:2] == (wrong, unknown)


def test_a_broken_rule_is_a_finding_with_its_severity_rows_and_figure():
    _, _, answer = broken("dose <= 5 * weight", severity="medium")
    assert (answer.findings[0].severity, answer.findings[0].location) == (
        "medium",
        "row 1 (counting from 0)",
    )
    assert answer.figures == {"rule_violations": 1.0}
    assert broken("dose <= 5 * weight", tolerate=0.5)[2].findings == []


@pytest.mark.parametrize(
    ("check", "expected"),
    [
        ("__import__('os').system('x')", "means nothing here"),
        ("dose.__class__", "means nothing here"),
        ("(lambda: 1)()", "means nothing here"),
        ("open('x')", "no function 'open'"),
        ("[d for d in dose]", "means nothing here"),
        ("dose >", "is no expression"),
        ("dosage > 1", "there is no column 'dosage'"),
        ("dose + 1", "neither true nor false"),
        ("dose > ward", "cannot be computed"),
        ("ward in [dose]", "numbers or texts only"),
        ("dose > 1" + " and dose > 1" * 200, "too long"),
        ("f'{dose}' == '1'", "means nothing here"),
        ("dose if ward else weight", "means nothing here"),
        ("1 << dose", "means nothing here"),
    ],
)
def test_what_is_no_rule_is_refused_by_name_and_never_run(check, expected):
    with pytest.raises(ConfigError, match=r"\[\[data.rules\]\] r") as caught:
        broken(check)
    assert expected in caught.value.message


def test_a_rule_that_compares_words_with_numbers_is_told_where_types_are_said():
    """Of a sampled table, a column that is empty in all drawn rows is text."""
    with pytest.raises(ConfigError) as caught:
        broken("dose > ward")
    assert "[data.columns] says what type a column has" in caught.value.hint


@settings(deadline=None)
@given(
    st.lists(st.one_of(st.none(), st.floats(-100, 100)), min_size=1, max_size=20),
    st.floats(-100, 100),
    st.sampled_from(["<", "<=", ">", ">=", "==", "!="]),
)
def test_comparisons_agree_with_plain_python(values, limit, sign):
    table = pa.table({"x": pa.array(values, pa.float64())})
    found = rules.evaluate(
        table, f"x {sign} {limit!r}" if limit >= 0 else f"x {sign} -{abs(limit)!r}", "r"
    ).to_pylist()
    compare = {
        "<": operator.lt,
        "<=": operator.le,
        ">": operator.gt,
        ">=": operator.ge,
        "==": operator.eq,
        "!=": operator.ne,
    }[sign]
    assert found == [None if value is None else compare(value, limit) for value in values]


def checked_table(frame: pd.DataFrame, extra: str = "", target="y") -> CheckedTable:
    config = configuration.parse(LEAST + extra)
    table = pa.Table.from_pandas(frame, preserve_index=False)
    options = config.data
    findings: list = []
    table = pa.table(
        {name: cells.typed(table[name], name, options, findings) for name in table.column_names}
    )
    pinned, _ = schemas.infer(table, options)
    return CheckedTable(
        table, features_of(table, pinned), codes_of(table, pinned), None, pinned, config, NOW
    )


def patients(count=600, seed=0):
    generator = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "weight": generator.normal(75, 10, count),
            "temp": generator.normal(37, 0.5, count),
            "ward": generator.choice(["A", "B"], count),
        }
    )
    frame["y"] = (
        (frame["weight"] + 5 * generator.standard_normal(count) > 75).astype(int).astype(str)
    )
    return frame


def test_rows_in_another_unit_are_named_with_that_unit():
    frame = patients()
    frame.loc[:6, "weight"] *= 1000
    frame.loc[10:14, "temp"] = frame.loc[10:14, "temp"] * 9 / 5 + 32
    found = units.check(
        checked_table(frame, '[data.columns]\nweight = { unit = "kg" }\ntemp = { unit = "degC" }\n')
    ).findings
    assert [finding.message for finding in found] == [
        "7 cells of 'weight' look like g, not kg",
        "5 cells of 'temp' look like degF, not degC",
    ]
    assert all(finding.severity == "high" for finding in found)
    assert (
        units.check(
            checked_table(patients(), '[data.columns]\nweight = { unit = "kg" }\n')
        ).findings
        == []
    )
    with pytest.raises(ConfigError, match="unit 'stoned' is unknown"):
        units.check(checked_table(frame, '[data.columns]\nweight = { unit = "stoned" }\n'))


def test_drift_names_the_columns_that_moved_and_no_other():
    first, second = checked_table(patients(3000, 0)), patients(3000, 1)
    pinned = profile(first.table, first.schema)
    same = profile(checked_table(second).table, first.schema, pinned)
    assert drift.check(pinned, same, "v1")[0].findings == []
    second["weight"] += 8
    second["ward"] = np.where(np.random.default_rng(2).random(3000) < 0.5, "A", second["ward"])
    moved, told = drift.check(
        pinned, profile(checked_table(second).table, first.schema, pinned), "v1"
    )
    assert {finding.location for finding in moved.findings} == {"weight", "ward"}
    assert moved.figures["drift"] > drift.MUCH
    assert {row["column"] for row in told} == {"weight", "temp", "ward", "y"}


def test_a_small_table_does_not_cry_drift():
    first = checked_table(patients(40, 0))
    pinned = profile(first.table, first.schema)
    assert (
        drift.check(
            pinned, profile(checked_table(patients(40, 5)).table, first.schema, pinned), "v1"
        )[0].findings
        == []
    )


def test_a_feature_that_is_filled_in_after_the_outcome_is_named():
    frame = patients()
    assert [finding.severity for finding in leakage.check(checked_table(frame)).findings] in (
        [],
        ["low"],
    )
    frame["discharge_code"] = np.where(
        frame["y"] == "1", np.random.default_rng(3).choice(["D1", "D2"], len(frame)), None
    )
    found = leakage.check(checked_table(frame))
    assert ("data.leakage", "high", "discharge_code") in [
        (finding.id, finding.severity, finding.location) for finding in found.findings
    ]
    assert found.figures["leakage_auc"] > 0.99


def test_what_knows_whose_row_it_is_is_no_leak_where_people_repeat():
    """A height tells the person, and so the outcome of one who was learnt from; of anybody else it
    says nothing.
    """
    frame = patients(600)
    people = np.arange(600) // 60
    frame["y"] = (people % 2).astype(str)
    frame["height"] = np.random.default_rng(1).permutation(np.arange(150.0, 180.0, 3.0))[people]
    frame["note"] = np.where(people == 3, "seen", None)
    asked = checked_table(frame)
    rows = leakage.check(asked)
    assert {one.location for one in rows.findings} == {"height", "note"} and rows.figures[
        "leakage_auc"
    ] > 0.99
    told = leakage.check(dataclasses.replace(asked, groups=people))
    assert told.findings == [] and told.figures["leakage_auc"] < 0.8
    frame["copy"] = frame["y"].astype(float)
    found = leakage.check(dataclasses.replace(checked_table(frame), groups=people))
    assert "copy" in {one.location for one in found.findings}, (
        "a copy tells people who were not learnt from too"
    )


def test_leaks_do_not_excuse_one_another():
    frame = patients()
    generator = np.random.default_rng(0)
    positive = (frame["y"] == "1").to_numpy()
    frame["outcome"] = np.where(generator.random(len(frame)) < 0.999, positive, False).astype(float)
    frame["gaps"] = np.where(
        positive & (generator.random(len(frame)) < 0.94), 1.0, 0.0
    ) + generator.normal(0, 1e-3, len(frame))
    frame["third"] = positive + generator.normal(0, 1e-3, len(frame))
    frame["fourth"] = positive * 2.0
    found = {
        finding.location
        for finding in leakage.check(checked_table(frame)).findings
        if finding.severity == "high"
    }
    assert found == {"outcome", "gaps", "third", "fourth"}


def loans(count: int = 3000, seed: int = 0) -> pd.DataFrame:
    """Three outcomes; a repaid loan owes nothing, and only a written off one has recoveries."""
    random = np.random.default_rng(seed)
    frame = pd.DataFrame({name: random.normal(size=count) for name in ("income", "debt", "age")})
    score = frame["income"] - frame["debt"] + random.normal(size=count)
    frame["y"] = np.select([score < -2.2, score < 1.8], ["late", "running"], "repaid")
    amount = random.uniform(1e3, 4e4, count)
    frame["amount"] = amount
    paid = np.where(frame["y"] == "repaid", amount, amount * random.uniform(0.02, 0.12, count))
    frame["balance"], frame["paid_principal"] = amount - paid, paid
    return frame


def high(frame: pd.DataFrame) -> set[str]:
    return {
        one.location
        for one in leakage.check(checked_table(frame)).findings
        if one.severity == "high"
    }


def test_a_field_that_knows_one_of_several_classes_is_a_leak_and_what_is_strong_beside_it_is_told_too():
    frame = loans()
    assert high(frame.drop(columns=["balance", "paid_principal"])) == set()
    found = leakage.check(checked_table(frame)).findings
    assert {one.location for one in found if one.severity == "high"} == {"balance"}
    assert ("data.leakage", "medium", "paid_principal") in [
        (one.id, one.severity, one.location) for one in found
    ]
    assert "'repaid'" in next(one.message for one in found if one.location == "balance")
    assert len([one for one in found if one.location == "balance"]) == 1, "told once"


def test_a_field_that_is_filled_in_for_one_of_several_classes_is_a_leak():
    frame = loans().drop(columns=["balance", "paid_principal"])
    frame["recovered"] = np.where(frame["y"] == "late", frame["amount"] / 7, np.nan)
    assert high(frame) == {"recovered"}
    frame["recovered"] = frame["recovered"].fillna(0.0)
    assert high(frame) == {"recovered"}


def test_a_measurement_that_sets_one_of_several_classes_apart_is_no_leak():
    """The largest of seven kinds of beans is told by its size alone, and by nothing else so
    well.
    """
    frame = loans().drop(columns=["balance", "paid_principal"])
    random = np.random.default_rng(1)
    frame["size"] = random.normal(size=len(frame)) + 9.0 * (frame["y"] == "late")
    assert high(frame) == set()


@pytest.mark.slow
def test_what_a_leak_explains_is_no_wrong_label_and_no_planted_trigger(tmp_path):
    """A note of nearly every written off loan, and a balance that denies labels which were changed:
    leaks, told once.
    """
    random = np.random.default_rng(3)
    changed = loans(2000).assign(
        y=lambda frame: np.where(random.random(2000) < 0.03, "late", frame["y"])
    )
    noted = loans(2000).drop(columns=["balance", "paid_principal"])
    late = random.random(2000) < 0.04
    noted["y"] = np.where(late, "late", noted["y"].replace("late", "running"))
    noted["note"] = np.where(late & (random.random(2000) < 0.97), "written off", "")
    for name, frame in (("balance", changed), ("note", noted)):
        (tmp_path / name).mkdir()
        table = tmp_path / name / "t.csv"
        frame.to_csv(table, index=False)
        scaffold.create(table.parent, scaffold.from_table(table.parent, table, "y"))
        found = checkup.assess_data(
            casemate.open(table.parent), ["label_noise", "triggers"]
        ).findings
        assert {(one.id, one.location) for one in found if one.severity == "high"} == {
            ("data.leakage", name)
        }
        assert [
            one
            for one in found
            if one.id in ("data.label-noise", "data.trigger") and one.severity != "low"
        ] == []


def test_a_strong_honest_feature_is_no_leak():
    """AUC .97 beside features of .8: it errs more and more towards the border, as a measurement
    does.
    """
    frame = patients()
    frame["marker"] = 2.7 * (frame["y"] == "1") + np.random.default_rng(99).normal(size=len(frame))
    assert [
        one for one in leakage.check(checked_table(frame)).findings if one.severity == "high"
    ] == []


def test_features_that_are_filled_in_after_the_outcome_are_found_together():
    frame = patients()
    generator = np.random.default_rng(0)
    positive, some = (frame["y"] == "1").to_numpy(), generator.random(len(frame))
    frame["discharge"] = np.where(positive & (some < 0.5), 1.0, np.nan)
    frame["burial"] = np.where(~positive & (some < 0.6), 1.0, np.nan)
    found = [
        one.message
        for one in leakage.check(checked_table(frame)).findings
        if one.severity == "high"
    ]
    assert any("which of 'discharge', 'burial' are filled in" in text for text in found)


def test_the_irises_are_not_called_leaky():
    from sklearn.datasets import load_iris

    frame = load_iris(as_frame=True).frame.rename(columns={"target": "y"}).astype({"y": str})
    assert [
        one for one in leakage.check(checked_table(frame)).findings if one.severity == "high"
    ] == []


def test_an_easy_problem_is_not_called_leaky():
    """The best feature of the tumour data alone has AUC 0.97; all others together are better."""
    from sklearn.datasets import load_breast_cancer

    frame = (
        load_breast_cancer(as_frame=True).frame.rename(columns={"target": "y"}).astype({"y": str})
    )
    assert leakage.check(checked_table(frame)).findings == []


def test_rows_on_both_sides_of_the_split_are_counted():
    frame = pd.concat([patients(200)] * 2, ignore_index=True)
    checked = checked_table(frame)
    holdout = np.arange(400) >= 300
    found = split.check(checked, holdout, np.zeros(400, dtype=bool))
    assert found.figures["contamination"] == 1.0
    assert "data.contamination" in [finding.id for finding in found.findings]
    unique = split.check(checked_table(patients(400)), holdout, np.zeros(400, dtype=bool))
    assert unique.figures["contamination"] == 0.0


def test_people_who_answer_alike_on_both_sides_are_no_contamination():
    random = np.random.default_rng(0)
    frame = pd.DataFrame(
        {f"q{place}": random.integers(0, 2, 2000).astype(str) for place in range(7)}
    )
    frame["y"] = random.integers(0, 2, 2000).astype(str)
    found = split.check(checked_table(frame), np.arange(2000) >= 1500, np.zeros(2000, dtype=bool))
    assert found.figures["repeated_rows"] > 0.9
    assert found.figures["contamination"] == 0.0
    assert "data.contamination" not in [finding.id for finding in found.findings]


def test_a_table_in_which_rows_follow_their_neighbours_must_not_be_cut_at_random():
    frame = patients(1000)
    assert (
        split.check(checked_table(frame), np.zeros(1000, bool), np.zeros(1000, bool)).findings == []
    )
    frame["y"] = (np.sin(np.arange(1000) / 30) > 0).astype(int).astype(str)
    found = split.check(checked_table(frame), np.zeros(1000, bool), np.zeros(1000, bool)).findings
    assert [(finding.id, finding.severity) for finding in found] == [("data.order", "high")]
    assert split.check(
        checked_table(frame, "[train.network]\n".replace("[train.network]\n", "")),
        np.zeros(1000, bool),
        np.zeros(1000, bool),
    ).findings
    ordered = configuration.parse(LEAST, ['train.split="ordered"'])
    calm = CheckedTable(
        *(
            getattr(checked_table(frame), name)
            for name in ("table", "frame", "codes", "groups", "schema")
        ),
        ordered,
        NOW,
    )
    assert split.check(calm, np.zeros(1000, bool), np.zeros(1000, bool)).findings == []
    sorted_rows = frame.sort_values("y", ignore_index=True)
    assert (
        split.check(checked_table(sorted_rows), np.zeros(1000, bool), np.zeros(1000, bool)).findings
        == []
    )


def test_rows_that_stand_beside_others_of_their_person_are_no_order():
    frame = patients(300).loc[np.repeat(np.arange(300), 3)].reset_index(drop=True)
    labels = np.random.default_rng(0).integers(0, 2, 300)
    frame["y"] = np.repeat(labels, 3).astype(str)
    checked = checked_table(frame)
    nobody = np.zeros(900, bool)
    assert "data.order" in [finding.id for finding in split.check(checked, nobody, nobody).findings]
    grouped = dataclasses.replace(checked, groups=np.repeat(np.arange(300), 3))
    assert split.check(grouped, nobody, nobody).findings == []


def test_what_lies_ahead_of_the_clock_is_told():
    frame = patients(200)
    frame["seen"] = np.datetime64("2026-01-01") + np.arange(200) * np.timedelta64(1, "h")
    checked = checked_table(frame, 'time = "seen"\n')
    assert [
        f.message[:8] for f in balance.check(checked).findings if f.id == "data.time-future"
    ] == ["151 rows"]
    later = dataclasses.replace(checked, now=NOW + datetime.timedelta(days=30))
    assert not [f for f in balance.check(later).findings if f.id == "data.time-future"]


def test_shared_identifiers_without_a_subject_are_told():
    frame = patients(100)
    frame["patient"] = [f"P{i // 2}" for i in range(100)]
    found = split.check(
        checked_table(frame, '[data.columns]\npatient = { class = "identifier" }\n'),
        np.zeros(100, bool),
        np.zeros(100, bool),
    )
    assert "data.group-leakage" in [finding.id for finding in found.findings]


def test_imbalance_empty_constant_and_protected_columns_are_told():
    frame = patients(400)
    frame["y"] = np.where(np.arange(400) < 390, "0", "1")
    frame["site"], frame["gender"] = 1.0, np.where(np.arange(400) % 2, "f", "m")
    found = {finding.id: finding for finding in balance.check(checked_table(frame)).findings}
    assert {"data.imbalance", "data.constant-column", "data.protected"} <= set(found)
    assert "'gender'" in found["data.protected"].message
    declared = checked_table(frame, "[data.columns]\ngender = { protected = true }\n")
    assert "data.protected" not in {finding.id for finding in balance.check(declared).findings}


def test_declared_limits_are_pinned_and_checked_at_once(tmp_path):
    options = DataTable(
        source="x", target="y", columns={"weight": configuration.ColumnTable(min=0, max=100)}
    )
    table = pa.Table.from_pandas(patients(50), preserve_index=False)
    pinned, _ = schemas.infer(table, options)
    assert (pinned.column("weight").min, pinned.column("weight").max) == (0, 100)
    heavy = table.set_column(0, "weight", pa.array([200.0] * 50))
    from casemate.core.errors import DataError

    with pytest.raises(DataError, match="'weight' is above 100"):
        schemas.check(heavy, schemas.infer(heavy, options)[0], options)


def test_a_pattern_stands_for_all_columns_that_match():
    options = DataTable(
        source="x",
        target="y",
        columns={
            "px*": configuration.ColumnTable(min=0, max=255),
            "px7": configuration.ColumnTable(use=False),
        },
    )
    assert options.column("px3").max == 255
    assert options.column("px7").max is None and not options.column("px7").use
    assert options.column("age").max is None


def moved(before, after, name="v"):
    """(index, findings) of one column between two tables."""
    schema = Schema(
        target="y",
        classes=["0", "1"],
        columns=[ColumnSchema(name=name, type="number", min=min(before), max=max(before))],
    )
    first, second = (
        pa.table({name: pa.array(values, pa.float64(), from_pandas=True)})
        for values in (before, after)
    )
    pinned = profile(first, schema)
    answer, told = drift.check(pinned, profile(second, schema, pinned), "v1")
    return told[0]["index"], answer.findings


def skewed(count=3000, seed=0):
    """96 % zeros, and amounts."""
    generator = np.random.default_rng(seed)
    return np.where(generator.random(count) < 0.96, 0.0, generator.lognormal(3, 1, count))


MOVES = {
    "a code that never occurred": (np.tile([1.0, 2.0, 3.0], 1000), np.tile([1.0, 2.0, 9.0], 1000)),
    "a code between others": (np.tile([1.0, 2.0, 5.0], 1000), np.tile([1.0, 2.0, 4.0], 1000)),
    "the amounts beside many zeros": (skewed(), skewed(seed=1) * 100),
    "everything to the right": (
        np.random.default_rng(0).normal(0, 1, 3000),
        np.random.default_rng(1).normal(3, 1, 3000),
    ),
    "a constant": (np.full(3000, 5.0), np.full(3000, 6.0)),
    "whole numbers": (
        np.random.default_rng(0).integers(0, 60, 3000),
        np.random.default_rng(1).integers(10, 75, 3000),
    ),
    "what is missing": (np.tile([1.0, 2.0, 3.0], 1000), np.tile([1.0, 2.0, np.nan], 1000)),
    "one value became frequent": (
        np.random.default_rng(0).normal(0, 1, 3000),
        np.where(np.arange(3000) % 3, np.random.default_rng(1).normal(0, 1, 3000), 7.0),
    ),
}


@pytest.mark.parametrize("move", MOVES)
def test_a_move_in_any_direction_is_seen_and_weighs_as_much_mirrored(move):
    before, after = (values.astype(float) for values in MOVES[move])
    index, findings = moved(before, after)
    assert index > drift.MUCH and findings[0].id == "data.drift"
    assert moved(-before, -after)[0] == pytest.approx(index, abs=1e-12)
    assert moved(7 - 3 * before, 7 - 3 * after)[0] == pytest.approx(index, abs=1e-12)


def test_a_constant_that_rises_moved_as_far_as_one_that_falls():
    assert (
        moved(np.full(900, 5.0), np.full(900, 6.0))[0]
        == moved(np.full(900, 5.0), np.full(900, 4.0))[0]
        > drift.MUCH
    )


def test_nothing_moved_between_tables_of_one_kind():
    for seed in range(10):
        generator = np.random.default_rng(seed)
        for before, after in (
            (skewed(seed=seed), skewed(seed=seed + 99)),
            (*generator.standard_normal((2, 500)),),
            (*generator.poisson(2, (2, 500)).astype(float),),
        ):
            assert moved(before, after)[1] == []


def test_profiles_of_before_there_were_ends_are_still_compared_and_see_every_direction():
    """As they lie in sealed objects: edges at quantiles, open at both ends, no values of
    their own.
    """
    stored = {
        "name": "v",
        "kind": "number",
        "rows": 3000,
        "missing": 0,
        "edges": [2.0, 3.0],
        "counts": [1000, 1000, 1000],
        "mean": 2.0,
        "std": 0.8,
    }
    older = [msgspec.json.decode(msgspec.json.encode(stored), type=TableProfile)]
    schema = Schema(
        target="y",
        classes=["0", "1"],
        columns=[ColumnSchema(name="v", type="number", min=1.0, max=3.0)],
    )
    indexes = []
    for last in (3.0, 9.0, -9.0):
        after = profile(pa.table({"v": np.tile([1.0, 2.0, last], 1000)}), schema, older)
        answer, told = drift.check(older, after, "v1")
        assert len(told) == 1
        indexes.append(answer.figures["drift"])
    assert indexes[0] == 0.0 and min(indexes[1:]) > drift.MUCH
    without = Schema(
        target="y", classes=["0", "1"], columns=[ColumnSchema(name="v", type="number")]
    )
    assert (
        drift.check(
            older, profile(pa.table({"v": np.tile([1.0, 2.0, 3.0], 1000)}), without, older), "v1"
        )[1][0]["index"]
        == 0.0
    )


def test_a_profile_holds_no_value_of_few_rows_and_no_exact_extreme_of_a_sensitive_column():
    values = np.concatenate([np.full(500, 1.0), np.full(400, 2.0), [777.25]])
    for column_class in ("general", "sensitive"):
        schema = Schema(
            target="y",
            classes=["0", "1"],
            columns=[ColumnSchema(name="v", type="number", column_class=column_class)],
        )
        (told,) = profile(pa.table({"v": values}), schema)
        assert msgspec.to_builtins(told)["values"] == [1.0, 2.0] and sum(told.counts) == 901
        assert ((told.low, told.high)[1] == 777.25) == (column_class == "general")


def test_the_report_names_every_bin():
    for values in (
        np.tile([1.0, 2.0], 500),
        np.random.default_rng(0).standard_normal(1000),
        skewed(),
    ):
        schema = Schema(
            target="y", classes=["0", "1"], columns=[ColumnSchema(name="v", type="number")]
        )
        (told,) = profile(pa.table({"v": values}), schema)
        assert len(bin_names(told)) == len(told.counts)
