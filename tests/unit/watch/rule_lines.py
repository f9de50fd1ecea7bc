"""Lines and rules as tests write them."""

import datetime
import uuid

from casemate.watch.logs.line import LogLine

START = datetime.datetime(2026, 3, 2, 12, tzinfo=datetime.UTC)


def time(seconds: float) -> str:
    moment = START + datetime.timedelta(seconds=seconds)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def line(at: float = 0.0, **fields) -> LogLine:
    given = {
        "time": time(at),
        "level": "info",
        "message": "something happened",
        "id": f"id-{at}-{sorted(fields.items())}",
        "dataset": "casemate.audit",
    }
    return LogLine(**(given | fields))


def denied(at: float, user: str = 'User::"ana"', action: str = "model:read", **fields) -> LogLine:
    return line(at, action=action, reason="denied", outcome="failure", user=user, **fields)


def rule(
    selection: str,
    condition: str = "selection",
    *,
    title: str = "a rule",
    level: str = "high",
    more: str = "",
    service: str = "",
) -> str:
    """YAML of a rule; `selection` is what follows `selection:`, and perhaps other selections."""
    key = uuid.uuid5(uuid.NAMESPACE_URL, title)
    return (
        f"title: {title}\nid: {key}\nlogsource:\n  product: casemate\n"
        + (f"  service: {service}\n" if service else "")
        + f"detection:\n  selection: {selection}\n  condition: {condition}\n"
        + (f"level: {level}\n" if level else "")
        + more
    )


def correlation(
    kind: str, rules: list[str], condition: str = "", *, span: str = "1m", group: str = "", **more
) -> str:
    title = more.get("title", "a correlation")
    return (
        f"title: {title}\nid: {uuid.uuid5(uuid.NAMESPACE_URL, title)}\nlevel: medium\n"
        f"correlation:\n  type: {kind}\n  rules: [{', '.join(rules)}]\n  timespan: {span}\n"
        + (f"  group-by: [{group}]\n" if group else "")
        + (f"  condition: {condition}\n" if condition else "")
        + more.get("also", "")
    )
