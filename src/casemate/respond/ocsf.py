"""An incident as an Incident Finding (class 2005) of the Open Cybersecurity Schema Framework
(https://schema.ocsf.io/1.1.0/classes/incident_finding): the oldest version that has the class, so
that most readers take it.
"""

import datetime
from typing import Any

import msgspec

from casemate import __version__
from casemate.respond.causes import Level
from casemate.respond.report import Facts
from casemate.respond.states import State

VERSION, CATEGORY, CLASS = "1.1.0", 2, 2005
CREATE, UPDATE, CLOSE = 1, 2, 3
SEVERITIES: dict[Level, int] = {"low": 2, "medium": 3, "high": 4, "critical": 5}
STATUSES: dict[State, tuple[int, str]] = {
    "new": (1, "New"),
    "acknowledged": (2, "In Progress"),
    "contained": (2, "In Progress"),
    "recovered": (4, "Resolved"),
    "closed": (5, "Closed"),
    "reviewed": (5, "Closed"),
}
MOST_FINDINGS = 1_000


def finding(facts: Facts, now: datetime.datetime) -> bytes:
    """The incident as JSON.

    Args:
        facts: of it.
        now: the time of the event.
    """
    one = facts.incident
    activity = CLOSE if not one.is_open else CREATE if one.changes == 1 else UPDATE
    status, status_name = STATUSES[one.state]
    event: dict[str, Any] = {
        "activity_id": activity,
        "category_uid": CATEGORY,
        "class_uid": CLASS,
        "type_uid": CLASS * 100 + activity,
        "time": _milliseconds(now),
        "severity_id": SEVERITIES[one.severity],
        "status_id": status,
        "status": status_name,
        "metadata": {
            "version": VERSION,
            "uid": f"{facts.project_id}/incident/{one.id}",
            "product": {"name": "casemate", "vendor_name": "casemate", "version": __version__},
        },
        "message": one.title,
        "desc": f"cause {one.root}, {one.alerts} alerts, {facts.standing} stand",
        "start_time": _of(one.opened),
        "end_time": _of(one.latest or one.opened),
        # one of assignee and assignee_group must be there; who it is stays in the log
        "assignee_group": {"name": "operators of the project"},
        "finding_info_list": [
            {
                "uid": alert.fingerprint,
                "title": alert.name,
                "desc": alert.text,
                "first_seen_time": _of(alert.began),
            }
            for alert in facts.alerts[:MOST_FINDINGS]
        ],
        "unmapped": {"state": one.state, "entries": [line.entry for line in facts.lines]},
    }
    return msgspec.json.format(msgspec.json.encode(event, order="deterministic"), indent=2) + b"\n"


def _of(time: str) -> int:
    return _milliseconds(datetime.datetime.fromisoformat(time))


def _milliseconds(time: datetime.datetime) -> int:
    return int(time.timestamp() * 1000)
