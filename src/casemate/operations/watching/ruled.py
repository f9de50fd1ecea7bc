"""Alarms of rules over log lines: one for a rule, or for each group of a correlation; and one for a
rule that does not run, because nobody watches in its place.
"""

from casemate.operations.watching.alarms import EVERY, Cause, Severity
from casemate.watch.rules import Fault, Match
from casemate.watch.rules.rule import Grade

MATCHED, BROKEN = "log-rule", "log-rule-broken"
"""What alarms are called."""
LOOKED_AT = {(MATCHED, EVERY), (BROKEN, EVERY)}
"""What a look that has judged every new line can end, for `alarms.update`: after a quiet time."""
SEVERITY: dict[Grade, Severity] = {
    "critical": "page",
    "high": "page",
    "medium": "note",
    "low": "note",
    "informational": "note",
}
MODEL = "labels.model"
"""The group by which an alarm is about a model."""
MOST_TOLD = 3
"""Lines that an alarm names."""


def causes(matches: list[Match], faults: list[Fault]) -> list[Cause]:
    """What is wrong by the rules' word."""
    return [*map(_matched, matches), *_broken(faults)]


def _matched(match: Match) -> Cause:
    rule = match.rule
    labels = {"rule": rule.title}
    for field, value in match.group.items():
        labels["model" if field == MODEL else field] = value
    of = ", ".join(f"{field} {value}" for field, value in match.group.items())
    text = f"{rule.title}{f' ({of})' if of else ''}: {match.count} since {match.first}"
    named = ", ".join(match.lines[-MOST_TOLD:])
    seldom = f"; harmless when: {'; '.join(rule.falsepositives)}" if rule.falsepositives else ""
    return Cause(
        name=MATCHED,
        labels=labels,
        severity=SEVERITY[rule.level or "high"],
        text=text[:1_000],
        hint=f"look at the lines with event.id {named}{seldom}"[:1_000],
    )


def _broken(faults: list[Fault]) -> list[Cause]:
    """One for each file and rule, with all reasons."""
    found: dict[tuple[str, str], list[str]] = {}
    for fault in faults:
        found.setdefault((fault.file, fault.rule), []).append(fault.reason)
    return [
        Cause(
            name=BROKEN,
            labels={"file": file, "rule": rule},
            severity="page",
            text=f"the rule {rule or 'in'} ({file}) does not run: {'; '.join(reasons)}"[:1_000],
            hint="casemate logs rules check says what is wrong with which rule",
        )
        for (file, rule), reasons in found.items()
    ]
