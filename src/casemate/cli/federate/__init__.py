"""`casemate federate`."""

import argparse
import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

from casemate.cli.federate import attest, learning, owners, records, simulate


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    simulate.add_arguments(actions)
    owners.add_arguments(actions)
    learning.add_arguments(actions)
    attest.add_arguments(actions)
    records.add_arguments(actions)


def run(arguments: Any) -> int:
    """Do what was asked for."""
    with _stoppable():
        if arguments.action == "simulate":
            return simulate.run(arguments)
        for part in (owners, learning, attest, records):
            if arguments.action in part.ACTIONS:
                return int(part.ACTIONS[arguments.action](arguments))
        raise AssertionError(arguments.action)


@contextlib.contextmanager
def _stoppable() -> Iterator[None]:
    """SIGTERM, which a service manager sends, ends the block as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
