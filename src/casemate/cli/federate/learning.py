"""`casemate federate lead` and `join`: owners learn together."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from casemate.cli.commands import open_for
from casemate.cli.federate.design import design, designed
from casemate.cli.options import common

if TYPE_CHECKING:
    from casemate.operations.federated.joining import Joined
    from casemate.operations.federated.leading import Led


def add_arguments(actions: Any) -> None:
    """Options of the actions."""
    lead = actions.add_parser(
        "lead",
        help=(
            "have sites learn together: listen at the charter's URL until the job has ended; killed,"
            " the same command goes on"
        ),
        parents=[common(nested=True)],
    )
    add = lead.add_argument
    add("name", help="of the federation")
    add(
        "--listen",
        default="",
        metavar="HOST:PORT",
        help=(
            "where something else stands at the charter's URL; unix:SOCKET where another transport"
            " brings what sites say"
        ),
    )
    add(
        "--wait",
        type=float,
        default=600.0,
        metavar="SECONDS",
        help="for sites, to come and to answer each step (default: 600)",
    )
    add("--fresh", action="store_true", help="leave a job that has not ended, and begin a new one")
    design(lead, "sites that --combine reckons with (default: 0)")
    add(
        "--masked",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="see sums of sites only, or each site's answers, where sites allow it (default: sums)",
    )
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
    join.add_argument(
        "--through",
        type=Path,
        metavar="SOCKET",
        help="have another transport, such as Flower's, fetch and bring what is said, by this socket",
    )


def _lead(arguments: Any) -> int:
    from casemate.cli.federate.spoken import Spoken
    from casemate.cli.output import emit

    lines = Spoken(quiet=arguments.format == "json")
    try:
        found = open_for(arguments).federated.lead(
            arguments.name,
            listen=arguments.listen,
            wait=arguments.wait,
            fresh=arguments.fresh,
            masked=arguments.masked,
            reporter=lines,
            **designed(arguments),
        )
    finally:
        lines.close()
    emit(arguments, found, _led(found))
    return 0


def _led(found: "Led") -> str:
    from casemate.cli.output import printable

    lines = [
        (
            f"{found.name}: job {found.job[:12]} by {found.rule} in {found.rounds} rounds, learnt of"
            f" {', '.join(found.sites)}"
        )
    ]
    lines += [
        f"round {number}: the answer of {site} was not taken: {printable(why)}"
        for number, refused in sorted(found.refused.items())
        for site, why in refused.items()
    ]
    lines += [
        f"{name}: suspect in {count} of {found.rounds} rounds: its answers undid what the others"
        " did, or were long beside theirs"
        for name, count in found.suspects.items()
        if count
    ]
    return "\n".join(
        [
            *lines,
            f"wrote {found.model} and {found.record}",
            f"measure, sign and serve it: casemate run -s train.model={found.model}",
        ]
    )


def _join(arguments: Any) -> int:
    from casemate.cli.federate.spoken import Spoken
    from casemate.cli.output import emit

    lines = Spoken(quiet=arguments.format == "json")
    try:
        found = open_for(arguments).federated.join(
            arguments.name, once=not arguments.on, through=arguments.through, reporter=lines
        )
    finally:
        lines.close()
    emit(arguments, found, _joined(found))
    return 1 if found.differs or found.why else 0


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


ACTIONS: dict[str, Callable[[Any], int]] = {"lead": _lead, "join": _join}
