"""`casemate federate simulate` over a table of a project: sandbox, splits, what is told and what is
kept.
"""

import json
import re

import pytest

import casemate
from casemate.config import PrivacyTable
from casemate.ml.learn.accountant import Gaussians, epsilon

pytestmark = pytest.mark.slow

SMALL = ("--sites", "3", "-s", "privacy.min_group=5")


def simulated(cli, *words):
    answer = cli("federate", "simulate", *SMALL, *words, "--format", "json")
    assert answer.code == 0, answer.err
    return json.loads(answer.out)


@pytest.fixture
def at(tiny_project, monkeypatch):
    """The tiny project with a logistic regression, as the folder that commands work in."""
    monkeypatch.chdir(tiny_project)
    model = "from sklearn.linear_model import LogisticRegression\ndef build(): return LogisticRegression()\n"
    (tiny_project / "train.py").write_text(model)
    return casemate.open(tiny_project)


def test_made_up_sites_learn_in_the_sandbox_and_only_the_log_keeps_anything_of_it(at, cli):
    size, objects = at.log.size(), list(at.state.rglob("*"))
    found = simulated(cli, "--rule", "exact")
    assert found["found"]["off"] < 1e-6
    assert found["found"]["rounds"][-1]["score"] > 0.8
    assert len(found["rows"]) == 3
    assert sum(found["rows"]) + found["held"] < 120  # the project's hold-out stays unseen
    (entry,) = [one for one in at.log.entries(size) if one.action == "federation:simulate"]
    assert (entry.outcome, entry.detail["sites"], entry.detail["rule"]) == ("done", 3, "exact")
    grown = {path.name for path in at.state.rglob("*")} - {path.name for path in objects}
    assert not [name for name in grown if name.endswith((".parquet", ".skops"))]
    assert not at.runs.list()


def test_a_split_by_column_keeps_its_values_together_and_a_median_stands_a_liar(at, cli):
    found = simulated(cli, "--split", "by:c", "--combine", "median", "--attack", "boost:1")
    last = found["found"]["rounds"][-1]
    told = last["evidence"]
    assert min(told, key=lambda one: one["agreement"])["site"] == 0
    assert max(told, key=lambda one: one["length"])["site"] == 0
    text = cli("federate", "simulate", *SMALL, "--attack", "boost:1", "--rounds", "1").out
    assert "suspect" in text
    assert "3 of 3" in text


def test_sites_that_are_calibrated_learn_something_else(at, cli):
    words = ("--split", "dirichlet:0.5", "--rounds", "1")
    plain, calibrated = (simulated(cli, *words, "--calibrate", one) for one in ("0", "1"))
    assert plain["found"]["rounds"][0]["length"] != calibrated["found"]["rounds"][0]["length"]


def test_boosted_trees_are_grown_by_sums_and_like_from_the_pooled_rows(at, cli):
    model = (
        "from sklearn.ensemble import HistGradientBoostingClassifier as Trees\n"
        "def build(): return Trees(max_iter=3, max_depth=2, min_samples_leaf=8)\n"
    )
    (at.root / "train.py").write_text(model)
    answer = cli("federate", "simulate", *SMALL, "--rule", "exact", "--masked")
    assert answer.code == 0, answer.err
    off = re.search(
        r"scores of the trees differ from a fit on the pooled rows by (\S+)", answer.out
    )
    assert float(off[1]) < 1e-9
    assert "asked about 6 levels of trees" in answer.out
    refused = cli("federate", "simulate", *SMALL)
    assert refused.code == 1
    assert "sites grow boosted trees by sums, and not by --rule fedavg: --rule exact" in refused.err


def test_boosted_trees_are_grown_with_noise_that_covers_whose_rows_there_are(at, cli):
    pytest.importorskip("dp_accounting")
    model = (
        "from sklearn.ensemble import HistGradientBoostingClassifier as Trees\n"
        "def build(): return Trees(max_iter=4, max_depth=2, min_samples_leaf=1)\n"
    )
    (at.root / "train.py").write_text(model)
    answer = cli("federate", "simulate", *SMALL, "--rule", "exact", "--epsilon", "4", "--masked")
    assert answer.code == 0, answer.err
    assert "each site adds noise of" in answer.out
    assert "pooled rows" not in answer.out


def test_noise_over_a_whole_site_is_twice_as_much_as_it_counts_for(at, cli):
    pytest.importorskip("dp_accounting")
    words = ["--epsilon", "4", "--unit", "site", "--masked", "--calibrate", "1", "--format", "json"]
    answer = cli("federate", "simulate", *SMALL, *words)
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)
    rounds = len(found["found"]["rounds"])
    spent = [Gaussians(sigma=found["sigma"] / 2, steps=rounds)]
    assert 3.9 < epsilon(spent, PrivacyTable().delta) <= 4.0


def test_sums_that_no_noise_covers_are_not_sent_with_a_promise(at, cli):
    answer = cli("federate", "simulate", *SMALL, "--rule", "exact", "--epsilon", "4")
    assert answer.code == 1
    assert "sums of a LogisticRegression are not clipped, so no noise covers them" in answer.err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--split", "by:nothing"], 2, "the table has no such column"),
        (["--rate", "1e6", "--epochs", "50", "--rounds", "3"], 1, "no update could be taken"),
        (["-s", "train.mode=adversarial"], 2, "simulated in mode plain"),
    ],
)
def test_what_does_not_fit_the_project_is_said_instead_of_a_figure(at, cli, words, code, said):
    answer = cli("federate", "simulate", *SMALL, *words)
    assert answer.code == code, answer.err
    assert said in answer.err
    assert answer.out == ""


def test_a_model_that_sites_cannot_train_together_is_named(at, cli):
    forest = "from sklearn.ensemble import RandomForestClassifier\ndef build(): return RandomForestClassifier()\n"
    (at.root / "train.py").write_text(forest)
    answer = cli("federate", "simulate", *SMALL)
    assert answer.code == 1
    assert "RandomForestClassifier" in answer.err
