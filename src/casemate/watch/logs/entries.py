"""Entries of the audit log as lines: who did what, and how it ended; of an entry's detail only what
names something.
"""

import re
from typing import Any

from msgspec.structs import replace

from casemate.core.digest import sha256
from casemate.core.entry import Entry
from casemate.watch.logs.line import Level, LogLine, moment, tidy, written

ALARM, WELL = "watch:alarm", "watch:well"
"""What a watcher tells when an alarm begins and when it ends."""
TOLD = ("run", "model", "stage", "code", "request", "reason")
"""Fields of a detail that may be told. Everything else stays in the audit log: `personal` is of
people, `outcome` of rows, and of what somebody adds later nobody has thought yet.
"""
_NAMED = re.compile(r'(\w+)::"(.+)"')
_OUTCOMES: dict[str, tuple[Level, Any]] = {
    "done": ("info", "success"),
    "allowed": ("info", "success"),
    "passed": ("info", "success"),
    "denied": ("warning", "failure"),
    "refused": ("warning", "failure"),
    "inconclusive": ("warning", "failure"),
    "failed": ("error", "failure"),
}


def of_entry(entry: Entry, origin: str) -> LogLine:
    """The line of an entry.

    Args:
        entry: of the audit log.
        origin: of that log, which makes numbers of entries the log's own.
    """
    time = moment(entry.time)
    # the time too: a log that was restored from a backup gives a number to another entry
    identifier = f"{sha256(origin.encode())[:8]}-{entry.index}-{int(time.timestamp() * 1000):x}"
    detail, named = entry.detail, _NAMED.fullmatch(entry.resource)
    told = {name: detail[name] for name in TOLD if isinstance(detail.get(name), str)}
    if named is not None and named[1] in ("Run", "Model"):
        told.setdefault(named[1].lower(), named[2])
    level, outcome = _OUTCOMES.get(entry.outcome, ("info", "unknown"))
    line = LogLine(
        time=written(time),
        level=level,
        message="",
        id=identifier,
        dataset="casemate.audit",
        action=entry.action,
        outcome=outcome,
        reason=entry.outcome,
        user=entry.principal,
        request=told.get("request", ""),
        code=told.get("code", ""),
        resource=entry.resource,
        model=told.get("model", ""),
        run=told.get("run", ""),
        stage=told.get("stage", ""),
    )
    if entry.action in (ALARM, WELL):
        return tidy(_alarm(line, detail))
    why = f": {told['reason']}" if "reason" in told else ""
    said = f"{entry.principal} asked for {entry.action} on {entry.resource}: {entry.outcome}{why}"
    return tidy(replace(line, message=said))


def _alarm(line: LogLine, detail: dict[str, Any]) -> LogLine:
    """An alarm is one alert, when it begins; its end is an event."""
    name, text = str(detail.get("alarm", "")), str(detail.get("text", ""))
    if line.action == WELL:
        said = f"the alarm {name} has ended: {text}"
        return replace(line, dataset="casemate.alarm", rule=name, message=said)
    level: Level = "error" if detail.get("severity") == "page" else "warning"
    said = f"alarm {name}: {text}"
    return replace(
        line, dataset="casemate.alarm", kind="alert", rule=name, level=level, message=said
    )
