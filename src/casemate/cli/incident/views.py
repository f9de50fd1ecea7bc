"""Looking at incidents."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from casemate.cli.commands import open_for
from casemate.cli.output import emit, printable, table
from casemate.core.files import write_atomic
from casemate.respond.report import words


def listing(arguments: Any) -> int:
    """Incidents in a table; exit code 1 while one is new."""
    found = open_for(arguments).incidents.list(arguments.state)
    rows = [
        [
            one.incident.id,
            one.incident.severity,
            one.incident.state,
            one.incident.opened[:16],
            f"{one.standing}/{one.incident.alerts}",
            one.incident.root,
            one.incident.title,
        ]
        for one in found
    ]
    heads = ["#", "severity", "state", "opened", "alerts stand", "cause", "what"]
    emit(arguments, found, table(heads, rows) if found else "no incident")
    return 1 if any(one.incident.state == "new" for one in found) else 0


def show(arguments: Any) -> int:
    """One incident."""
    shown = open_for(arguments).incidents.show(arguments.id)
    one = shown.incident
    lines = [
        f"incident {one.id}: {printable(one.title)}",
        (
            f"{one.state}, severity {one.severity}, cause {printable(one.root)}, owner"
            f" {printable(one.owner or 'nobody')}, {shown.standing} of {one.alerts} alerts stand"
        ),
    ]
    if one.follows is not None:
        lines.append(f"it follows incident {one.follows}")
    if one.merged is not None:
        lines.append(f"it is part of incident {one.merged}")
    clocks = [
        [clock.id, clock.due, "done" if clock.done else "", clock.what] for clock in shown.clocks
    ]
    lines += ["", table(["clock", "due", "", "what"], clocks)]
    happened = [[line.entry, line.time[:19], line.who, words(line)] for line in shown.lines]
    lines += ["", table(["entry", "time", "who", "what"], happened)]
    if shown.tickets:
        lines += ["", _tickets(shown)]
    lines += ["", _alerts(shown.alerts)]
    emit(arguments, shown, "\n".join(lines))
    return 0


def _tickets(shown: Any) -> str:
    rows = [
        [
            one.tracker,
            one.id,
            "cannot be found" if one.lost else one.state or "",
            one.assignee or "nobody",
            one.url,
        ]
        for one in shown.tickets
    ]
    parts = [table(["tracker", "ticket", "", "assigned to", "where"], rows)]
    if shown.comments:
        said = [
            [
                one.entry,
                f"{one.tracker} {one.ticket}",
                one.account,
                one.created[:19],
                "(erased)" if one.is_erased else one.text,
            ]
            for one in shown.comments
        ]
        parts += ["", table(["entry", "ticket", "account", "time", "comment"], said)]
    if shown.older:
        parts.append(f"{shown.older} older comments are in the tickets")
    return "\n".join(parts)


def alerts(arguments: Any) -> int:
    """Alerts in a table."""
    found = open_for(arguments).incidents.alerts(everything=arguments.all)
    emit(arguments, found, _alerts(found) if found else "no alert stands")
    return 0


def _alerts(found: Any) -> str:
    rows = [
        [
            "stands" if one.alert.stands else "over",
            one.alert.severity,
            one.alert.name,
            " ".join(f"{key}={value}" for key, value in one.alert.labels.items()),
            one.alert.began[:19],
            one.heard,
            "" if one.incident is None else one.incident,
            one.alert.text,
        ]
        for one in found
    ]
    return table(["", "", "alert", "of", "began", "heard", "incident", "what"], rows)


def export(arguments: Any) -> int:
    """Write an incident for others."""
    incidents = open_for(arguments).incidents
    if arguments.draft:
        content = incidents.draft(arguments.id).encode()
    else:
        content = incidents.export(arguments.id, arguments.form)
    if arguments.out is None:
        sys.stdout.write(content.decode())
        return 0
    write_atomic(Path(arguments.out), content)
    emit(arguments, {"file": arguments.out, "bytes": len(content)}, f"written to {arguments.out}")
    return 0


VIEWS: dict[str, Callable[[Any], int]] = {
    "list": listing,
    "show": show,
    "alerts": alerts,
    "export": export,
}
