"""`casemate keys certificate`."""

import argparse
from pathlib import Path
from typing import Any

from casemate.cli.options import common


def certificate_arguments(actions: Any) -> None:
    """Options of what is done with certificates."""

    def action(name: str, text: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = actions.add_parser(
            name, help=text, parents=[common(nested=True)]
        )
        return parser

    issue = action("issue", "a certificate and its key, in a new folder")
    issue.add_argument(
        "kind", choices=("server", "client", "node"), help="what it is for; a node is both"
    )
    issue.add_argument(
        "names", nargs="+", metavar="NAME", help="DNS names and addresses; of a client its name"
    )
    issue.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="new folder for cert.pem, key.pem and ca.pem",
    )
    issue.add_argument("--days", type=int, default=30, help="how long it is valid (default: 30)")
    issue.add_argument(
        "--algorithm",
        choices=("p256", "mldsa65"),
        default="p256",
        help="of its key (default: p256)",
    )
    renew = action(
        "renew",
        "replace the certificate in a folder once two thirds of its life are over; for a daily job",
    )
    renew.add_argument("folder", type=Path, metavar="DIR", help="as `issue` wrote it")
    action("list", "every certificate that was issued")
    revoke = action("revoke", "make a certificate useless at once")
    revoke.add_argument("serial", help="as `list` shows it")
    crl = action("crl", "write the revocation list for other servers, valid for a day")
    crl.add_argument("--out", type=Path, required=True, metavar="FILE", help="PEM file")


def certify(arguments: Any, project: Any) -> int:
    """Issue, renew, list and revoke certificates."""
    from casemate.cli.output import emit, table

    if arguments.what == "issue":
        serial = project.keys.issue(
            arguments.kind, arguments.names, arguments.days, arguments.algorithm, arguments.out
        )
        text = (
            f"{arguments.out}: {arguments.kind} certificate {serial} for"
            f" {', '.join(arguments.names)}, {arguments.days} days"
        )
        emit(arguments, {"serial": serial, "folder": str(arguments.out)}, text)
        return 0
    if arguments.what == "renew":
        return _renew(arguments, project)
    if arguments.what == "list":
        found = project.keys.certificates()
        rows = [
            [
                c["serial"],
                c["kind"],
                ", ".join(c["names"]),
                c["until"][:16],
                "revoked" if c["revoked"] else "",
            ]
            for c in found
        ]
        emit(arguments, found, table(["serial", "kind", "names", "until", ""], rows))
    elif arguments.what == "revoke":
        project.keys.revoke(arguments.serial)
        emit(
            arguments,
            {"revoked": arguments.serial},
            f"{arguments.serial} is revoked; our servers refuse it within a second",
        )
    else:
        project.keys.revocations(arguments.out)
        emit(arguments, {"crl": str(arguments.out)}, f"wrote {arguments.out}, valid for a day")
    return 0


def _renew(arguments: Any, project: Any) -> int:
    from casemate.cli.output import emit

    serial, fresh = project.keys.renew(arguments.folder)
    if fresh is None:
        emit(
            arguments,
            {"serial": serial, "renewed": False},
            f"{serial} is still good for more than a third of its life; nothing to do",
        )
    else:
        emit(
            arguments,
            {"serial": fresh, "folder": str(arguments.folder)},
            f"{arguments.folder}: certificate {fresh} in place of {serial}",
        )
    return 0
