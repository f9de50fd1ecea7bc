"""`casemate predict FILE`."""

import argparse
import contextlib
import sys
from pathlib import Path
from typing import Any

from casemate.cli.commands import open_for

GUARDS = {
    "outside": "outside of the limits of [data.columns] or of the training rows",
    "unusual": "unlike the training rows as a whole",
    "unknown": "a category that training rows did not have",
}
"""What a guard of `[serve.guard]` noticed, in words."""
KEPT = "every column that the model neither takes nor predicts"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument(
        "file",
        type=Path,
        help=(
            "CSV as [data] says it is written, plain or gzip, or Parquet, with the model's features"
        ),
    )
    parser.add_argument(
        "--model",
        help=(
            "as [serve.models] or the registry names it, perhaps with @VERSION (default: the"
            " project's)"
        ),
    )
    parser.add_argument("--url", help="the gateway (default: [serve] host and port)")
    parser.add_argument(
        "--token", help="file:PATH or env:NAME; default: one for this call, made by the owner"
    )
    parser.add_argument(
        "--certificate",
        type=Path,
        metavar="DIR",
        help="folder with cert.pem and key.pem, where the gateway demands one",
    )
    parser.add_argument(
        "--out",
        type=Path,
        help=(
            "write there instead of to standard output: Parquet if it is called .parquet, else CSV"
        ),
    )
    parser.add_argument(
        "--rejected",
        type=Path,
        metavar="FILE",
        help="CSV of the rows without an answer and why (default: beside the answers)",
    )
    parser.add_argument(
        "--keep",
        action="append",
        metavar="COLUMN",
        help=f"carry this column over; may be given several times (default: {KEPT})",
    )


def run(arguments: Any) -> int:
    """Predict every row that can be; 1 when some could not."""
    from casemate.serve.batches import predict_file
    from casemate.serve.connect import connect
    from casemate.serve.rows import require_file
    from casemate.serve.written import CsvSink, written

    project = open_for(arguments)
    require_file(arguments.file)  # before anybody is asked for anything
    out: Path | None = arguments.out
    beside = (
        Path(f"{arguments.file.stem}.rejected.csv")
        if out is None
        else out.with_name(f"{out.stem}.rejected.csv")
    )
    rejected = arguments.rejected or beside
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(
            connect(
                project,
                arguments.model,
                url=arguments.url,
                token=arguments.token,
                certificate=arguments.certificate,
            )
        )
        sink = CsvSink(sys.stdout) if out is None else stack.enter_context(written(out))
        answered, refused = predict_file(
            client, arguments.file, project.config.data, sink, rejected, arguments.keep
        )
    for guard, rows in sorted(client.noticed.items()):
        print(
            f"{rows} of {answered} answers are flagged: {GUARDS.get(guard, guard)}", file=sys.stderr
        )
    if out is not None:
        print(f"wrote {answered} predictions to {out}", file=sys.stderr)
    if refused:
        print(
            f"{refused} of {answered + refused} rows have no answer: {rejected} says which and why",
            file=sys.stderr,
        )
    return 1 if refused else 0
