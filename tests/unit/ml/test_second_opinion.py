"""Another library's attacks in the same box: they keep its limits, the worse figure counts, and
what changed nothing has shown nothing.
"""

import importlib.util
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from casemate.config import AssessTable, FeatureTable, RobustnessTable
from casemate.core.errors import BackendError
from casemate.core.types import ColumnSchema, Schema
from casemate.ml.attacks import second
from casemate.ml.attacks.surface import attack_surface
from casemate.ml.attacks.thresholds import Thresholds
from casemate.ml.models import SkopsModel
from casemate.stages.assess import robustness
from casemate.stages.assess.sample import Sample

pytestmark = pytest.mark.slow

NAMES = ["a", "b", "c", "d"]
SCHEMA = Schema(
    target="y",
    classes=["0", "1"],
    columns=[
        *(ColumnSchema(name=name, type="number", min=-5.0, max=5.0) for name in NAMES),
        ColumnSchema(name="y", type="category", use=False),
    ],
)
needs_art = pytest.mark.skipif(
    importlib.util.find_spec("art") is None, reason="the extra casemate[art] is not installed"
)


def table(rows=500):
    generator = np.random.default_rng(0)
    frame = pd.DataFrame(generator.normal(size=(rows, 4)).clip(-5, 5), columns=NAMES)
    codes = (frame.sum(axis=1) + generator.standard_normal(rows) > 0).to_numpy().astype(int)
    return frame, codes


def measured(estimator, eps=0.2, **options):
    frame, codes = table()
    model = SkopsModel(estimator.fit(frame[:400], codes[:400]))
    sides = (
        Sample(frame[400:].reset_index(drop=True), codes[400:]),
        Sample(frame[:400], codes[:400]),
    )
    table_ = AssessTable(eps=[eps], attack_rows=40, attack_steps=10)
    limits = RobustnessTable(second_opinion="art", **{"decision_rows": 2, **options})
    return robustness.measure(model, SCHEMA, *sides, table_, limits, [], 0, lambda *_: None)


def scaled():
    return make_pipeline(StandardScaler(), LogisticRegression())


@needs_art
def test_its_attacks_stay_inside_what_the_attacker_can_do():
    frame, codes = table()
    frame["b"] = frame["b"].round()
    model = SkopsModel(scaled().fit(frame, codes))
    rules = {
        "a": FeatureTable(change="none"),
        "b": FeatureTable(integer=True),
        "c": FeatureTable(change="down", budget=0.1),
    }
    rows = frame[:40].reset_index(drop=True)
    target = attack_surface(
        model, SCHEMA, (rows, codes[:40]), frame, RobustnessTable(features=rules)
    )
    best, margins = target.start.copy(), target.margin(target.start, np.arange(40))
    before = margins.copy()
    opinion = second.Toolbox(2)
    opinion.improve(target, best, margins, 0.5, 10, 0)
    changed = target.rows(best, np.arange(40))
    assert (margins < before).any() and opinion.broke["auto-pgd"] > 0
    assert (changed["a"] == rows["a"]).all() and (changed["b"] == changed["b"].round()).all()
    assert (changed["c"] <= rows["c"]).all() and (changed["c"] >= rows["c"] - 0.1 - 1e-9).all()
    assert ((changed["d"] - rows["d"]).abs() <= 0.5 * frame["d"].std(ddof=0) + 1e-9).all()
    assert np.array_equal(margins, np.minimum(before, target.margin(best, np.arange(40))))


@needs_art
@pytest.mark.parametrize(
    "estimator",
    [scaled(), RandomForestClassifier(10, max_depth=4, random_state=0)],
    ids=["slope", "trees"],
)
def test_it_is_an_opinion_of_its_own_and_the_worse_figure_counts(estimator):
    found = measured(estimator)
    (point,) = found["curve"]
    assert (
        point["robust_accuracy"]
        <= point["second_opinion"]["robust_accuracy"]
        <= found["clean_accuracy"]
    )
    assert point["second_opinion"]["robust_accuracy"] < found["clean_accuracy"], (
        "it started from rows that nothing had moved"
    )
    assert point["certified_accuracy"] <= point["second_opinion"]["robust_accuracy"], (
        "no bound of ours is broken by it"
    )
    assert point["second_opinion"]["queries"] > 0
    assert "inconclusive" not in found


@needs_art
@pytest.mark.parametrize(
    "estimator",
    [
        RandomForestClassifier(15, random_state=0),
        GradientBoostingClassifier(n_estimators=30, random_state=0),
    ],
    ids=["forest", "boosted"],
)
@pytest.mark.long
def test_whatever_labels_alone_break_in_trees_the_search_along_their_thresholds_breaks_too(
    estimator,
):
    frame, codes = table()
    model = SkopsModel(estimator.fit(frame[:400], codes[:400]))
    every = np.flatnonzero(model.predict(frame)[0] == codes)
    rows = every[every >= 400][:15]
    target = attack_surface(
        model,
        SCHEMA,
        (frame.iloc[rows].reset_index(drop=True), codes[rows]),
        frame,
        RobustnessTable(),
    )
    left = []
    for attack in (Thresholds(parts=0), second.Toolbox(len(rows))):
        assert attack.applies(target)
        best, margins = target.start.copy(), target.margin(target.start, np.arange(len(rows)))
        attack.improve(target, best, margins, 0.5, 10, 0)
        left.append(margins > 0)
    ours, theirs = left
    assert theirs.mean() < 0.8, "it can break something here"
    assert not np.any(ours & ~theirs)


@needs_art
def test_what_only_it_finds_counts(monkeypatch):
    """Our own attacks do nothing here: the figure is the other library's."""
    module = sys.modules["casemate.stages.assess.robustness.measure"]
    monkeypatch.setattr(module, "fitting_attacks", lambda *_, **__: [Idle()])
    monkeypatch.setattr(module, "certified", lambda *_: None)
    found = measured(scaled())
    (point,) = found["curve"]
    assert (
        point["robust_accuracy"]
        == point["second_opinion"]["robust_accuracy"]
        < found["clean_accuracy"]
    )


class Idle:
    """An attack that does nothing."""

    name = "idle"

    def improve(self, *_):
        """Nothing."""


@needs_art
def test_an_opinion_that_changed_nothing_is_inconclusive():
    found = measured(DummyClassifier(strategy="most_frequent"))
    assert "changed nothing" in found["inconclusive"]


def test_without_the_package_a_run_is_refused_with_the_way_out(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BackendError, match="not installed") as raised:
        second.installed()
    assert "casemate[art]" in raised.value.hint


def test_a_run_that_lacks_the_package_ends_before_it_reads_the_table(tiny_project, monkeypatch):
    """Nothing is sealed, searched or recorded for a run that could not be judged as it says."""
    import casemate

    monkeypatch.setattr(
        second, "installed", lambda: (_ for _ in ()).throw(BackendError("not installed"))
    )
    project = casemate.open(tiny_project, overrides=['robustness.second_opinion = "art"'])
    with pytest.raises(BackendError):
        project.run()
    assert project.engine.runs() == []


@needs_art
@pytest.mark.long
def test_networks_meet_every_member_of_autoattack():
    torch = pytest.importorskip("torch", reason="torch is not installed: make torch")
    from torch import nn

    from casemate.ml.learn import layers
    from casemate.ml.learn.network import NetworkClassifier
    from casemate.ml.networks import NetworkModel

    torch.manual_seed(0)
    content = load_digits(as_frame=True)
    frame, codes = content.data, content.target.to_numpy().astype(np.int64)
    columns = [ColumnSchema(name=name, type="number", min=0.0, max=16.0) for name in frame]
    schema = Schema(
        target="y",
        classes=[str(i) for i in range(10)],
        columns=[*columns, ColumnSchema(name="y", type="category", use=False)],
    )
    net = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    numbers = dict.fromkeys(frame, (0.0, 16.0))
    model = NetworkModel(
        NetworkClassifier(
            layers=[list(layer) for layer in layers.describe(net)],
            numbers=numbers,
            epochs=15,
            rate=0.005,
        ).fit(frame, codes)
    )
    target = attack_surface(
        model, schema, (frame[:20], codes[:20]), frame, RobustnessTable(unit="range")
    )
    best, margins = target.start.copy(), target.margin(target.start, np.arange(20))
    opinion = second.Toolbox(0)
    opinion.improve(target, best, margins, 0.05, 10, 0)
    assert set(opinion.broke) == {
        "auto-pgd",
        "auto-pgd-dlr",
        "auto-pgd-targeted",
        "deep-fool",
        "square",
    }
    assert np.abs(best - target.start).max() <= 0.05 * 16 + 1e-6
    assert opinion.broke["auto-pgd"] > 0
    assert np.array_equal(margins > 0, target.margin(best, np.arange(20)) > 0)
