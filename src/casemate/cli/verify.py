"""`casemate verify PATH`."""

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from casemate.verification import Verified


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument(
        "path",
        type=Path,
        help=(
            "an exported model, an OCI image layout with one or with the gateway, a run's folder, an"
            " evidence pack, a sealed table, an audit log, a proof of one entry, a certificate of"
            " erasure, or a bill of materials"
        ),
    )
    parser.add_argument(
        "--checkpoint",
        type=Path,
        action="append",
        help="of a log: a checkpoint that you kept, which must be a former state of it",
    )
    parser.add_argument(
        "--proof",
        type=Path,
        help="the log's proof of when it was signed (default: signature.proof beside it)",
    )
    parser.add_argument(
        "--key",
        type=Path,
        action="append",
        help="a public key file, or a folder with them (default: your own projects' keys)",
    )
    start = parser.add_argument_group(
        "start", "what a model must be before it is started, and where its verified bytes go"
    )
    start.add_argument(
        "--into", type=Path, metavar="FOLDER", help="write the bytes that were verified, read-only"
    )
    start.add_argument(
        "--require",
        action="append",
        choices=("approved", "provenance"),
        default=[],
        help="approved: by somebody, as its owner signed; provenance: where the image comes from",
    )
    start.add_argument(
        "--approvals", type=int, metavar="N", help="of so many different people (default: 1)"
    )
    start.add_argument("--stage", help="that the model must be signed for")
    start.add_argument(
        "--withdrawn-within",
        metavar="TIME",
        help="refuse a list of withdrawn models that is older, such as 7d, or missing",
    )
    start.add_argument(
        "--max-mb", type=int, metavar="N", help="MiB of its files at most (default: 8192)"
    )
    start.add_argument("--digest", metavar="sha256:…", help="of the image that is meant")
    start.add_argument(
        "--then",
        nargs=argparse.REMAINDER,
        default=argparse.SUPPRESS,
        metavar="COMMAND",
        help="become this program, all words behind it; CASEMATE_MODEL is the model's folder",
    )


def run(arguments: Any) -> int:
    """Verify offline; exit code 4 when it does not hold."""
    from casemate.cli.output import emit

    said = (
        *(arguments.into, arguments.approvals, arguments.stage, arguments.digest, arguments.then),
        *(arguments.withdrawn_within, arguments.max_mb),
    )
    starting = arguments.require or any(one is not None for one in said)
    result = _admitted(arguments) if starting else _verified(arguments)
    emit(
        arguments,
        {"kind": result.kind, "summary": result.summary, "signer": result.signer},
        f"OK: {result.kind} {result.summary}\n    {result.signer}",
    )
    if arguments.then is not None:
        _become(arguments)
    return 0


def _verified(arguments: Any) -> "Verified":
    from casemate.verification import verify_path

    return verify_path(
        arguments.path, arguments.key or [], arguments.checkpoint or [], arguments.proof
    )


def _admitted(arguments: Any) -> "Verified":
    from casemate.core.clock import lifetime
    from casemate.core.errors import ConfigError
    from casemate.core.oci.layout import MAX_LAYERS
    from casemate.stages.release.admission import MOST_AGE, Rules, find_command
    from casemate.verification import admit

    if arguments.then is not None:
        find_command(arguments.then)
        if arguments.into is None:
            raise ConfigError(
                "--then needs --into: what is started must be the bytes that were verified",
                hint="--into /run/model/now, and let the command read it there",
            )
    if arguments.checkpoint:
        raise ConfigError("--checkpoint is for an audit log", hint="leave it out")
    if arguments.approvals is not None and arguments.approvals < 1:
        raise ConfigError("--approvals counts people", hint="1 or more, or leave it out")
    wanted = arguments.approvals or int("approved" in arguments.require)
    within = arguments.withdrawn_within
    rules = Rules(
        approvals=wanted,
        provenance="provenance" in arguments.require,
        stage=arguments.stage,
        withdrawn_within=None if within is None else lifetime(within, MOST_AGE),
    )
    if arguments.max_mb is not None and not 1 <= arguments.max_mb <= MAX_LAYERS >> 20:
        raise ConfigError("--max-mb is 1 to 8192", hint="leave it out")
    return admit(
        arguments.path,
        arguments.key or [],
        into=arguments.into,
        rules=rules,
        digest=arguments.digest,
        proof=arguments.proof,
        limit=MAX_LAYERS if arguments.max_mb is None else arguments.max_mb << 20,
    )


def _become(arguments: Any) -> None:
    """Never returns: the process is the other program from here on."""
    from casemate.stages.release.admission import find_command
    from casemate.stages.release.bundle import MODEL_FOLDER

    os.environ["CASEMATE_MODEL"] = str(arguments.into.absolute() / MODEL_FOLDER)
    sys.stdout.flush()
    program = find_command(arguments.then)
    os.execv(program[0], [arguments.then[0], *program[1:]])  # noqa: S606 - the user's own words
