"""Global Privacy Control: a request that carries a person's signal gets nothing of a model that is
for sale or sharing, and the person has opted out from then on, once.
"""

import json

import pytest
from tests.attacks.test_gateway import Caller, new_token
from tests.attacks.test_predictions import INFER, configured
from tests.conftest import serving

import casemate

pytestmark = pytest.mark.slow
SIGNAL = {"Sec-GPC": "1"}


def body_of(project, **parameters):
    rows = project.datasets["wdbc"].to_pandas().drop(columns=["patient_id", "malignant"])[:1]
    whole = {"name": "x", "shape": [1, 30], "datatype": "FP64", "data": rows.to_numpy().tolist()}
    return {"inputs": [whole], "parameters": parameters}


def opt_outs(project):
    return [
        (one.kind, one.law, one.state, one.subject)
        for one, _ in project.privacy.requests.list("all")
    ]


@pytest.mark.parametrize("is_sale", [True, False])
def test_a_signal_opts_a_person_out_of_sale_once_and_changes_nothing_elsewhere(own, is_sale):
    project = casemate.open(own)
    purpose = project.config.project.purpose if is_sale else "advertising"
    configured(own, f'gpc = "2026-12-01"\nsells = ["{purpose}"]\n')
    token = new_token(project, "ward")[0]
    named, nobody = body_of(project, subject="Zoe-1"), body_of(project)
    with serving(own) as running:
        ask = Caller(running, token)
        assert ask("POST", INFER, named)[0] == 200, "without the signal"
        assert ask("POST", INFER, named, **{"Sec-GPC": "0"})[0] == 200
        refused = 451 if is_sale else 200
        assert ask("POST", INFER, nobody, **SIGNAL)[0] == refused
        assert opt_outs(project) == []
        assert [ask("POST", INFER, named, **SIGNAL)[0] for _ in range(3)] == [refused] * 3
        status, said, _ = Caller(running, "")("GET", "/.well-known/gpc.json")
        assert (status, json.loads(said)) == (200, {"gpc": True, "lastUpdate": "2026-12-01"})
    zoe = project.identifiers.root().pseudonym("Zoe-1")
    expected = [("opt-out", "ccpa", "fulfilled", zoe)] if is_sale else []
    assert opt_outs(project) == expected
    if is_sale:
        request = project.privacy.requests.show(1)
        assert "7060(b)" in request.lines[1].change.text
        assert all(clock.done for clock in request.clocks)


def test_a_gateway_that_says_nothing_of_the_signal_has_no_page_of_it(own):
    project = casemate.open(own)
    token = new_token(project, "ward")[0]
    with serving(own) as running:
        assert Caller(running, "")("GET", "/.well-known/gpc.json")[0] == 404
        assert Caller(running, token)("POST", INFER, body_of(project), **SIGNAL)[0] == 200
