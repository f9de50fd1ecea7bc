"""`casemate privacy record`: records that laws want, from what was measured and signed."""

import argparse
from pathlib import Path
from typing import Any

from casemate.cli.options import common

FORMS = ("html", "md", "json")


def add_arguments(actions: Any) -> None:
    """The verbs of records.

    Args:
        actions: where they are added.
    """
    record: argparse.ArgumentParser = actions.add_parser(
        "record", help="records that laws want, pre-filled from what was measured and signed"
    )
    verbs = record.add_subparsers(dest="what", metavar="WHAT", required=True)

    def verb(name: str, help_: str) -> argparse.ArgumentParser:
        made: argparse.ArgumentParser = verbs.add_parser(
            name, help=help_, parents=[common(nested=True)]
        )
        return made

    list_ = verb("list", "which records there are, and how much of each is left to people")
    show = verb("show", "what a record says now, in Markdown")
    write = verb("write", "write records into a new folder, signed as a whole")
    show.add_argument("name", help="of the record, as `list` has it, or breach")
    write.add_argument(
        "name",
        nargs="*",
        help="of records, also breach and model-card (default: all of the project)",
    )
    write.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="a new one")
    write.add_argument(
        "--as", dest="forms", choices=FORMS, nargs="+", default=FORMS, help="default: all three"
    )
    for one in (list_, show, write):
        one.add_argument("--model", default="", help="NAME@VERSION (default: the newest passed)")
    for one in (show, write):
        one.add_argument("--incident", type=int, default=0, metavar="N", help="of breach")
    check = verb("verify", "check the signature over a folder of records, and every file in it")
    check.add_argument("folder", type=Path, help="as `write` made it")


def run(arguments: Any, project: Any) -> int:
    """List, show, write or verify records."""
    from casemate.cli.output import emit, printable, table

    records, what = project.privacy.records, arguments.what
    if what == "list":
        found = records.list(arguments.model)
        rows = [
            [one.name, one.title, str(one.points), str(one.to_complete), str(one.unmeasured)]
            for one in found
        ]
        heads = ["record", "", "points", "to complete", "not measured"]
        emit(arguments, found, table(heads, rows))
    elif what == "show":
        from casemate.operations.rights.records.document import rendered

        document = records.show(arguments.name, model=arguments.model, incident=arguments.incident)
        lines = rendered(document, "md").decode().splitlines()
        emit(arguments, document, "\n".join(map(printable, lines)))
    elif what == "verify":
        said = records.verify(arguments.folder)
        emit(arguments, said, f"{arguments.folder}: the signature and every digest hold")
    else:
        done = records.write(
            arguments.name,
            arguments.out,
            forms=arguments.forms,
            model=arguments.model,
            incident=arguments.incident,
        )
        lines = [f"{len(done.files)} files in {done.folder}, signed; the log has their digests"]
        lines += [
            f"{name}: {count} points are to be completed by people"
            for name, count in done.to_complete.items()
        ]
        emit(arguments, done, "\n".join(lines))
    return 0
