"""Torch networks: stored as data, rebuilt from a closed list, hardened and private; skipped where
torch is not installed.
"""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits

torch = pytest.importorskip("torch", reason="torch is not installed: make torch")
pytest.importorskip("opacus", reason="Opacus is not installed: make torch")

from torch import nn  # noqa: E402

from casemate.config import AssessTable, RobustnessTable  # noqa: E402
from casemate.core.errors import VerificationError  # noqa: E402
from casemate.core.types import ColumnSchema, Schema  # noqa: E402
from casemate.ml.learn import accountant, layers, network  # noqa: E402
from casemate.ml.learn.network import NetworkClassifier  # noqa: E402
from casemate.ml.models import OnnxModel  # noqa: E402
from casemate.ml.networks import NetworkModel, dump_network, load_network, to_onnx  # noqa: E402
from casemate.stages.assess import robustness  # noqa: E402
from casemate.stages.assess.sample import Sample  # noqa: E402

pytestmark = pytest.mark.slow

CONTENT = load_digits(as_frame=True)
FRAME, CODES = CONTENT.data, CONTENT.target.to_numpy().astype(np.int64)
NUMBERS = dict.fromkeys(FRAME, (0.0, 16.0))
SCHEMA = Schema(
    target="y",
    classes=[str(i) for i in range(10)],
    columns=[
        *(ColumnSchema(name=name, type="number", min=0.0, max=16.0) for name in FRAME),
        ColumnSchema(name="y", type="category", use=False),
    ],
)
SMALL = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
TRAIN, TEST = np.arange(1200), np.arange(1200, 1797)


def classifier(module=SMALL, **options):
    given = {"epochs": 20, "rate": 0.005, **options}
    return NetworkClassifier(
        layers=[list(layer) for layer in layers.describe(module)], numbers=NUMBERS, **given
    )


@pytest.fixture(scope="module")
def plain():
    return classifier().fit(FRAME.iloc[TRAIN], CODES[TRAIN])


def test_a_network_survives_storage_and_answers_the_same_as_onnx(plain):
    assert (plain.predict(FRAME.iloc[TEST]) == CODES[TEST]).mean() > 0.9
    loaded = load_network(*dump_network(plain), SCHEMA)
    assert np.array_equal(loaded.scores(FRAME), plain.logits(FRAME))
    labels, probabilities = OnnxModel(to_onnx(plain, SCHEMA), SCHEMA).predict(FRAME)
    assert (labels == plain.predict(FRAME)).all()
    assert np.abs(probabilities - plain.predict_proba(FRAME)).max() < 1e-5
    assert dump_network(plain) == dump_network(plain)


def test_every_listed_layer_is_described_and_rebuilt():
    whole = nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 4, 3, padding=1), nn.GroupNorm(2, 4), nn.ReLU(), nn.MaxPool2d(2), nn.BatchNorm2d(4), nn.GELU(),
        nn.Conv2d(4, 8, 3, stride=2), nn.Tanh(), nn.AvgPool2d(1), nn.Sequential(nn.Flatten(), nn.LayerNorm(8), nn.Dropout(0.1), nn.ELU()),
        nn.Sigmoid(), nn.BatchNorm1d(8), nn.Identity(), nn.Linear(8, 10, bias=False),
    )  # fmt: skip
    told = json.loads(json.dumps(layers.describe(whole)))
    again = layers.build(told)
    flat = [part for part in whole.modules() if not list(part.children())]
    again.load_state_dict(
        {
            f"{place}.{name}": value
            for place, part in enumerate(flat)
            for name, value in part.state_dict().items()
        }
    )
    rows = torch.rand(5, 64)
    assert torch.equal(again.eval()(rows), whole.eval()(rows))
    assert layers.describe(again) == layers.describe(whole)
    assert {name for name, _ in told} == set(layers.LAYERS) - {"Wavelets2d"}


class Evil(nn.Module):
    def forward(self, rows):
        return rows


@pytest.mark.parametrize(
    "module",
    [
        Evil(),
        nn.Sequential(Evil()),
        nn.Sequential(nn.LSTM(3, 3)),
        type("Linear", (nn.Linear,), {})(3, 3),
    ],
    ids=str,
)
def test_code_of_a_user_cannot_be_stored(module):
    with pytest.raises(VerificationError, match="cannot have the layer"):
        layers.describe(module)


@pytest.mark.parametrize(
    "told",
    [
        [],
        "x",
        [["__import__", {}]],
        [["Module", {}]],
        [["Linear", {"in_features": 10**6, "out_features": 10**6}]],
        [["Linear", {"in_features": 3}]],
        [["Linear", {"in_features": 3, "out_features": 3, "device": "meta"}]],
        [["ReLU"]],
        [["Linear", {"in_features": -3, "out_features": 3}]],
        [["ReLU", {}]] * 501,
    ],
    ids=lambda told: str(told)[:30],
)
def test_a_hostile_description_is_refused(told):
    with pytest.raises(VerificationError):
        layers.build(told)


def test_changed_files_are_refused(plain):
    description, weights = dump_network(plain)
    for changed in (weights[:-4], b"", weights + b"x", weights[:8] + b"]" + weights[9:]):
        with pytest.raises(VerificationError):
            load_network(description, changed, SCHEMA)
    for changed in (
        description[:-5],
        description.replace(b'"classes": 10', b'"classes": 9'),
        b"{}",
    ):
        with pytest.raises(VerificationError):
            load_network(changed, weights, SCHEMA)


def test_gradients_are_exact(plain):
    model, at = NetworkModel(plain), FRAME.iloc[TEST[:5]].reset_index(drop=True)
    found = model.margin_gradient(at, CODES[TEST[:5]], list(FRAME))
    from casemate.ml.attacks.interface import margins_of

    for name in list(FRAME)[10:40:7]:
        up, down = at.copy(), at.copy()
        up[name] += 0.01
        down[name] -= 0.01
        inside = ((at[name] > 0.02) & (at[name] < 15.98)).to_numpy()
        slope = (
            margins_of(model.scores(up), CODES[TEST[:5]])
            - margins_of(model.scores(down), CODES[TEST[:5]])
        ) / 0.02
        assert np.allclose(
            found[inside, list(FRAME).index(name)], slope[inside], rtol=0.05, atol=0.02
        )


def robust(model, eps=0.1):
    table = AssessTable(eps=[eps], attack_rows=100, attack_steps=20)
    members, holdout = (
        Sample(FRAME.iloc[at].reset_index(drop=True), CODES[at]) for at in (TRAIN, TEST)
    )
    found = robustness.measure(
        NetworkModel(model),
        SCHEMA,
        holdout,
        members,
        table,
        RobustnessTable(unit="range"),
        [],
        0,
        lambda *_: None,
    )
    return found["curve"][0]["robust_accuracy"], found["clean_accuracy"]


def test_adversarial_training_buys_robust_accuracy_for_a_little_clean_accuracy(plain):
    hardened = classifier(mode="adversarial", eps=0.1, epochs=40).fit(
        FRAME.iloc[TRAIN], CODES[TRAIN]
    )
    (weak, clean), (strong, less) = robust(plain), robust(hardened)
    assert strong > weak + 0.1
    assert less > clean - 0.1


@pytest.mark.parametrize("whole", [False, True], ids=["last layer", "whole network"])
def test_private_training_stays_within_its_budget_and_learns(whole):
    module = (
        SMALL
        if whole
        else nn.Sequential(
            nn.Unflatten(1, (1, 8, 8)),
            layers.Wavelets2d((1, 2), 6, 2),
            nn.Flatten(),
            nn.Linear(13 * 16, 10),
        )
    )
    given = {"epochs": 15, "batch": 256, "rate": 0.5} if whole else {"epochs": 40, "rate": 200.0}
    model = classifier(module, mode="private", clip=1.0 if whole else 0.1, **given)
    model.set_params(units=1300 if whole else None)
    plan = network.planned(model.layers, None, model.units, model.epochs, model.batch)
    assert (plan.rate < 1) is whole
    model.set_params(sigma=network.noise_for(plan, 3.0, 1e-4)).fit(FRAME.iloc[TRAIN], CODES[TRAIN])
    assert accountant.epsilon([model.spent()], 1e-4) <= 3.0 * 1.001
    assert (model.predict(FRAME.iloc[TEST]) == CODES[TEST]).mean() > 0.8


def test_frozen_weights_stay_and_categories_are_encoded():
    frame = pd.DataFrame(
        {"x": [0.0, 1.0, np.nan] * 20, "ward": np.array(["A", "B", "?"] * 20, dtype=object)}
    )
    model = NetworkClassifier(
        layers=[["Linear", {"in_features": 3, "out_features": 4, "bias": True}], ["ReLU", {}], ["Linear", {"in_features": 4, "out_features": 2, "bias": True}]],
        frozen={"0.weight": np.full((4, 3), 0.5, dtype=np.float32)},
        numbers={"x": (0.0, 1.0)},
        categories={"ward": ["A", "B"]},
        epochs=2,
    )  # fmt: skip
    assert model.encode(frame)[:3].tolist() == [[0, 1, 0], [1, 0, 1], [0.5, 0, 0]]
    model.fit(frame, np.arange(60) % 2)
    assert torch.equal(model.network_[0].weight, torch.full((4, 3), 0.5))
