"""Watching models of more than two classes and of quantities: what is estimated of their answers."""

import shutil
import time

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from bench.watch import traffic
from tests.conftest import lighten, write_csv

import casemate
from casemate.operations import scaffold
from casemate.watch.telemetry import DAY

pytestmark = pytest.mark.slow

BEGAN = (time.time() // DAY + 1) * DAY
ROWS = 1_500


def drawn(rows: int, seed: int, near: float) -> pd.DataFrame:
    """Rows whose `a` and `b` lie at random in a square; those near its middle are hard to tell.

    Args:
        rows: how many.
        seed: of the draw.
        near: half the square's side: 1 is usual, less is harder.
    """
    random = np.random.default_rng(seed)
    a, b = random.uniform(-near, near, rows), random.uniform(-near, near, rows)
    # three classes by direction, the surer the further out
    pull = 6 * np.stack([a, b, -a - b], axis=1) + random.gumbel(size=(rows, 3))
    kind = np.array(["north", "south", "west"])[pull.argmax(axis=1)]
    cost = 50 + 10 * a + random.normal(0, 1 + 12 * (1 - abs(a)) ** 3, rows)
    return pd.DataFrame({"a": a.round(4), "b": b.round(4), "kind": kind, "cost": cost.round(4)})


def trained(root, target: str, *options: str):
    root.mkdir()
    table = drawn(ROWS, 0, 1.0)[["a", "b", target]]
    file = write_csv(root / "t.csv", pa.Table.from_pandas(table, preserve_index=False))
    scaffold.create(root, scaffold.from_table(root, file, target))
    lighten(root)
    project = casemate.open(root, list(options))
    project.run()
    return root, project.models.list()[0].reference


@pytest.fixture(scope="module")
def of_classes(home, tmp_path_factory):
    return trained(tmp_path_factory.mktemp("kinds") / "p", "kind", "gates.accuracy.min=0.5")


@pytest.fixture
def classes(of_classes, tmp_path):
    """A copy: what another test has watched would be later than what this one watches."""
    root, reference = of_classes
    return shutil.copytree(root, tmp_path / "p"), reference


@pytest.fixture(scope="module")
def quantity(home, tmp_path_factory):
    return trained(tmp_path_factory.mktemp("quantity") / "p", "cost")


def judged(made, days: int, near: float):
    """The judgement of one day and the alarms that stand after it."""
    root, reference = made
    frame = drawn(900, days + 1, near)
    times = BEGAN + days * DAY + np.linspace(60, DAY - 60, len(frame))
    traffic.answer(
        traffic.opened(root, BEGAN), reference, frame.drop(columns=["kind", "cost"]), times
    )
    seen = traffic.opened(root, BEGAN + (days + 1.1) * DAY).watch.once()
    return seen.judgements[-1].drift, seen.alarms


@pytest.mark.parametrize(("kind", "figure"), [("classes", "accuracy"), ("quantity", "mae")])
def test_answers_of_any_kind_have_an_estimate_that_suffers_with_the_population_only(
    kind, figure, request
):
    made = request.getfixturevalue(kind)
    usual, alarms = judged(made, 0, 1.0)
    assert [one.name for one in usual.estimate.figures] == [figure]
    assert (usual.quality, alarms) == ("holds", [])
    harder, alarms = judged(made, 1, 0.35)
    assert harder.quality == "suffers"
    assert "quality-estimated" in {one.cause.name for one in alarms}
    assert figure in harder.because


@pytest.mark.long
def test_outcomes_of_three_classes_are_compared_with_what_their_scores_promised(classes):
    root, reference = classes
    frame = drawn(900, 9, 1.0)
    times = BEGAN + 20 * DAY + np.linspace(60, DAY - 60, len(frame))
    project = traffic.opened(root, BEGAN)
    ids = traffic.answer(project, reference, frame.drop(columns=["kind", "cost"]), times)
    told = traffic.opened(root, BEGAN + 20.9 * DAY)
    turned = dict(zip(["north", "south", "west"], ["south", "west", "north"], strict=True))
    told.feedback.add({one: turned[kind] for one, kind in zip(ids, frame["kind"], strict=True)})
    seen = traffic.opened(root, BEGAN + 21.1 * DAY).watch.once()
    assert {"quality-realised", "relation-changed"} <= {one.cause.name for one in seen.alarms}
