"""`casemate verify PATH`."""

import argparse
from pathlib import Path
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("path", type=Path, help="an exported model, a run's folder, a sealed table, or an audit log")
    parser.add_argument("--key", type=Path, action="append", help="a public key file, or a folder with them (default: your own projects' keys)")


def run(arguments: Any) -> int:
    """Verify offline; exit code 4 when it does not hold."""
    from casemate.cli.output import emit
    from casemate.verify import verify_path

    result = verify_path(arguments.path, arguments.key)
    emit(
        arguments,
        {"kind": result.kind, "summary": result.summary, "signer": result.signer},
        f"OK: {result.kind} {result.summary}\n    {result.signer}",
    )
    return 0
