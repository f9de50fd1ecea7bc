"""Ordered classes, quantiles, and targets that are several labels."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.ensemble import GradientBoostingRegressor, HistGradientBoostingRegressor
from sklearn.linear_model import QuantileRegressor, Ridge
from sklearn.metrics import cohen_kappa_score, mean_pinball_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tests.conftest import write_csv

import casemate
from casemate import config as configuration
from casemate.config import TrainTable
from casemate.core.errors import ConfigError, DataError, TrainingError
from casemate.core.types import TrainedModel
from casemate.ml.models import OnnxModel
from casemate.operations import runs
from casemate.stages.assess.wishes import Wishes, kappa
from casemate.stages.data import schema
from casemate.stages.train.entry import of_quantile
from casemate.stages.train.metrics import PINBALL, metric_of, scorer

HEAD = '[project]\nname = "t"\nid = "t-1"\n[train]\nentry = "train.py:build"\n'
LIGHT = [
    "train.folds=3", "assess.shadows=0", "assess.bootstrap=50", "assess.attack_rows=10",
    "assess.attack_steps=2", "screen.influence=false", "screen.triggers=false",
    "screen.spectral=false", "screen.cap=0.9",
]  # fmt: skip
ALONE = (None, None)


@pytest.fixture
def measurements():
    generator = np.random.default_rng(0)
    size, age = generator.uniform(0, 10, 500), generator.uniform(20, 90, 500)
    return pa.table(
        {"size": size, "age": age, "ward": [("A", "B")[n % 2] for n in range(500)]}
    ), size + generator.normal(0, 1, 500) * (1 + size / 10)


def project(root, table, target, line):
    write_csv(root / "t.csv", table.append_column("y", pa.array(target)))
    casemate.create(root / "t.csv", target="y", folder=root)
    path = root / "casemate.toml"
    path.write_text(
        "\n".join(
            one for one in path.read_text().splitlines() if not one.startswith("metric")
        ).replace(*line)
    )
    return path


def test_classes_are_numbered_in_their_order_and_figures_say_how_far_off_answers_are(
    tmp_path, measurements
):
    table, score = measurements
    grades = np.array(["low", "middle", "high"])[np.digitize(score, [3, 7])]
    project(tmp_path, table, grades, ("[data]\n", '[data]\nordinal = ["low", "middle", "high"]\n'))
    opened = casemate.open(
        tmp_path, [*LIGHT, "gates.quadratic_kappa.min=0.3", "gates.rank_error.max=1.0"]
    )
    run = opened.run()
    assert opened.datasets["t"].record.schema.classes == ["low", "middle", "high"]
    figures = run.assessment.metrics
    assert (
        0.5
        < figures["quadratic_kappa"].low
        < figures["quadratic_kappa"].value
        < figures["quadratic_kappa"].high
        < 1
    )
    assert figures["rank_error"].value >= 1 - figures["accuracy"].value
    passed = {gate.gate for gate in run.verdict.gates if gate.outcome == "passed"}
    assert {"quadratic_kappa", "rank_error"} <= passed
    assert "far misses weighing most" in (run.folder / "4-release" / "model-card.md").read_text()


def test_far_misses_cost_more_than_near_ones():
    truth = np.array([0, 1, 2, 3] * 50)
    near, far = truth.copy(), truth.copy()
    near[::10], far[::10] = np.minimum(truth[::10] + 1, 3), 3 - truth[::10]
    wishes = Wishes(ordinal=True)
    close, wide = (wishes.figures(truth, said, ALONE, 100, 0) for said in (near, far))
    assert close["rank_error"].value < wide["rank_error"].value == np.abs(truth - far).mean()
    assert (
        close["quadratic_kappa"].value
        > wide["quadratic_kappa"].value
        == cohen_kappa_score(truth, far, weights="quadratic")
    )
    weights = np.tile([1, 2, 3, 4], 50)
    assert kappa(truth, far, weights) == pytest.approx(
        kappa(np.repeat(truth, weights), np.repeat(far, weights))
    )
    told = wishes.differences(truth, near, far, ALONE, 100, 0)
    assert told["rank_error"].high < 0 < told["quadratic_kappa"].low


def test_an_order_of_other_classes_is_refused_by_name():
    with pytest.raises(DataError, match=r"differ in 'tall'"):
        schema.in_order(["high", "low", "tall"], ["low", "high", "higher"])
    assert schema.in_order(["high", "low", "mid"], ["low", "mid", "high"]) == ["low", "mid", "high"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            '[data]\nsource = "t.csv"\ntarget = "y"\nordinal = ["a", "b"]',
            "two classes have no order",
        ),
        (
            '[data]\nsource = "t.csv"\ntarget = "y"\nordinal = ["a", "b", "a"]',
            "names a class twice",
        ),
        (
            (
                '[data]\nsource = "t.csv"\ntarget = "y"\ntask = "regression"\nordinal = ["a", "b",'
                ' "c"]'
            ),
            "an order of its own",
        ),
        (
            '[data]\nsource = "t.csv"\ntarget = "y"\nordinal = ["a", "b", "c"]\npositive = "a"',
            "say one of them",
        ),
        (
            '[data]\nsource = "t.csv"\ntarget = "y"\n[gates]\nrank_error = { max = 1.0 }',
            r"order of the classes in \[data\] ordinal",
        ),
        (
            (
                '[data]\nsource = "t.csv"\ntarget = "y"\ntask = "regression"\n[gates]\npinball_loss'
                " = { max = 1.0 }"
            ),
            "which quantile is predicted",
        ),
    ],
)
def test_impossible_orders_and_labels_are_refused_by_name(text, why):
    with pytest.raises(ConfigError, match=why):
        configuration.parse(HEAD + text)


def quantile(data, train="quantile = 0.9"):
    return (
        f'[project]\nname = "t"\nid = "t-1"\n[data]\nsource = "t.csv"\n{data}\n[train]\nentry ='
        f' "train.py:build"\n{train}\n'
    )


def test_impossible_quantiles_are_refused_by_name():
    for data, train, why in (
        ('target = "y"', "quantile = 0.9", "one quantity"),
        ('target = ["y", "z"]\ntask = "regression"', "quantile = 0.9", "one quantity"),
        (
            'target = "y"\ntask = "regression"',
            'quantile = 0.9\nmetric = "r2"',
            "does not judge a quantile",
        ),
        ('target = "y"\ntask = "regression"', "quantile = 1.0", "quantile"),
    ):
        with pytest.raises(ConfigError, match=why):
            configuration.parse(quantile(data, train))
    assert configuration.parse(quantile('target = "y"\ntask = "regression"')).train.quantile == 0.9


def test_a_quantile_is_trained_chosen_and_measured_as_one(tmp_path, measurements):
    table, score = measurements
    project(tmp_path, table, score.round(3), ("[train]\n", "[train]\nquantile = 0.8\n"))
    gates = [
        "gates.quantile_coverage.min=0.5",
        "gates.quantile_coverage.max=0.97",
        "gates.pinball_loss.max=2.0",
    ]
    opened = casemate.open(tmp_path, [*LIGHT, *gates])
    run = opened.run()
    model = runs.run_context(opened).engine.record(run.id, "train", TrainedModel)
    assert model.metric == PINBALL
    # a mean is no quantile
    assert all(candidate["params"]["model"] == "trees" for candidate in model.cv)
    found = run.assessment.metrics["quantile_coverage"]
    assert found.low < 0.8 < found.high
    schema_ = opened.datasets["t"].record.schema
    graph = OnnxModel(runs.run_context(opened).objects.get(model.files["model.onnx"]), schema_)
    frame = pd.DataFrame(
        {"size": np.linspace(0, 10, 50), "age": 50.0, "ward": pd.Series(["A"] * 50, dtype=object)}
    )
    assert (
        graph.predict(frame[[one.name for one in schema_.features]])[1][:, 0]
        > np.linspace(0, 10, 50) - 0.5
    ).mean() > 0.8
    assert {gate.gate: gate.outcome for gate in run.verdict.gates}["pinball_loss"] == "passed"


def test_models_of_the_mean_are_refused_where_a_quantile_is_asked_for(tmp_path, measurements):
    table, score = measurements
    path = project(tmp_path, table, score.round(3), ("[train]\n", "[train]\nquantile = 0.8\n"))
    path.write_text(
        "\n".join(line for line in path.read_text().splitlines() if not line.startswith("search"))
    )
    (tmp_path / "train.py").write_text(
        "from sklearn.linear_model import Ridge\n\ndef build():\n    return Ridge()\n"
    )
    with pytest.raises(
        TrainingError, match=r"no model predicts the quantile 0\.8: use one with a quantile loss"
    ):
        casemate.open(tmp_path, LIGHT).run()


def test_estimators_of_a_quantile_are_known():
    assert of_quantile(
        make_pipeline(
            StandardScaler(), HistGradientBoostingRegressor(loss="quantile", quantile=0.9)
        ),
        0.9,
    )
    assert of_quantile(GradientBoostingRegressor(loss="quantile", alpha=0.9), 0.9)
    assert of_quantile(QuantileRegressor(quantile=0.9), 0.9)
    assert not of_quantile(QuantileRegressor(quantile=0.5), 0.9)
    assert not of_quantile(Ridge(alpha=1.0), 0.9)
    assert not of_quantile(Ridge(alpha=0.9), 0.9)
    assert not of_quantile(HistGradientBoostingRegressor(quantile=0.9), 0.9)


def test_figures_of_a_quantile_are_scikit_learns():
    generator = np.random.default_rng(0)
    truth, said = generator.standard_normal((2, 300, 1))
    weights = generator.integers(1, 5, 300).astype(float)
    for weigh in (None, weights):
        found = Wishes(quantile=0.7).figures(truth, said, (None, weigh), 50, 0)
        assert found["pinball_loss"].value == pytest.approx(
            mean_pinball_loss(truth, said, alpha=0.7, sample_weight=weigh)
        )
        assert found["quantile_coverage"].value == pytest.approx(
            np.average(truth[:, 0] <= said[:, 0], weights=weigh)
        )
    options = TrainTable(entry="t.py:b", quantile=0.7)
    assert metric_of(options, truth) == PINBALL
    assert scorer(PINBALL, options)._kwargs["alpha"] == 0.7


def test_several_labels_are_no_quantities(tmp_path):
    table = pa.table(
        {
            "x": np.arange(40.0) % 7,
            "a": ["0", "1"] * 20,
            "b": [str(n % 3) for n in range(40)],
            "c": ["cat", "dog"] * 20,
        }
    )
    write_csv(tmp_path / "t.csv", table)
    with pytest.raises(ConfigError, match="'a' are labels") as told:
        casemate.create(tmp_path / "t.csv", target=["a", "b"], folder=tmp_path / "p")
    assert "make a project for the labels" in told.value.hint
    assert not (tmp_path / "p" / "casemate.toml").exists()
    assert casemate.create(
        tmp_path / "t.csv", target=["a", "b"], task="regression", folder=tmp_path / "q"
    )
