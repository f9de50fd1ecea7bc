"""`casemate verify PATH`."""

import argparse
from pathlib import Path
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument(
        "path",
        type=Path,
        help=(
            "an exported model, a run's folder, an evidence pack, a sealed table, an audit log, a"
            " proof of one entry, or a certificate of erasure"
        ),
    )
    parser.add_argument(
        "--checkpoint",
        type=Path,
        action="append",
        help="of a log: a checkpoint that you kept, which must be a former state of it",
    )
    parser.add_argument(
        "--proof",
        type=Path,
        help="the log's proof of when it was signed (default: signature.proof beside it)",
    )
    parser.add_argument(
        "--key",
        type=Path,
        action="append",
        help="a public key file, or a folder with them (default: your own projects' keys)",
    )


def run(arguments: Any) -> int:
    """Verify offline; exit code 4 when it does not hold."""
    from casemate.cli.output import emit
    from casemate.verification import verify_path

    result = verify_path(
        arguments.path, arguments.key or [], arguments.checkpoint or [], arguments.proof
    )
    emit(
        arguments,
        {"kind": result.kind, "summary": result.summary, "signer": result.signer},
        f"OK: {result.kind} {result.summary}\n    {result.signer}",
    )
    return 0
