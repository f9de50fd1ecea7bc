"""`casemate tracker`."""

import argparse
from typing import Any

from casemate.cli.commands import open_for
from casemate.cli.options import common


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


def run(arguments: Any) -> int:
    """List, or check one; exit code 1 when something is missing."""
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
    checked = project.trackers.check(arguments.name)
    lines = [f"missing: {printable(problem)}" for problem in checked.problems]
    if not lines:
        who = f" as {printable(checked.account)}" if checked.account else ""
        lines = [f"{arguments.name}: tickets can be made{who}"]
    emit(arguments, checked, "\n".join(lines))
    return 1 if checked.problems else 0
