"""`casemate doctor`."""

import argparse
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """No options beyond the common ones."""


def run(arguments: Any) -> int:
    """Say what this machine can enforce; exit code 1 when something that a run requires is
    missing.
    """
    from casemate.cli.output import emit, table
    from casemate.operations.doctor import examine

    checks = examine(arguments.config, arguments.overrides)
    rows = [[check.mark, check.subject, check.state, check.advice] for check in checks]
    emit(arguments, checks, table(["", "what", "state", "what to do"], rows))
    return 1 if any(check.mark == "FAIL" for check in checks) else 0
