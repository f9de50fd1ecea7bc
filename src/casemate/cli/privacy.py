"""`casemate privacy`."""

import argparse
from typing import Any

from casemate.cli import requests, rights
from casemate.cli.commands import open_for
from casemate.cli.options import common


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    budget = actions.add_parser(
        "budget",
        help="who spent how much of which data set's privacy budget",
        parents=[common(nested=True)],
    )
    budget.add_argument("dataset", nargs="?", help="one data set (default: all)")
    rights.add_arguments(actions)
    requests.add_arguments(actions)


def run(arguments: Any) -> int:
    """Show what each data set's privacy budget is, and what was paid from it; or what concerns
    people.
    """
    from casemate.cli.output import emit, table
    from casemate.controls.privacy.budget import ANSWERS

    project = open_for(arguments)
    if arguments.action != "budget":
        face = requests.run if arguments.action == "request" else rights.run
        return face(arguments, project)
    limit = project.config.privacy
    spendings, sums = project.privacy.budget(arguments.dataset)
    rows = [
        [
            one.time[:19],
            one.dataset,
            one.purpose,
            f"{one.epsilon:g}",
            f"{one.delta:.1g}",
            one.what,
            one.run,
            one.principal,
        ]
        for one in spendings
    ]
    text = (
        [table(["time", "data set", "purpose", "epsilon", "delta", "for", "run", "who"], rows), ""]
        if rows
        else ["nothing was spent"]
    )
    answers = project.config.serve.aggregates.budget
    text += [
        (
            f"{one.dataset} for {one.purpose}: epsilon {one.epsilon:.4g} of {answers:g}"
            if one.dataset.startswith(ANSWERS)
            else (
                f"{one.dataset} for {one.purpose!r}: epsilon {one.epsilon:.4g} of {limit.budget:g}"
                f" at delta {limit.budget_delta:g}"
            )
        )
        for one in sums
    ]
    emit(arguments, {"spendings": spendings, "totals": sums}, "\n".join(text))
    return 0
