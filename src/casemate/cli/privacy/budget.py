"""`casemate privacy budget`."""

import argparse
from typing import Any

from casemate.cli.commands import open_for


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the action."""
    parser.add_argument("dataset", nargs="?", help="one data set (default: all)")


def run(arguments: Any) -> int:
    """Show what each data set's privacy budget is, and what was paid from it."""
    from casemate.cli.output import emit, table
    from casemate.controls.privacy.budget import ANSWERS

    project = open_for(arguments)
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
