"""What SonarQube takes and tells: generic issues (the format with rules of 10.3 and later, and the
one before), and answers of its web API: `api/issues/search`, `api/qualitygates/project_status`.

https://docs.sonarsource.com: Generic formatted reports, Web API.
"""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from casemate.core.text import clean
from casemate.core.types.scan import GRADES, Grade
from casemate.supply.reports.reading import (
    Lines,
    Report,
    answer,
    cwes,
    decoded,
    plain,
    rule_of,
    scanner_of,
)
from casemate.supply.scanners.interface import CouldNotLook, Hit, Looked

TOOL = "sonar"
GENERIC = "generic issues"
Severity = Literal["BLOCKER", "CRITICAL", "MAJOR", "MINOR", "INFO"]
Type = Literal["BUG", "VULNERABILITY", "CODE_SMELL", "SECURITY_HOTSPOT"]
Quality = Literal["SECURITY", "RELIABILITY", "MAINTAINABILITY"]
Impacted = Literal["BLOCKER", "HIGH", "MEDIUM", "LOW", "INFO"]
OF_SEVERITY: dict[str, Grade] = {
    "BLOCKER": "critical",
    "CRITICAL": "high",
    "HIGH": "high",
    "MAJOR": "medium",
    "MEDIUM": "medium",
    "MINOR": "low",
    "LOW": "low",
    "INFO": "low",
}
SMELLS = "about how readable code is: they are no weaknesses"
OVER = {"FIXED", "REMOVED"}
"""Resolutions of what is not there any more; what somebody let stand over there was let stand
without a waiver of here.
"""


class Range(msgspec.Struct):
    """Where in a file."""

    startLine: int  # noqa: N815 - SonarQube's names, here and below


class Location(msgspec.Struct):
    """In which file."""

    message: str
    filePath: str  # noqa: N815
    textRange: Range | None = None  # noqa: N815


class Impact(msgspec.Struct):
    """What an issue harms, and how much."""

    softwareQuality: Quality  # noqa: N815
    severity: Impacted


class Rule(msgspec.Struct):
    """Of generic issues from 10.3 on."""

    id: str
    name: str
    engineId: str  # noqa: N815
    impacts: list[Impact] = []
    description: str = ""
    severity: Severity | None = None
    type: Type | None = None


class Generic(msgspec.Struct):
    """One generic issue of either format."""

    ruleId: str  # noqa: N815
    primaryLocation: Location  # noqa: N815
    engineId: str | None = None  # noqa: N815
    severity: Severity | None = None
    type: Type | None = None


class Generics(msgspec.Struct):
    """A report of generic issues."""

    issues: list[Generic]
    rules: list[Rule] | None = None


class Issue(msgspec.Struct):
    """One of the web API."""

    key: str
    rule: str
    component: str
    project: str
    message: str
    type: Type | None = None
    severity: Severity | None = None
    line: int = 0
    hash: str = ""
    resolution: str = ""
    tags: list[str] = []
    impacts: list[Impact] = []


class Paging(msgspec.Struct):
    """Which part of how many."""

    pageIndex: int  # noqa: N815
    pageSize: int  # noqa: N815
    total: int


class Component(msgspec.Struct):
    """What an issue is in."""

    key: str
    path: str = ""


class Issues(msgspec.Struct):
    """What `api/issues/search` answers."""

    paging: Paging
    issues: list[Issue]
    components: list[Component] = []


class Condition(msgspec.Struct):
    """Of a quality gate."""

    status: Literal["OK", "WARN", "ERROR", "NONE", "NO_VALUE"]
    metricKey: str  # noqa: N815
    comparator: str = ""
    errorThreshold: str = ""  # noqa: N815
    actualValue: str = ""  # noqa: N815


class Gate(msgspec.Struct):
    """How a project stands."""

    status: Literal["OK", "WARN", "ERROR", "NONE"]
    conditions: list[Condition] = []
    ignoredConditions: bool = False  # noqa: N815


class Status(msgspec.Struct):
    """What `api/qualitygates/project_status` answers."""

    projectStatus: Gate  # noqa: N815


ABSENT = msgspec.Raw()


class _Shape(msgspec.Struct):
    """By which a report is told from others."""

    projectStatus: msgspec.Raw = ABSENT  # noqa: N815
    paging: msgspec.Raw = ABSENT
    issues: msgspec.Raw = ABSENT


def read(content: bytes, lines: Lines) -> Report:
    """What a report says, whichever of the four it is.

    Args:
        content: of the file.
        lines: of the project's files.

    Raises:
        CouldNotLook: it is none of them.
    """
    shape = decoded("report of SonarQube", content, _Shape)
    if bytes(shape.projectStatus):
        return Report([of_gate(decoded("quality gate of SonarQube", content, Status), "file")])
    if bytes(shape.paging):
        return Report(of_issues([decoded("answer of api/issues/search", content, Issues)], lines))
    if not bytes(shape.issues):
        raise CouldNotLook(
            "this is no report of SonarQube: it has no issues, paging or projectStatus",
            hint="docs/how-to/audit.md says which reports are taken",
        )
    return Report([_of_generic(decoded("generic issues of SonarQube", content, Generics), lines)])


def _of_generic(report: Generics, lines: Lines) -> Looked:
    rules = {one.id: one for one in report.rules or ()}
    hits, smells = [], 0
    for one in report.issues:
        rule = rules.get(one.ruleId)
        if report.rules is not None and rule is None:
            raise CouldNotLook(f"the issue {one.ruleId[:60]!r} has no rule")
        engine = rule.engineId if rule is not None else one.engineId
        impacts = rule.impacts if rule is not None else []
        said = rule.severity if rule is not None else one.severity
        kind = rule.type if rule is not None else one.type
        if engine is None or (not impacts and (said is None or kind is None)):
            raise CouldNotLook(f"the issue {one.ruleId[:60]!r} says not how grave it is, or whose")
        grade = _grade(impacts, said, kind)
        if grade is None:
            smells += 1
            continue
        where = one.primaryLocation
        line = where.textRange.startLine if where.textRange is not None else 0
        hits.append(
            Hit(
                rule=rule_of(engine, one.ruleId),
                severity=grade,
                message=clean(where.message),
                path=where.filePath,
                line=line,
                material=lines.said(where.filePath, line) or where.message,
                references=cwes([one.ruleId, rule.name if rule else "", where.message]),
                mend=plain(rule.description) if rule else "",
            )
        )
    notes = [f"{smells} issues {SMELLS}"] if smells else []
    return answer(scanner_of(TOOL, GENERIC), "code", hits, notes=notes)


def names(project: str) -> tuple[str, str]:
    """What is asked about a project: its quality gate, and its issues."""
    return f"{project} quality gate", f"{project} issues"


def of_issues(pages: Sequence[Issues], lines: Lines, asked: str = "") -> list[Looked]:
    """What pages of issues say, one answer a project.

    Args:
        pages: of one listing.
        lines: of the project's files.
        asked: about which project, where that is known.
    """
    paths = {one.key: one.path for page in pages for one in page.components}
    found = {one.key: one for page in pages for one in page.issues}
    missing = max(page.paging.total for page in pages) - len(found)
    unseen = {"": f"{missing} more issues are on other pages"} if missing > 0 else {}
    hits: dict[str, list[Hit]] = {asked: []} if asked else {}
    smells = 0
    for one in found.values():
        listed = hits.setdefault(one.project, [])
        if one.resolution in OVER:
            continue
        grade = _grade(one.impacts, one.severity, one.type)
        if grade is None:
            smells += 1
            continue
        path = paths.get(one.component) or one.component.partition(":")[2] or one.component
        listed.append(
            Hit(
                rule=f"sonar.{clean(one.rule, 80)}",
                severity=grade,
                message=clean(one.message),
                path=path,
                line=one.line,
                material=lines.said(path, one.line) or one.hash or one.message,
                references=cwes([*one.tags, one.message]),
            )
        )
    notes = [f"{smells} issues {SMELLS}"] if smells else []
    return [
        answer(scanner_of(TOOL, names(project)[1]), "code", listed, unseen=unseen, notes=notes)
        for project, listed in (hits or {"no project": []}).items()
    ]


def of_gate(status: Status, project: str) -> Looked:
    """What a quality gate says: each condition that fails is a finding.

    Args:
        status: the answer.
        project: its key over there.
    """
    gate = status.projectStatus
    scanner = scanner_of(TOOL, names(project)[0])
    if gate.status == "NONE":
        why = "the project was never analysed there, or has no quality gate"
        return answer(scanner, "code", [], unseen={"": why})
    hits = [
        Hit(
            rule=f"sonar.gate.{clean(one.metricKey, 60)}",
            severity="high" if one.status == "ERROR" else "medium",
            message=clean(
                f"SonarQube's quality gate fails: {one.metricKey} is {one.actualValue or 'unknown'}"
                f" ({one.comparator} {one.errorThreshold})"
            ),
            material=one.metricKey,
        )
        for one in gate.conditions
        if one.status in ("ERROR", "WARN")
    ]
    if gate.status != "OK" and not hits:
        hits = [Hit(rule="sonar.gate", severity="high", message="SonarQube's quality gate fails")]
    unseen = {}
    if gate.ignoredConditions:  # few lines were changed: SonarQube passes some over
        unseen["conditions"] = "SonarQube left some out, because few lines were changed"
    return answer(scanner, "code", hits, unseen=unseen)


def _grade(impacts: Sequence[Impact], said: str | None, kind: Any) -> Grade | None:
    """How grave; None: nothing but how readable it is."""
    if impacts:
        grades = [
            OF_SEVERITY[one.severity] for one in impacts if one.softwareQuality != "MAINTAINABILITY"
        ]
        return min(grades, key=GRADES.index) if grades else None
    if kind == "CODE_SMELL":
        return None
    return OF_SEVERITY[said or "MAJOR"]
