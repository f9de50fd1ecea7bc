"""Noisy counts: who may see no more learns nothing of one row, pays for every request, and gets no
way around it.
"""

import csv
import datetime
import json

import numpy as np
import pytest
from scipy.stats import dlaplace
from tests.attacks.test_gateway import Caller, new_token
from tests.attacks.test_predictions import INFER, configured
from tests.conftest import serving

import casemate
from casemate.config import AggregateTable
from casemate.controls.access.identity.tokens import TokenLimits
from casemate.core.errors import ConfigError
from casemate.serve import aggregates
from casemate.serve.explain import explain

pytest.importorskip("opendp", reason="casemate[private] is not installed")


@pytest.fixture
def counting(own):
    """A gateway with a service that may have noisy counts only, and rows to ask about."""
    configured(own, "", "[serve.aggregates]\nepsilon = 1.0\nbudget = 4.0\nrows = 30\n")
    project = casemate.open(own)
    rows = project.datasets["wdbc"].to_pandas().drop(columns=["patient_id", "malignant"]).to_numpy()
    caller, other = (
        Caller(None, new_token(project, "counts", "analyst")[0]),
        Caller(None, new_token(project, "ward")[0]),
    )
    with serving(own) as running:
        caller.running = other.running = running
        yield caller, other, project, rows


def body(rows, **more):
    return {
        "inputs": [
            {
                "name": "x",
                "shape": list(rows.shape),
                "datatype": "FP64",
                "data": rows.ravel().tolist(),
            }
        ],
        **more,
    }


def test_counts_are_near_the_truth_paid_for_and_recorded(counting, cli, monkeypatch):
    caller, other, project, rows = counting
    labels = json.loads(other("POST", INFER, body(rows))[1])["outputs"][0]["data"]
    status, answer, headers = caller("POST", INFER, body(rows))
    assert status == 200, answer
    label, count = json.loads(answer)["outputs"]
    assert (label["data"], count["datatype"], count["shape"]) == (["0", "1"], "INT64", [2])
    truth = [labels.count("0"), labels.count("1")]
    assert all(abs(found - true) < 60 for found, true in zip(count["data"], truth, strict=True)), (
        "noise of scale 2"
    )
    said = explain(project, headers["x-request-id"], body=json.dumps(body(rows)).encode())
    assert (said.prediction.shown, said.replayed) == ("aggregate", True)
    (paid,) = project.ledger.of("answers of wdbc")
    assert (paid.principal, paid.epsilon, paid.version) == ('Service::"counts"', 1.0, "1")
    assert any(
        entry.action == "budget:spent" and entry.resource == 'Model::"wdbc"'
        for entry in project.log.entries()
    )
    monkeypatch.chdir(project.root)
    assert 'answers of wdbc for Service::"counts": epsilon 1 of 4' in cli("privacy", "budget").out


def test_metrics_tell_no_more_than_the_counts_and_a_client_is_not_an_analyst(counting):
    caller, other, project, rows = counting
    assert caller("POST", INFER, body(rows))[0] == 200
    monitor = Caller(caller.running, new_token(project, "mon", "monitor")[0])
    assert b"casemate_labels_total{" not in monitor("GET", "/metrics")[1]
    assert other("POST", INFER, body(rows[:1]))[0] == 200
    assert b"casemate_labels_total{" in monitor("GET", "/metrics")[1]
    assert caller("POST", "/v2/models/wdbc/feedback", {"id": "0-1", "outcome": "1"})[0] == 403
    only = project.point.tokens
    limited = TokenLimits(actions=("model:infer-aggregate",))
    with project.database.transaction() as tx:
        token = only.create(tx, "narrow", ["client"], ["*"], datetime.timedelta(hours=1), limited)[
            0
        ]
    assert Caller(caller.running, token)("POST", INFER, body(rows))[0] == 403


def test_every_protocol_gets_counts_and_nothing_else(counting):
    caller, _, _, rows = counting
    found = json.loads(caller("POST", "/invocations", {"inputs": rows.tolist()})[1])
    assert set(found) == {"predictions", "counts"}
    assert (found["predictions"], len(found["counts"])) == (["0", "1"], 2)
    lines = "\n".join(",".join(map(str, row)) for row in rows.tolist()).encode()
    answer = caller("POST", "/invocations", lines, Content_Type="text/csv", Accept="text/csv")[1]
    assert [line[0] for line in csv.reader(answer.decode().splitlines())] == ["0", "1"]
    wanted = [
        {"name": name, "parameters": {"binary_data": True}}
        for name in ("probabilities", "count", "top")
    ]
    _, answer, headers = caller("POST", INFER, body(rows, outputs=wanted))
    length = int(headers["inference-header-content-length"])
    assert [one["name"] for one in json.loads(answer[:length])["outputs"]] == ["count"]
    assert len(np.frombuffer(answer[length:], "<i8")) == 2


def test_few_rows_or_rows_that_come_twice_are_refused_and_cost_nothing(counting):
    caller, _, project, rows = counting
    nearly = np.tile(rows[:1], (500, 1))
    nearly[:, 3] += np.arange(500) * 1e-9
    for wrong, words in (
        (rows[:29], "need 30 rows"),
        (np.vstack([rows[:30], rows[:1]]), "alike"),
        (nearly, "alike"),
    ):
        status, answer, _ = caller("POST", INFER, body(wrong))
        assert (status, json.loads(answer)["code"]) == (422, "CM-AGGREGATE")
        assert words in json.loads(answer)["error"]
    missing = body(rows)
    missing["inputs"][0]["data"][0] = None
    status, answer, _ = caller("POST", INFER, missing)
    assert (status, json.loads(answer)["code"]) == (
        422,
        "CM-INPUT",
    ), "what the guard refuses is not paid for"
    assert project.ledger.of("answers of wdbc") == []


def test_the_budget_ends_and_no_restart_or_other_protocol_forgives_it(counting, own):
    caller, other, project, rows = counting
    assert [caller("POST", INFER, body(rows))[0] for _ in range(5)] == [200] * 4 + [429]
    status, answer, headers = caller("POST", "/invocations", {"inputs": rows.tolist()})
    assert (status, json.loads(answer)["code"]) == (429, "CM-SPENT")
    assert "retry-after" not in headers, "no time refills it"
    assert "privacy officer" in json.loads(answer)["error"]
    assert other("POST", INFER, body(rows))[0] == 200
    with serving(own) as again:
        assert Caller(again, caller.token)("POST", INFER, body(rows))[0] == 429
    assert len(project.ledger.of("answers of wdbc")) == 4


def test_what_everybody_gets_can_be_counts(own):
    configured(own, "", '[serve.outputs]\nshow = "aggregate"\n')
    project = casemate.open(own)
    rows = project.datasets["wdbc"].to_pandas().drop(columns=["patient_id", "malignant"]).to_numpy()
    caller = Caller(None, new_token(project, "ward")[0])
    with serving(own) as running:
        caller.running = running
        assert [
            one["name"] for one in json.loads(caller("POST", INFER, body(rows))[1])["outputs"]
        ] == ["label", "count"]


@pytest.mark.slow
def test_the_noise_is_what_the_promise_needs():
    """Discrete Laplace of scale 2 / epsilon: the likelihood of any answer changes by at most
    exp(epsilon) when one row's label changes.
    """
    endpoint = type("Two", (), {"classes": ["0", "1"]})()
    counter = aggregates.Aggregates(None, None, AggregateTable(epsilon=0.5))
    codes = [0] * 60 + [1] * 40
    found = np.array([counter.counted(endpoint, codes) for _ in range(4000)]) - [60, 40]
    law = dlaplace(0.5 / aggregates.MOVED)
    for noise in found.T:
        assert abs(noise.mean()) < 0.5
        assert noise.std() == pytest.approx(law.std(), rel=0.1)
    for step in range(-30, 30):
        ratio = law.pmf(step) * law.pmf(-step) / (law.pmf(step + 1) * law.pmf(-step - 1))
        assert np.exp(-0.5) - 1e-9 <= ratio <= np.exp(0.5) + 1e-9


def test_an_impossible_budget_is_a_configuration_error(config):
    with pytest.raises(ConfigError, match="epsilon"):
        config("serve.aggregates.epsilon=0")
