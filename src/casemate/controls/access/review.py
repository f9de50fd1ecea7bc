"""The access review: who has what, what of it nobody used, which accounts are stale, which
emergencies wait for a second look.
"""

import datetime
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from casemate.controls.access.identity.grants import Grant
from casemate.controls.access.identity.principals import Directory
from casemate.controls.access.policy import NEEDED, Policy, Resource, actions
from casemate.controls.access.situation import Situation
from casemate.controls.access.types import Principal
from casemate.core.entry import Entry

STALE_DAYS = 90
"""A judgement: a quarter, as access reviews go."""


@dataclass(frozen=True)
class Reviewed:
    """One principal under review."""

    principal: str
    roles: tuple[str, ...]
    last_seen: str | None
    """Time of the last entry in the log."""
    stale: bool
    """Not seen for `STALE_DAYS`, or never since it was made so long ago."""
    unused: tuple[str, ...]
    """Actions that are permitted and were not used within the period."""
    denied: int
    """Denials within the period."""


def review(
    directory: Directory,
    policy: Policy,
    situation: Situation,
    entries: Iterable[Entry],
    days: int = STALE_DAYS,
) -> list[Reviewed]:
    """Look at everybody.

    Args:
        directory: who there is.
        policy: in force.
        situation: the circumstances under which permissions are counted.
        entries: of the audit log.
        days: the period.
    """
    since = (situation.now - datetime.timedelta(days=days)).astimezone(datetime.UTC).isoformat()
    seen: dict[str, str] = {}
    used: dict[str, set[str]] = defaultdict(set)
    denied: dict[str, int] = defaultdict(int)
    for entry in entries:
        seen[entry.principal] = entry.time
        if entry.time >= since:
            denied[entry.principal] += entry.outcome == "denied"
            if entry.outcome != "denied":
                used[entry.principal].add(entry.action)
    created = {row.uid: row.created for row in directory.rows()}
    return [
        Reviewed(
            principal.uid,
            principal.roles,
            seen.get(principal.uid),
            (seen.get(principal.uid) or created[principal.uid]) < since,
            tuple(sorted(_permitted(policy, principal, situation) - used[principal.uid])),
            denied[principal.uid],
        )
        for principal in directory.principals()
    ]


def waiting(grants: list[Grant]) -> list[Grant]:
    """Emergency accesses that nobody has reviewed."""
    return [grant for grant in grants if grant.why == "break-glass" and grant.review is None]


def _permitted(policy: Policy, principal: Principal, situation: Situation) -> set[str]:
    found = set()
    for action, kinds in actions().items():
        name = "" if kinds[0] == "Project" else next(iter(principal.models), "all")
        if policy.decide(
            principal, action, Resource(kinds[0], name), situation, **NEEDED.get(action, {})
        ).allowed:
            found.add(action)
    return found
