"""What is not as usual, which emergencies wait, what nobody uses."""

from casemate.controls.access.anomalies import AccessFinding
from casemate.controls.access.identity.grants import MAX_REASON, Grant
from casemate.controls.access.review import Reviewed, review, waiting
from casemate.core.errors import ConfigError, RefusedError
from casemate.operations.acting import operation, reading
from casemate.wiring import Wiring

MOST_DAYS = 3650


@reading("access:review")
def findings(project: Wiring, *, closed: bool = False) -> list[AccessFinding]:
    """Access that is not as usual, with `closed` also what was dealt with; AccessDenied: policy."""
    return project.point.anomalies.list(closed=closed)


@reading("access:review")
def report(project: Wiring, days: int = 90) -> tuple[list[Reviewed], list[Grant]]:
    """(what each principal may do and did not within so many days, emergency access that waits for
    a review).

    Raises:
        AccessDenied: policy. ConfigError: the number of days is impossible.
    """
    if not 0 < days <= MOST_DAYS:
        raise ConfigError(f"--days {days}: 1 to {MOST_DAYS}")
    point = project.point
    found = review(point.directory, point.policy, point.situation(), project.log.entries(), days)
    return found, waiting(point.directory.grants())


@operation("access:review")
def close_review(project: Wiring, identifier: str, finding: str) -> Grant:
    """Say what an emergency access was worth; by somebody else than who took it."""
    acting = close_review.ask(project, grant=identifier)
    with acting.transaction() as tx:
        closed = project.point.directory.review(tx, identifier, acting.principal.name, finding)
        acting.append(
            tx,
            "access:reviewed",
            f'User::"{closed.name}"',
            grant=identifier,
            finding=finding.strip(),
        )
    return closed


@operation("access:review")
def close_finding(project: Wiring, identifier: str, reason: str) -> AccessFinding:
    """Say that something unusual was harmless or was dealt with; by somebody else than whom it is
    about.
    """
    acting = close_finding.ask(project, finding=identifier)
    if not reason.strip() or len(reason) > MAX_REASON:
        raise ConfigError(
            f"a reason of 1 to {MAX_REASON} characters is needed", hint="--reason '...'"
        )
    with acting.transaction() as tx:
        closed = project.point.anomalies.close(
            tx, identifier, acting.principal.name, reason.strip()
        )
        if closed.principal == acting.uid:
            raise RefusedError(
                "a finding is closed by somebody else than whom it is about",
                hint="ask an auditor or another owner",
            )
        acting.append(
            tx, "access:finding-closed", closed.principal, finding=identifier, reason=reason.strip()
        )
    return closed
