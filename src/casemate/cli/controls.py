"""`casemate controls`."""

import argparse
from typing import Any

from casemate.cli.commands import open_for
from casemate.cli.options import common


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    list_ = actions.add_parser(
        "list",
        help="what is asked for, the checks that look at it, and when they last passed",
        parents=[common(nested=True)],
    )
    list_.add_argument(
        "framework", nargs="?", default="", help="only of this one, such as gdpr (default: all)"
    )
    check = actions.add_parser(
        "check",
        help="look at the facts now and record what came of it; exit code 1 when a check fails",
        parents=[common(nested=True)],
    )
    check.add_argument(
        "only", nargs="*", help="checks, or frameworks whose checks are meant (default: all)"
    )
    show = actions.add_parser(
        "show", help="one check, and what it is evidence for", parents=[common(nested=True)]
    )
    show.add_argument("check", help="its id, such as log.verifies")


def run(arguments: Any) -> int:
    """List, check or show."""
    from casemate.cli.output import emit, table

    controls = open_for(arguments).controls
    if arguments.action == "check":
        return _check(arguments, controls)
    if arguments.action == "show":
        shown = controls.show(arguments.check)
        emit(arguments, shown, _shown(shown))
        return 0
    found = controls.list(arguments.framework)
    rows = [
        [
            one.framework,
            one.control.section,
            one.control.title,
            "; ".join(f"{name}: {_past(past)}" for name, past in one.past.items()),
            one.control.outside,
            ", ".join(one.answers),
        ]
        for one in found
    ]
    heads = ["framework", "section", "asks that", "evidence", "not covered here", "who answers"]
    emit(arguments, found, table(heads, rows))
    return 0


def _past(past: Any) -> str:
    return "never checked" if past is None else f"{past.outcome} {past.time[:10]}"


def _shown(found: Any) -> str:
    lines = [
        f"{found.id}: {found.title}",
        f"    who answers: {found.answers}",
        f"    where it does not hold: {found.mend}",
    ]
    if found.past is None:
        lines.append(f"    never checked: casemate controls check {found.id}")
    else:
        past = found.past
        lines.append(f"    {past.outcome} on {past.time} (entry {past.entry} of the log)")
        lines.append(f"    last passed: {past.passed or 'never'}")
        lines.append(f"    SHA-256 of what it saw: {past.digest}")
    return "\n".join([*lines, "    evidence for:", *(f"        {one}" for one in found.controls)])


def _check(arguments: Any, controls: Any) -> int:
    """Exit code 1 when a check failed; what is inconclusive is named, and is no failure."""
    from casemate.cli.output import emit, table

    found = controls.check(arguments.only)
    rows = [[one.check, one.outcome, one.said] for one in found.facts]
    todo = [f"    {one.check} ({one.answers}): {one.mend}" for one in found.todo]
    counts = {
        outcome: sum(one.outcome == outcome for one in found.facts)
        for outcome in ("passed", "failed", "inconclusive", "not-applicable")
    }
    told = ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
    where = (
        "not recorded, because the log does not hold"
        if found.entry is None
        else f"entry {found.entry} of the log"
    )
    text = [table(["check", "outcome", "why"], rows), f"{told} ({where})"]
    if todo:
        text += ["what to do, and who answers for it:", *todo]
    if counts["inconclusive"]:
        text.append("inconclusive is not passed: the fact could not be had")
    emit(arguments, found, "\n".join(text))
    return 1 if found.failed else 0
