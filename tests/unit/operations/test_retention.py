"""What nothing refers to goes when its time is over, and nothing else; interrupted, the rest goes
the next time.
"""

import shutil

import pytest
from tests.conftest import tree

import casemate
from casemate.controls.access.identity.registered import PRINCIPALS
from casemate.core.errors import AccessDenied, BusyError
from casemate.core.files import shared_lock
from casemate.core.lease import RUNS
from casemate.core.steps import STEPS
from casemate.core.types import Release
from casemate.operations import retention
from casemate.operations.fsck import examine


@pytest.fixture
def old(aged, tmp_path):
    root, ids = aged
    shutil.copytree(root, tmp_path / "p")
    (tmp_path / "p" / "casemate.toml").write_text(
        (root / "casemate.toml").read_text() + "\n[retention]\nkeep_runs = 1\n"
    )
    return tmp_path / "p", ids


def runs_of(root):
    project = casemate.open(root)
    found = {run.id for run in project.engine.runs()}
    project.database.close()
    return found


def sound(root, cli):
    project = casemate.open(root)
    assert examine(project).damage == []
    for model in project.models.values():
        if model.registered.release.bundle:
            model.verify()
    for dataset in project.datasets.values():
        assert dataset.to_arrow().num_rows
    project.database.close()
    assert cli("audit", "verify", "--config", root).code == 0


def test_a_dry_run_says_what_would_go_and_changes_nothing_but_is_right(old, cli):
    root, ids = old
    before = tree(root / ".casemate")
    said = cli("gc", "--config", root)
    assert said.code == 0
    assert "would go: 1 runs, 1 refused models, 1 data sets" in said.out
    assert tree(root / ".casemate") == before
    done = cli("gc", "--apply", "--config", root)
    assert done.out.replace("removed", "would go") == said.out.replace(
        "casemate gc --apply removes it\n", ""
    )
    assert runs_of(root) == {ids[0], ids[2]}
    assert {path.name for path in (root / ".casemate" / "runs").iterdir()} == {ids[0], ids[2]}
    assert len(list((root / ".casemate" / "datasets").glob("*/*"))) == 2
    sound(root, cli)
    assert "0 runs" in cli("gc", "--apply", "--config", root).out
    (entry,) = [
        entry for entry in casemate.open(root).log.entries() if entry.action == "project:cleaned"
    ]
    assert entry.detail["runs"] == [ids[1]]
    project = casemate.open(root)
    # no number is given out twice
    assert project.registry.next_version(project.config.project.name) == 4


def test_what_is_young_stays(old, cli):
    root, ids = old
    project = casemate.open(root)
    with project.database.transaction() as tx:
        tx.execute(
            RUNS.update().where(RUNS.c.id == ids[1]).values(ended=project.clock.now().isoformat())
        )
    project.database.close()
    assert cli("gc", "--apply", "--config", root).code == 0
    assert runs_of(root) == set(ids)
    sound(root, cli)


@pytest.mark.parametrize(
    "kind",
    [
        "run",
        pytest.param("model", marks=pytest.mark.long),
        pytest.param("data set", marks=pytest.mark.long),
    ],
)
def test_a_legal_hold_keeps_what_it_names(old, cli, kind):
    root, ids = old
    project = casemate.open(root)
    version = project.engine.record(ids[1], "data", retention.SealedDataset)
    model = project.engine.record(ids[1], "release", Release)
    name = {
        "run": ids[1],
        "model": f"{model.model}@{model.model_version}",
        "data set": f"{version.name}@{version.version}",
    }[kind]
    project.database.close()
    (root / "casemate.toml").write_text(
        (root / "casemate.toml").read_text() + f'hold = ["{name}"]\n'
    )
    assert f"held: {ids[1]}" in cli("gc", "--config", root).out
    assert cli("gc", "--apply", "--config", root).code == 0
    assert runs_of(root) == set(ids)
    sound(root, cli)


def test_a_hold_that_comes_after_the_plan_keeps_its_run(old, cli, monkeypatch):
    root, ids = old
    project = casemate.open(root)
    looked = retention._look

    def look(*given):
        plan = looked(*given)
        if not plan.held:
            project.holds.place("deletion", ids[1], "evidence")
        return plan

    monkeypatch.setattr(retention, "_look", look)
    with pytest.raises(BusyError, match=ids[1]) as refused:
        retention.collect(project, apply=True)
    assert "gc again" in refused.value.hint
    assert runs_of(root) == set(ids)
    assert retention.collect(project, apply=True).held == [ids[1]]
    project.database.close()
    sound(root, cli)


def test_what_any_row_that_stays_mentions_stays_with_it(old, cli):
    root, ids = old
    project = casemate.open(root)
    with project.database.transaction() as tx:
        tx.execute(
            STEPS.update()
            .where(STEPS.c.run == ids[2], STEPS.c.name == "data")
            .values(origin=ids[1])
        )
    project.database.close()
    assert "0 runs" in cli("gc", "--apply", "--config", root).out
    assert runs_of(root) == set(ids)


def test_an_interrupted_removal_is_finished_by_the_next_one(old, cli, monkeypatch):
    root, ids = old

    def ended(_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(retention, "remove_tree", ended)
        with pytest.raises(KeyboardInterrupt):
            retention.collect(casemate.open(root), apply=True)
    assert runs_of(root) == {ids[0], ids[2]}
    assert examine(casemate.open(root)).damage == []
    assert "1 folders without a run" in cli("gc", "--config", root).out
    assert cli("gc", "--apply", "--config", root).code == 0
    assert {path.name for path in (root / ".casemate" / "runs").iterdir()} == {ids[0], ids[2]}
    sound(root, cli)


def test_nothing_goes_while_a_run_goes_on_or_without_the_right(old, cli, monkeypatch):
    root, _ = old
    project = casemate.open(root)
    with shared_lock(root / ".casemate" / "lock", lambda: None), pytest.raises(BusyError):
        retention.collect(project, apply=True)
    monkeypatch.setattr(
        "casemate.controls.access.point.current_name", lambda: "stranger", raising=False
    )
    with project.database.transaction() as tx:
        tx.execute(PRINCIPALS.update().values(roles=["operator"]))
    project.database.close()
    for apply in (False, True):
        with pytest.raises(AccessDenied):
            retention.collect(casemate.open(root), apply=apply)
