"""`casemate bom`."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from casemate.cli.commands import open_for
from casemate.cli.options import common

if TYPE_CHECKING:
    from casemate.stages.release.bom.materials import Bill

FORMS = ("cyclonedx-1.7", "cyclonedx-1.6", "spdx-3.0")
"""`stages.release.bom.forms.FORMS`."""
OF_MODEL = (
    "a model as NAME or NAME@VERSION, a run's id, the folder or image of a model that was handed"
    " over"
)
OF = f"{OF_MODEL}, or a file"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    show = actions.add_parser(
        "show",
        help="what a model is made of, and what of it nobody knows",
        parents=[common(nested=True)],
    )
    show.add_argument("of", nargs="?", default="", help=f"{OF} (default: the newest model)")
    export = actions.add_parser(
        "export",
        help="write it for other people's tools, signed: FILE.sig appears beside it",
        parents=[common(nested=True)],
    )
    export.add_argument("of", help=OF_MODEL)
    export.add_argument("file", type=Path, help="to write")
    export.add_argument(
        "--as", dest="form", choices=FORMS, default=FORMS[0], help="(default: cyclonedx-1.7)"
    )
    verify = actions.add_parser(
        "verify",
        help="check offline that it is as its owner signed it; exit code 4: it is not",
        parents=[common(nested=True)],
    )
    verify.add_argument("file", type=Path, help="a bill, with FILE.sig beside it")
    verify.add_argument(
        "--model",
        type=Path,
        metavar="FOLDER",
        help="instead of FILE.sig: the handed-over model that it must be the bill of, byte for byte",
    )
    diff = actions.add_parser(
        "diff",
        help=(
            "what differs between two, and what of it matters; exit code 1: something matters, 0:"
            " nothing does"
        ),
        parents=[common(nested=True)],
    )
    diff.add_argument("before", help=OF)
    diff.add_argument("after", help="the later one")
    for one in (show, export, verify, diff):
        one.add_argument(
            "--key",
            type=Path,
            action="append",
            help="of what was handed over: a public key file, or a folder with them",
        )


def run(arguments: Any) -> int:
    """Show, write, verify or compare."""
    chosen = {"show": _show, "export": _export, "verify": _verify, "diff": _diff}
    return chosen[arguments.action](arguments)


def _bill(arguments: Any, of: str) -> "Bill":
    """What was named: a file, a model that was handed over, or one of the project."""
    from casemate.stages.release.bom import files

    path = Path(of)
    if of and path.is_file():
        return files.read(files.content_of(path))
    if of and path.is_dir():
        from casemate.verification import bill_of

        return bill_of(path, arguments.key or [])
    return open_for(arguments).bills.show(of)


def _show(arguments: Any) -> int:
    from casemate.cli.output import emit, printable, table
    from casemate.stages.release.bom.clusters import clusters

    bill = _bill(arguments, arguments.of)
    every = clusters(bill)
    told = (
        f"{bill.reference}: {len(bill.models)} models, {len(bill.data)} data sets,"
        f" {len(bill.parts)} components ({bill.format}, {bill.time or 'no time'})"
    )
    text = [printable(told)]
    if arguments.of and Path(arguments.of).is_file():
        text.append("nothing of it was verified: casemate bom verify")
    for cluster in every:
        text += ["", f"{cluster.name}: {cluster.filled} of {len(cluster.elements)} known"]
        text.append(table([], [["  ", one.name, one.said] for one in cluster.elements]))
    value = {"bill": bill, "clusters": every}
    emit(arguments, value, "\n".join(text))
    return 0


def _export(arguments: Any) -> int:
    from casemate.cli.output import emit

    path = Path(arguments.of)
    if path.is_file():
        from casemate.core.errors import ConfigError

        raise ConfigError(
            f"{path} is a file, and written is a model's bill",
            hint="casemate bom show reads a file; a model of this name: NAME@VERSION",
        )
    if path.is_dir():
        from casemate.core.files import write_atomic
        from casemate.stages.release.bom import files

        bill = _bill(arguments, arguments.of)
        files.require_name(arguments.file)
        content = files.written(bill, arguments.form)
        write_atomic(arguments.file, content, 0o644)
        value = {"reference": bill.reference, "form": arguments.form, "size": len(content)}
        text = [
            f"wrote {arguments.file}: {bill.reference} as {arguments.form}, {len(content)} bytes",
            "    unsigned, since no project is here; whoever has the model checks it against that:",
            f"    casemate bom verify {arguments.file} --model {path} --key FOLDER_WITH_KEYS",
        ]
        emit(arguments, value, "\n".join(text))
        return 0
    found = open_for(arguments).bills.export(arguments.of, arguments.file, arguments.form)
    text = [
        f"wrote {arguments.file}: {found.reference} as {found.form}, {found.size} bytes",
        f"    signed: {found.signature}; others check both with your public keys:",
        f"    casemate bom verify {arguments.file} --key FOLDER_WITH_KEYS",
    ]
    emit(arguments, found, "\n".join(text))
    return 0


def _verify(arguments: Any) -> int:
    from casemate.cli.output import emit
    from casemate.stages.release.bom import files
    from casemate.verification import require_of, verify_path

    if arguments.model is not None:
        found = require_of(arguments.file, arguments.model, arguments.key or [])
    elif files.signature_of(arguments.file).is_file():
        found = verify_path(arguments.file, arguments.key or [])
    else:
        raise files.unsigned(arguments.file)
    emit(arguments, found, f"{found.kind}: {found.summary}\nsigned with {found.signer}")
    return 0


def _diff(arguments: Any) -> int:
    from casemate.cli.output import emit, printable, table
    from casemate.stages.release.bom.changes import compared

    before, after = _bill(arguments, arguments.before), _bill(arguments, arguments.after)
    found = compared(before, after)
    matters = [one for one in found if one.matters]
    told = f"{before.reference} -> {after.reference}"
    text = [f"{printable(told)}: {len(found)} differences, {len(matters)} matter"]
    for title, chosen in (
        ("what matters", matters),
        ("the rest", [one for one in found if not one.matters]),
    ):
        if chosen:
            rows = [
                [
                    one.kind,
                    one.name,
                    f"{one.what} {one.how}",
                    _both(one.before, one.after),
                    one.matters,
                ]
                for one in chosen
            ]
            text += ["", f"{title}:", table([], rows)]
    emit(arguments, {"changes": found, "matter": len(matters)}, "\n".join(text))
    return 1 if matters else 0


MOST = 40
"""Characters of a value in a line; `--format json` has it whole."""


def _both(before: str, after: str) -> str:
    return " -> ".join(text if len(text) <= MOST else f"{text[:MOST]}…" for text in (before, after))
