"""`casemate federate rounds` and `audit`: what was asked and answered, and whether all tell the same."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from casemate.cli.commands import open_for
from casemate.cli.federate import files
from casemate.cli.options import common
from casemate.controls.federation import COORDINATOR

if TYPE_CHECKING:
    from casemate.operations.federated.recording import Asked


def add_arguments(actions: Any) -> None:
    """Options of the actions."""
    rounds = actions.add_parser(
        "rounds", help="what was asked and answered here", parents=[common(nested=True)]
    )
    add = rounds.add_argument
    add("name", help="of the federation, or the digest of a charter")
    add(
        "--export",
        type=Path,
        metavar="FILE",
        help="write this project's signed record of a job, for an auditor",
    )
    add("--job", default="", metavar="DIGEST", help="with --export: of which (default: the newest)")
    add(
        "--as-site",
        action="store_true",
        help="with --export: what it answered, where it is the coordinator too",
    )
    audit = actions.add_parser(
        "audit",
        help=(
            "whether records of several parties tell one story; no project is needed; exit code 1:"
            " they differ"
        ),
        parents=[common(nested=True)],
    )
    audit.add_argument("charter", type=Path, help="under which they came about")
    audit.add_argument(
        "records",
        type=Path,
        nargs="+",
        metavar="RECORD",
        help="of `rounds --export`: the coordinator's, and those of sites",
    )


def _rounds(arguments: Any) -> int:
    from casemate.cli.output import emit

    federated = open_for(arguments).federated
    if arguments.export is None:
        found = federated.rounds(arguments.name)
        emit(arguments, found, _text(found))
        return 0
    files.require_new(arguments.export)
    content = federated.export(arguments.name, arguments.job, as_site=arguments.as_site)
    files.write(arguments.export, content)
    emit(arguments, {"file": str(arguments.export)}, f"wrote {arguments.export}")
    return 0


def _text(found: "list[Asked]") -> str:
    from casemate.cli.output import printable, table

    rows = [
        [
            one.job[:12],
            one.round.number,
            one.round.what,
            "gathered" if one.site == COORDINATOR else f"answered as {one.site}",
            _sites(one),
            one.round.question[:12],
            one.time,
        ]
        for one in found
    ]
    heads = ["job", "round", "asked for", "here", "answers", "question", "time"]
    lines = [table(heads, rows)] if rows else ["nothing was asked and answered"]
    for one in found:
        lines += [
            f"round {one.round.number}: the answer of site {site} was not taken: {printable(why)}"
            for site, why in sorted(one.round.refused.items())
        ]
    return "\n".join(lines)


def _sites(one: "Asked") -> str:
    """Of a coordinator which sites it heard; of a site what it answered."""
    if one.site == COORDINATOR:
        return ", ".join(map(str, sorted(one.round.answers)))
    return one.round.answers.get(one.site, "")[:12]


def _audit(arguments: Any) -> int:
    from casemate.cli.output import emit
    from casemate.controls.federation.cards import charter_in
    from casemate.controls.federation.comparing import compare, record_in

    with files.naming(arguments.charter):
        charter = charter_in(files.read(arguments.charter))
    records = []
    for path in arguments.records:
        with files.naming(path):
            records.append(record_in(files.read(path), charter))
    found = compare(charter, records)
    lines = [
        (
            f"{found.rounds} rounds of job {found.job[:12]}: {found.answers} answers are on record at"
            " their site as at the coordinator"
        ),
        f"compared: {', '.join(found.parties)}",
    ]
    if found.absent:
        lines.append(f"not compared, for their record is not there: {', '.join(found.absent)}")
    lines += [
        f"DIFFERENT: round {one.round}: {one.site or charter.coordinator.name} {one.what}"
        for one in found.differences
    ]
    emit(arguments, found, "\n".join(lines))
    return 1 if found.differences else 0


ACTIONS: dict[str, Callable[[Any], int]] = {"rounds": _rounds, "audit": _audit}
