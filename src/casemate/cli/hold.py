"""`casemate hold`."""

import argparse
import functools
from typing import Any

from casemate.cli.commands import open_for
from casemate.cli.options import common

WHAT = ("releases", "answers", "probabilities", "teaching", "deletion", "erasure")
"""`respond.holds.WHAT`, which a light installation cannot import."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser("list", help="what is held", parents=[common(nested=True)])
    for name, help_ in (
        ("place", "keep something from happening until a person lifts the hold"),
        ("lift", "let it happen again"),
    ):
        one = actions.add_parser(name, help=help_, parents=[common(nested=True)])
        one.add_argument("what", choices=WHAT, metavar="WHAT", help=", ".join(WHAT))
        one.add_argument(
            "of",
            metavar="OF",
            help=(
                "a model as NAME or NAME@VERSION, a source of feedback, a run; of erasure the"
                " person: env:NAME, file:PATH, prompt, or the pseudonym of `hold list`"
            ),
        )
        one.add_argument("--reason", required=True, help="why, for the record")


def run(arguments: Any) -> int:
    """List, place or lift."""
    from casemate.cli.output import emit, table
    from casemate.core.secrets import read_secret

    holds = open_for(arguments).holds
    if arguments.action == "list":
        found = holds.list()
        rows = [[one.what, one.of, one.since, one.principal, one.reason] for one in found]
        heads = ["what", "of", "since", "by", "reason"]
        emit(arguments, found, table(heads, rows) if rows else "nothing is held")
        return 0
    said, of = f"{arguments.what} of {arguments.of}", arguments.of
    if arguments.what == "erasure" and (":" in of or of == "prompt"):
        of = functools.partial(read_secret, of)
    if arguments.action == "lift":
        holds.lift(arguments.what, of, arguments.reason)
        emit(arguments, {"lifted": True}, f"{said}: lifted")
        return 0
    is_new = holds.place(arguments.what, of, arguments.reason)
    emit(arguments, {"new": is_new}, f"{said}: held" if is_new else f"{said}: was held already")
    return 0
