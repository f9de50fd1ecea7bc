"""`casemate watch report`."""

import argparse
from pathlib import Path
from typing import Any

from casemate.cli.commands import open_for


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the action."""
    parser.add_argument(
        "--out", default="watch.html", metavar="FILE", help="the page (default: watch.html)"
    )


def run(arguments: Any) -> int:
    """Write the page."""
    from casemate.cli.output import emit

    out = Path(arguments.out)
    open_for(arguments).watch.report(out)
    emit(arguments, {"page": str(out)}, f"{out}: open it in a browser")
    return 0
