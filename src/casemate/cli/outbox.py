"""`casemate outbox`."""

import argparse
from typing import Any

from casemate.cli.commands import open_for
from casemate.cli.options import common


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser(
        "list",
        help="what is to leave, what has left, what could not",
        parents=[common(nested=True)],
    )
    listing.add_argument("--state", choices=["pending", "sent", "dead"], help="only these")
    actions.add_parser(
        "show", help="one message with its content", parents=[common(nested=True)]
    ).add_argument("id", type=int, help="its number")
    actions.add_parser("send", help="deliver what is due now", parents=[common(nested=True)])
    retry = actions.add_parser(
        "retry",
        help="give dead messages new attempts and deliver them",
        parents=[common(nested=True)],
    )
    retry.add_argument("id", type=int, nargs="*", help="numbers (default: every dead one)")


def run(arguments: Any) -> int:
    """List, show, send or retry; exit code 5 when something could not be delivered."""
    from casemate.cli.output import emit, table

    project = open_for(arguments)
    if arguments.action == "list":
        found = project.messages.list(arguments.state)
        rows = [
            [m["id"], m["state"], m["target"], m["event"], m["attempts"], m["created"], m["error"]]
            for m in found
        ]
        emit(
            arguments,
            found,
            (
                table(["#", "state", "to", "event", "attempts", "queued", "last error"], rows)
                if found
                else "the outbox is empty"
            ),
        )
        return 0
    if arguments.action == "show":
        message = project.messages.show(arguments.id)
        emit(arguments, message, message.to_json().decode())
        return 0
    done = project.messages.deliver(retry=arguments.id if arguments.action == "retry" else None)
    value = [
        {"key": message.key, "error": None if fault is None else fault.message}
        for message, fault in done
    ]
    emit(
        arguments,
        value,
        "\n".join(f"{v['key']}: {v['error'] or 'delivered'}" for v in value) or "nothing is due",
    )
    return 5 if any(fault for _, fault in done) else 0
