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
    from casemate.controls.audit.verify import verify_log
    from casemate.core.errors import VerificationError
    from casemate.project import open_project

    project = open_project(arguments.config, arguments.overrides)
    project.audit.publish()
    log = verify_log(project.state / "audit", (project.keys.folder / "public" / "log.vkey").read_text())
    if arguments.action == "verify":
        count = 0
        for index, leaf in project.audit.commitments():
            if index >= len(log.leaves) or leaf != log.leaves[index]:
                raise VerificationError(
                    f"the catalogue's body of entry {index} is not what the log committed to", hint="restore the catalogue from a backup"
                )
            count += 1
        if count != log.checkpoint.size:
            raise VerificationError(f"the catalogue holds {count} entries, the log {log.checkpoint.size}", hint="restore the catalogue from a backup")
        emit(
            arguments,
            {"entries": count, "origin": log.checkpoint.origin},
            f"OK: {count} entries of {log.checkpoint.origin}; tree, tiles, both signatures and every body hold",
        )
        return 0
    entries = list(project.audit.entries(max(0, log.checkpoint.size - arguments.last)))
    rows = [[e.index, e.time, e.principal, e.action, e.resource, e.outcome] for e in entries]
    emit(arguments, entries, table(["#", "time", "principal", "action", "resource", "outcome"], rows))
    return 0
