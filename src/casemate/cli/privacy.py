"""`casemate privacy`."""

import argparse
from typing import Any

from casemate.cli.doors import enter
from casemate.cli.options import common


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    budget = actions.add_parser("budget", help="who spent how much of which data set's privacy budget", parents=[common(nested=True)])
    budget.add_argument("dataset", nargs="?", help="one data set (default: all)")


def run(arguments: Any) -> int:
    """Show the ledger."""
    from casemate.cli.output import emit, table
    from casemate.controls.privacy.budget import ANSWERS, total

    project = enter(arguments)
    limit = project.config.privacy
    spendings = project.ledger.of(arguments.dataset)
    kinds = sorted({(one.dataset, one.purpose) for one in spendings})
    sums = {kind: total([one for one in spendings if (one.dataset, one.purpose) == kind], limit.budget_delta) for kind in kinds}
    rows = [[one.time[:19], one.dataset, one.purpose, f"{one.epsilon:g}", f"{one.delta:.1g}", one.what, one.run, one.principal] for one in spendings]
    text = [table(["time", "data set", "purpose", "epsilon", "delta", "for", "run", "who"], rows), ""] if rows else ["nothing was spent"]
    answers = project.config.serve.aggregates.budget
    text += [
        f"{dataset} for {purpose}: epsilon {spent:.4g} of {answers:g}"
        if dataset.startswith(ANSWERS)
        else f"{dataset} for {purpose!r}: epsilon {spent:.4g} of {limit.budget:g} at delta {limit.budget_delta:g}"
        for (dataset, purpose), spent in sums.items()
    ]
    told = {"spendings": spendings, "totals": [{"dataset": kind[0], "purpose": kind[1], "epsilon": spent} for kind, spent in sums.items()]}
    emit(arguments, told, "\n".join(text))
    return 0
