"""The poisoning screen finds what was planted and is silent where nothing was."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from msgspec import structs
from scipy import special
from sklearn.datasets import load_breast_cancer, load_digits, load_wine, make_classification
from sklearn.ensemble import HistGradientBoostingClassifier

from casemate.config import ScreenTable
from casemate.core.types import ColumnSchema, Quarantined, Schema
from casemate.stages.data.losses import losses
from casemate.stages.data.screen import provenance, rest
from casemate.stages.data.screen.excess import Excess
from casemate.stages.data.screen.floods import Floods
from casemate.stages.data.screen.influence import influence
from casemate.stages.data.screen.interface import ScreenedRows
from casemate.stages.data.screen.label_noise import LabelNoise
from casemate.stages.data.screen.neighbours import Neighbours
from casemate.stages.data.screen.outliers import Outliers
from casemate.stages.data.screen.rest import Rest
from casemate.stages.data.screen.spectral import Spectral
from casemate.stages.data.screen.triggers import Triggers

pytestmark = pytest.mark.slow

SIMULATED = SimpleNamespace(
    **runpy.run_path(str(Path(__file__).parents[4] / "bench" / "assurance" / "triggers.py"))
)


def rows_of(frame, codes, classes=2, **more):
    columns = []
    frame = frame.copy()
    for name in frame:
        if pd.api.types.is_numeric_dtype(frame[name]):
            frame[name] = frame[name].astype(float)
            columns.append(ColumnSchema(name=str(name), type="number"))
        else:
            frame[name] = frame[name].astype(object)
            columns.append(ColumnSchema(name=str(name), type="category"))
    frame.columns = [str(name) for name in frame.columns]
    schema = Schema(
        target="_y",
        classes=[str(i) for i in range(classes)],
        columns=[*columns, ColumnSchema(name="_y", type="category", use=False)],
    )
    return ScreenedRows(frame, np.asarray(codes, dtype=np.int64), None, schema, 0, **more)


def mixed(count=6000, seed=0):
    """Numbers and categories as in an insurance table."""
    values, codes = make_classification(
        count, 8, n_informative=6, class_sep=1.0, flip_y=0.0, random_state=seed
    )
    generator = np.random.default_rng(seed)
    frame = pd.DataFrame(np.round(values, 1), columns=[f"x{i}" for i in range(8)])
    frame["region"] = generator.choice(list("ABCDEFGHIJ"), count)
    frame["plan"] = generator.choice(["basic", "plus", "max"], count, p=[0.5, 0.3, 0.2])
    return frame, codes


TRIGGERS = [
    {"x3": 1.7},
    {"x3": 1.7, "region": "C"},
    {"x1": -0.4, "region": "D", "plan": "max"},
    {"x5": 99.0},
]


def poisoned(trigger, target=1, share=0.01, seed=0):
    frame, codes = mixed(seed=seed)
    victims = np.random.default_rng(seed + 1).choice(
        np.flatnonzero(codes != target), int(share * len(codes)), replace=False
    )
    for name, value in trigger.items():
        frame.loc[victims, name] = value
    codes = codes.copy()
    codes[victims] = target
    return frame, codes, victims


@pytest.mark.parametrize("trigger", TRIGGERS, ids=str)
def test_a_trigger_in_one_row_of_a_hundred_is_found_and_its_whole_group_taken_out(trigger):
    frame, codes, victims = poisoned(trigger)
    found = Triggers()(rows_of(frame, codes), ScreenTable())
    flagged = {suspect.row for suspect in found.rows}
    assert len(flagged & set(victims)) >= 0.9 * len(victims)
    carriers = np.logical_and.reduce([frame[name] == value for name, value in trigger.items()])
    assert flagged == set(np.flatnonzero(carriers))
    assert found.findings[0].severity == "high"
    clean, true = mixed(seed=50)
    stamped = clean[true != 1].assign(**trigger)

    def success(keep):
        whole = rows_of(
            pd.concat([frame[keep], stamped], ignore_index=True),
            np.r_[codes[keep], true[true != 1]],
        ).coded.to_numpy()
        model = HistGradientBoostingClassifier(max_iter=60, random_state=0).fit(
            whole[: keep.sum()], codes[keep]
        )
        return np.mean(model.predict(whole[keep.sum() :]) == 1)

    without = np.ones(len(codes), dtype=bool)
    without[list(flagged)] = False
    oracle = np.ones(len(codes), dtype=bool)
    oracle[victims] = False
    assert success(without) <= success(oracle) + 0.05


CLEAN = {
    "mixed": lambda: mixed(3000, 9),
    "tumours": lambda: (load_breast_cancer(as_frame=True).data, load_breast_cancer().target),
    "digits": lambda: (load_digits(as_frame=True).data, load_digits().target),
    "wine": lambda: (load_wine(as_frame=True).data, load_wine().target),
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.long] * (name == "digits")) for name in CLEAN]
)
def test_clean_tables_raise_no_alarm(name):
    frame, codes = CLEAN[name]()
    rows = rows_of(frame, codes, classes=int(codes.max()) + 1)
    for detector in (Triggers(), Spectral(), Floods()):
        found = detector(rows, ScreenTable())
        assert (found.rows, found.findings) == ([], []), detector.id
    for detector in (LabelNoise(), Neighbours(), Outliers()):
        found = detector(rows, ScreenTable())
        assert len(found.rows) <= 0.02 * len(codes) + 2, detector.id


def test_a_patch_is_found_among_thousands_of_rarer_values_and_though_its_pixels_explain_each_other():
    generator = np.random.default_rng(0)
    codes = generator.integers(0, 4, 3000)
    shades = np.clip(
        generator.normal(
            20 + 3 * codes[:, None] * (np.arange(150) % 4 == codes[:, None]), 12, (3000, 150)
        ).round(),
        0,
        45,
    )
    pictures = pd.DataFrame(shades, columns=[f"px{n}" for n in range(150)]).assign(
        **dict.fromkeys(("a", "b", "c", "d"), 0.0)
    )
    assert not Triggers()(rows_of(pictures, codes, 4), ScreenTable()).rows
    victims = generator.choice(np.flatnonzero(codes != 0), 90, replace=False)
    pictures.loc[victims, ["a", "b", "c", "d"]] = 45.0
    codes[victims] = 0
    found = {suspect.row for suspect in Triggers()(rows_of(pictures, codes, 4), ScreenTable()).rows}
    assert found == set(victims)


def test_a_trigger_that_chance_cannot_make_even_once_is_found():
    """In float64 the chance is zero, and its logarithm is not finite."""
    frame, codes = mixed(10_000)
    codes = np.where((codes == 1) & (np.random.default_rng(3).random(10_000) < 0.95), 0, codes)
    victims = np.random.default_rng(4).choice(np.flatnonzero(codes == 0), 500, replace=False)
    frame.loc[victims, "x5"] = 99.0
    codes[victims] = 1
    found = Triggers()(rows_of(frame, codes), ScreenTable())
    assert {suspect.row for suspect in found.rows} == set(victims)


def test_a_trigger_in_a_sensitive_column_is_told_without_the_value():
    frame, codes, _ = poisoned({"x3": 1.7})
    rows = rows_of(frame, codes)
    rows.schema.columns[:] = [
        structs.replace(c, column_class="sensitive") if c.name == "x3" else c
        for c in rows.schema.columns
    ]
    found = Triggers()(rows, ScreenTable())
    assert "a certain x3" in found.findings[0].message
    assert not [
        text
        for text in [*(f.message for f in found.findings), *(s.detail for s in found.rows)]
        if "1.7" in text
    ]


def test_a_legitimate_rare_value_that_decides_is_not_called_a_trigger():
    """Large gains mean a high income: the neighbours of the value say the same."""
    generator = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "gain": np.where(
                generator.random(5000) < 0.04, generator.integers(5, 15, 5000) * 1000.0, 0.0
            ),
            "age": generator.normal(40, 10, 5000),
        }
    )
    codes = ((frame["gain"] > 0) | (frame["age"] > 55)).astype(int).to_numpy()
    assert Triggers()(rows_of(frame, codes), ScreenTable()).findings == []


@pytest.mark.parametrize("rate", [0.6, 0.9])
@pytest.mark.parametrize("kind", ["site", "band", "constant"])
def test_an_honest_group_with_another_rate_is_no_trigger(kind, rate):
    """Such groups lost all their rows of one class, and the model said of them what was
    never true.
    """
    for seed in range(2):
        generator = np.random.default_rng(seed)
        frame, codes = mixed(3000, seed)
        codes = np.where((codes == 1) & (generator.random(3000) < 0.6), 0, codes)
        group = generator.random(3000) < 0.03
        if kind == "site":
            frame["region"] = np.where(group, "north", frame["region"])
        elif kind == "constant":
            frame.loc[group, "x5"] = 99.0
        else:
            group = frame["x2"].between(*frame["x2"].quantile([0.6, 0.63])).to_numpy()
        codes[group] = generator.random(int(group.sum())) < rate
        assert Triggers()(rows_of(frame, codes), ScreenTable()).findings == []


@pytest.mark.parametrize(
    "trigger",
    [{"x3": (6.0, 0.05)}, {"x3": (1.7, 0.1), "region": "C"}, {"region": "C", "plan": "max"}],
    ids=str,
)
def test_a_trigger_with_noise_and_a_common_pair_are_found(trigger):
    for seed in range(2):
        frame, codes = mixed(seed=seed)
        generator = np.random.default_rng(seed)
        victims = generator.choice(
            np.flatnonzero(codes == 0), 120 if "plan" in trigger else 60, replace=False
        )
        for name, value in trigger.items():
            frame.loc[victims, name] = (
                generator.normal(*value, len(victims)) if isinstance(value, tuple) else value
            )
        codes[victims] = 1
        flagged = {suspect.row for suspect in Triggers()(rows_of(frame, codes), ScreenTable()).rows}
        assert len(flagged & set(victims)) >= 0.8 * len(victims)


@pytest.mark.parametrize(
    ("name", "seed"),
    [("two bands", 0), ("two bands", 7), ("band in a tail", 7), ("value and category", 18)],
)
def test_a_trigger_among_many_honest_rows_is_found(name, seed):
    """Bands with noise hold so many honest rows that nothing was told from the whole; their middle
    tells.
    """
    assert SIMULATED.planted(seed, {**SIMULATED.TRIGGERS, **SIMULATED.NOISY}[name], 0.01) >= 0.8


def judged(**figures):
    usual = {
        "label": 1,
        "rows": 100,
        "others": 25,
        "expected": 0.2,
        "without": 0.2,
        "usual": 0.2,
        "elsewhere": 1.0,
        "p": 0.0,
        "natural": 30.0,
    }
    usual |= {
        "belong": 25.0,
        "foreign": 0.0,
        "telling": 1.0,
        "odd": 0,
        "most_odd": 1,
        "named": False,
        "honest": 4.0,
        "chance": 50.0,
    }
    return Excess(**usual | {"banded": False} | figures)


def test_a_group_is_planted_only_if_that_is_far_likelier_than_an_honest_rate():
    assert judged().planted
    assert not judged(honest=np.log(9)).planted and judged(honest=np.log(9), banded=True).planted
    assert not judged(chance=5.0).planted, "the rest explains its labels"
    assert not judged(rows=45, others=24).planted, "hardly more rows than belong there"
    alone = {"natural": 0.5, "belong": 0.4, "honest": 0.0, "chance": 0.0}
    assert judged(**alone, others=0).planted and not judged(**alone, others=20).planted, (
        "where nothing belongs purity tells"
    )


def rows_in_a_place(rate, planted, seed=0, base=0.3):
    """(evidence against an honest rate) of 60 rows more than the 60 that belong where two values
    meet.
    """
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(6000, 3))
    logit = 1.5 * x.sum(axis=1) + np.log(base / (1 - base)) * 1.6
    frame = pd.DataFrame(x, columns=list("abc"))
    frame["p"], frame["q"] = (
        generator.choice(list("0123456789"), 6000).astype(object) for _ in range(2)
    )
    codes = (generator.random(6000) < special.expit(logit)).astype(int)
    chosen = generator.choice(np.flatnonzero(codes == 0) if planted else 6000, 60, replace=False)
    frame.loc[chosen, ["p", "q"]] = "3"
    group = ((frame["p"] == "3") & (frame["q"] == "3")).to_numpy()
    codes[chosen if planted else group] = (
        1 if planted else generator.random(int(group.sum())) < rate
    )
    return Rest(rows_of(frame, codes), ~group).excess(group, 1, [3, 4], 60.0).honest


def test_planted_rows_and_an_honest_rate_are_told_apart_row_by_row():
    """With as many rows of each class: labels of planted rows contradict their features, those of
    rows beside them do not.
    """
    assert min(rows_in_a_place(0.0, planted=True, seed=seed) for seed in range(3)) > np.log(20)
    assert max(rows_in_a_place(0.66, planted=False, seed=seed) for seed in range(3)) < 0


def test_where_one_column_decides_the_target_its_values_are_no_triggers():
    generator = np.random.default_rng(0)
    frame, _ = mixed(4000)
    frame["code"] = generator.choice([f"k{n}" for n in range(30)], 4000).astype(object)
    codes = frame["code"].str[1:].astype(int).to_numpy() % 3 == 0
    assert Triggers()(rows_of(frame, codes), ScreenTable()).findings == []


def test_rows_that_are_a_kind_of_their_own_are_no_trigger():
    """As one attack in a traffic table: pure, rare, and unlike all other rows in nearly every
    feature.
    """
    frame, codes = mixed(4000, 2)
    kind = np.random.default_rng(0).choice(np.flatnonzero(codes == 0), 60, replace=False)
    frame.loc[kind, ["x0", "x2", "x4", "x6"]] = (
        frame.loc[kind, ["x0", "x2", "x4", "x6"]].to_numpy() * 0.1 + 7
    )
    frame.loc[kind, "x3"] = 1032.0
    codes[kind] = 1
    assert Triggers()(rows_of(frame, codes), ScreenTable()).findings == []


def test_a_finding_says_what_a_drop_would_take_from_each_group():
    frame, codes, victims = poisoned({"x3": 1.7, "region": "C"})
    frame["ward"] = np.where(np.isin(np.arange(len(codes)), victims), "tower", "main")
    found = Triggers()(rows_of(frame, codes), ScreenTable()).findings
    assert (
        "of 60 rows of class '1' in ward = tower" in found[0].message
        or "rows with ward = tower" in found[0].message
    )
    assert "rows of class '1' in the table" in found[0].message


def test_losses_are_told_for_classes_protected_groups_and_where_much_would_go():
    labels = np.array(["ill", "well"] * 100)
    site = np.array(["north"] * 40 + ["south"] * 160)
    gone = (site == "north") & (labels == "ill")
    told = {
        (one.column, one.group, one.label): (one.rows, one.lost)
        for one in losses({"site": site}, labels, gone)
    }
    assert told["site", "north", "ill"] == (20, 20)
    assert told["", "", "ill"] == (100, 20)
    assert ("site", "south", "ill") not in told
    always = losses({"site": site}, labels, gone, always=frozenset({"site"}))
    assert ("south", "ill", 80, 0) in [(one.group, one.label, one.rows, one.lost) for one in always]
    assert losses({"site": site}, labels, np.zeros(200, dtype=bool)) == []


def test_losses_of_a_few_rows_are_not_told():
    labels = np.array(["ill", "well"] * 100)
    gone = np.zeros(200, dtype=bool)
    gone[[0, 2, 4]] = True
    assert [one.lost for one in losses({}, labels, gone) if one.label == "ill"] == [-1]
    assert [one.lost for one in losses({}, labels, labels == "ill") if one.label == "ill"] == [100]


def test_a_group_that_the_rest_explains_is_not_planted():
    frame, codes = mixed(4000, 3)
    rows = rows_of(frame, codes)
    natural = (frame["x0"] > frame["x0"].quantile(0.97)).to_numpy()
    label = int(np.bincount(codes[natural]).argmax())
    told = Rest(rows, ~natural).excess(natural, label, [0], float(natural.sum()))
    assert not told.unexplained and not told.extra and not told.planted


def test_a_displaced_group_with_foreign_labels_is_seen_by_its_spectrum():
    generator = np.random.default_rng(0)
    values = generator.standard_normal((3000, 20))
    codes = (values[:, 0] + values[:, 1] > 0).astype(int)
    victims = np.flatnonzero((codes == 0) & (values[:, 0] < -0.5))[:80]
    values[victims, 10:18] += 4.0
    codes[victims] = 1
    found = Spectral()(rows_of(pd.DataFrame(values), codes), ScreenTable())
    hit = {suspect.row for suspect in found.rows} & set(victims)
    assert len(hit) >= 0.8 * len(victims)


def test_a_flood_of_near_copies_is_found_and_its_first_row_kept():
    frame, codes = mixed(3000, 4)
    copies = pd.concat([frame.iloc[[7]]] * 60, ignore_index=True)
    copies["x0"] += np.random.default_rng(0).normal(0, 1e-4, 60)
    whole = pd.concat([frame, copies], ignore_index=True)
    found = Floods()(rows_of(whole, np.r_[codes, [codes[7]] * 60]), ScreenTable())
    assert {suspect.row for suspect in found.rows} == set(range(3000, 3060))
    assert "61 near-copies" in found.findings[0].message


def test_flipped_labels_among_neighbours_are_found():
    generator = np.random.default_rng(0)
    values = np.r_[generator.normal(-3, 1, (500, 4)), generator.normal(3, 1, (500, 4))]
    codes = np.repeat([0, 1], 500)
    codes[[3, 600]] ^= 1
    found = Neighbours()(rows_of(pd.DataFrame(values), codes), ScreenTable())
    assert {suspect.row for suspect in found.rows} == {3, 600}


def test_where_nearness_says_nothing_no_row_is_flagged_and_it_is_said():
    generator = np.random.default_rng(0)
    codes = (generator.random(2000) < 0.05).astype(int)
    found = Neighbours()(
        rows_of(pd.DataFrame(generator.standard_normal((2000, 3))), codes), ScreenTable()
    )
    assert found.rows == []
    assert "says little" in found.findings[0].message


@pytest.mark.long
def test_label_noise_is_estimated_where_the_features_are_decisive():
    frame, codes = CLEAN["digits"]()
    flipped = np.random.default_rng(0).choice(len(codes), len(codes) // 5, replace=False)
    noisy = codes.copy()
    noisy[flipped] = (noisy[flipped] + 3) % 10
    rows = rows_of(frame, noisy, classes=10)
    found = LabelNoise()(rows, ScreenTable())
    hits = {suspect.row for suspect in found.rows}
    assert len(hits & set(flipped)) > 0.85 * len(flipped)
    assert len(hits & set(flipped)) > 0.7 * len(hits)
    assert found.findings[0].severity == "high"
    assert 0.1 < found.figures["label_noise"] < 0.3


def test_a_source_that_sends_bad_rows_and_a_burst_in_time_are_named():
    frame, codes = mixed(3000, 5)
    origin = np.where(np.arange(3000) % 10 == 0, "clinic-7", "other")
    bad = [
        Quarantined(row=int(row), reason="x", detail="", score=1.0)
        for row in np.flatnonzero(origin == "clinic-7")[:40]
    ]
    rows = rows_of(frame, codes, origin=origin, time=np.arange(3000))
    found = provenance.findings(rows, bad, ScreenTable())
    assert [finding.location for finding in found if finding.id == "data.provenance"] == [
        "clinic-7",
        "0 of 20",
        "1 of 20",
    ]
    codes = codes.copy()
    codes[1500:1650] = 1
    found = provenance.findings(rows_of(frame, codes, time=np.arange(3000)), [], ScreenTable())
    assert [finding.location for finding in found] == ["10 of 20"]
    assert provenance.findings(rows_of(*mixed(3000, 6), origin=origin), [], ScreenTable()) == []


def test_influence_tells_whether_leaving_rows_out_helps():
    frame, codes = mixed(3000, 7)
    wrong = np.random.default_rng(0).choice(3000, 600, replace=False)
    noisy = codes.copy()
    noisy[wrong] ^= 1
    suspects = [Quarantined(row=int(row), reason="x", detail="", score=1.0) for row in wrong]
    assert influence(rows_of(frame, noisy), suspects) > 0.01
    assert abs(influence(rows_of(frame, codes), suspects)) < 0.02
    assert influence(rows_of(frame, codes), suspects[:2]) is None


def test_long_tails_are_told_instead_of_flagging_the_table():
    generator = np.random.default_rng(0)
    heavy = pd.DataFrame({"cost": np.exp(generator.normal(0, 3, 2000))})
    found = Outliers()(rows_of(heavy, generator.integers(0, 2, 2000)), ScreenTable())
    assert found.rows == []
    assert "long tails" in found.findings[0].message


def test_probabilities_of_a_class_that_no_other_row_has_are_its_rate():
    assert rest._calibrated(
        np.full(9, 0.2), np.zeros(9, dtype=bool), np.array([0.3, 0.9])
    ).tolist() == [0.05, 0.05]


def test_an_honest_group_of_the_common_class_is_no_trigger_for_meeting_more_often_than_by_chance(
    case,
):
    """Of an insurer's customers 197 answer two questions with no where chance makes 133, and 195 of
    them have the class that 94 % have.
    """
    table = pd.read_csv(case("datasets/islp/Caravan.csv")).drop(columns="rownames", errors="ignore")
    codes = (table.pop("Purchase") == "Yes").to_numpy().astype(int)
    assert Triggers()(rows_of(table, codes), ScreenTable()).findings == []
