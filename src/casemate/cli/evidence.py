"""`casemate evidence FOLDER`."""

import argparse
from pathlib import Path
from typing import Any

from casemate.cli.commands import open_for


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("folder", type=Path, help="new folder for the pack")


def run(arguments: Any) -> int:
    """Write a pack; what failed is in it, and is told."""
    from casemate.cli.output import emit

    found = open_for(arguments).controls.pack(arguments.folder)
    counts = (
        f"    {found.passed} checks passed, {found.failed} failed, {found.inconclusive}"
        f" inconclusive, {found.not_applicable} not applicable (entry {found.entry} of the log)"
    )
    text = [
        f"wrote {arguments.folder}: {found.files} files, {len(found.models)} models",
        counts,
        f"    read {arguments.folder / 'index.html'}; others check it with your public keys:",
        f"    casemate verify {arguments.folder} --key FOLDER_WITH_KEYS",
    ]
    emit(arguments, found, "\n".join(text))
    return 0
