"""`casemate audit`."""

import argparse
from typing import Any

from casemate.cli.options import common


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    show = actions.add_parser("show", help="the entries, oldest first", parents=[common(nested=True)])
    show.add_argument("--last", type=int, default=50, help="how many (default: 50)")
    actions.add_parser("verify", help="check tree, tiles, signatures and every entry's body", parents=[common(nested=True)])


def run(arguments: Any) -> int:
    """Show or verify the log."""
    from casemate.cli.output import emit, table
    from casemate.project import open_project

    project = open_project(arguments.config, arguments.overrides)
    log = project.audit.check()
    if arguments.action == "verify":
        found = {"entries": log.checkpoint.size, "origin": log.checkpoint.origin}
        emit(arguments, found, f"OK: {found['entries']} entries of {found['origin']}; tree, tiles, both signatures and every body hold")
        return 0
    entries = list(project.audit.entries(max(0, log.checkpoint.size - arguments.last)))
    rows = [[e.index, e.time, e.principal, e.action, e.resource, e.outcome] for e in entries]
    emit(arguments, entries, table(["#", "time", "principal", "action", "resource", "outcome"], rows))
    return 0
