"""A scan says something about a model whose own inputs it looked at, and about no other."""

import pytest
from tests.unit.operations.test_scans import NOW, Fake, hit
from tests.unit.supply.planted import advisory, snapshot

import casemate
from casemate.config import GateTable
from casemate.operations import runinputs
from casemate.operations.scanned import standing
from casemate.operations.scans import looking
from casemate.operations.scans.scanners import scanners
from casemate.stages.release.weaknesses import judged
from casemate.stages.train.training_code import code_digest

LEAKY = advisory("GHSA-1", "leaky", [{"introduced": "0"}], NOW)


@pytest.fixture
def opened(tiny_project, monkeypatch, tmp_path):
    """The project, whose code and packages were looked at."""

    def open_(text=""):
        with (tiny_project / "casemate.toml").open("a") as file:
            file.write(f'\n[scan]\nkinds = ["code", "dependencies"]\n{text}\n')
        project = casemate.open(tiny_project)
        feed = snapshot(tmp_path / "feed", [LEAKY])
        project.scans.advisories.sign(feed)
        project.scans.advisories.add(feed)
        monkeypatch.setattr(
            looking,
            "scanners",
            lambda at, kind: scanners(at, kind) if kind == "dependencies" else [Fake(kind=kind)],
        )
        project.scans.scan()
        return project

    return open_


def said(project, code=None):
    """What the gate says of a model that learnt by the training code as it is now, or another."""
    own = code or code_digest(project.root, project.config)
    return judged(GateTable(max_severity="high"), standing(project, of_run=True), own)


def test_a_scan_of_what_a_run_is_made_of_lets_it_pass(opened):
    project = opened()
    assert said(project).outcome == "passed"
    (project.root / "notes.md").write_text("of no run\n")
    assert said(project).outcome == "passed"


def test_training_code_that_was_changed_since_is_named_with_what_to_do(opened):
    project = opened()
    (project.root / "train.py").write_text("print(1)\n")
    found = said(project)
    assert found.outcome == "inconclusive"
    assert "code: this model learnt by other training code than was looked at (train.py)" in (
        found.reason
    )
    assert "casemate scan all, then casemate run" in found.reason
    project.scans.scan()
    assert said(project).outcome == "passed"


def test_a_model_of_other_code_than_the_one_here_was_not_looked_at_either(opened):
    assert said(opened(), code="0" * 64).outcome == "inconclusive"


def test_training_code_that_a_scan_leaves_out_was_not_looked_at(opened):
    project = opened('exclude = ["train.py"]')
    found = said(project)
    assert found.outcome == "inconclusive"
    assert "(train.py, which no scan looks at)" in found.reason


def test_a_lock_that_is_new_changed_or_gone_was_not_looked_at(opened):
    project = opened()
    lock = project.root / "requirements.txt"
    for text, word in (("numpy==2.0.0\n", "is new"), ("numpy==2.0.1\n", "was changed")):
        lock.write_text(text)
        found = said(project)
        assert found.outcome == "inconclusive" and f"requirements.txt {word} since" in found.reason
        project.scans.scan()
        assert said(project).outcome == "passed"
    lock.unlink()
    assert "requirements.txt is gone" in said(project).reason


def test_a_file_that_requirements_name_counts_whatever_its_name(opened):
    project = opened()
    (project.root / "requirements.txt").write_text("-r base.in\n")
    (project.root / "base.in").write_text("numpy==2.0.0\n")
    project.scans.scan()
    assert said(project).outcome == "passed"
    (project.root / "base.in").write_text("numpy==2.0.1\n")
    assert "base.in was changed" in said(project).reason


def test_another_environment_was_not_looked_at(opened, monkeypatch):
    project = opened()
    monkeypatch.setattr(runinputs, "environment_digest", lambda: "0" * 64)
    assert "other packages are installed here" in said(project).reason


def test_a_scan_that_kept_nothing_of_what_it_looked_at_says_nothing(opened, monkeypatch):
    project = opened()
    monkeypatch.setattr(looking, "with_inputs", lambda _, answer, __: answer)
    monkeypatch.setattr(
        looking, "scanners", lambda _, kind: [Fake(kind=kind)]
    )  # as before it was kept
    project.scans.scan()
    reason = said(project).reason
    assert "code: this model" in reason and "nobody kept what was looked at" in reason


def test_code_that_changes_under_the_scanners_was_not_looked_at(opened, monkeypatch):
    project = opened()

    class Changing(Fake):
        def look(self, place):
            (place.root / "train.py").write_text("print(2)\n")
            return super().look(place)

    monkeypatch.setattr(looking, "scanners", lambda _, __: [Changing()])
    assert project.scans.scan(["code"]).unseen == [
        "files: the training code: the training code changed while it was looked at: scan again"
    ]


def test_a_project_without_training_code_has_none_that_was_looked_at(opened):
    project = opened()
    (project.root / "train.py").unlink()
    project.scans.scan()
    assert said(project, code="0" * 64).outcome == "inconclusive"


def test_who_looks_at_code_need_not_be_who_looks_at_packages(opened, monkeypatch):
    project = opened()
    (project.root / "train.py").write_text("print(1)\n")
    monkeypatch.setattr(looking, "scanners", lambda _, __: [Fake(hit(severity="low"))])
    project.scans.scan(["code"])
    assert said(project).outcome == "passed"


def test_an_imported_model_is_looked_at_with_the_artifacts(opened):
    project = opened()
    (project.root / "m.onnx").write_bytes(b"a model")
    text = (project.root / "casemate.toml").read_text()
    text = text.replace("[train]\n", '[train]\nmodel = "m.onnx"\n').replace(
        '"code", "dep', '"artifacts", "dep'
    )
    (project.root / "casemate.toml").write_text(text)
    project = casemate.open(project.root)
    project.scans.scan()
    assert said(project).outcome == "passed"
    (project.root / "m.onnx").write_bytes(b"another")
    assert "artifacts: this model learnt by other training code" in said(project).reason
    assert "(m.onnx)" in said(project).reason
