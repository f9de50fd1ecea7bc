"""`casemate privacy`: what was spent of budgets; identifiers in plain files."""

import argparse
import importlib
from typing import Any

from casemate.cli.options import common

ACTIONS: dict[str, str] = {
    "budget": "who spent how much of which data set's privacy budget",
    "scan": "what in a table, an ONNX model, or a folder of them, tells who somebody is",
    "deidentify": "write a table without that, looked at once more before it is written",
    "key": "draw a key for pseudonyms and moved dates",
}
"""Every action with its line in `casemate privacy --help`; each has a module here."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, help_ in ACTIONS.items():
        action = actions.add_parser(name, help=help_, parents=[common(nested=True)])
        importlib.import_module(f"casemate.cli.privacy.{name}").add_arguments(action)


def run(arguments: Any) -> int:
    """Do what the action says."""
    module = importlib.import_module(f"casemate.cli.privacy.{arguments.action}")
    return int(module.run(arguments))
