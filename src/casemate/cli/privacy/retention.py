"""`casemate privacy retention`: how long what is kept, and what goes."""

import argparse
from typing import Any

from casemate.cli.options import common


def add_arguments(actions: Any) -> None:
    """The verbs of retention.

    Args:
        actions: where they are added.
    """
    retention: argparse.ArgumentParser = actions.add_parser(
        "retention", help="how long everything is kept, and what is over its term"
    )
    verbs = retention.add_subparsers(dest="what", metavar="WHAT", required=True)
    for name, help_ in (
        ("plan", "what would go today and why, what a hold keeps, what goes when"),
        ("apply", "remove what is over its term, and record what it was"),
    ):
        verbs.add_parser(name, help=help_, parents=[common(nested=True)])


def run(arguments: Any, project: Any) -> int:
    """Say what would go, or remove it."""
    from casemate.cli.output import emit

    terms = project.privacy.retention
    found = terms.apply() if arguments.what == "apply" else terms.plan()
    verb = "removed" if found.applied else "would go"
    lines = [f"{found.day}: {len(found.going)} {verb}, {len(found.staying)} kept all the same"]
    for one in found.going:
        lines.append(f"    {verb}: {_line(one)}")
        if one.needs:
            lines.append(
                f"        {', '.join(one.needs)} was trained on it and is released: its card and"
                " this digest stay, the rows do not"
            )
    lines += [f"    KEPT: {one.name}, due {one.due}: {one.kept}" for one in found.staying]
    lines += [
        f"    on {one.due}: {one.name} ({one.what}, since {one.since})" for one in found.later
    ]
    if found.without:
        lines.append(f"no term is named for {', '.join(found.without)}")
    if found.going and not found.applied:
        lines.append("casemate privacy retention apply removes it")
    emit(arguments, found, "\n".join(lines))
    return 0


def _line(one: Any) -> str:
    counted = f"{one.count} " + ("rows" if one.what.startswith("data") else "in all")
    return (
        f"{one.name}, {counted}, since {one.since}, due {one.due}: {one.reason}"
        f" (digest {one.digest[:16]})"
    )
