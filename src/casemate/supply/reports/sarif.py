"""Reports in SARIF 2.1.0 (OASIS): whatever writes it.

Fingerprints are ours: those of tools are of lines' numbers, or all the same text (semgrep's without
an account). What a tool calls suppressed was let stand without a waiver of here.
"""

import re
from collections.abc import Sequence
from os.path import normpath
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

import msgspec

from casemate.core.text import clean
from casemate.core.types.scan import Grade
from casemate.supply.reports.reading import (
    Lines,
    Report,
    answer,
    cwes,
    decoded,
    moment,
    rule_of,
    scanner_of,
)
from casemate.supply.scanners import rules
from casemate.supply.scanners.interface import CouldNotLook, Hit, Looked

TOOL = "sarif"
Level = Literal["none", "note", "warning", "error"]
OF_LEVEL: dict[str, Grade] = {"error": "high", "warning": "medium", "note": "low", "none": "low"}
SCORES: tuple[tuple[float, Grade], ...] = ((9.0, "critical"), (7.0, "high"), (4.0, "medium"))
"""From which `security-severity` on a result is how grave: GitHub's grades."""
PASSED = {"pass", "notApplicable", "informational"}
"""Kinds of results that say of nothing that it is wrong (section 3.27.9)."""


class Message(msgspec.Struct):
    """A text, or the name of one of the rule's."""

    text: str = ""
    id: str = ""
    arguments: list[str] = []


class Configuration(msgspec.Struct):
    """Of a rule."""

    level: Level = "warning"


class Text(msgspec.Struct):
    """One of a rule's."""

    text: str = ""


class Descriptor(msgspec.Struct, rename="camel"):
    """A rule."""

    id: str
    short_description: Text = msgspec.field(default_factory=Text)
    help: Text = msgspec.field(default_factory=Text)
    default_configuration: Configuration = msgspec.field(default_factory=Configuration)
    message_strings: dict[str, Text] = {}
    properties: dict[str, Any] = {}


class Component(msgspec.Struct, rename="camel"):
    """A tool, or a part of it."""

    name: str
    version: str = ""
    semantic_version: str = ""
    rules: list[Descriptor] = []


class Tool(msgspec.Struct):
    """Whose results they are."""

    driver: Component
    extensions: list[Component] = []


class Which(msgspec.Struct):
    """Of several parts, which one."""

    index: int = -1


class Reference(msgspec.Struct, rename="camel"):
    """To a rule."""

    id: str = ""
    index: int = -1
    tool_component: Which = msgspec.field(default_factory=Which)


class Artifact(msgspec.Struct):
    """A file."""

    uri: str = ""
    index: int = -1


class Region(msgspec.Struct, rename="camel"):
    """Lines of it."""

    start_line: int = 0
    snippet: Text = msgspec.field(default_factory=Text)


class Physical(msgspec.Struct, rename="camel"):
    """Where in which file."""

    artifact_location: Artifact = msgspec.field(default_factory=Artifact)
    region: Region = msgspec.field(default_factory=Region)


class Location(msgspec.Struct, rename="camel"):
    """Where."""

    physical_location: Physical = msgspec.field(default_factory=Physical)


class Listed(msgspec.Struct):
    """A file of the run."""

    location: Artifact = msgspec.field(default_factory=Artifact)


class Suppression(msgspec.Struct):
    """Somebody let it stand."""

    kind: str


class Result(msgspec.Struct, rename="camel"):
    """What was found."""

    message: Message
    rule_id: str = ""
    rule_index: int = -1
    rule: Reference = msgspec.field(default_factory=Reference)
    level: Level | None = None
    kind: str = "fail"
    locations: list[Location] = []
    suppressions: list[Suppression] | None = None
    baseline_state: str = ""
    properties: dict[str, Any] = {}


class Notice(msgspec.Struct):
    """What went wrong with the tool."""

    message: Message = msgspec.field(default_factory=Message)
    level: Level = "warning"


class Invocation(msgspec.Struct, rename="camel"):
    """How a tool ran."""

    execution_successful: bool
    end_time_utc: str | None = None
    tool_execution_notifications: list[Notice] = []


class Details(msgspec.Struct):
    """By which runs of one tool are told apart."""

    id: str = ""


class Run(msgspec.Struct, rename="camel"):
    """One run of a tool."""

    tool: Tool
    results: list[Result] | None = None
    invocations: list[Invocation] = []
    artifacts: list[Listed] = []
    automation_details: Details = msgspec.field(default_factory=Details)
    external_property_file_references: msgspec.Raw = msgspec.Raw()


class Log(msgspec.Struct):
    """The report."""

    version: Literal["2.1.0"]
    runs: list[Run]


def read(content: bytes, lines: Lines, root: str) -> Report:
    """What a report says, one answer a tool and category.

    Args:
        content: of the file.
        lines: of the project's files.
        root: the project's folder, below which absolute paths are its own.

    Raises:
        CouldNotLook: it is no SARIF 2.1.0, or of no run.
    """
    log = decoded("SARIF 2.1.0", content, Log)
    if not log.runs:
        raise CouldNotLook("the report is of no run: nothing was looked at")
    of_tool: dict[str, list[Looked]] = {}
    for run in log.runs:
        one = _run(run, lines, root)
        of_tool.setdefault(one.scanner, []).append(one)
    ends = [
        moment(one.end_time_utc) for run in log.runs for one in run.invocations if one.end_time_utc
    ]
    known = [one for one in ends if one is not None]
    return Report([_joined(those) for those in of_tool.values()], min(known, default=None))


def _joined(those: Sequence[Looked]) -> Looked:
    first = those[0]
    return answer(
        first.scanner,
        first.kind,
        [hit for one in those for hit in one.hits],
        version=first.version,
        unseen={name: why for one in those for name, why in one.unseen.items()},
        notes=[note for one in those for note in one.notes],
    )


def _run(run: Run, lines: Lines, root: str) -> Looked:
    driver = run.tool.driver
    category = run.automation_details.id.rpartition("/")[0]
    about = driver.name + (f"/{category}" if category else "")
    unseen = {}
    if run.results is None:  # section 3.14.23
        unseen[""] = "the tool did not look for results"
    if bytes(run.external_property_file_references):
        unseen["results"] = "a part of them is in other files, which are not read"
    for one in run.invocations:
        if not one.execution_successful:
            unseen["run"] = "the tool says that it did not succeed"
        for notice in one.tool_execution_notifications:
            if notice.level == "error":
                unseen[f"notice {len(unseen)}"] = notice.message.text or notice.message.id
    hits, passed, suppressed = [], 0, 0
    for result in run.results or ():
        if result.kind in PASSED or result.baseline_state == "absent":
            passed += 1
            continue
        suppressed += bool(result.suppressions)
        hits.append(_hit(result, run, lines, root))
    notes = [f"{passed} results that say of nothing that it is wrong"] if passed else []
    if suppressed:
        notes.append(f"{suppressed} results are suppressed there, which waives nothing here")
    version = driver.semantic_version or driver.version
    return answer(
        scanner_of(TOOL, about), "code", hits, version=version, unseen=unseen, notes=notes
    )


def _hit(result: Result, run: Run, lines: Lines, root: str) -> Hit:
    rule = _rule(result, run.tool)
    name = result.rule_id or result.rule.id or (rule.id if rule else "")
    if not name:
        raise CouldNotLook("a result is of no rule")
    physical = result.locations[0].physical_location if result.locations else Physical()
    uri, index = physical.artifact_location.uri, physical.artifact_location.index
    if not uri and 0 <= index < len(run.artifacts):
        uri = run.artifacts[index].location.uri
    path, line = _path(uri, root), max(0, physical.region.start_line)
    message = _message(result.message, rule)
    tags = rule.properties.get("tags", []) if rule else []
    told = [*(one for one in tags if isinstance(one, str))] if isinstance(tags, list) else []
    driver = run.tool.driver.name
    ours = rules.of_bandit(name) if driver == "Bandit" else rule_of(driver, name)
    severity = rules.severity(ours, _grade(result, rule))
    return Hit(
        rule=ours,
        severity=severity,
        message=message,
        path=path,
        line=line,
        material=lines.said(path, line) or physical.region.snippet.text.strip() or message,
        references=list(dict.fromkeys([*rules.references(ours), *cwes([*told, name]), name[:100]])),
        mend=rules.mend(ours) or (clean(rule.help.text) if rule else ""),
    )


def _rule(result: Result, tool: Tool) -> Descriptor | None:
    component = result.rule.tool_component.index
    inside = 0 <= component < len(tool.extensions)
    known = tool.extensions[component].rules if inside else tool.driver.rules
    index = result.rule_index if result.rule_index >= 0 else result.rule.index
    if 0 <= index < len(known):
        return known[index]
    name = result.rule_id or result.rule.id
    every = [*tool.driver.rules, *(rule for one in tool.extensions for rule in one.rules)]
    # `ID/MORE` is of the rule `ID` (section 3.27.5)
    return next((one for one in every if one.id in (name, name.rpartition("/")[0])), None)


def _message(message: Message, rule: Descriptor | None) -> str:
    text = message.text
    if not text and rule is not None and message.id in rule.message_strings:
        text = rule.message_strings[message.id].text
    for number, value in enumerate(message.arguments[:20]):
        text = text.replace(f"{{{number}}}", value[:200])
    return clean(text) or (clean(rule.short_description.text) if rule else "") or "found"


def _grade(result: Result, rule: Descriptor | None) -> Grade:
    """By the figure that GitHub goes by, else by the level."""
    for properties in (result.properties, rule.properties if rule else {}):
        try:
            score = float(properties["security-severity"])
        except (KeyError, TypeError, ValueError):
            continue
        if 0 < score <= 10:
            return next((grade for least, grade in SCORES if score >= least), "low")
    level = result.level or (rule.default_configuration.level if rule else "warning")
    return OF_LEVEL[level]


def _path(uri: str, root: str) -> str:
    """A file's path below the project's folder, as far as it can be told."""
    parts = urlsplit(uri[:2000]) if re.match(r"file:", uri) else None
    path = unquote(parts.path if parts else uri[:2000])
    whole = root.rstrip("/") + "/"
    path = path.removeprefix(whole)
    return normpath(path) if path else ""
