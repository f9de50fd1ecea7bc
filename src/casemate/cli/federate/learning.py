"""`casemate federate lead` and `join`: owners learn together."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from casemate.cli.commands import open_for
from casemate.cli.options import common

if TYPE_CHECKING:
    from casemate.operations.federated.joining import Joined


def add_arguments(actions: Any) -> None:
    """Options of the actions."""
    join = actions.add_parser(
        "join",
        help="answer what the coordinator asks, as [federate] allows, until its job has ended",
        parents=[common(nested=True)],
    )
    join.add_argument("name", help="of the federation")
    join.add_argument(
        "--on",
        action="store_true",
        help="take part in the next job too, until somebody stops this",
    )


def _join(arguments: Any) -> int:
    from casemate.cli.output import emit
    from casemate.core.progress import Lines

    lines = Lines(quiet=arguments.format == "json")
    try:
        found = open_for(arguments).federated.join(
            arguments.name, once=not arguments.on, reporter=lines
        )
    finally:
        lines.close()
    emit(arguments, found, _joined(found))
    return 1 if found.differs else 0


def _joined(found: "Joined") -> str:
    from casemate.cli.output import printable

    if not found.job:
        return f"{found.name}: there was no job: {printable(found.why)}"
    lines = [
        (
            f"{found.name}: {len(found.rounds)} rounds of job {found.job[:12]} are on record here,"
            f" answered as site {found.site}"
        )
    ]
    if found.why:
        lines.append(f"nothing came of the job: {printable(found.why)}")
    lines += [
        f"round {number}: the answer was not taken: {printable(why)}"
        for number, why in sorted(found.not_taken.items())
    ]
    lines += [
        f"DIFFERENT: round {number}: the coordinator's record says another answer than was given"
        for number in found.differs
    ]
    return "\n".join([*lines, f"what was asked: casemate federate rounds {found.name}"])


ACTIONS: dict[str, Callable[[Any], int]] = {"join": _join}
