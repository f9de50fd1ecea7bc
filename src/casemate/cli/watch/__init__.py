"""`casemate watch`: look at a project again and again, or once; and the judges on plain files."""

import argparse
import importlib
from typing import Any

from casemate.cli.options import common

ACTIONS: dict[str, str] = {
    "once": "look once at what was answered since the last look, and tell what is wrong",
    "show": "what the last look came to: alarms, models, levels",
    "report": "the same as one HTML page, with each feature beside its baseline",
    "drift": "is a table still like the reference: features, all together, answers",
    "estimate": "how good are a model's answers while no outcome is known",
    "detect": "what is unusual in a series of numbers, point by point",
    "forecast": "how a series goes on, and when it meets a limit",
}
"""Every action with its line in `casemate watch --help`; each has a module here."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument(
        "--every", type=int, metavar="SECONDS", help="between two looks (default: [watch] every)"
    )
    actions = parser.add_subparsers(
        dest="action", metavar="ACTION", title="without an action: look again and again"
    )
    for name, help_ in ACTIONS.items():
        action = actions.add_parser(name, help=help_, parents=[common(nested=True)])
        importlib.import_module(f"casemate.cli.watch.{name}").add_arguments(action)


def run(arguments: Any) -> int:
    """Do what the action says."""
    action = arguments.action or "service"
    module = importlib.import_module(f"casemate.cli.watch.{action}")
    return int(module.run(arguments))
