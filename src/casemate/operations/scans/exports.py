"""Findings in the forms that other people's tools take, each as its taker wants it.

- SARIF 2.1.0 (OASIS), of which GitHub takes at most 20 runs with 25 000 results each, goes by
  `partialFingerprints`, and ignores `suppressions`: what is waived is left out for it;
- JUnit XML as Jenkins and GitLab read it: a case a finding, and an error a thing that could not be
  looked at;
- SonarQube's generic issues as from 10.3 on (rules and issues), and as before it (issues alone);
- CycloneDX 1.6 VEX of dependencies; JSON as `casemate scan list` has it.
"""

import html
import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from typing import Any, Literal, get_args

import msgspec

from casemate import __version__
from casemate.config import FILE_NAME
from casemate.core.text import clean
from casemate.core.types.scan import Grade
from casemate.operations.scanned import Standing
from casemate.respond.findings import Part, Scanned

Form = Literal["sarif", "sarif-github", "junit", "sonar", "sonar-old", "vex", "json", "html"]
FORMS: tuple[Form, ...] = get_args(Form)
SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
MOST_RESULTS = 25_000
MOST_TAGS = 20
"""Of a rule, as GitHub takes."""
LEVELS: dict[Grade, str] = {
    "critical": "error",
    "high": "error",
    "medium": "warning",
    "low": "note",
}
SCORES: dict[Grade, str] = {"critical": "9.5", "high": "8.0", "medium": "5.5", "low": "2.0"}
"""GitHub's `security-severity`: above 9 critical, above 7 high, above 4 medium."""
SONAR: dict[Grade, str] = {"critical": "HIGH", "high": "HIGH", "medium": "MEDIUM", "low": "LOW"}
"""Severities of impacts; `BLOCKER` is one since 10.8 only, and before it no report that has it is
taken.
"""
SONAR_OLD: dict[Grade, str] = {
    "critical": "BLOCKER",
    "high": "CRITICAL",
    "medium": "MAJOR",
    "low": "MINOR",
}


def written(scans: Sequence[Scanned], found: Sequence[Standing], form: Form) -> bytes:
    """The findings that stand, in one form.

    Args:
        scans: the last one of each kind.
        found: findings.
        form: which.
    """
    standing = [one for one in found if not one.kept.gone]
    parts = [part for scan in scans for part in scan.parts]
    if form == "junit":
        return _junit(standing, parts)
    if form == "json":
        value: Any = {"scans": scans, "found": standing}
    elif form in ("sonar", "sonar-old"):
        unwaived = [one for one in standing if one.waiver is None]
        value = _sonar(unwaived) if form == "sonar" else _sonar_old(unwaived)
    elif form == "vex":
        value = _vex(standing)
    else:
        value = _sarif(standing, parts, suppressed=form == "sarif")
    return msgspec.json.format(msgspec.json.encode(value, order="deterministic"), indent=2) + b"\n"


def _sarif(found: Sequence[Standing], parts: Sequence[Part], *, suppressed: bool) -> dict[str, Any]:
    every = [one for one in found if suppressed or one.waiver is None]
    chosen = every[:MOST_RESULTS]
    rules = {one.kept.finding.rule: one.kept.finding for one in chosen}
    numbers = {rule: number for number, rule in enumerate(sorted(rules))}
    driver = {
        "name": "casemate",
        "version": __version__,
        "rules": [
            {
                "id": rule,
                "shortDescription": {"text": rule},
                "help": {"text": rules[rule].mend or "look at it"},
                "properties": {
                    "tags": ["security", *_tags(rules[rule].references)][:MOST_TAGS],
                    "security-severity": SCORES[rules[rule].severity],
                },
            }
            for rule in numbers
        ],
    }
    notices = [
        {
            "level": "error",
            "message": {"text": f"{part.scanner} could not look at {place or part.kind}: {why}"},
        }
        for part in parts
        for place, why in part.unseen.items()
    ]
    if len(every) > len(chosen):
        left = f"{len(every) - len(chosen)} findings, the least grave, are left out: takers refuse"
        text = f"{left} more than {MOST_RESULTS}"
        notices.append({"level": "error", "message": {"text": text}})
    run = {
        "tool": {"driver": driver},
        "invocations": [
            {"executionSuccessful": not notices, "toolExecutionNotifications": notices}
        ],
        "results": [_result(one, numbers, suppressed) for one in chosen],
    }
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _result(one: Standing, numbers: dict[str, int], suppressed: bool) -> dict[str, Any]:
    finding = one.kept.finding
    result: dict[str, Any] = {
        "ruleId": finding.rule,
        "ruleIndex": numbers[finding.rule],
        "level": LEVELS[finding.severity],
        "message": {"text": _told(one)},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": _uri(_file(one))},
                    # a line of a notebook's cell is no line of its file
                    "region": {"startLine": 1 if finding.cell else max(1, finding.line)},
                }
            }
        ],
        "properties": {"scanners": finding.scanners, "firstSeen": one.kept.first, "due": one.due},
        "partialFingerprints": {
            "casemate/v1": finding.fingerprint,
            # the only one that GitHub goes by; without it, it makes one of the line's text
            "primaryLocationLineHash": f"{finding.fingerprint[:16]}:1",
        },
    }
    if suppressed and one.waiver is not None:
        told = f"{one.waiver.by} until {one.waiver.until[:10]}: {one.waiver.reason}"
        suppression = {"kind": "external", "status": "accepted", "justification": clean(told)}
        result["suppressions"] = [suppression]
    elif suppressed:
        result["suppressions"] = []
    return result


def _tags(references: Sequence[str]) -> list[str]:
    """What others call it; a CWE also as GitHub and SonarQube look for it."""
    cwes = [name[4:] for name in references if name.startswith("CWE-") and name[4:].isdigit()]
    return [*references, *(f"external/cwe/cwe-{number.zfill(3)}" for number in cwes)]


def _uri(path: str) -> str:
    """A path as a relative URI (RFC 3986)."""
    from urllib.parse import quote

    return quote(path)


def _junit(found: Sequence[Standing], parts: Sequence[Part]) -> bytes:
    suite = ET.Element("testsuite", name="casemate scan")
    counts = {"failures": 0, "errors": 0, "skipped": 0}
    for part in parts:
        case = ET.SubElement(
            suite, "testcase", classname=f"casemate.{part.kind}", name=part.scanner
        )
        if part.unseen:
            counts["errors"] += 1
            told = "; ".join(f"{place or part.kind}: {why}" for place, why in part.unseen.items())
            ET.SubElement(case, "error", type="could-not-look", message=_text(told))
    for one in found:
        finding = one.kept.finding
        name = f"{finding.rule} {finding.path} {finding.fingerprint[:12]}"
        case = ET.SubElement(
            suite, "testcase", classname=f"casemate.{finding.kind}", name=_text(name)
        )
        if one.waiver is not None:
            counts["skipped"] += 1
            ET.SubElement(case, "skipped", message=_text(f"waived: {one.waiver.reason}"))
            continue
        counts["failures"] += 1
        text = _text(f"{finding.path}:{finding.line}: {finding.message}")
        ET.SubElement(case, "failure", type=finding.severity, message=text).text = text
    suite.set("tests", str(len(suite)))
    for name, count in counts.items():
        suite.set(name, str(count))
    whole = ET.Element("testsuites")
    whole.append(suite)
    ET.indent(whole)
    return bytes(ET.tostring(whole, encoding="utf-8", xml_declaration=True)) + b"\n"


def _text(text: str) -> str:
    """A text that XML 1.0 can hold: besides what `clean` takes away, not these two."""
    return re.sub("[\ufffe\uffff]", "?", clean(text))


def _sonar(found: Sequence[Standing]) -> dict[str, Any]:
    """https://docs.sonarsource.com, Generic formatted issue reports, the format with rules."""
    rules = {one.kept.finding.rule: one.kept.finding for one in found}
    return {
        "rules": [
            {
                "id": rule,
                "name": rule,
                # shown as HTML over there
                "description": html.escape(one.mend or one.message, quote=False),
                "engineId": "casemate",
                "cleanCodeAttribute": "TRUSTWORTHY",
                "impacts": [
                    {"softwareQuality": "SECURITY", "severity": SONAR[one.severity]},
                ],
            }
            for rule, one in sorted(rules.items())
        ],
        "issues": [
            {"ruleId": one.kept.finding.rule, "primaryLocation": _located(one)} for one in found
        ],
    }


def _sonar_old(found: Sequence[Standing]) -> dict[str, Any]:
    """The format of SonarQube before 10.3, where each issue says all of itself."""
    return {
        "issues": [
            {
                "engineId": "casemate",
                "ruleId": one.kept.finding.rule,
                "severity": SONAR_OLD[one.kept.finding.severity],
                "type": "VULNERABILITY",
                "primaryLocation": _located(one),
            }
            for one in found
        ]
    }


def _located(one: Standing) -> dict[str, Any]:
    finding = one.kept.finding
    file = _file(one)
    located: dict[str, Any] = {"message": _told(one), "filePath": file}
    # without a range it is of the whole file, which is right of notebooks too
    if finding.line and not finding.cell and file == finding.path:
        located["textRange"] = {"startLine": finding.line}
    return located


def _file(one: Standing) -> str:
    """Where a taker of files sees it; what is about no file is about the project."""
    finding = one.kept.finding
    return finding.path if finding.path and finding.kind != "endpoint" else FILE_NAME


def _told(one: Standing) -> str:
    """What is wrong, and where if its file does not say so."""
    finding = one.kept.finding
    message = clean(finding.message) or finding.rule
    return f"{message} ({finding.path})" if finding.kind == "endpoint" and finding.path else message


def _vex(found: Sequence[Standing]) -> dict[str, Any]:
    """CycloneDX 1.6: https://cyclonedx.org/docs/1.6/json."""
    known = [one for one in found if one.kept.finding.package]
    components = {
        f"pkg:pypi/{finding.package}@{finding.version}": finding
        for finding in (one.kept.finding for one in known)
    }
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "components": [
            {
                "type": "library",
                "bom-ref": purl,
                "purl": purl,
                "name": finding.package,
                "version": finding.version,
            }
            for purl, finding in sorted(components.items())
        ],
        "vulnerabilities": [_vulnerability(one) for one in known],
    }


def _vulnerability(one: Standing) -> dict[str, Any]:
    finding = one.kept.finding
    cwes = [name for name in finding.references if name.startswith("CWE-")]
    names = [name for name in finding.references if not name.startswith("CWE-")]
    if one.waiver is None:
        analysis: dict[str, Any] = {"state": "in_triage", "detail": finding.mend or "known"}
    else:
        told = f"waived until {one.waiver.until[:10]}: {one.waiver.reason}"
        analysis = {"state": "exploitable", "response": ["will_not_fix"], "detail": told}
    return {
        "bom-ref": finding.fingerprint,
        "id": names[0] if names else finding.rule,
        "references": [
            {"id": name, "source": {"name": "OSV", "url": f"https://osv.dev/vulnerability/{name}"}}
            for name in names
        ],
        "cwes": [int(name[4:]) for name in cwes if name[4:].isdigit()],
        "ratings": [{"severity": finding.severity}],
        "description": finding.message,
        "recommendation": finding.mend,
        "affects": [{"ref": f"pkg:pypi/{finding.package}@{finding.version}"}],
        "analysis": analysis,
    }
