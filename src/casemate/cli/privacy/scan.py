"""`casemate privacy scan`."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from casemate.stages.data.identifiers.scan import Scan

HEADS = ["column", "kind", "paragraph", "sure by", "share", "cells", "outline"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the action."""
    parser.add_argument("path", help="a table, an ONNX model, or a folder of them")
    parser.add_argument(
        "--header", metavar="NAMES", help="column names, with commas, of text that has none"
    )


def run(arguments: Any) -> int:
    """Look for identifiers; 1 if there are any, or a file could not be read."""
    from casemate.cli.output import emit
    from casemate.stages.data.identifiers.scan import scan

    found = scan(Path(arguments.path), arguments.header.split(",") if arguments.header else None)
    emit(arguments, found, _text(found))
    return 0 if found.is_clean else 1


def _text(found: "Scan") -> str:
    from casemate.cli.output import printable, table
    from casemate.stages.data.identifiers.kinds import KINDS

    lines: list[str] = []
    for one in found.tables:
        held = f"{printable(one.path)}: {one.rows} rows, {len(one.columns)} columns"
        if one.rows_kept:
            lines.append(
                f"{printable(one.path)}: the model keeps {one.rows_kept} rows of its training table"
            )
        if one.names_that_tell:
            lines.append(
                f"{printable(one.path)}: {one.names_that_tell} columns are called like what cells"
                " hold; if the file has no header line, name its columns with --header"
            )
        texts = [column.column for column in one.columns if column.free_text]
        free = [f"Free text: {printable(', '.join(texts))}", ""] if texts else []
        if not one.found:
            lines += [f"{held}, no identifiers found", "", *free]
            continue
        rows = [
            [
                column.column,
                KINDS[seen.kind].title + (" among other words" if seen.inside else ""),
                f"({seen.letter})",
                seen.sure,
                f"{seen.share:.1%}",
                seen.cells,
                seen.example,
            ]
            for column in one.found
            for seen in column.evidence
        ]
        lines += [f"{held}, {len(one.found)} with identifiers", table(HEADS, rows), "", *free]
    lines += [f"not read: {printable(one.path)}: {printable(one.why)}" for one in found.not_read]
    lines += ["Not looked for:", *(f"- {what}" for what in found.not_looked_for)]
    return "\n".join(lines)
