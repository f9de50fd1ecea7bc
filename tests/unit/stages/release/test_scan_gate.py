"""The gate that goes by findings of scans."""

import pytest
from tests.unit.stages.release.test_gate import records

from casemate import config
from casemate.config import GateTable
from casemate.core.errors import ConfigError
from casemate.core.types import Waived
from casemate.core.types.scan import ScanStanding
from casemate.stages.release import summary
from casemate.stages.release.gate import judge
from casemate.stages.release.weaknesses import judged

TOML = (
    '[project]\nname = "p"\nid = "p-1"\n[train]\nentry = "train.py:build"\n[data]\nsource = "t.csv"\n'
    'target = "y"\n[gates]\n'
)


def standing(*, unknown=(), **found):
    told = [f"{grade} code.eval in a.py:1 (00)" for grade, count in found.items() if count]
    return ScanStanding(unknown=list(unknown), open=found, told=told)


@pytest.mark.parametrize(
    ("most", "stands", "outcome"),
    [
        ("medium", standing(), "passed"),
        ("medium", standing(medium=3, low=2), "passed"),
        ("medium", standing(high=1), "refused"),
        ("medium", standing(critical=1), "refused"),
        ("high", standing(high=1), "passed"),
        ("low", standing(medium=1), "refused"),
        ("none", standing(low=1), "refused"),
        ("none", standing(), "passed"),
        ("medium", standing(unknown=["code was never looked at"]), "inconclusive"),
        # what is known to be wrong is not less wrong for what is not known
        ("medium", standing(high=1, unknown=["code was never looked at"]), "refused"),
        ("medium", None, "inconclusive"),
    ],
)
def test_a_gate_holds_only_what_was_looked_at_against_its_limit(most, stands, outcome):
    assert judged(GateTable(max_severity=most), stands).outcome == outcome


def test_what_could_not_be_looked_at_blocks_a_model_and_says_what_to_do():
    configured = config.parse(TOML + 'scan = { max_severity = "medium" }\n')
    stands = standing(unknown=["bandit could not look at code: there is no bandit"])
    verdict = judge(configured, *records(), scan=stands)
    assert verdict.outcome == "inconclusive"
    assert "there is no bandit" in verdict.reasons[0]
    assert "casemate scan all" in summary.advice(verdict)[0]


def test_the_gate_can_be_waived_as_others_can():
    configured = config.parse(TOML + 'scan = { max_severity = "medium" }\n')
    waiver = Waived(gate="scan", until="2099-01-01", by="ana", reason="r")
    assert judge(configured, *records(), waivers=[waiver]).outcome == "passed"


@pytest.mark.parametrize(
    ("gate", "words"),
    [
        ("scan = { max = 1 }", "give max_severity"),
        ('scan = { max_severity = "low", min = 0.5 }', "and nothing else"),
        ('accuracy = { min = 0.5, max_severity = "low" }', "belongs to scan only"),
        ('scan = { max_severity = "critical" }', "critical"),
    ],
)
def test_a_gate_that_says_something_else_is_refused(gate, words):
    with pytest.raises(ConfigError) as refused:
        config.parse(TOML + gate + "\n")
    assert words in refused.value.message
