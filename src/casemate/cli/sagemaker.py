"""`casemate sagemaker`: what SageMaker starts in a container, and what it captured."""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from casemate.cli.options import common

ROOT, KEYS = Path("/opt/ml"), Path("/keys")
PORT = "SAGEMAKER_BIND_TO_PORT"
"""Where SageMaker says on which port it will ask, if not on 8080."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    serve = actions.add_parser(
        "serve",
        help="verify the model in ROOT/model, then answer /ping and /invocations",
        parents=[common(nested=True)],
    )
    train = actions.add_parser(
        "train",
        help="run the project of the channel `project`; a signed model goes to ROOT/model",
        parents=[common(nested=True)],
    )
    for one in (serve, train):
        one.add_argument(
            "--root", type=Path, default=ROOT, help=f"SageMaker's folder (default: {ROOT})"
        )
    serve.add_argument(
        "--key",
        type=Path,
        default=KEYS,
        help=f"folder with the public keys that are trusted (default: {KEYS})",
    )
    serve.add_argument("--port", type=int, help=f"default: {PORT}, or 8080")
    captured = actions.add_parser(
        "captured",
        help="make a table of what an endpoint captured, for `casemate watch`",
        parents=[common(nested=True)],
    )
    captured.add_argument("source", type=Path, help="folder, or one file of JSON lines")
    captured.add_argument("out", type=Path, help="a new CSV file")
    captured.add_argument(
        "--columns",
        help="names of the inputs, separated by commas, where callers send rows without names",
    )


def run(arguments: Any) -> int:
    """Serve, train or read; a refusal of training is exit code 1 and a file that SageMaker shows."""
    if arguments.action == "serve":
        return _serve(arguments)
    if arguments.action == "captured":
        return _captured(arguments)
    return _train(arguments)


def _serve(arguments: Any) -> int:
    from casemate.config.container import SETTING
    from casemate.serve import contained
    from casemate.stages.release.admission import Rules
    from casemate.stages.release.bundle import digest_of
    from casemate.verification import admitted

    port = _port(arguments.port)
    table = contained.told(os.environ.get(SETTING))
    verified, model, found = admitted(
        arguments.root / "model",
        [arguments.key],
        rules=Rules(approvals=table.approvals, stage=table.stage),
    )
    contained.require_meant(digest_of(found.bundle), table)
    endpoint = contained.load(model, table)
    print(f"OK: {verified.kind} {verified.summary}, {verified.signer}", file=sys.stderr, flush=True)
    contained.serve(endpoint, table, port)
    return 0


def _port(given: int | None) -> int:
    from casemate.core.errors import ConfigError

    where, text = PORT, os.environ.get(PORT, "8080")
    if given is not None:
        where, text = "--port", str(given)
    if not (text.isascii() and text.isdecimal() and len(text) <= 6 and 0 < int(text) < 65536):
        raise ConfigError(f"{where}={text[:40]!r} is no port", hint="leave it out: 8080")
    return int(text)


def _train(arguments: Any) -> int:
    from casemate.cli.output import emit
    from casemate.operations.trainingjob import train

    made = train(arguments.root)
    said = [f"{made.model} is signed"] if made.model else []
    emit(arguments, made, ". ".join([*said, *([made.why] if made.why else [])]))
    return 0 if made.model else 1


def _captured(arguments: Any) -> int:
    from casemate.cli.output import emit
    from casemate.deploy.aws.captured import table

    names = None if arguments.columns is None else arguments.columns.split(",")
    made = table(arguments.source, arguments.out, names)
    lines = [f"{made.out}: {made.rows} rows of {made.requests} requests"]
    lines += [f"left out: {count} {why}" for why, count in made.left_out.items()]
    emit(arguments, made, "\n".join(lines))
    return 1 if made.left_out else 0
