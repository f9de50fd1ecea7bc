"""`casemate privacy unseal`."""

import argparse
from pathlib import Path
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the action."""
    parser.add_argument("file", type=Path, help="a copy that was sealed to you")
    parser.add_argument("folder", type=Path, help="a new one for what is in it")
    parser.add_argument(
        "--identity",
        required=True,
        metavar="REF",
        help="your private key, as `backup keygen` wrote it: env:NAME or file:PATH",
    )


def run(arguments: Any) -> int:
    """Open a sealed copy; it is not there unless all of it holds."""
    from casemate.cli.output import emit
    from casemate.controls.keys.sealedfile import Opener
    from casemate.core.secrets import read_secret
    from casemate.operations.rights.copies import open_copy

    opener = Opener(identities=[read_secret(arguments.identity)])
    names = open_copy(arguments.file, arguments.folder, opener)
    text = f"{len(names)} files in {arguments.folder}: begin with about.html"
    emit(arguments, {"files": names}, text)
    return 0
