"""A run that follows takes over what never saw the rows that went, and its model is the one that
training anew gives.
"""

import datetime

import numpy as np
import pyarrow as pa
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tests.conftest import write_csv
from tests.unit.controls.test_subjects import Ward
from tests.unit.operations.test_affected import PERSONS, release

import casemate
from casemate import pipeline
from casemate.core.errors import RefusedError
from casemate.core.types import TrainedModel
from casemate.estimators import UnlearnableForestClassifier, UnlearnableRidge
from casemate.operations import scaffold
from casemate.operations.rights.kept import require_kept
from casemate.stages.train.unlearnt import of_fitted

QUICK = [
    "assess.bootstrap=20",
    "assess.attack_rows=10",
    "assess.attack_steps=1",
    "assess.eps=[0.1]",
    "screen.label_noise=false",
    "train.search={}",
    "train.folds=2",
    "gates.membership_auc.max=1.0",
    "gates.roc_auc.min=0.0",
]
CODE = """
from casemate.estimators import UnlearnableForestClassifier


def build(columns):
    return UnlearnableForestClassifier(n_estimators=60, share=0.1)
"""


def forested(root):
    """A project of 160 people, one a row, whose forest can be unlearnt; its table."""
    values = np.random.default_rng(5).standard_normal((160, 2))
    table = pa.table(
        {
            "who": [f"person-{n:03d}" for n in range(160)],
            "a": values[:, 0],
            "b": values[:, 1],
            "y": (values.sum(axis=1) > 0).astype(int),
        }
    )
    root.mkdir()
    scaffold.create(root, scaffold.from_table(root, write_csv(root / "t.csv", table), "y"))
    (root / "train.py").write_text(CODE)
    return table


def trained(project, result):
    return project.engine.record(result.id, "train", TrainedModel)


@pytest.mark.slow
@pytest.mark.long
def test_what_a_run_makes_of_the_rows_that_stay_is_what_training_anew_makes(
    home, tmp_path, monkeypatch
):
    root = tmp_path / "p"
    table = forested(root)
    with casemate.open(root, QUICK) as project:
        first = project.run()
        before = trained(project, first).unlearning
        assert (before.trees, before.each, before.former) == (60, 6, "")
        gone = [0, 1, 2]  # one of these is among the training rows, but by a chance of 1 in 30
        write_csv(root / "t.csv", table.take(sorted({*range(160)} - {*gone})))
        second = project.run()
        after = trained(project, second).unlearning
        assert (after.former, after.former_rows) == (first.model.reference, before.rows)
        assert before.rows - 3 <= after.rows < before.rows
        assert 60 - 6 * (before.rows - after.rows) <= after.kept < 60
        card = project.objects.get(second.release.files["model-card.md"]).decode()
        assert f"{after.kept} were taken over from {first.model.reference}" in card
        assert "person-000" not in card

        requests = project.privacy.requests
        requests.begin("person-000", "erasure")
        requests.decide(1, "grant")
        with pytest.raises(RefusedError, match="until when is it to be unlearnt"):
            requests.decide_model(1, "unlearn", first.model.reference)
        past = datetime.date(2020, 1, 1)
        requests.decide_model(1, "unlearn", first.model.reference, by=past)
        with pytest.raises(RefusedError, match="was to be unlearnt by 2020-01-01"):
            require_kept(project, first.model.reference)

        monkeypatch.setattr(pipeline, "former", lambda _: None)
        anew = project.run(start="train")
        assert trained(project, anew).unlearning.kept == 0
        assert trained(project, anew).files == trained(project, second).files


def test_only_an_estimator_that_can_be_unlearnt_is_told_of_as_one():
    table, target = np.arange(40.0).reshape(-1, 1), np.arange(40) % 2
    forest = UnlearnableForestClassifier(10, 0.2)
    assert of_fitted(RandomForestClassifier(3).fit(table, target)) is None
    assert of_fitted(UnlearnableRidge().fit(table, target)) == {"kind": "least-squares"}
    told = of_fitted(make_pipeline(StandardScaler(), forest).fit(table, target))
    assert told == {"kind": "forest", "trees": 10, "each": 2, "kept": 0}


def test_what_stands_before_the_forest_is_fitted_without_the_rows_and_its_trees_with_it():
    table = np.arange(40.0).reshape(-1, 1)
    scaled = make_pipeline(StandardScaler(), UnlearnableForestClassifier(10, 0.2))
    first = scaled.fit(table, np.arange(40) % 2)[-1].digests_
    second = scaled.fit(table[1:], np.arange(40)[1:] % 2)[-1].digests_
    assert not {*first} & {*second}  # every row looks otherwise, so that no tree would be kept


@pytest.mark.slow
def test_an_erasure_that_unlearns_is_closed_by_a_version_that_equals_one_trained_anew(
    home, tmp_path, monkeypatch
):
    root = tmp_path / "p"
    forested(root)
    toml = (root / "casemate.toml").read_text()
    toml = toml.replace("\ntarget = ", '\nsubject = "who"\ntarget = ', 1)
    (root / "casemate.toml").write_text(toml)
    with casemate.open(root, QUICK) as project:
        first = project.run()
        ids = [f"person-{n:03d}" for n in range(6)]
        done = project.privacy.erase(ids[0], aliases=ids[1:], models="unlearn")
        decided = done.request.request.models[first.model.reference]
        assert (done.request.request.state, decided.how) == ("erased", "unlearn")
        assert "no newer version was trained without them" in done.waiting[0]
        second = project.run()
        assert second.release.verdict.outcome == "passed"
        assert project.privacy.requests.fulfil_due() == [done.request.request.id]
        (outcome,) = project.privacy.requests.show(1).request.closing.models
        assert (outcome.how, outcome.instead) == ("unlearn", second.model.reference)
        assert outcome.taken_over + outcome.grown == 60
        assert 0 < outcome.taken_over < 60
        monkeypatch.setattr(pipeline, "former", lambda _: None)
        anew = project.run(start="train")
        assert trained(project, anew).unlearning.kept == 0
        assert trained(project, anew).files == trained(project, second).files


def test_an_erasure_decides_retrain_where_the_model_cannot_be_unlearnt(home, tmp_path):
    project = Ward(tmp_path / "ward", PERSONS).seal()
    release(project, 1)
    done = project.privacy.erase(PERSONS[0], models="unlearn")
    assert done.request.request.models["ward@1"].how == "retrain"
    assert done.request.request.models["ward@1"].by
