"""What mistakes cost and which way an effect may go: `[train] costs` and `[data.columns]
monotone`.
"""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy.special import logit
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tests.conftest import write_csv

import casemate
from casemate.core.errors import ConfigError, TrainingError
from casemate.core.types import TrainedModel
from casemate.ml.models import OnnxModel, SkopsModel
from casemate.operations import runs
from casemate.stages.assess import behaviour
from casemate.stages.assess.sample import Sample
from casemate.stages.assess.wishes import Wishes
from casemate.stages.train.candidates import Models
from casemate.stages.train.entry import BadEntry
from casemate.stages.train.fit import _look
from casemate.stages.train.folds import Rows
from casemate.stages.train.monotone import broken, constrained
from casemate.stages.train.stored import stored, thresholded
from casemate.stages.train.threshold import cheapest


def test_of_calibrated_probabilities_the_costs_alone_decide():
    generator = np.random.default_rng(0)
    probability = generator.random(3000)
    codes = (generator.random(3000) < probability).astype(int)
    assert cheapest(codes, logit(probability), (1.0, 9.0)) == pytest.approx(0.1, abs=0.05)
    assert cheapest(codes, logit(probability), (9.0, 1.0)) == pytest.approx(0.9, abs=0.05)
    # few rows move it little
    assert cheapest(codes[:40], logit(probability[:40]), (1.0, 9.0)) == pytest.approx(0.1, abs=0.1)


def test_of_others_the_threshold_is_where_their_calibration_reaches_it():
    generator = np.random.default_rng(0)
    truth = generator.random(3000)
    codes = (generator.random(3000) < truth).astype(int)
    found = cheapest(codes, logit(truth**3), (1.0, 1.0))  # says .125 where it should say .5
    assert found == pytest.approx(0.125, abs=0.06)
    weights = np.where(codes == 1, 9.0, 1.0)
    assert cheapest(codes, logit(truth), (1.0, 1.0), weights) == pytest.approx(0.1, abs=0.06)


def test_a_threshold_is_what_the_stored_model_answers_by_and_the_cost_is_that_of_its_answers():
    generator = np.random.default_rng(0)
    frame = pd.DataFrame(generator.standard_normal((400, 2)), columns=["a", "b"])
    codes = (frame["a"] + generator.standard_normal(400) > 0).astype(int).to_numpy()
    inner = make_pipeline(StandardScaler(), LogisticRegression()).fit(frame, codes)
    model = SkopsModel(stored(thresholded(inner, 0.2, 1), frame))
    labels, probabilities = model.predict(frame)
    assert (labels == (probabilities[:, 1] >= 0.2)).all()
    costs = Wishes(costs=[1.0, 7.0]).rows(codes, labels)["cost"]
    assert costs.sum() == np.sum((codes == 1) & (labels == 0)) * 7 + np.sum(
        (codes == 0) & (labels == 1)
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[train]\nentry = 'train.py:build'\ncosts = { yes = 1 }", "names 1 classes"),
        ("[train]\nentry = 'train.py:build'\ncosts = { yes = 1, no = 0 }", "costs"),
        (
            "[train]\nentry = 'train.py:build'\ncosts = { yes = 1, no = 2 }\nmode = 'private'",
            r"costs needs \[train\] mode",
        ),
        (
            "[train]\nentry = 'train.py:build'\n[gates]\ncost = { max = 1.0 }",
            "say what mistakes cost",
        ),
        (
            (
                "[train]\nentry = 'train.py:build'\nmode = 'adversarial'\n[data.columns]\na = {"
                " monotone = 'increasing' }"
            ),
            "monotone needs",
        ),
        (
            (
                "[train]\nentry = 'train.py:build'\n[data.columns]\na = { monotone = 'increasing',"
                " type = 'category' }"
            ),
            "monotone says nothing",
        ),
        (
            (
                "[train]\nentry = 'train.py:build'\n[data.columns]\na = { monotone = 'increasing',"
                " use = false }"
            ),
            "it is no feature",
        ),
        (
            "[train]\nentry = 'train.py:build'\n[data.columns]\na = { monotone = 'upwards' }",
            "increasing",
        ),
    ],
)
def test_impossible_wishes_are_refused_by_name(text, why):
    from casemate import config as configuration

    with pytest.raises(ConfigError, match=why):
        configuration.parse(
            '[project]\nname = "t"\nid = "t-1"\n[data]\nsource = "t.csv"\ntarget = "y"\n' + text
        )


def test_constraints_are_seen_wherever_an_estimator_holds_them():
    tree = HistGradientBoostingClassifier(monotonic_cst=[0, 1])
    assert constrained(make_pipeline(StandardScaler(), tree))
    assert constrained(MultiOutputRegressor(HistGradientBoostingRegressor(monotonic_cst={"a": -1})))
    assert not constrained(HistGradientBoostingClassifier(monotonic_cst=[0, 0]))
    assert not constrained(make_pipeline(StandardScaler(), LogisticRegression()))
    xgboost = pytest.importorskip("xgboost")
    assert constrained(xgboost.XGBClassifier(monotone_constraints="(1,0)"))
    assert not constrained(xgboost.XGBClassifier(monotone_constraints="(0,0)"))


def test_a_model_that_goes_both_ways_is_found():
    generator = np.random.default_rng(0)
    frame = pd.DataFrame(generator.standard_normal((500, 2)), columns=["a", "b"])
    codes = (np.abs(frame["a"]) + 0.3 * generator.standard_normal(500) > 0.7).astype(int).to_numpy()
    bent = HistGradientBoostingClassifier(max_iter=20).fit(frame, codes)
    assert broken(bent, frame, {"b": 1, "a": 1}) in {"a", "b"}
    held = HistGradientBoostingClassifier(max_iter=20, monotonic_cst=[1, 0]).fit(frame, codes)
    assert broken(held, frame, {"a": 1}) == ""
    assert broken(held, frame, {"a": -1}) == "a"
    tests = behaviour.declared({"a": "increasing"}, Sample(frame, codes))
    assert (tests[0].expect, tests[0].feature) == ("up", "a")
    assert tests[0].add == pytest.approx(frame["a"].std() / 2, rel=0.01)


def dose(root, task="classification"):
    """600 rows in which more of `dose` helps, but for the middle, where a few rows say
    otherwise.
    """
    generator = np.random.default_rng(0)
    dose, age = generator.uniform(0, 10, 600), generator.uniform(20, 90, 600)
    score = (
        np.where((dose > 4) & (dose < 6), 1.0, dose)
        - 4
        + (age - 55) / 20
        + generator.standard_normal(600)
    )
    target = np.where(score > 0, "well", "ill") if task == "classification" else score.round(3)
    table = pa.table(
        {
            "dose": dose,
            "age": age,
            "ward": [("A", "B")[number % 2] for number in range(600)],
            "y": target,
        }
    )
    write_csv(root / "t.csv", table)
    casemate.create(root / "t.csv", target="y", folder=root)
    text = (root / "casemate.toml").read_text().replace("[data.columns]\n", "")
    return text.replace(
        "[screen]", '[data.columns]\ndose = { monotone = "increasing" }\n\n[screen]'
    )


LIGHT = [
    "train.folds=3", "assess.shadows=0", "assess.bootstrap=50", "assess.attack_rows=10",
    "assess.attack_steps=2", "screen.influence=false", "screen.triggers=false",
    "screen.spectral=false", "screen.cap=0.9", "gates.accuracy.min=0.1",
]  # fmt: skip


def test_what_is_declared_holds_from_training_to_the_served_graph(tmp_path):
    text = dose(tmp_path)
    (tmp_path / "casemate.toml").write_text(
        text.replace("[train]\n", "[train]\ncosts = { ill = 8, well = 1 }\n")
    )
    project = casemate.open(tmp_path, [*LIGHT, "gates.cost.max=1.0"])
    run = project.run()
    objects = runs.run_context(project).objects
    model = runs.run_context(project).engine.record(run.id, "train", TrainedModel)
    schema = project.datasets["t"].record.schema
    graph = OnnxModel(objects.get(model.files["model.onnx"]), schema)
    grid = pd.DataFrame(
        {
            "dose": np.linspace(-1, 11, 400),
            "age": 50.0,
            "ward": pd.Series(["A"] * 400, dtype=object),
        }
    )
    up = graph.predict(grid[[column.name for column in schema.features]])[1][
        :, schema.classes.index("well")
    ]
    assert (np.diff(up) >= 0).all()
    assert up[-1] - up[0] > 0.3
    # a linear model keeps no constraint
    assert all(candidate["params"].get("model", "trees") == "trees" for candidate in model.cv)
    tested = {test.name: test.broken for test in run.assessment.behaviour}
    assert tested == {"monotone: dose": 0}
    assert run.assessment.metrics["cost"].value < 0.5
    assert any(gate.gate == "cost" and gate.outcome == "passed" for gate in run.verdict.gates)
    assert "mean cost of an answer" in (run.folder / "4-release" / "model-card.md").read_text()


def test_estimators_without_the_constraint_are_refused_before_the_search(tmp_path):
    (tmp_path / "casemate.toml").write_text(dose(tmp_path))
    (tmp_path / "train.py").write_text(
        "from sklearn.linear_model import Ridge, LogisticRegression\n\ndef build():\n    return"
        " LogisticRegression()\n"
    )
    with pytest.raises(
        TrainingError, match="no model was given that: use trees with monotonic_cst"
    ):
        casemate.open(tmp_path, LIGHT).run()


def test_costs_of_other_classes_are_refused(config):
    with pytest.raises(ConfigError, match="the target's classes are 0, 1"):
        config("train.costs.ill=2", "train.costs.well=1").train.costs_of(["0", "1"])
    assert config("train.costs.b=2", "train.costs.a=1").train.costs_of(["a", "b"]) == [1.0, 2.0]


def test_costs_for_a_network_are_refused_before_anything_is_trained():
    network = pytest.importorskip("casemate.ml.learn.network")
    layers = [{"kind": "Linear", "in_features": 2, "out_features": 2}]
    estimator = network.NetworkClassifier(layers)
    rows = Rows(pd.DataFrame({"a": [1.0, 2.0]}), np.array([0, 1]))
    with pytest.raises(BadEntry, match=r"\[train\] costs: a network"):
        _look(Models({"": estimator}), rows, (1.0, 2.0))
