"""`casemate gc`."""

import argparse
import sys
from typing import Any

from casemate.cli.commands import open_for


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument(
        "--apply", action="store_true", help="remove it; without this nothing is changed"
    )


def run(arguments: Any) -> int:
    """Say what would go, or remove it."""
    from casemate.cli.output import emit
    from casemate.operations.retention import collect

    project = open_for(arguments)
    live = sys.stderr.isatty()
    plan = collect(
        project,
        apply=arguments.apply,
        progress=lambda name: print(f"looking at {name}", file=sys.stderr) if live else None,
    )
    verb = "removed" if plan.applied else "would go"
    counts = (
        f"{len(plan.runs)} runs, {len(plan.models)} refused models, {len(plan.datasets)} data sets,"
        f" {plan.objects} objects"
    )
    text = [
        f"{verb}: {counts}, {len(plan.folders)} folders without a run; {plan.size / 1e6:.1f} MB"
    ]
    text += [f"    {name}" for name in [*plan.runs, *plan.models, *plan.datasets, *plan.folders]]
    text += [f"    held: {name}" for name in plan.held]
    if not plan.applied and not plan.empty:
        text.append("casemate gc --apply removes it")
    emit(arguments, plan, "\n".join(text))
    return 0
