"""Boosted trees that sites grew, written as scikit-learn's own steps, answer as the sites' do."""

import msgspec
import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from tests.unit.ml.test_federated_trees import LIMITS, asking, site

from casemate.core.errors import ConfigError
from casemate.core.types import MISSING_CATEGORY, ColumnSchema, Schema
from casemate.ml.federated.growing import grow
from casemate.ml.federated.local import LocalPlan
from casemate.ml.federated.simulation import Design
from casemate.ml.federated.trees import Growth
from casemate.ml.models import ONNX, OnnxModel, load_skops
from casemate.stages.train.candidates import Models
from casemate.stages.train.convert import IMPORTED_SKOPS, converted
from casemate.stages.train.entry import BadEntry
from casemate.stages.train.global_trees import skops_file
from casemate.stages.train.growth import growth_of
from casemate.stages.train.sites import boosted_of, chosen, settings_of


def columns(classes: list[str]) -> Schema:
    found = [
        ColumnSchema(name="c", type="category", categories=["x", "y", "z"], nullable=True),
        ColumnSchema(name="a", type="number", min=-4.0, max=4.0, nullable=True),
        ColumnSchema(name="b", type="number", min=0.0, max=50.0, nullable=True),
        ColumnSchema(name="t", type="category" if classes else "number"),
    ]
    return Schema(target="t", classes=classes, columns=found)


@pytest.mark.parametrize("classes", [[], ["no", "yes"], ["0", "1", "2"]])
def test_a_model_of_sites_answers_the_same_as_stock_steps(classes: list[str]) -> None:
    whole = site(classes=len(classes))
    forest = grow(whole.growth, LIMITS, len(classes), asking([whole]))
    content = skops_file(forest, columns(classes))
    assert content == skops_file(forest, columns(classes))
    estimator = load_skops(content).estimator
    assert list(estimator.feature_names_in_) == ["c", "a", "b"]
    frame = site(seed=9).frame[["c", "a", "b"]]
    frame.loc[::5, "b"] = np.nan  # which no site has seen missing
    scores = forest.scores(forest.bins.of(frame))
    if not classes:
        expected = forest.middle + forest.size * scores[:, 0]
        assert estimator.predict(frame) == pytest.approx(expected, rel=1e-12)
        return
    powers = np.exp(np.hstack([np.zeros_like(scores), scores]) if len(classes) == 2 else scores)
    chances = powers / powers.sum(axis=1, keepdims=True)
    assert np.abs(estimator.predict_proba(frame) - chances).max() < 1e-12
    assert estimator.predict(frame).tolist() == np.array(classes)[chances.argmax(axis=1)].tolist()


@pytest.mark.parametrize("classes", [[], ["no", "yes"], ["0", "1", "2"]])
def test_the_file_takes_the_way_of_every_imported_model_and_its_graph_answers_alike(
    classes: list[str],
) -> None:
    whole = site(classes=len(classes))
    content = skops_file(
        grow(whole.growth, LIMITS, len(classes), asking([whole])), columns(classes)
    )
    told = columns(classes)
    files, said = converted({IMPORTED_SKOPS: content}, told, [], 60.0)
    assert said.export_problem == said.refused == ""
    frame = site(seed=9).frame[["c", "a", "b"]]
    frame.loc[::5, "b"] = np.nan
    frame.loc[::7, "c"] = MISSING_CATEGORY
    found = OnnxModel(files[ONNX], told).predict(frame)[1]
    estimator = load_skops(content).estimator
    expected = estimator.predict_proba(frame) if classes else estimator.predict(frame)[:, None]
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_missing_alone_on_one_side_is_a_split_that_stock_steps_have() -> None:
    growth = Growth(trees=2, depth=1, rate=1.0, l2=0.0, bins=8, least=5)
    whole = site(rows=100, growth=growth)
    whole.frame["a"] = np.where(np.arange(100) % 3 == 0, np.nan, 1.0)
    whole.frame["b"], whole.frame["c"] = 1.0, "x"
    whole.target = (np.arange(100) % 3 == 0).astype(int)
    whole.target[:4] = 0, 1, 1, 0
    forest = grow(growth, LIMITS, 2, asking([whole]))
    assert forest.trees[0][0, 0, :3].tolist() == [0, 0, 0]
    estimator = load_skops(skops_file(forest, columns(["no", "yes"]))).estimator
    frame = pd.DataFrame({"c": ["x", "x"], "a": [np.nan, 4.0], "b": [1.0, 1.0]}).astype(
        {"c": object}
    )
    scores = forest.scores(forest.bins.of(frame))[:, 0]
    assert np.abs(estimator.predict_proba(frame)[:, 1] - 1 / (1 + np.exp(-scores))).max() < 1e-12
    assert scores[0] > 1 > -1 > scores[1]


GOOD = {"max_depth": 3, "max_iter": 7, "max_bins": 32}


def test_what_scikit_learn_calls_its_options_is_what_sites_grow_by() -> None:
    model = make_pipeline(HistGradientBoostingClassifier(**GOOD, l2_regularization=2.0))
    wanted = Growth(trees=7, depth=3, rate=0.1, l2=2.0, bins=32, least=20)
    assert growth_of(model) == wanted
    assert settings_of(model) == wanted.settings


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"max_depth": None}, "max_depth=1 to 6"),
        ({"max_depth": 9}, "max_depth=1 to 6"),
        ({"max_leaf_nodes": 5}, "whole levels"),
        ({"max_iter": 501}, "trees of boosted trees is 501"),
        ({"max_features": 0.5}, "without max_features"),
        ({"early_stopping": True}, "without early_stopping"),
        ({"class_weight": "balanced"}, "without class_weight"),
        ({"monotonic_cst": [1, 0]}, "without monotonic_cst"),
        ({"monotonic_cst": np.array([1, 0])}, "without monotonic_cst"),
        ({"interaction_cst": "no_interactions"}, "without interaction_cst"),
    ],
)
def test_options_that_sums_over_sites_do_not_have_are_named(options: dict, said: str) -> None:
    with pytest.raises(BadEntry, match=said):
        growth_of(HistGradientBoostingClassifier(**(GOOD | options)))


def test_trees_are_grown_where_the_entry_returns_nothing_else_that_sites_train() -> None:
    boosted, linear = HistGradientBoostingClassifier(), LogisticRegression()
    assert chosen(Models({"trees": boosted, "linear": linear})) is linear
    assert chosen(Models({"trees": boosted})) is boosted


@pytest.mark.parametrize(
    ("rule", "least", "fault", "said"),
    [
        ("fedavg", 8, ConfigError, "by sums, and not by --rule fedavg"),
        ("exact", 9, BadEntry, "fewer than 9 rows"),
    ],
)
def test_a_simulation_grows_no_trees_that_a_site_would_not(rule, least, fault, said):
    given = {"rounds": 1, "rule": rule, "combine": "mean", "plan": LocalPlan()}
    with pytest.raises(fault, match=said):
        boosted_of(site(), np.arange(240) % 3, Design(**given), least, lambda *_: None)


def test_without_masks_a_simulated_site_is_silent_about_its_small_nodes():
    design = Design(rounds=1, rule="exact", combine="mean", plan=LocalPlan())
    where = np.where(np.arange(240) < 40, -1, np.arange(240) % 3)
    told = boosted_of(site(), where, design, 8, lambda *_: None)
    assert told.off > 1e-3
    masked = msgspec.structs.replace(design, masked=True)
    assert boosted_of(site(), where, masked, 8, lambda *_: None).off < 1e-9
