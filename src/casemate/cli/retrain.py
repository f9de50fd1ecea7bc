"""`casemate retrain`."""

import argparse
from typing import TYPE_CHECKING, Any

from casemate.cli.commands import open_for
from casemate.cli.options import common

if TYPE_CHECKING:
    from casemate.operations.retraining.planning import Plan


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    def action(name: str, help_: str) -> argparse.ArgumentParser:
        return actions.add_parser(name, help=help_, parents=[common(nested=True)])

    action("plan", "whether it is due, with what, and what the budgets allow")
    action("list", "every retraining, and how it ended")
    run_ = action("run", "train again if it is due, or go on with what was interrupted")
    run_.add_argument("--demand", default="", metavar="REASON", help="do it though it is not due")
    demand = action("demand", "make one due, for whoever trains next")
    demand.add_argument("--reason", required=True, help="why, for the record")
    go_on = action("go-on", "say, as a person, that it may be tried again after refusals")
    go_on.add_argument("--reason", required=True, help="why, for the record")


def run(arguments: Any) -> int:
    """Do what the action says; exit code 1 when a model was refused."""
    does = {"plan": _plan, "list": _list, "run": _run, "demand": _demand, "go-on": _go_on}
    return does[arguments.action](arguments)


def _plan(arguments: Any) -> int:
    from casemate.cli.output import emit

    found = open_for(arguments).retrain.plan()
    emit(arguments, found, "\n".join(_lines(found)))
    return 0


def _lines(found: "Plan") -> list[str]:
    budgets = found.budgets
    epsilon = (
        ""
        if budgets.most_epsilon is None
        else f", epsilon {budgets.epsilon:g} of {budgets.most_epsilon:g}"
    )
    return [
        "due: " + ("; ".join(found.because) if found.due else "no"),
        *(f"blocked: {text}" for text in found.blocked),
        *([f"interrupted, to be gone on with: number {found.open}"] if found.open else []),
        (
            f"feedback: {found.teach} rows teach ({found.new} new), {found.hold} held back,"
            f" {found.quarantine} in quarantine"
        ),
        *(f"source that turns labels: {name}" for name in found.named),
        f"incumbent: {found.incumbent or 'none'}",
        (
            f"budgets: {budgets.runs} of {budgets.most_runs} runs, {budgets.hours:.2f} of"
            f" {budgets.most_hours:g} hours{epsilon}, {budgets.refused} refused in a row"
        ),
    ]


def _list(arguments: Any) -> int:
    from casemate.cli.output import emit, table

    found = open_for(arguments).retrain.list()
    rows = [
        [one.began, one.state, one.model, one.rows, one.principal, one.because, one.text]
        for one in found
    ]
    heads = ["began", "state", "model", "feedback", "by", "because", "how it ended"]
    emit(arguments, found, table(heads, rows) if rows else "nothing was trained again")
    return 0


def _run(arguments: Any) -> int:
    from casemate.cli.output import emit, printable

    found = open_for(arguments).retrain.run(demand=arguments.demand)
    emit(arguments, found, printable(found.text))
    return 1 if found.retraining is not None and found.retraining.state == "refused" else 0


def _demand(arguments: Any) -> int:
    from casemate.cli.output import emit

    open_for(arguments).retrain.demand(arguments.reason)
    emit(arguments, {"said": True}, "the next `casemate retrain run` trains, within its budgets")
    return 0


def _go_on(arguments: Any) -> int:
    from casemate.cli.output import emit

    open_for(arguments).retrain.go_on(arguments.reason)
    emit(arguments, {"said": True}, "retraining may be tried again")
    return 0
