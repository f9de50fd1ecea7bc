"""`casemate privacy key`."""

import argparse
from pathlib import Path
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the action."""
    parser.add_argument("file", type=Path, help="a new file, readable by its owner only")


def run(arguments: Any) -> int:
    """Draw a key."""
    from casemate.cli.output import emit
    from casemate.stages.data.identifiers.secret import new_key

    new_key(arguments.file)
    text = (
        f"{arguments.file}: whoever has it can tell whose a pseudonym is; without it no later table"
        " joins. Keep it apart from the tables."
    )
    emit(arguments, {"key": str(arguments.file)}, text)
    return 0
