"""What the responding side makes of something that was seen: the watcher looks, an incident opens,
and a playbook in force does what it says.
"""

import fnmatch
from collections.abc import Callable

from casemate.operations.drills.scene import Gateway
from casemate.operations.drills.seen import Seen, Stopwatch
from casemate.operations.incidents.looking import listing, show
from casemate.operations.playbooks import carrying
from casemate.operations.watching.looking import once
from casemate.respond.playbooks import book, runs
from casemate.wiring import Wiring

ANOMALY = "access-anomaly"
"""The alert about a principal of whom something unusual was found."""


def is_owed(project: Wiring, alert: str) -> bool:
    """Whether a playbook in force is there for alerts of this name."""
    with project.database.reading() as tx:
        found = runs.in_force(tx)
    said = [book.read(name, one.content) for name, one in found.items()]
    return any(
        one.automatic and fnmatch.fnmatchcase(alert, pattern)
        for one in said
        for pattern in one.when.alerts
    )


def opened(project: Wiring, alert: str) -> str:
    """The open incident that an alert of this name belongs to; empty: there is none."""
    for one in listing(project):
        if any(known.alert.name == alert for known in show(project, one.incident.id).alerts):
            return f"incident {one.incident.id}"
    return ""


def stopped(watch: Stopwatch, project: Wiring, alert: str, harmless: Callable[[], bool]) -> bool:
    """Let the watcher look, as it does every `[watch] every` seconds, until the attack does no more
    harm; whether something in this project is there to stop it.

    Args:
        watch: of the attack.
        project: that is attacked.
        alert: name of the alert that the attack is.
        harmless: whether it does no more harm.
    """
    if harmless():
        watch.stops("policy, or a limit of the gateway")
        return True
    owed = is_owed(project, alert)

    def over() -> bool:
        once(project)
        return harmless()

    if watch.until(over) if owed else over():
        ended = sorted({one.playbook for one in carrying.listing(project)})
        watch.stops(f"playbook {', '.join(ended)}" if ended else "policy")
    return owed or watch.contained is not None


def risen(
    watch: Stopwatch, gateway: Gateway, service: str, kind: str, harmless: Callable[[], bool]
) -> Seen:
    """Wait for a finding about a service, and for what is done about it.

    Args:
        watch: of the attack.
        gateway: that was asked.
        service: who asked.
        kind: of finding.
        harmless: whether the service gets no more answer.
    """
    project = gateway.project
    if not watch.until(lambda: gateway.risen(service, kind)):
        return watch.seen()
    watch.sees(f"casemate access finding: {gateway.risen(service, kind)}")
    owed = stopped(watch, project, ANOMALY, harmless)
    return watch.seen(opened(project, ANOMALY), owed=owed)
