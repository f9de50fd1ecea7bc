"""`casemate watch`: the judges, on plain files."""

import argparse
import importlib
from typing import Any

from casemate.cli.options import common

ACTIONS: dict[str, str] = {
    "drift": "is a table still like the reference: features, all together, answers",
    "estimate": "how good are a model's answers while no outcome is known",
    "detect": "what is unusual in a series of numbers, point by point",
    "forecast": "how a series goes on, and when it meets a limit",
}
"""Every action with its line in `casemate watch --help`; each has a module here."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, help_ in ACTIONS.items():
        action = actions.add_parser(name, help=help_, parents=[common(nested=True)])
        importlib.import_module(f"casemate.cli.watch.{name}").add_arguments(action)


def run(arguments: Any) -> int:
    """Do what the action says."""
    module = importlib.import_module(f"casemate.cli.watch.{arguments.action}")
    return int(module.run(arguments))
