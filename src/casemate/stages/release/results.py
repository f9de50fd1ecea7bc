"""What gates said of a model, in the forms that other people's build servers show: JUnit XML (as
Jenkins and GitLab read it; there is no standard) and SARIF 2.1.0 (OASIS, 2020).
"""

import re
import xml.etree.ElementTree as ET
from typing import Any

import msgspec

from casemate.config import FILE_NAME
from casemate.core.text import clean
from casemate.core.types import Finding, GateResult, Severity, Verdict

SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
LEVELS: dict[Severity, str] = {"high": "error", "medium": "warning", "low": "note"}


def junit(run: str, verdict: Verdict | None, fault: str) -> bytes:
    """One test case a gate: it fails if the gate does, `inconclusive` included, unless it is
    waived.

    Args:
        run: id of the run.
        verdict: of the gates; None if the run did not come so far.
        fault: what ended it then.
    """
    gates = [] if verdict is None else verdict.gates
    suite = ET.Element("testsuite", name="casemate gates")
    failed = 0
    for gate in gates:
        case = ET.SubElement(suite, "testcase", classname=f"casemate.{run}", name=_text(gate.gate))
        if _blocks(gate):
            failed += 1
            text = _text(gate.reason)
            ET.SubElement(case, "failure", type=gate.outcome, message=text).text = text
        elif gate.waiver:
            ET.SubElement(case, "skipped", message=_text(gate.waiver))
    if verdict is None:
        case = ET.SubElement(suite, "testcase", classname=f"casemate.{run}", name="run")
        ET.SubElement(case, "error", type="run", message=_text(fault)).text = _text(fault)
    for name, number in (
        ("tests", len(suite)),
        ("failures", failed),
        ("errors", 0 if verdict else 1),
        ("skipped", len(suite.findall("testcase/skipped"))),
    ):
        suite.set(name, str(number))
    whole = ET.Element("testsuites")
    whole.append(suite)
    ET.indent(whole)
    return bytes(ET.tostring(whole, encoding="utf-8", xml_declaration=True)) + b"\n"


def sarif(verdict: Verdict | None, findings: list[Finding], fault: str) -> bytes:
    """A result for every gate that does not hold and for every finding; they lie in casemate.toml,
    where what was asked for stands.

    Args:
        verdict: of the gates; None if the run did not come so far.
        findings: of its stages.
        fault: what ended it then.
    """
    gates = [] if verdict is None else [gate for gate in verdict.gates if gate.outcome != "passed"]
    results = [
        _result(f"gate.{gate.gate}", "error" if _blocks(gate) else "note", gate.reason)
        for gate in gates
    ]
    results += [
        _result(finding.id, LEVELS[finding.severity], finding.message, finding.location)
        for finding in findings
    ]
    if verdict is None:
        results.append(_result("run", "error", fault))
    rules = [{"id": one} for one in sorted({str(result["ruleId"]) for result in results})]
    driver = {"name": "casemate", "rules": rules}
    log = {"$schema": SCHEMA, "version": "2.1.0"}
    runs = [{"tool": {"driver": driver}, "results": results}]
    return msgspec.json.format(msgspec.json.encode(log | {"runs": runs}), indent=2) + b"\n"


def _blocks(gate: GateResult) -> bool:
    return gate.outcome != "passed" and not gate.waiver


def _text(text: str) -> str:
    """A text that XML 1.0 can hold: besides what `clean` takes away, not these two."""
    return re.sub("[\ufffe\uffff]", "?", clean(text))


def _result(rule: str, level: str, text: str, where: str = "") -> dict[str, Any]:
    place: dict[str, Any] = {
        "physicalLocation": {"artifactLocation": {"uri": FILE_NAME}, "region": {"startLine": 1}}
    }
    if where:
        place["logicalLocations"] = [{"fullyQualifiedName": clean(where)}]
    return {
        "ruleId": clean(rule),
        "level": level,
        "message": {"text": clean(text) or "no reason was recorded"},
        "locations": [place],
    }
