"""Emergencies and the access review."""

from typing import Any


def _break_glass(arguments: Any, project: Any) -> int:
    from casemate.cli.output import emit
    from casemate.core.clock import lifetime
    from casemate.operations.access.people import MAX_EMERGENCY

    made = project.access.break_glass(arguments.reason, lifetime(arguments.lifetime, MAX_EMERGENCY))
    told = [
        f"{message.key.rpartition('/')[2]}: {fault.message if fault else 'told'}"
        for message, fault in project.outbox.send()
    ]
    text = [
        (
            f"{made.name} has emergency access until {made.until:%Y-%m-%d %H:%M} UTC; review"
            f" {made.id} waits for somebody else"
        ),
        *told,
    ]
    emit(arguments, made, "\n".join(text))
    return 0


def _report(arguments: Any, project: Any) -> int:
    from casemate.cli.output import emit, table

    found, open_ = project.access.review(arguments.days)
    rows = [
        [
            r.principal,
            ", ".join(r.roles),
            (r.last_seen or "never")[:16],
            "stale" if r.stale else "",
            r.denied or "",
            _few(r.unused),
        ]
        for r in found
    ]
    text = [
        table(
            [
                "principal",
                "roles",
                "last seen",
                "",
                "denied",
                f"permitted, not used in {arguments.days} days",
            ],
            rows,
        )
    ]
    text += (
        [
            "",
            table(
                ["emergency access", "who", "since", "reason"],
                [[g.id, g.name, f"{g.since:%Y-%m-%d %H:%M}", g.reason] for g in open_],
            ),
        ]
        if open_
        else []
    )
    text += (
        ["", "Reviews that wait: casemate access review close ID --finding '...'"] if open_ else []
    )
    emit(arguments, {"principals": found, "waiting": open_}, "\n".join(text))
    return 1 if open_ else 0


def _few(names: tuple[str, ...]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _close(arguments: Any, project: Any) -> int:
    from casemate.cli.output import emit

    closed = project.access.close_review(arguments.id, arguments.finding)
    emit(arguments, closed, f"emergency access {closed.id} of {closed.name} is reviewed and over")
    return 0


def _findings(arguments: Any, project: Any) -> int:
    from casemate.cli.output import emit, table

    found = project.access.findings(closed=arguments.all)
    rows = [
        [
            f.id,
            f.principal,
            f.kind,
            f.risk,
            f"{f.time:%Y-%m-%d %H:%M}",
            f"{f.until:%Y-%m-%d %H:%M}",
            f.message,
            f.closed,
        ]
        for f in found
    ]
    heads = ["finding", "about", "kind", "risk", "since", "counts until", "what", "closed"]
    emit(arguments, found, table(heads, rows) if found else "nothing unusual is open")
    return 1 if any(f.closed is None for f in found) and not arguments.all else 0


def _close_finding(arguments: Any, project: Any) -> int:
    from casemate.cli.output import emit

    closed = project.access.close_finding(arguments.id, arguments.reason)
    emit(arguments, closed, f"the finding {closed.id} about {closed.principal} is closed")
    return 0


VERBS = {
    "finding list": _findings,
    "finding close": _close_finding,
    "break-glass": _break_glass,
    "review report": _report,
    "review close": _close,
}
