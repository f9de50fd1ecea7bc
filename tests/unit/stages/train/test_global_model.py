"""What an entry wants sites to train is asked in the sandbox, without a row."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.conftest import TOML

from casemate.config import parse
from casemate.controls.federation.cards import limits_of
from casemate.core.errors import TrainingError
from casemate.core.types import ColumnSchema, Schema
from casemate.ml.federated.learners import NetworkLearner
from casemate.ml.models import OnnxModel
from casemate.stages.train.global_model import Entry, Room, described, graph

pytestmark = pytest.mark.slow
NETWORK = """
import torch
def build(columns):
    return torch.nn.Sequential(
        torch.nn.Linear(len(columns.numbers), 4), torch.nn.Tanh(), torch.nn.Linear(4, 2)
    )
"""
COLUMNS = Schema(
    target="y",
    classes=["no", "yes"],
    columns=[
        ColumnSchema(name="a", type="number", min=-4.0, max=4.0, nullable=True),
        ColumnSchema(name="b", type="number", min=0.0, max=9.0, nullable=True),
        ColumnSchema(name="y", type="category"),
    ],
)


def entry(code: str, columns: Schema = COLUMNS) -> Entry:
    return Entry("train.py:build", {"train.py": code.encode()}, columns, limits_of(columns), 3)


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(parse(TOML), tmp_path / "scratch", [])


def linear(what: str) -> str:
    return f"from sklearn.linear_model import *\ndef build(): return {what}\n"


def test_a_linear_model_is_its_settings(room: Room) -> None:
    said, start = described(entry(linear("LogisticRegression(C=0.5)")), room)
    assert (said.estimator, said.settings) == ("LogisticRegression", {"C": 0.5})
    assert said.layout.size == len(start) == 3
    assert not start.any()


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (linear("LogisticRegression(class_weight='balanced')"), "class weights"),
        ("def build(): raise SystemExit(3)\n", "train.py:build"),
        (
            "from sklearn.tree import *\ndef build(): return DecisionTreeClassifier()\n",
            "sites train",
        ),
    ],
)
def test_an_entry_that_sites_cannot_train_is_refused_before_any_is_asked(
    room: Room, code: str, said: str
) -> None:
    with pytest.raises(TrainingError, match=said):
        described(entry(code), room)


def test_a_network_begins_alike_everywhere_and_its_graph_answers_as_the_sites_model(
    room: Room,
) -> None:
    pytest.importorskip("torch")
    said, start = described(entry(NETWORK), room)
    assert (said.estimator, len(start)) == ("NetworkClassifier", said.layout.size)
    assert np.array_equal(start, described(entry(NETWORK), room)[1])
    weights = np.random.default_rng(0).normal(size=len(start))
    model = OnnxModel(graph(entry(NETWORK), room, weights), COLUMNS)
    frame = pd.DataFrame({"a": [-5.0, 0.5, np.nan], "b": [1.0, 10.0, 3.0]})
    scaled = np.array([[0, 1 / 9], [0.5625, 1], [0.5, 1 / 3]], dtype=np.float32)
    layers = [
        ("Linear", {"in_features": 2, "out_features": 4}),
        ("Tanh", {}),
        ("Linear", {"in_features": 4, "out_features": 2}),
    ]
    expected = NetworkLearner(layers, 2).answers(weights, scaled)
    assert np.abs(model.predict(frame)[1] - expected).max() < 1e-5


def test_a_network_of_which_no_graph_could_be_made_is_refused_before_any_site_is_asked(
    room: Room,
) -> None:
    pytest.importorskip("torch")
    ward = ColumnSchema(name="ward", type="category", categories=["a"])
    columns = Schema(target="y", classes=["no", "yes"], columns=[ward, *COLUMNS.columns])
    with pytest.raises(TrainingError, match="takes numbers"):
        described(entry(NETWORK, columns), room)
