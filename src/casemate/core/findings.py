"""What findings say together."""

from casemate.core.types import Finding

SEVERITIES = ("high", "medium", "low")


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
