"""`casemate privacy`: what was spent of budgets; what concerns people in the data; identifiers in
plain files.
"""

import argparse
import importlib
from typing import Any

from casemate.cli.commands import open_for
from casemate.cli.options import common
from casemate.cli.privacy import erasing, records, requests, retention, rights

ACTIONS: dict[str, str] = {
    "budget": "who spent how much of which data set's privacy budget",
    "scan": "what in a table, an ONNX model, or a folder of them, tells who somebody is",
    "deidentify": "write a table without that, looked at once more before it is written",
    "unseal": "open a copy of somebody's data that was sealed to you; needs no project",
    "key": "draw a key for pseudonyms and moved dates",
}
"""Every action with its line in `casemate privacy --help`; each has a module here."""
RIGHTS = {
    "erase": erasing,
    "alias": erasing,
    "affected": rights,
    "consent": rights,
    "record": records,
    "request": requests,
    "retention": retention,
}
"""Actions about people of the project's own data."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, help_ in ACTIONS.items():
        action = actions.add_parser(name, help=help_, parents=[common(nested=True)])
        importlib.import_module(f"casemate.cli.privacy.{name}").add_arguments(action)
    rights.add_arguments(actions)
    requests.add_arguments(actions)
    erasing.add_arguments(actions)
    records.add_arguments(actions)
    retention.add_arguments(actions)


def run(arguments: Any) -> int:
    """Do what the action says."""
    if arguments.action in RIGHTS:
        return int(RIGHTS[arguments.action].run(arguments, open_for(arguments)))
    module = importlib.import_module(f"casemate.cli.privacy.{arguments.action}")
    return int(module.run(arguments))
