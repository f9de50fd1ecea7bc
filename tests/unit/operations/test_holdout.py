"""The hold-out of a table, from its rows to the figures that stand on it."""

import os

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from msgspec import structs
from tests.cli.test_trust_cli import project_of

import casemate
from casemate import config as configuration
from casemate.controls.keys.subjects import Root
from casemate.core.types import ColumnSchema, Schema, SealedDataset, Sides
from casemate.ml.frame import UNSEEN
from casemate.operations import runs
from casemate.operations.keys import rotation
from casemate.pipeline import data_tools
from casemate.stages.assess.sample import Sample
from casemate.stages.assess.work import Work
from casemate.stages.assess.worker import measure_comparison
from casemate.stages.data import lessons
from casemate.stages.data.stage import examine
from casemate.supply.rows import SealedRows


def noisy(count=900, seed=0):
    """A table whose labels are often the unlikely ones: those are what a label screen dislikes."""
    generator = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "a": generator.standard_normal(count).round(4),
            "b": generator.standard_normal(count).round(4),
        }
    )
    frame["ill"] = (2.5 * frame["a"] + generator.logistic(size=count) > 0).astype(int)
    return frame


def looked_at(root, frame, *overrides):
    """The table as a project at `root` would seal it."""
    if frame is not None:
        frame.to_csv(root.parent / "study.csv", index=False)
    project = casemate.open(root)
    project.config = configuration.load(
        root / "casemate.toml", ["screen.triggers=false", "screen.cap=1.0", *overrides]
    )
    return examine(data_tools(runs.run_context(project)))


@pytest.fixture(scope="module")
def study(home, tmp_path_factory):
    return project_of(tmp_path_factory.mktemp("holdout") / "study", noisy()).root


@pytest.fixture(scope="module")
def plain(study):
    return looked_at(study, noisy())


@pytest.mark.parametrize(
    "setting",
    ['screen.quarantine="exclude"', 'screen.exclude=["label-noise","outlier","neighbours"]'],
)
def test_what_a_screen_dislikes_is_left_out_of_training_only(study, plain, setting):
    found = looked_at(study, noisy(), setting)
    assert found.excluded.sum() > 5
    assert not (found.excluded & found.holdout).any()
    assert np.array_equal(found.holdout, plain.holdout)
    suspects = {suspect.row for suspect in found.suspects}
    assert suspects & set(np.flatnonzero(found.holdout))


def test_by_default_nothing_is_left_out_that_nobody_has_looked_at(plain):
    assert len(plain.suspects) > 5
    assert not plain.excluded.any()


@pytest.mark.parametrize(
    ("change", "overrides"),
    [
        (lambda frame: frame.assign(ill=1 - frame["ill"]), ()),
        (
            lambda frame: frame.assign(ill=frame["ill"].sample(frac=1, random_state=3).to_numpy()),
            (),
        ),
        (lambda frame: pd.concat([frame, noisy(300, 9)], ignore_index=True), ()),
        (lambda frame: frame, ("train.seed=5",)),
        (lambda frame: frame, ("train.folds=3", "screen.label_noise=false")),
    ],
    ids=["all labels turned", "labels shuffled", "rows added", "another seed", "other settings"],
)
def test_rows_keep_their_side(study, plain, change, overrides):
    found = looked_at(study, change(noisy()), *overrides)
    assert np.array_equal(found.holdout[: len(plain.holdout)], plain.holdout)
    assert found.sides == plain.sides


def test_rows_in_another_order_keep_their_side(study, plain):
    order = np.random.default_rng(5).permutation(len(plain.holdout))
    found = looked_at(study, noisy().iloc[order])
    assert np.array_equal(found.holdout, plain.holdout[order])


@pytest.mark.long
def test_keys_that_are_rotated_move_no_row(dropped, monkeypatch):
    monkeypatch.setattr(Root, "drawn", lambda: Root(os.urandom(64), kept=False))
    project, _, _ = dropped
    before = looked_at(project.root, None)
    rotation.rotate(project, ["subjects"], compromised=True)
    after = looked_at(project.root, None)
    assert np.array_equal(after.holdout, before.holdout) and after.sides == before.sides


@pytest.fixture(scope="module")
def dropped(home, tmp_path_factory):
    """A project whose steward dropped hold-out and training rows; with the run before."""
    project = project_of(
        tmp_path_factory.mktemp("dropped") / "study",
        noisy(),
        gates='roc_auc = { min = 0.5, no_worse_than = "previous", margin = 0.2 }\n',
    )
    first = project.run()
    rows = SealedRows(runs.run_context(project), project.datasets["study"].record)
    held = np.flatnonzero(rows._split["holdout"])
    wrong = held[((noisy()["a"] > 0) != (noisy()["ill"] == 1)).to_numpy()[held]][:15]
    trained = np.flatnonzero(~rows._split["holdout"])[:4]
    project.datasets["study"].review(
        [*map(int, wrong), *map(int, trained)], "dropped", "typed in wrongly"
    )
    return project, first, casemate.open(project.root).run()


def test_what_a_person_takes_out_of_the_hold_out_is_named_and_both_figures_are_shown(dropped):
    project, first, second = dropped
    record = project.datasets["study"].record
    assert (record.dropped, record.excluded) == (15, 19)
    assert record.holdout == first.assessment.rows - 15 == second.assessment.rows
    without, with_ = (
        second.assessment.metrics["accuracy"].value,
        second.assessment.with_dropped["accuracy"].value,
    )
    assert without > with_ + 0.03  # rows that the model gets wrong were taken out
    assert any(
        finding.id == "assess.dropped" and "15 hold-out rows" in finding.message
        for finding in second.assessment.findings
    )
    card = (second.folder / "4-release" / "model-card.md").read_text()
    assert f"{record.holdout} hold-out rows, chosen by a keyed hash of each row" in card
    assert "15 more were taken out by a person's decision" in card
    assert "## With the rows that were taken out" in card
    assert f"| {record.holdout} hold-out rows |" in card
    assert b"15 more were taken out" in (second.folder / "1-data" / "report.html").read_bytes()
    assert first.assessment.with_dropped == {} and first.assessment.dropped == 0


def test_a_model_is_compared_on_every_row_where_both_were_divided_alike(dropped):
    _, _, second = dropped
    assert second.assessment.previous == "study@1"
    assert second.assessment.compared_rows == second.assessment.rows


def test_of_a_model_that_was_divided_otherwise_only_rows_that_it_never_saw_count(dropped):
    """The rows of its version are looked at: its hold-out was another one."""
    project, first, _ = dropped
    rows = SealedRows(runs.run_context(project), project.datasets["study"].record)
    before = project.engine.record(first.id, "data", SealedDataset)
    assert rows.unseen_by(before).all()
    old = structs.replace(before, sides=None)
    assert rows.unseen_by(old).all()  # in truth nothing differed
    other = SealedRows(runs.run_context(project), old)
    drawn = np.random.default_rng(0).permutation(rows._split["holdout"])
    other._split = {**other._split, "holdout": drawn}
    kept = rows._split["holdout"] & ~rows._split["excluded"]
    sealed = project.objects.put(_stream(other._split))
    unseen = rows.unseen_by(structs.replace(old, split=sealed))
    assert np.array_equal(unseen, drawn[kept])
    wider = structs.replace(
        before, sides=Sides(rule="hash", share=0.1, by=before.sides.by, key=before.sides.key)
    )
    assert rows.unseen_by(wider) is not None


def test_of_a_model_whose_rows_are_gone_nothing_is_known_to_be_unseen(dropped):
    project, first, _ = dropped
    rows = SealedRows(runs.run_context(project), project.datasets["study"].record)
    before = project.engine.record(first.id, "data", SealedDataset)
    assert not rows.unseen_by(structs.replace(before, sides=None, version="0" * 16)).any()
    assert not rows.unseen_by(None).any()


def comparison(tmp_path, count, unseen):
    """A measurement against a model before that cannot be loaded, on `count` hold-out rows."""
    schema = Schema(
        target="ill", classes=["0", "1"], columns=[ColumnSchema(name="a", type="number")]
    )
    before = {
        "reference": "study@1",
        "schema": msgspec.to_builtins(schema),
        "order": [],
        "own": True,
    }
    work = Work(
        {"previous": before, "inputs": str(tmp_path), "schema": msgspec.to_builtins(schema)}, None
    )
    work.samples = [Sample(noisy(count)[["a"]], noisy(count)["ill"].to_numpy())]
    work.tables = [pa.table({"a": np.zeros(count), UNSEEN: unseen})]
    with pytest.raises(Exception) as raised:
        measure_comparison(work)
    return work, str(raised.value)


def test_a_comparison_that_fails_leaves_no_gate_open_that_asks_for_one(tmp_path):
    """Gates go by whether there was a model to compare with; one that could not be loaded, or takes
    other features, is one.
    """
    work, _ = comparison(tmp_path, 200, np.ones(200, dtype=bool))
    assert work.found == {"previous": "study@1"}


def test_too_few_rows_that_are_new_to_the_model_before_are_counted(tmp_path):
    _, why = comparison(tmp_path, 200, np.arange(200) < 12)
    assert why == "12 of 200 hold-out rows are known to be new to study@1; 38 more are needed"
    one_class = noisy(200)["ill"].to_numpy() == 1
    assert "miss a class" in comparison(tmp_path, 200, one_class)[1]


def _stream(columns):
    return lessons.to_bytes(pa.table(columns))
