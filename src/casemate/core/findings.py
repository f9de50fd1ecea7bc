"""What findings say together."""

from collections.abc import Iterable

from casemate.core.types import Finding

SEVERITIES = ("high", "medium", "low")
ATTEMPTS = {
    "sandbox.file": "the code tried to open a file that is not among its inputs",
    "sandbox.metadata": (
        "the code tried to change a file or its metadata that is not among its outputs"
    ),
    "sandbox.network": "the code tried to use the network",
    "sandbox.attempts": "the code tried very many things outside its inputs",
}
"""What code tried in a sandbox, in words that quote nothing of it."""


def attempts(heard: Iterable[Finding]) -> list[Finding]:
    """The sandbox's findings, each kind and severity once, in our words."""
    found: dict[tuple[str, str], Finding] = {}
    for one in heard:
        kind = one.id if one.id in ATTEMPTS else "sandbox.other"
        message = ATTEMPTS.get(kind, "the sandbox reported something of the code")
        found.setdefault(
            (kind, one.severity),
            Finding(id=kind, severity=one.severity, confidence=one.confidence, message=message),
        )
    return list(found.values())


def ranked(findings: list[Finding]) -> list[Finding]:
    """The gravest first, and as they came among equals."""
    return sorted(findings, key=lambda one: SEVERITIES.index(one.severity))


def leaks(findings: list[Finding], names: list[str]) -> list[str]:
    """Those of the columns `names` that may know the answer each, the likeliest first: label and
    trigger screens judge without them.
    """
    told = sorted(
        (one for one in findings if one.id == "data.leakage" and one.severity != "low"),
        key=lambda one: one.severity,
    )
    places = [
        place
        for one in told
        for place in ([one.location] if one.location in names else one.location.split(", "))
    ]
    return [place for place in dict.fromkeys(places) if place in names]
