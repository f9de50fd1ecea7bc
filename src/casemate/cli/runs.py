"""`casemate runs`."""

import argparse
from typing import TYPE_CHECKING, Any

from casemate.cli.commands import open_for
from casemate.cli.options import common

if TYPE_CHECKING:
    from casemate.core.steps import RunRow


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    actions.add_parser(
        "list", help="every run, newest first (the default)", parents=[common(nested=True)]
    )
    actions.add_parser(
        "show", help="one run: stages, attempts, where it goes on", parents=[common(nested=True)]
    ).add_argument("id", help="the run's id")
    actions.add_parser(
        "cancel", help="end an unfinished run for good", parents=[common(nested=True)]
    ).add_argument("id", help="the run's id")
    export = actions.add_parser(
        "export",
        help="write evidence, gates as JUnit XML and SARIF, and the model card, for a build server",
        parents=[common(nested=True)],
    )
    export.add_argument("folder", help="a new one")
    export.add_argument("id", nargs="?", help="the run's id")
    export.add_argument("--key", help="the idempotency key that it was started with, instead")


def run(arguments: Any) -> int:
    """List, show, cancel or export runs; exit code 1 when an exported one has signed no model."""
    import msgspec

    from casemate.cli.output import emit, table
    from casemate.core.errors import AccessDenied

    project = open_for(arguments)
    if arguments.action == "export":
        return _export(arguments, project)
    if arguments.action == "cancel":
        project.runs.cancel(arguments.id)
        emit(
            arguments,
            {"cancelled": arguments.id},
            f"cancelled {arguments.id}; a process that works on it stops within seconds",
        )
        return 0
    if arguments.action == "show":
        one = project.runs.show(arguments.id)
        try:
            words, withheld = project.runs.words(arguments.id), ""
        except AccessDenied as error:
            words, withheld = None, f"what the code said is withheld: {error.message}"
        # a dictionary, whose keys are written in the order of the alphabet, as scripts know it
        emit(
            arguments,
            msgspec.to_builtins(one) | {"words": words},
            "\n".join([_one(one), withheld, *_said(words)]).rstrip(),
        )
        return 0
    found = project.runs.list()
    rows = [
        [
            one.id,
            one.state,
            ", ".join(f"{name} {seconds:.1f} s" for name, seconds in one.steps.items()),
            one.principal,
            one.error,
        ]
        for one in found
    ]
    text = (
        table(["run", "state", "finished stages", "by", "error"], rows)
        if found
        else "no run yet: casemate run"
    )
    emit(arguments, msgspec.to_builtins(found), text)
    return 0


def _export(arguments: Any, project: Any) -> int:
    from pathlib import Path

    from casemate.cli.output import emit, printable

    done = project.runs.export(Path(arguments.folder), arguments.id, arguments.key)
    if done.model:
        said = [f"passed: {done.model} is signed"]
    else:
        said = [(done.outcome or "no verdict").upper(), *map(printable, done.reasons)]
    emit(arguments, done, "\n".join([f"run {done.run}, written to {done.folder}", *said]))
    return 0 if done.model else 1


def _said(words: Any) -> list[str]:
    """What the training code said, without control characters."""
    from casemate.cli.output import printable

    if words is None:
        return []
    lines = [
        "",
        "what the training code said:",
        words.error,
        words.estimator,
        *words.findings,
        words.export_problem,
    ]
    return [printable(line) for text in lines for line in text.split("\n")]


def _one(run: "RunRow") -> str:
    from casemate.cli.output import table

    lines = [f"{run.id}  {run.state}", f"by {run.principal}, started {run.started}"]
    lines += [
        f"{name} {value}"
        for name in ("ended", "key", "where", "error")
        if (value := getattr(run, name))
    ]
    if run.state == "interrupted":
        lines.append("`casemate run` goes on behind the last finished stage")
    steps = [
        [
            one.name,
            f"{one.seconds:.2f} s",
            one.attempts,
            one.origin or "",
            one.finished,
            one.digest[:12],
        ]
        for one in run.finished
    ]
    return "\n".join(
        [
            *lines,
            "",
            table(["stage", "took", "attempts", "taken over from", "finished", "record"], steps),
        ]
    )
