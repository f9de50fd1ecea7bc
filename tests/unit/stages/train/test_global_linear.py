"""What sites learnt together, written as scikit-learn's own steps, answers as the sites' model
does.
"""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from casemate.core.types import MISSING_CATEGORY, ColumnSchema, Schema
from casemate.ml.federated import encoding
from casemate.ml.federated.encoding import Limits, Scale
from casemate.ml.federated.learners import LinearLearner
from casemate.ml.models import load_skops
from casemate.stages.train.global_linear import estimator_of, skops_file

KINDS = ["(missing)", "a", "b,c", "z"]


def columns(classes: list[str]) -> Schema:
    found = [
        ColumnSchema(name="ward", type="category", categories=KINDS[1:], nullable=True),
        ColumnSchema(name="age", type="number", min=0.0, max=120.0, nullable=True),
        ColumnSchema(name="dose", type="number", min=1e-9, max=3e-9, nullable=True),
        ColumnSchema(name="y", type="category" if classes else "number"),
    ]
    return Schema(target="y", classes=classes, columns=found)


def rows(chance: np.random.Generator, count: int = 200) -> pd.DataFrame:
    """Within the limits, beyond them, missing, and of values that nobody declared."""
    frame = pd.DataFrame(
        {
            "ward": chance.choice([*KINDS, "new"], count),
            "age": chance.uniform(-50, 200, count),
            "dose": chance.uniform(0, 4e-9, count),
        }
    ).astype({"ward": object})
    frame.loc[::7, "age"] = np.nan
    frame.loc[::11, "dose"] = np.nan
    return frame


@pytest.mark.parametrize("classes", [[], ["no", "yes"], ["0", "1"], ["x", "a", "m", "q"]])
@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_model_of_sites_answers_the_same_as_stock_steps(classes: list[str], seed: int) -> None:
    chance = np.random.default_rng(seed)
    limits = Limits(
        numbers={"age": (0.0, 120.0), "dose": (1e-9, 3e-9)},
        categories={"ward": [*KINDS[1:], MISSING_CATEGORY]},
    )
    scale = Scale(means=[chance.uniform(0, 120), 2e-9], deviations=[chance.uniform(1, 40), 4e-10])
    learner = LinearLearner(limits.width, len(classes) or 2)
    weights = chance.normal(size=learner.layout.size)
    penalty = {"C": 1.0} if classes else {"alpha": 1.0}
    frame = rows(chance)
    encoded = encoding.encode(frame, limits, scale)
    estimator = load_skops(skops_file(weights, scale, limits, columns(classes), penalty)).estimator
    assert list(estimator.feature_names_in_) == ["ward", "age", "dose"]
    if classes:
        expected = learner.answers(weights, encoded)
        assert np.abs(estimator.predict_proba(frame) - expected).max() < 1e-9
        assert estimator.classes_.tolist() == classes
    else:
        expected = encoded @ weights[:-1] + weights[-1]
        assert np.abs(estimator.predict(frame) - expected).max() < 1e-9 * np.abs(expected).max()


def test_a_number_that_never_varies_changes_nothing() -> None:
    limits = Limits(numbers={"age": (5.0, 5.0)}, categories={})
    scale = Scale(means=[5.0], deviations=[1.0])
    told = Schema(
        target="y",
        classes=["no", "yes"],
        columns=[
            ColumnSchema(name="age", type="number", min=5.0, max=5.0),
            ColumnSchema(name="y", type="category"),
        ],
    )
    found = estimator_of(np.array([3.0, 0.5]), scale, limits, told, {"C": 1.0})
    frame = pd.DataFrame({"age": [5.0, 4.0, np.nan]})
    expected = LinearLearner(1, 2).answers(
        np.array([3.0, 0.5]), encoding.encode(frame, limits, scale)
    )
    assert np.abs(found.predict_proba(frame) - expected).max() < 1e-12
