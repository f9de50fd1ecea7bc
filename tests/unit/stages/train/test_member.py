"""A site computes what a pooled fit would need of its rows, and what comes back is looked at."""

import os
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from sklearn.linear_model import LogisticRegression

from casemate.config import TrainTable
from casemate.core.errors import TrainingError
from casemate.core.sandbox.failure import JobLimits
from casemate.core.sandbox.server import HeldTable
from casemate.core.types import ColumnSchema, Schema
from casemate.ml.federated import drawn, encoding, exact, trees
from casemate.ml.federated.growing import grow
from casemate.ml.federated.learners import LinearLearner
from casemate.ml.federated.local import LocalPlan
from casemate.ml.federated.updates import Layout
from casemate.ml.frame import GROUP, features_of
from casemate.stages.train import member, member_network, turns
from casemate.stages.train.entry import BadEntry
from casemate.stages.train.member import ANSWER, CONTROL, OWN, WEIGHTS, Task
from casemate.stages.train.turns import Model, Numbers, Room, Turns

SCHEMA = Schema(
    target="y",
    classes=["n", "p"],
    columns=[
        ColumnSchema(name="a", type="number", min=-4.0, max=4.0),
        ColumnSchema(name="c", type="category", categories=["x", "z"]),
        ColumnSchema(name="y", type="category"),
    ],
)
LIMITS = encoding.Limits(numbers={"a": (-4.0, 4.0)}, categories={"c": ["x", "z", "(missing)"]})
SIZE = LIMITS.width + 1
NET_LAYOUT = Layout(names=["0.weight", "0.bias"], shapes=[[2, 4], [2]])
NET = b"""import torch


def build(columns):
    return torch.nn.Sequential(torch.nn.Linear(4, 2))
"""


def rows(count, seed):
    chance = np.random.default_rng(seed)
    values, kinds = chance.standard_normal(count).clip(-3.9, 3.9), chance.integers(0, 2, count)
    truth = values + kinds + chance.standard_normal(count) > 0.5
    return pa.table(
        {
            "a": values,
            "c": [("x", "z")[kind] for kind in kinds],
            "y": [("n", "p")[int(one)] for one in truth],
        }
    )


def task_of(what, number=1, **changes):
    told = {
        "round": number, "what": what, "plan": LocalPlan(), "limits": LIMITS, "scale": None,
        "strength": 1.0, "seed": 0, "counted": None,
    }  # fmt: skip
    return Task(**(told | changes))


@pytest.fixture
def job_in(tmp_path):
    """A function that says a job as a confined process hears it."""

    def say(schema=SCHEMA, layout=None, limits=LIMITS, **more):
        return {
            "schema": msgspec.to_builtins(schema),
            "outputs": str(tmp_path),
            "inputs": str(tmp_path),
            "entry": "train.py:build",
            "layout": msgspec.to_builtins(layout),
            "limits": msgspec.to_builtins(limits),
            "train": msgspec.to_builtins(TrainTable(entry="train.py:build")),
            "monotone": {},
            **more,
        }

    return say


@pytest.fixture
def answered(tmp_path, job_in):
    """A function that computes in this process what a confined one would."""

    def run(table, task, main=member.linear, schema=SCHEMA, layout=None, **numbers):
        held = [HeldTable(one) for one in (table, pa.table(numbers))]
        job = job_in(
            schema, layout, task.limits, task=msgspec.to_builtins(task),
            tables=[one.handed() for one in held],
        )  # fmt: skip
        said = member.answered(job, main)
        for one in (*job["tables"],):
            os.close(one)
        files = {
            name: np.frombuffer((tmp_path / name).read_bytes(), dtype="<f8")
            for name in (ANSWER, CONTROL, OWN)
            if (tmp_path / name).exists()
        }
        return said, files

    return run


def test_sums_of_sites_lead_to_the_fit_on_all_of_their_rows(answered):
    sites = [rows(150, 1), rows(250, 2), rows(100, 3)]
    found = [answered(one, task_of("moments"))[1][ANSWER] for one in sites]
    scale = encoding.scale_of([exact.Moments.from_flat(one) for one in found], LIMITS)
    learner = LinearLearner(LIMITS.width, 2, 1.0)

    def ask(weights):
        parts = [
            answered(one, task_of("sums", scale=scale), weights=weights)[1][ANSWER] for one in sites
        ]
        return exact.from_flat(np.sum(parts, axis=0), SIZE)

    weights = exact.solve(learner, ask).weights
    pooled = pa.concat_tables(sites)
    frame = pooled.select(["a", "c"]).to_pandas()
    given = encoding.encode(frame, LIMITS, scale)
    fit = LogisticRegression(C=1.0, tol=1e-12, max_iter=10_000).fit(given, pooled["y"].to_pylist())
    assert weights == pytest.approx(np.append(fit.coef_[0], fit.intercept_), abs=1e-6)


def test_sums_for_least_squares_are_those_of_the_rows(answered):
    schema = Schema(
        target="a", classes=[], columns=[SCHEMA.columns[1], ColumnSchema(name="a", type="number")]
    )
    limits = encoding.Limits(numbers={}, categories={"c": ["x", "z", "(missing)"]})
    table = rows(80, 4)
    _, files = answered(table, task_of("gram", limits=limits), schema=schema)
    kinds = np.array([[1, kind == "x", kind == "z", 0] for kind in table["c"].to_pylist()], float)
    assert files[ANSWER][:16].reshape(4, 4) == pytest.approx(kinds.T @ kinds)
    assert files[ANSWER][16:] == pytest.approx(kinds.T @ table["a"].to_numpy())


def test_sums_of_sites_lead_to_the_trees_of_all_of_their_rows(answered):
    growth = trees.Growth(trees=3, depth=2, rate=0.5, l2=1.0, bins=16, least=20)
    sites = [rows(150, 1), rows(250, 2), rows(100, 3)]

    def ask(asked, among):
        more = {WEIGHTS: asked.weights} if len(asked.weights) else {}
        what = "splits" if more else "counts"
        task = task_of(what, growth=growth, cuts=asked.cuts)
        return np.sum([answered(one, task, **more)[1][ANSWER] for one in among], axis=0)

    found, pooled = (
        grow(growth, LIMITS, 2, lambda asked, among=among: ask(asked, among)).flat()
        for among in (sites, [pa.concat_tables(sites)])
    )
    assert len(found) > 3
    assert found == pytest.approx(pooled, abs=1e-9)


def test_without_masks_a_site_does_not_tell_of_the_few_rows_of_a_node(answered):
    growth = trees.Growth(trees=1, depth=2, rate=0.5, l2=1.0, bins=16, least=20)
    table, told = rows(150, 1), []

    def ask(asked):
        told.append(asked)
        more = {WEIGHTS: asked.weights} if len(asked.weights) else {}
        task = task_of("splits", growth=growth, cuts=asked.cuts, apart=100)
        return answered(table, task, **more)[1][ANSWER]

    forest = grow(growth, LIMITS, 2, ask)
    assert len(told) == 3  # counts, the root, and what lies below it, of which nothing is told
    assert (forest.trees[0][0, 1:3, 0] == trees.LEAF).all()


def test_of_trees_with_noise_a_site_gives_clipped_sums_and_noise_and_tells_no_count(answered):
    growth = trees.Growth(trees=3, depth=2, rate=0.5, l2=1.0, bins=16, least=20)
    table, plan, told = rows(150, 1), LocalPlan(sigma=1e-6, clip=0.5), []

    def ask(asked):
        task = task_of("leaves", growth=growth, cuts=asked.cuts, plan=plan)
        said, files = answered(table, task, **{WEIGHTS: asked.weights})
        told.append((asked, files[ANSWER]))
        assert said["counted"] is None
        return files[ANSWER], 1

    drawn.grow(growth, LIMITS, 2, 1e-6, 0, ask)
    assert len(told) == 4
    frame = features_of(table, SCHEMA)
    site = trees.Site.of(table, frame, SCHEMA, LIMITS, growth)
    for asked, found in told:
        assert found == pytest.approx(drawn.sums_by_leaf(site, asked, 0.5), abs=1e-4)
        assert (found != drawn.sums_by_leaf(site, asked, 0.5)).all()
    together = table.append_column(GROUP, pa.array([7] * 150))
    one = answered(
        together, task_of("leaves", growth=growth, cuts=told[1][0].cuts, plan=plan),
        **{WEIGHTS: told[1][0].weights},
    )[1][ANSWER]  # fmt: skip
    assert np.linalg.norm(one) == pytest.approx(0.5, abs=1e-4)  # all of one person


def test_control_variates_go_on_from_the_round_before(answered):
    table, start = rows(60, 5), np.zeros(SIZE)
    plan = LocalPlan(controlled=True, rate=0.5)
    _, first = answered(table, task_of("train", plan=plan), weights=start)
    assert first[OWN] == pytest.approx(first[CONTROL])  # from nought
    _, second = answered(
        table, task_of("train", 2, plan=plan), weights=first[ANSWER], control=first[CONTROL],
        own=first[OWN],
    )  # fmt: skip
    assert second[OWN] == pytest.approx(first[OWN] + second[CONTROL])
    assert second[CONTROL] != pytest.approx(second[OWN])


def test_subjects_that_were_counted_are_not_counted_again(answered):
    plan = LocalPlan(sigma=1.0)
    said, _ = answered(rows(60, 6), task_of("train", plan=plan), weights=np.zeros(SIZE))
    assert said["counted"] != 60.0
    again, _ = answered(
        rows(60, 6), task_of("train", 2, plan=plan, counted=said["counted"]), weights=np.zeros(SIZE)
    )
    assert again["counted"] == said["counted"]


@pytest.fixture
def built(tmp_path, job_in):
    """A function that leaves what the code of a job builds where `answered` finds it, and takes the
    code away.
    """

    def run(layout, code=NET):
        (tmp_path / "train.py").write_bytes(code)
        found = member_network.built(job_in(layout=layout))
        for name, content in zip(member.BUILT, found, strict=True):
            (tmp_path / name).write_bytes(content)
        (tmp_path / "train.py").unlink()

    return run


@pytest.mark.parametrize("network", [False, True])
def test_a_site_keeps_its_shares_of_classes_out_of_what_it_learns_where_the_job_says(
    answered, built, network
):
    table = rows(60, 7).set_column(2, "y", pa.array(["n"] * 60))
    words = {}
    if network:
        built(NET_LAYOUT)
        words = {"main": member_network.network, "layout": NET_LAYOUT}
    start = np.zeros(10 if network else SIZE)
    moved = []
    for calibrated in (0.0, 1.0):
        task = task_of("train", plan=LocalPlan(calibrated=calibrated))
        moved.append(np.linalg.norm(answered(table, task, weights=start, **words)[1][ANSWER]))
    # of a site with one class next to nothing is left to learn
    assert moved[1] < 0.1 * moved[0]


@pytest.mark.parametrize("plan", [LocalPlan(), LocalPlan(sigma=1.0)])
def test_a_network_is_trained_as_its_code_builds_it_and_without_that_code(answered, built, plan):
    built(NET_LAYOUT)
    said, files = answered(
        rows(60, 7), task_of("train", plan=plan), member_network.network, layout=NET_LAYOUT,
        weights=np.zeros(10),
    )  # fmt: skip
    assert said["rows"] == 60
    assert (said["counted"] is not None) == (plan.sigma > 0)
    assert len(files[ANSWER]) == 10
    assert np.abs(files[ANSWER]).max() > 0


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"layout": Layout(names=["0.weight", "0.bias"], shapes=[[2, 9], [2]])}, "other arrays"),
        (
            {
                "layout": Layout(names=["0.weight", "0.bias"], shapes=[[3, 4], [3]]),
                "code": NET.replace(b"(4, 2)", b"(4, 3)"),
            },
            "3 outputs, and there are 2 classes",
        ),
        (
            {
                "code": b"from sklearn.linear_model import *\ndef build(): return LogisticRegression()"
            },
            "something else",
        ),
    ],
)
def test_code_that_builds_no_such_network_is_refused_before_a_row_is_there(built, changed, said):
    with pytest.raises(BadEntry, match=said):
        built(**({"layout": NET_LAYOUT} | changed))


def test_a_network_of_other_arrays_than_the_job_says_is_not_trained(answered, built):
    built(NET_LAYOUT)
    layout = Layout(names=["0.weight", "0.bias"], shapes=[[2, 9], [2]])
    with pytest.raises(BadEntry, match="other arrays"):
        answered(
            rows(60, 7), task_of("train"), member_network.network, layout=layout,
            weights=np.zeros(20),
        )  # fmt: skip


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    return Room(tmp_path_factory.mktemp("room"), [], JobLimits(60.0, 2 * 2**30), True, 1)


def model_of(network=False, code=b""):
    layout = LinearLearner(LIMITS.width, 2).layout
    if network:
        layout = NET_LAYOUT
    return Model(network, "train.py:build", {"train.py": code}, SCHEMA, layout, LIMITS, 0)


@pytest.mark.slow
def test_a_confined_process_answers_from_rows_that_were_handed_over_once(room):
    site = Turns(model_of(), room)
    try:
        site.hold(rows(60, 8))
        start = Numbers(weights=np.zeros(SIZE).tobytes())
        first, second = (site(task_of("train"), start, SIZE) for _ in range(2))
        assert first == second
        assert first.rows == 60
        site.hold(rows(61, 8))
        assert site(task_of("train"), start, SIZE).rows == 61
        with pytest.raises(TrainingError, match="asked for"):
            site(task_of("train"), start, SIZE + 1)
    finally:
        site.close()
    assert list(Path(room.scratch).iterdir()) == []


@pytest.mark.slow
def test_the_code_of_a_job_sees_no_key_and_no_network(room, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("key")
    code = (
        NET
        + f"\nimport pathlib, socket\nprint(pathlib.Path({str(secret)!r}).read_text())\n".encode()
    )
    site = Turns(model_of(network=True, code=code), room)
    try:
        site.hold(rows(60, 9))
        with pytest.raises(TrainingError) as caught:
            site(task_of("train"), Numbers(weights=np.zeros(10).tobytes()), 10)
    finally:
        site.close()
    assert "No such file" in caught.value.message or "Permission" in caught.value.message
    assert "key" not in caught.value.plain


def test_an_answer_that_holds_no_number_is_refused():
    turns._require(np.zeros(3).tobytes(), 3)
    for content, said in ((np.array([1.0, np.nan]).tobytes(), "NaN"), (bytes(8), "2 are asked")):
        with pytest.raises(TrainingError, match=said):
            turns._require(content, 2)
    turns._require(np.array([1.0, np.nan]).tobytes(), 2, finite=False)
    with pytest.raises(TrainingError, match="2 are asked"):
        turns._require(bytes(8), 2, finite=False)


def test_weights_are_named_apart_from_what_is_left_behind():
    assert len({WEIGHTS, ANSWER, CONTROL, OWN}) == 4
