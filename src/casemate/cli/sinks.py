"""`casemate sinks`."""

import argparse
from typing import Any

from casemate.cli.commands import open_for
from casemate.cli.options import common


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser(
        "send",
        help="send what waits now, also to sinks that failed a moment ago",
        parents=[common(nested=True)],
    )
    actions.add_parser(
        "status",
        help="what waits for each sink, since when, what was refused or dropped, the last error",
        parents=[common(nested=True)],
    )
    check = actions.add_parser(
        "check", help="send a test line to each sink, at once", parents=[common(nested=True)]
    )
    check.add_argument("sink", nargs="*", help="names (default: all)")


def run(arguments: Any) -> int:
    """Send, look or try; exit code 5 when a sink did not take what it was sent."""
    from casemate.cli.output import emit, printable, table

    sinks = open_for(arguments).sinks
    if arguments.action == "send":
        done = sinks.send()
        lines = [
            f"{one.sink}: {one.accepted} accepted, {one.refused} refused, {one.diverted} put aside"
            + (f"; {printable(one.error)}" if one.error else "")
            for one in done
        ]
        emit(arguments, done, "\n".join(lines))
        return 5 if any(one.error for one in done) else 0
    if arguments.action == "check":
        tried = sinks.check(arguments.sink or None)
        lines = [f"{one.sink}: {printable(one.error) or 'taken'}" for one in tried]
        emit(arguments, tried, "\n".join(lines))
        return 5 if any(one.error for one in tried) else 0
    found = sinks.status()
    heads = ["sink", "waiting", "since", "accepted", "refused", "aside", "dropped", "next try"]
    rows = [
        [
            one.sink,
            one.waiting,
            one.oldest,
            one.accepted,
            one.refused,
            one.diverted,
            one.dropped,
            one.due,
            one.error,
        ]
        for one in found
    ]
    text = table([*heads, "last error"], rows) if found else "no sink is configured"
    emit(arguments, found, text)
    return 0
