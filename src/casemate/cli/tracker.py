"""`casemate tracker`."""

import argparse
from typing import TYPE_CHECKING, Any

from casemate.cli.commands import open_for
from casemate.cli.options import common

if TYPE_CHECKING:
    from casemate.operations.incidents.heard import TicketsRead


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser(
        "list", help="trackers of casemate.toml; nothing is sent", parents=[common(nested=True)]
    )
    actions.add_parser(
        "check",
        help="ask one whether the token works, the project exists and tickets may be made",
        parents=[common(nested=True)],
    ).add_argument("name", metavar="NAME", help="of [trackers.NAME]")
    actions.add_parser(
        "read",
        help="let what people did with tickets come to their incidents, as each look of watch does",
        parents=[common(nested=True)],
    )


def run(arguments: Any) -> int:
    """List, check one, or read tickets; exit code 1 when something is missing or kept one from
    being read.
    """
    from casemate.cli.output import emit, printable, table

    project = open_for(arguments)
    if arguments.action == "list":
        found = project.trackers.list()
        rows = [
            [one.name, one.kind, one.where, ", ".join(one.severities), "yes" if one.reads else "no"]
            for one in found
        ]
        headers = ["name", "kind", "where", "severities", "read"]
        emit(arguments, found, table(headers, rows) if found else "there are no trackers")
        return 0
    if arguments.action == "read":
        read = project.trackers.read()
        said = "\n".join(_read(one) for one in read)
        emit(arguments, read, said or "there is no tracker that can be read")
        return 1 if any(one.fault for one in read) else 0
    checked = project.trackers.check(arguments.name)
    lines = [f"missing: {printable(problem)}" for problem in checked.problems]
    if not lines:
        who = f" as {printable(checked.account)}" if checked.account else ""
        lines = [f"{arguments.name}: tickets can be made{who}"]
    emit(arguments, checked, "\n".join(lines))
    return 1 if checked.problems else 0


def _read(one: "TicketsRead") -> str:
    from casemate.cli.output import printable

    parts = [f"{one.tracker}: {one.tickets} tickets read, {one.comments} new comments"]
    if one.changed:
        numbers = ", ".join(map(str, one.changed))
        parts.append(f"incident{'s' if len(one.changed) > 1 else ''} {numbers} changed")
    if one.left:
        parts.append(f"{one.left} tickets not read")
    said = ", ".join(parts)
    return f"{said}\n  {printable(one.fault)}" if one.fault else said
