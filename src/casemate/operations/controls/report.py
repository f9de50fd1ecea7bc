"""The pack's page for people who read laws, not JSON."""

from casemate.core.page import NOTHING, Section, page
from casemate.stages.release.pack import CheckResult, FrameworkResult, Outcome, Results

WORDS: dict[Outcome, str] = {
    "passed": "passed",
    "failed": "failed",
    "inconclusive": "inconclusive",
    "not-applicable": "not applicable",
}
LEAD = (
    "Each control is held against facts of this project, by checks that can fail. This page says"
    " what was looked at, what came of it, when it last passed, and what no check covers. Whether a"
    " law is kept is for people to say. Inconclusive means that a fact could not be had: it is not"
    " passed. Every result stands on a file in the folder facts, the log's proofs lie in the folder"
    " log, and casemate verify checks all of it without the project."
)


def written(results: Results, models: list[str], signer: str) -> bytes:
    """The page as UTF-8 HTML that needs nothing else.

    Args:
        results: of every check, with the catalogue.
        models: references of the models whose signatures are in the pack.
        signer: fingerprint of the signer's keys.
    """
    checks = {one.id: one for one in results.checks}
    sections = [
        _summary(results, models, signer),
        _open(results),
        *(_framework(one, checks) for one in results.frameworks),
        _every(results),
    ]
    return page(f"Evidence: {results.project}", LEAD, sections)


def _summary(results: Results, models: list[str], signer: str) -> Section:
    counts = ", ".join(f"{results.count(outcome)} {word}" for outcome, word in WORDS.items())
    points = [
        f"Looked at on {results.time}; entry {results.entry} of the audit log recorded it.",
        f"Checks: {counts}.",
        f"Models that answer callers: {', '.join(models) or 'none'}.",
        f"Signed by keys with the SHA-256 {signer}: compare it over another channel.",
    ]
    return Section("Summary", points=points)


def _open(results: Results) -> Section:
    rows = [
        [one.id, WORDS[one.outcome], one.said, one.answers, one.passed or "never"]
        for one in results.checks
        if one.outcome in ("failed", "inconclusive")
    ]
    text = "" if rows else "Every check that applies has passed."
    heads = ["check", "outcome", "why", "who answers", "last passed"] if rows else []
    return Section("What does not hold, or is not known", text, heads=heads, rows=rows)


def _framework(framework: FrameworkResult, checks: dict[str, CheckResult]) -> Section:
    rows = []
    for control in framework.controls:
        mine = [checks[name] for name in control.checks]
        rows.append(
            [
                control.section,
                control.title or NOTHING,
                "; ".join(f"{one.id}: {WORDS[one.outcome]}" for one in mine) or NOTHING,
                min((one.passed or "never" for one in mine), key=_age) if mine else NOTHING,
                control.outside or NOTHING,
                ", ".join(control.answers),
            ]
        )
    heads = ["section", "asks that", "evidence", "last passed", "not covered here", "who answers"]
    text = f"{framework.version}. {framework.source}"
    return Section(framework.name, text, heads=heads, rows=rows)


def _age(passed: str) -> str:
    """Sorts what never passed before everything, then what passed longest ago."""
    return "" if passed == "never" else passed


def _every(results: Results) -> Section:
    rows = [
        [one.id, one.title, WORDS[one.outcome], one.said, one.answers, one.digest]
        for one in results.checks
    ]
    heads = ["check", "what must hold", "outcome", "why", "who answers", "SHA-256 of the fact"]
    return Section("Every check", heads=heads, rows=rows)
