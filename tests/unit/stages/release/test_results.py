"""What gates said, for build servers: valid, and telling the same as the verdict."""

import json
import xml.etree.ElementTree as ET

import jsonschema
from hypothesis import given
from hypothesis import strategies as st

from casemate.core.types import Finding, GateResult, Verdict
from casemate.stages.release.results import junit, sarif

OUTCOMES = ("passed", "refused", "inconclusive")
GATES = st.builds(
    GateResult,
    gate=st.text(),
    outcome=st.sampled_from(OUTCOMES),
    value=st.none(),
    limit=st.just(">= 1"),
    reason=st.text(),
    waiver=st.sampled_from(["", "ana until 2027-01-01: \x1b[2J"]),
)
FINDINGS = st.builds(
    Finding,
    id=st.text(),
    severity=st.sampled_from(["low", "medium", "high"]),
    confidence=st.just("low"),
    message=st.text(),
    location=st.text(),
)


@given(st.lists(GATES, max_size=4), st.text())
def test_a_case_fails_exactly_if_its_gate_blocks(gates, fault):
    verdict = Verdict(outcome="refused", gates=gates)
    suite = ET.fromstring(junit("r", verdict, fault))[0]
    blocking = [one.outcome != "passed" and not one.waiver for one in gates]
    assert [case.find("failure") is not None for case in suite] == blocking
    assert (int(suite.get("tests")), int(suite.get("failures"))) == (len(gates), sum(blocking))
    assert suite.get("errors") == "0"


@given(st.text())
def test_a_run_without_a_verdict_is_an_error_in_both(fault):
    suite = ET.fromstring(junit("r", None, fault))[0]
    assert [suite.get(name) for name in ("tests", "failures", "errors")] == ["1", "0", "1"]
    (result,) = json.loads(sarif(None, [], fault))["runs"][0]["results"]
    assert (result["ruleId"], result["level"]) == ("run", "error")


@given(st.lists(GATES, max_size=4), st.lists(FINDINGS, max_size=4))
def test_sarif_has_a_result_for_each_gate_that_does_not_hold_and_each_finding(gates, findings):
    log = json.loads(sarif(Verdict(outcome="refused", gates=gates), findings, ""))
    results = log["runs"][0]["results"]
    failing = [one for one in gates if one.outcome != "passed"]
    levels = ["note" if one.waiver else "error" for one in failing]
    levels += [
        {"high": "error", "medium": "warning", "low": "note"}[one.severity] for one in findings
    ]
    assert [one["level"] for one in results] == levels
    assert all(one["message"]["text"] for one in results)


def test_sarif_is_what_its_standard_says(case):
    schema = json.loads(case("schemas/sarif-schema-2.1.0.json").read_text())
    gate = GateResult(gate="g", outcome="refused", value=1.0, limit=">= 2", reason="r")
    finding = Finding(
        id="data.x", severity="low", confidence="low", message="m", location="column a"
    )
    log = json.loads(sarif(Verdict(outcome="refused", gates=[gate]), [finding], ""))
    jsonschema.Draft4Validator(schema).validate(log)
