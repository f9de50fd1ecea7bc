"""What alerts say. `{name}` stands for a label of the alert, or for a number of its objective."""

from collections.abc import Mapping

SEEN = "casemate watch show says what was seen and what to do."
BUDGET = "casemate status, then the gateway's request log: which requests, and since when."
GATEWAY = "The gateway's stderr says what happened, once."
TEXTS: dict[str, tuple[str, str]] = {
    "CasemateBudgetBurnsFast": ("The error budget of {slo} will be used up within days.", BUDGET),
    "CasemateBudgetBurnsSlowly": (
        "The error budget of {slo} will be used up before its time.",
        BUDGET,
    ),
    "CasemateModelOld": (
        "{model} was trained more than {most} days ago.",
        "casemate run, then casemate model promote.",
    ),
    "CasemateGuardedRows": (
        "More than {most} of the rows asked of {model} are not like the training rows.",
        "casemate watch report: which features, and since when.",
    ),
    "CasemateQualityLow": (
        "{figure} of {model} is below {least} with the whole interval of its estimate.",
        "casemate model rollback, or train anew with newer rows.",
    ),
    "CasemateDown": (
        "The gateway {instance} does not answer Prometheus.",
        "See that casemate serve runs; then its certificate and the token.",
    ),
    "CasemateNotReady": ("No worker of {instance} can answer.", GATEWAY),
    "CasemateFault": ("{reason} does not work at {instance}.", GATEWAY),
    "CasemateWatcherSilent": (
        "The watcher has not looked for more than {silent} s.",
        "See that casemate watch runs.",
    ),
    "CasemateAlarm": ("{alarm} {model} {of}", SEEN),
    "CasemateNote": ("{alarm} {model} {of}", SEEN),
}
"""Alert -> (what is wrong, what to do)."""
NUMBERS = ("most", "least", "figure", "silent")


class _Labels(dict[str, str]):
    """Stands in a template of Prometheus for the label of that name."""

    def __missing__(self, name: str) -> str:
        return "{{ $labels." + name + " }}"


def template(alert: str, numbers: Mapping[str, object]) -> tuple[str, str]:
    """(summary, action) as a rule has them.

    Args:
        alert: its name.
        numbers: of its objective.
    """
    summary, action = TEXTS[alert]
    known = {name: str(value) for name, value in numbers.items() if name in NUMBERS}
    return summary.format_map(_Labels(known)), action


def filled(alert: str, labels: Mapping[str, str], numbers: Mapping[str, object]) -> tuple[str, str]:
    """(summary, action) as somebody reads them."""
    summary, action = TEXTS[alert]
    values = {name: str(value) for name, value in numbers.items()} | dict(labels)
    return summary.format(**values), action
