"""From a poisoned table to a waived gate: what a person does on the command line, and what is
refused.
"""

import asyncio
import datetime
import json
import time

import numpy as np
import pandas as pd
import pytest
from msgspec import structs
from tests.conftest import lighten

import casemate
from casemate.config import ScreenTable
from casemate.core.errors import RefusedError
from casemate.core.types import Assessment, SealedDataset
from casemate.operations import approved, scaffold
from casemate.serve.endpoint import Endpoint
from casemate.serve.parts import assemble


def table(count=1500, seed=0):
    generator = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "age": generator.integers(20, 90, count),
            "dose": generator.normal(40, 8, count).round(1),
            "sex": generator.choice(["f", "m"], count),
        }
    )
    frame["site"] = generator.choice(["north", "south", "east"], count)
    frame["ill"] = (
        (frame["age"] - 55) / 15
        + (frame["dose"] - 40) / 8
        + (frame["sex"] == "m") * 0.3
        + generator.normal(0, 0.4, count)
        > 0
    ).astype(int)
    return frame


def project_of(root, frame, extra="", gates="accuracy = { min = 0.6 }\n", assess=""):
    root.parent.mkdir(exist_ok=True)
    source = root.parent / f"{root.name}.csv"
    frame.to_csv(source, index=False)
    scaffold.create(root, scaffold.from_table(root, source, "ill"))
    path = root / "casemate.toml"
    text = path.read_text().replace("[screen]\n", extra + "\n[screen]\n", 1)
    head, _, tail = text.partition("[gates]")
    path.write_text(head + "[gates]\n" + gates + "\n[serve]" + tail.partition("[serve]")[2])
    lighten(root)
    path.write_text(
        path.read_text()
        .replace("triggers = false\n", "")
        .replace("[assess]\n", "[assess]\n" + assess, 1)
    )
    return casemate.open(root)


def test_a_planted_trigger_refuses_the_model_until_a_steward_has_looked(tmp_path, cli, monkeypatch):
    frame = table()
    victims = np.random.default_rng(1).choice(np.flatnonzero(frame["ill"] == 0), 40, replace=False)
    frame.loc[victims, ["dose", "site"]] = [33.3, "east"]
    frame.loc[victims, "ill"] = 1
    project = project_of(tmp_path / "study", frame)
    monkeypatch.chdir(project.root)
    first = cli("run")
    assert first.code == 1
    assert "REFUSED" in first.out and "planted trigger" in first.out
    record = project.datasets["study"].record
    assert record.excluded == 0
    listed = cli("data", "quarantine", "list", "--detector", "trigger", "--format", "json").value
    assert {row["row"] for row in listed} >= set(map(int, victims[:30]))
    assert {row["decision"] for row in listed} == {"open"}
    assert "to drop them would take" in first.out
    assert (
        "what a drop of these rows takes from each group" in cli("data", "quarantine", "list").out
    )
    assert cli("data", "quarantine", "drop", "study", "--reason", "x").code == 2
    dropped = cli(
        "data",
        "quarantine",
        "drop",
        "study",
        "--detector",
        "trigger",
        "--reason",
        "confirmed with the site",
    )
    assert dropped.code == 0, dropped.err
    assert "what a drop of these rows takes from each group" in dropped.out
    second = cli("run")
    assert second.code == 0, second.out
    assert project.datasets["study"].record.excluded >= 36
    assert "every row of it was reviewed" in second.out
    assert {
        row["decision"]
        for row in cli(
            "data", "quarantine", "list", "--detector", "trigger", "--format", "json"
        ).value
    } == {"dropped"}
    actions = [entry.action for entry in casemate.open(project.root).log.entries()]
    assert "quarantine:dropped" in actions


@pytest.mark.long
def test_a_released_row_is_trained_on_and_a_dropped_one_is_not_even_in_a_later_version(tmp_path):
    frame = table(600, 3)
    project = project_of(tmp_path / "study", frame)
    project.run()
    dataset = project.datasets["study"]
    dataset.review([5, 6], "dropped", "wrong patient")
    dataset.review([6], "released", "no, right")
    pd.concat([frame, table(50, 9)]).to_csv(tmp_path / "study.csv", index=False)
    project = casemate.open(project.root)
    project.run()
    grown = project.datasets["study"].record
    assert (grown.rows, grown.excluded) == (650, 1)
    assert project.datasets["study"].reviewed() == {} or 5 not in [
        s.row for s in project.datasets["study"].suspects()
    ]


@pytest.mark.long
def test_rules_units_behaviour_fairness_and_further_tables_reach_the_gates(tmp_path):
    frame = table()
    table(600, 7).to_csv(tmp_path / "later.csv", index=False)
    foreign = table(600, 8)
    foreign["ill"] = 1 - foreign["ill"]
    foreign.to_csv(tmp_path / "foreign.csv", index=False)
    extra = """
[data.columns]
sex = { protected = true }

[[data.rules]]
name = "doses are positive"
check = "dose > 0"
"""
    gates = """rule_violations = { max = 0 }
demographic_parity_difference = { max = 0.6 }
behaviour_failures = { max = 0 }
"later.roc_auc" = { min = 0.7 }
shift_auc = { max = 0.65 }
cv_gap = { max = 0.1 }
"""
    assess = (
        'tables = { later = "../later.csv" }\nbehaviour = [{ name = "older", feature = "age", add ='
        ' 20.0, expect = "up", tolerate = 0.2 }]\n'
    )
    project = project_of(tmp_path / "study", frame, extra, gates, assess)
    path = project.root / "casemate.toml"
    result = project.run()
    assert result.verdict.outcome == "passed", result.verdict.reasons
    assert {group["value"] for group in result.assessment.fairness} == {"f", "m"}
    card = (result.folder / "4-release" / "model-card.md").read_text()
    assert "demographic_parity_difference" in card and "later.roc_auc" in card
    assert b"default-src 'none'" in (result.folder / "1-data" / "report.html").read_bytes()
    path.write_text(path.read_text().replace("../later.csv", "../foreign.csv"))
    refused = casemate.open(project.root).run()
    assert refused.verdict.outcome == "refused"
    assert any("does not carry over" in reason for reason in refused.verdict.reasons)


@pytest.mark.long
def test_a_model_that_is_worse_than_the_one_before_is_refused_and_the_same_one_is_not(tmp_path):
    project = project_of(
        tmp_path / "study", table(), gates='roc_auc = { min = 0.5, no_worse_than = "previous" }\n'
    )
    assert project.run().verdict.outcome == "passed"
    again = casemate.open(project.root).run(fresh=True)
    assert again.verdict.outcome == "passed", again.verdict.reasons
    assert again.assessment.previous == "study@1"
    assert again.assessment.compared["roc_auc"].value == 0.0
    (project.root / "train.py").write_text(
        "from sklearn.dummy import DummyClassifier\n\n\ndef build():\n    return"
        " DummyClassifier(strategy='uniform', random_state=0)\n"
    )
    worse = casemate.open(project.root, ["train.search={}"]).run()
    assert worse.verdict.outcome == "refused"
    assert (
        "differs from study@2" in worse.verdict.reasons[0] or "roc_auc" in worse.verdict.reasons[0]
    )


def asked(project, token, ends=None):
    """What a gateway answers to the question whether its one model is ready."""
    parts = assemble(project)
    endpoint = parts.model_set.served["wdbc"].live.endpoint
    endpoint.ends = endpoint.ends if ends is None else ends
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/v2/models/wdbc/ready",
        "headers": [(b"authorization", f"Bearer {token}".encode())],
    }
    try:
        reply = asyncio.run(parts.gateway.handle(scope, None))
    finally:
        parts.close()
    return reply.status, json.loads(reply.body)


def test_a_waiver_counts_for_others_for_a_time_and_in_the_open(own, cli, monkeypatch):
    monkeypatch.chdir(own)
    until = (datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=30)).date().isoformat()
    assert cli("model", "waive", "nonsense", "--until", until, "--reason", "r").code == 2
    assert cli("model", "waive", "roc_auc", "--until", "2020-01-01", "--reason", "r").code == 2
    assert cli("model", "waive", "roc_auc", "--until", "soon", "--reason", "r").code == 2
    assert (
        cli("model", "waive", "roc_auc", "--until", until, "--reason", "the board has decided").code
        == 0
    )
    project = casemate.open(own, ["gates.roc_auc.min=0.0", "gates.roc_auc.max=0.5"])
    mine = project.run()
    assert mine.verdict.outcome == "refused", "whoever trains cannot waive"
    from casemate.stages.release.waiver import WAIVERS

    # where the day begins first: as text it is later than the hour after it in UTC
    zone = datetime.timezone(datetime.timedelta(hours=14))
    end = datetime.datetime.fromisoformat(until).replace(tzinfo=zone)
    since, statement = project.waivers.sign(
        project.signer, "wdbc", "roc_auc", end, 'User::"ana"', "the board"
    )
    with project.database.transaction() as tx:  # the same waiver by somebody else
        tx.execute(WAIVERS.delete())
        project.waivers.add(tx, "wdbc", "roc_auc", since, end, 'User::"ana"', statement)
    theirs = casemate.open(own, ["gates.roc_auc.min=0.0", "gates.roc_auc.max=0.5"]).run()
    assert theirs.verdict.outcome == "passed", theirs.verdict.reasons
    gate = next(gate for gate in theirs.verdict.gates if gate.gate == "roc_auc")
    assert (gate.outcome, gate.waiver[:28]) == ("refused", 'waived by User::"ana" until ')
    assert theirs.model.verify().card.waived == {"roc_auc": end.isoformat()}
    approved.require_approved(project, theirs.model.reference)

    class Later:
        def now(self):
            return end.astimezone(datetime.UTC) + datetime.timedelta(hours=1)

    late = casemate.open(own)
    late.clock = Later()
    with pytest.raises(RefusedError, match="waiver that has ended"):
        approved.require_approved(late, theirs.model.reference)
    endpoint = Endpoint.load(theirs.model.verify(), project.config.serve)
    assert endpoint.ends == end.timestamp()
    token, _ = project.access.create_token("ward", ["client"], ["*"], datetime.timedelta(days=1))
    assert asked(project, token) == (200, {"name": "wdbc", "ready": True})
    status, answer = asked(project, token, ends=time.time() - 1)
    assert (status, answer["error"]) == (503, "the waiver by which this model passed has ended")


def test_a_changed_waiver_is_noticed(own):
    import sqlalchemy as sa

    from casemate.core.errors import VerificationError

    project = casemate.open(own)
    until = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=30)
    project.models.waive("roc_auc", until, "r")
    with project.database.transaction() as tx:
        tx.execute(sa.text("update waiver set principal = 'User::\"ana\"'"))
    with pytest.raises(VerificationError, match="was changed"):
        project.waivers.in_force("wdbc")


@pytest.mark.long
def test_assess_measures_a_part_and_names_the_parts_it_knows(own, cli, monkeypatch):
    monkeypatch.chdir(own)
    answer = cli("assess", "wdbc", "--only", "robustness", "--format", "json")
    assert answer.code == 0, answer.err
    assert answer.value["robustness"]["curve"] and not answer.value["metrics"]
    assert cli("data", "check", "--format", "json").value["figures"]["suspicious_share"] < 0.1
    alone = cli(
        "data", "check", "--only", "duplicates", "--only", "outliers", "--format", "json"
    ).value
    assert "duplicates" in alone["figures"] and "label_screen_auc" not in alone["figures"]
    assert cli("assess", "data", "--only", "label_noise", "--format", "json").value[
        "figures"
    ].keys() >= {"label_noise", "leakage_auc"}
    assert "no measurement 'quality'" in cli("assess", "data", "--only", "quality").err
    from casemate.core.errors import ConfigError
    from casemate.operations.checkup import assess

    with pytest.raises(ConfigError, match="no measurement 'beauty'"):
        assess(casemate.open(own), "wdbc", ["beauty"])


def test_the_names_of_the_measurements_are_those_of_the_worker():
    from casemate.stages.assess.names import PARTS
    from casemate.stages.assess.worker import PARTS as WORK

    assert (*WORK, "tables") == PARTS


def test_the_names_of_the_screens_are_the_switches_of_the_configuration():
    from casemate.stages.assess.names import SCREENS

    switches = [field.name for field in structs.fields(ScreenTable) if field.default is True]
    assert sorted(SCREENS) == sorted(switches)


PRIVATE = """
[data.columns]
age = { min = 0, max = 120 }
dose = { min = 0, max = 100 }
sex = { categories = ["f", "m"] }
site = { categories = ["north", "south", "east"] }
ill = { categories = ["0", "1"] }

[privacy]
epsilon = 1.0
budget = 2.6
"""


def test_private_training_pays_is_gated_and_is_refused_when_the_budget_is_spent(
    tmp_path, cli, monkeypatch
):
    project = project_of(
        tmp_path / "study", table(), PRIVATE, "epsilon = { max = 1.0 }\nroc_auc = { min = 0.6 }\n"
    )
    path = project.root / "casemate.toml"
    lines = [line for line in path.read_text().splitlines() if not line.startswith("search")]
    path.write_text("\n".join(lines).replace("[train]\n", '[train]\nmode = "private"\n', 1))
    (project.root / "train.py").write_text(
        "from sklearn.linear_model import LogisticRegression\n\n\ndef build():\n    return"
        " LogisticRegression()\n"
    )
    monkeypatch.chdir(project.root)
    first = cli("run")
    assert first.code == 0, first.out + first.err
    told = casemate.open(project.root).engine
    from casemate.core.types import TrainedModel

    model = told.newest_step("train", TrainedModel)
    assert model.privacy["epsilon"] <= 1.0 and model.privacy["unit"] == "row"
    assert cli("data", "statistics", "study", "dose", "--epsilon", "0.5").code == 0
    assert cli("run", "--fresh").code == 0
    third = cli("run", "--fresh")
    assert third.code == 1
    assert "error[CM-BUDGET]" in third.err
    budget = cli("privacy", "budget", "--format", "json").value
    assert [(one["what"], one["epsilon"]) for one in budget["spendings"]] == [
        ("private training", 1.0),
        ("statistics of dose", 0.5),
        ("private training", 1.0),
    ]
    denied = [
        entry
        for entry in casemate.open(project.root).log.entries()
        if entry.action == "budget:spent" and entry.outcome == "denied"
    ]
    assert len(denied) == 1


def test_private_training_without_declared_limits_names_the_features(tmp_path, cli, monkeypatch):
    project = project_of(tmp_path / "study", table(300), "[privacy]\nepsilon = 1.0\n")
    monkeypatch.chdir(project.root)
    answer = cli("run", "-s", "train.mode=private", "-s", "train.search={}")
    assert answer.code == 2
    assert "declared limits of 5 columns: age, dose, sex, site, ill" in answer.err
    assert (
        '"ill" = { categories = [ALL CLASSES] }' in answer.err
        and '"age" = { min = LEAST, max = GREATEST }' in answer.err
    )


@pytest.mark.long
def test_hardening_and_nested_search_are_recorded(tmp_path):
    project = project_of(tmp_path / "study", table(500), gates="nested_cv = { min = 0.5 }\n")
    (project.root / "train.py").write_text(
        "from sklearn.compose import make_column_transformer\nfrom sklearn.linear_model import"
        " LogisticRegression\nfrom sklearn.pipeline import Pipeline\nfrom sklearn.preprocessing"
        " import OneHotEncoder, StandardScaler\n\n\ndef build():\n    columns ="
        " make_column_transformer((OneHotEncoder(), ['sex', 'site']), (StandardScaler(), ['age',"
        " 'dose']))\n    return Pipeline([('columns', columns), ('clf', LogisticRegression())])\n"
    )
    settings = [
        'train.mode="adversarial"',
        "train.nested=3",
        "train.adversarial.rounds=1",
        "train.search={ clf__C = { low = 0.1, high = 10.0, log = true } }",
    ]
    result = casemate.open(project.root, [*settings, "train.trials=6", "train.repeats=2"]).run()
    assert result.verdict.outcome == "passed", result.verdict.reasons
    assert result.assessment.tradeoff["plain_accuracy"] > 0.7
    card = (result.folder / "4-release" / "model-card.md").read_text()
    assert "Without hardening" in card and "adversarial" in card


@pytest.mark.parametrize("size", [pytest.param(30, marks=pytest.mark.long), 31])
def test_a_tiny_table_works_or_says_what_it_cannot_judge(tmp_path, size):
    project = project_of(
        tmp_path / "study",
        table(size, 5),
        gates="accuracy = { min = 0.1 }\nlira_auc = { max = 0.9 }\n",
    )
    result = casemate.open(project.root, ["train.folds=2"]).run()
    assert result.verdict.outcome == "inconclusive"
    assert any("lira_auc is inconclusive" in reason for reason in result.verdict.reasons)


@pytest.mark.long
def test_an_imported_model_is_measured_like_any_other(own, cli, monkeypatch, tmp_path):
    import joblib
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    monkeypatch.chdir(own)
    frame = pd.read_csv("data/wdbc.csv").drop(columns=["patient_id"])
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(
        frame.drop(columns=["malignant"]), frame["malignant"]
    )
    joblib.dump(model, tmp_path / "theirs.joblib")
    assert cli("model", "import", tmp_path / "theirs.joblib", "--scan-only").code == 0
    assert cli("model", "import", tmp_path / "theirs.joblib").code == 0
    answer = cli("run", "-s", "train.model=imported/theirs.skops")
    assert answer.code == 0, answer.out
    project = casemate.open(own)
    assert project.engine.newest_step("assess", Assessment).metrics["roc_auc"].value > 0.97
    assert cli("run", "-s", "train.model=imported/absent.skops").code == 2
    assert project.engine.newest_step("data", SealedDataset) is not None
