"""`casemate federate attest`: what a model tells of a site's rows, as the site signs it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from casemate.cli.commands import open_for
from casemate.cli.federate import files
from casemate.cli.options import common


def add_arguments(actions: Any) -> None:
    """Options of the action."""
    attest = actions.add_parser(
        "attest",
        help=(
            "measure what a model tells of this site's rows, and sign the figures for the"
            " coordinator's gates"
        ),
        parents=[common(nested=True)],
    )
    add = attest.add_argument
    add("name", help="of the federation")
    add(
        "--model",
        type=Path,
        required=True,
        metavar="FILE",
        help="what came of the job, with the coordinator's record beside it",
    )
    add("-o", dest="output", type=Path, metavar="FILE", help="(default: NAME.statement.json)")


def _attest(arguments: Any) -> int:
    from casemate.cli.output import emit, table
    from casemate.core.progress import Lines
    from casemate.core.types import number_text

    output = arguments.output or Path(f"{arguments.name}.statement.json")
    files.require_new(output)
    lines = Lines(quiet=arguments.format == "json")
    try:
        found = open_for(arguments).federated.attest(
            arguments.name, arguments.model, reporter=lines
        )
    finally:
        lines.close()
    files.write(output, found.signed)
    rows = [
        [
            name,
            leak.attack,
            number_text(leak.figure.value),
            f"{number_text(leak.figure.low)} to {number_text(leak.figure.high)}",
            leak.rows,
        ]
        for name, leak in found.statement.leaks.items()
    ]
    text = [
        f"what model {found.statement.model[:12]} tells of the rows that this site gave:",
        table(["figure", "attack", "value", "95 %", "rows a side"], rows),
        "",
        f"wrote {output}, which says that and no more: send it to the coordinator, who lays it into",
        f"federated/{arguments.name}.statements/ beside the model",
    ]
    emit(arguments, found.statement, "\n".join(text))
    return 0


ACTIONS: dict[str, Callable[[Any], int]] = {"attest": _attest}
