"""`casemate federate card`, `found`, `approve`, `leave` and `list`: who takes part."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from casemate.cli.commands import open_for
from casemate.cli.federate import files
from casemate.cli.options import common

if TYPE_CHECKING:
    from casemate.controls.federation.cards import Charter
    from casemate.core.types import Schema

SHOWN = 50
"""Columns of a charter that are shown."""


def add_arguments(actions: Any) -> None:
    """Options of the actions."""
    card = actions.add_parser(
        "card",
        help="this project's signed card on standard output, its fingerprint beside it",
        parents=[common(nested=True)],
    )
    card.add_argument(
        "name", nargs="?", default="", help="as others call it (default: the project's name)"
    )
    found = actions.add_parser(
        "found",
        help="write a charter that this project coordinates, for sites to approve",
        parents=[common(nested=True)],
    )
    add = found.add_argument
    add("name", help="of the federation")
    add("--url", required=True, metavar="https://HOST:PORT", help="where this project will listen")
    add(
        "--site",
        type=Path,
        required=True,
        action="append",
        metavar="CARD",
        help="a site's card; once for each site",
    )
    add(
        "--least",
        type=int,
        metavar="N",
        help="sites of which a round must hear (default: more than two thirds)",
    )
    add(
        "--as",
        dest="called",
        default="",
        metavar="NAME",
        help="this project's name on its own card (default: the project's name)",
    )
    add("-o", dest="output", type=Path, metavar="FILE", help="(default: NAME.charter.json)")
    actions.add_parser(
        "code",
        help="the training code that jobs of this project bring: its digest, for sites to approve",
        parents=[common(nested=True)],
    )
    approve = actions.add_parser(
        "approve",
        help="take part: from now on the charter's coordinator may ask what [federate] allows",
        parents=[common(nested=True)],
    )
    approve.add_argument("charter", type=Path, help="the file of its coordinator")
    approve.add_argument(
        "--look", action="store_true", help="say what is in the charter, and approve nothing"
    )
    leave = actions.add_parser(
        "leave",
        help="take part no longer; what was answered stays on record",
        parents=[common(nested=True)],
    )
    leave.add_argument("name", help="of the federation")
    actions.add_parser("list", help="charters that count here", parents=[common(nested=True)])


def _card(arguments: Any) -> int:
    from casemate.controls.federation.cards import card_in

    content = open_for(arguments).federated.card(arguments.name)
    sys.stdout.write(content.decode() + "\n")
    made = card_in(content)
    sys.stderr.write(f"{made.name}: {made.fingerprint}\n")
    return 0


def _found(arguments: Any) -> int:
    from casemate.cli.output import emit
    from casemate.controls.federation.cards import card_in, charter_in
    from casemate.core.errors import VerificationError

    output = arguments.output or Path(f"{arguments.name}.charter.json")
    files.require_new(output)
    sites = [files.read(path) for path in arguments.site]
    try:
        content = open_for(arguments).federated.found(
            arguments.name,
            url=arguments.url,
            sites=sites,
            least=arguments.least,
            called=arguments.called,
        )
    except VerificationError:
        for path, card in zip(arguments.site, sites, strict=True):
            with files.naming(path):  # which of them it is
                card_in(card)
        raise
    files.write(output, content)
    charter = charter_in(content)
    text = [
        *_lines(charter),
        "",
        f"wrote {output}: it counts here at once, and each site approves it",
        f"    casemate federate approve {output.name}",
    ]
    emit(arguments, charter, "\n".join(text))
    return 0


def _code(arguments: Any) -> int:
    from casemate.cli.output import emit, table

    found = open_for(arguments).federated.code()
    rows = [[name, digest] for name, digest in found.files.items()]
    emit(arguments, found, f"{found.digest}\n\n{table(['file', 'SHA-256'], rows)}")
    return 0


def _approve(arguments: Any) -> int:
    from casemate.cli.output import emit
    from casemate.controls.federation.cards import charter_in

    content = files.read(arguments.charter)
    if arguments.look:
        with files.naming(arguments.charter):
            charter = charter_in(content)
        emit(arguments, charter, "\n".join([*_lines(charter), "", "nothing was approved"]))
        return 0
    with files.naming(arguments.charter):
        charter = open_for(arguments).federated.approve(content)
    text = [
        *_lines(charter),
        "",
        (
            f"approved: what [federate] allows is answered while casemate federate join"
            f" {charter.name} runs"
        ),
    ]
    emit(arguments, charter, "\n".join(text))
    return 0


def _lines(charter: "Charter") -> list[str]:
    """Who takes part, for people who compare fingerprints."""
    from casemate.cli.output import printable, table

    head = charter.coordinator
    rows: list[list[Any]] = [["coordinator", head.name, head.fingerprint]]
    rows += [[number, one.name, one.fingerprint] for number, one in enumerate(charter.sites)]
    columns = charter.columns
    target = f"{printable(columns.target)} from {len(columns.features)} columns"
    return [
        f"{charter.name}: to predict {target}, for {printable(charter.purpose)!r}",
        (
            f"{head.name} listens at {charter.url}; a round needs {charter.least} of"
            f" {len(charter.sites)} sites"
        ),
        f"charter {charter.digest}",
        "",
        table(["number", "owner", "fingerprint of its card"], rows),
        "",
        *_features(columns),
    ]


def _features(columns: "Schema") -> list[str]:
    """What each site's rows are asked for, within which limits or values."""
    from casemate.cli.output import table

    rows = [
        [
            one.name,
            one.type,
            ", ".join(one.categories or [])
            if one.type == "category"
            else f"{one.min:.15g} to {one.max:.15g}",
        ]
        for one in columns.features[:SHOWN]
    ]
    target = ["", ", ".join(columns.classes)] if columns.classes else ["a quantity", ""]
    rows.append([f"{columns.target} (predicted)", *target])
    more = len(columns.features) - SHOWN
    return [
        table(["column", "type", "limits or values"], rows),
        *([f"and {more} more: --format json"] if more > 0 else []),
    ]


def _leave(arguments: Any) -> int:
    from casemate.cli.output import emit

    open_for(arguments).federated.leave(arguments.name)
    said = f"left {arguments.name}: nothing is answered under its charter any more"
    emit(arguments, {"left": arguments.name}, said)
    return 0


def _list(arguments: Any) -> int:
    from casemate.cli.output import emit, table

    found = open_for(arguments).federated.charters()
    heads = ["name", "here", "coordinator", "sites", "url", "since", "by"]
    rows = [
        [
            one.name,
            " and ".join(one.roles) or "other keys",
            one.coordinator,
            f"{one.least} of {len(one.sites)}",
            one.url,
            one.since,
            one.principal,
        ]
        for one in found
    ]
    emit(arguments, found, table(heads, rows) if rows else "no charter was approved here")
    return 0


ACTIONS: dict[str, Callable[[Any], int]] = {
    "card": _card,
    "found": _found,
    "code": _code,
    "approve": _approve,
    "leave": _leave,
    "list": _list,
}
