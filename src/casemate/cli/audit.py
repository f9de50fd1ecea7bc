"""`casemate audit`."""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from casemate.cli.commands import open_for
from casemate.cli.options import common

FOLLOW_SECONDS = 0.5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    show = actions.add_parser(
        "show", help="the entries, oldest first", parents=[common(nested=True)]
    )
    show.add_argument(
        "--last", type=int, default=50, help="how many of those that match (default: 50; 0: all)"
    )
    show.add_argument(
        "--since", help="from this time on: RFC 3339, a date, or how long ago such as 90m, 12h, 7d"
    )
    show.add_argument("--until", help="before this time")
    for name in ("principal", "action", "resource", "outcome"):
        help_ = f"only this {name}; * and ? match as in file names"
        show.add_argument(f"--{name}", dest=f"match_{name}", metavar="PATTERN", help=help_)
    show.add_argument(
        "-f", "--follow", action="store_true", help="go on with new entries until Ctrl-C"
    )
    verify = actions.add_parser(
        "verify",
        help="check tree, tiles, signatures, bodies, cosignatures and copies",
        parents=[common(nested=True)],
    )
    verify.add_argument(
        "--checkpoint",
        type=Path,
        action="append",
        default=[],
        help="a checkpoint that was kept: it must be a former state of the log",
    )
    prove = actions.add_parser(
        "prove",
        help="write a stand-alone proof that an entry is in the log",
        parents=[common(nested=True)],
    )
    prove.add_argument("entry", type=int, help="the entry's number")
    prove.add_argument("--out", type=Path, help="where to (default: entry-N.tlog-proof)")
    actions.add_parser(
        "cosign",
        help="ask the witnesses to cosign the newest checkpoint",
        parents=[common(nested=True)],
    )
    actions.add_parser(
        "copy",
        help="copy the newest checkpoint to every place of [audit] copies",
        parents=[common(nested=True)],
    )
    resolve = actions.add_parser(
        "resolve",
        help="record that another history, met earlier, is explained",
        parents=[common(nested=True)],
    )
    resolve.add_argument("--reason", required=True, help="what happened")
    witness = actions.add_parser(
        "witness", help="be a witness for other people's logs", parents=[common(nested=True)]
    )
    _witness(witness.add_subparsers(dest="what", metavar="ACTION", required=True))


def _witness(actions: Any) -> None:
    init = actions.add_parser("init", help="make a witness's keys", parents=[common(nested=True)])
    init.add_argument("folder", type=Path, help="new folder for keys and memory")
    init.add_argument(
        "--name", required=True, help="its public name, such as witness.example.org/w1"
    )
    trust = actions.add_parser(
        "trust", help="cosign for a log from now on", parents=[common(nested=True)]
    )
    trust.add_argument("folder", type=Path, help="the witness's folder")
    trust.add_argument(
        "key", type=Path, help="the log's log.vkey, from its owner over a channel you trust"
    )
    serve = actions.add_parser(
        "serve",
        help="answer add-checkpoint requests (C2SP tlog-witness)",
        parents=[common(nested=True)],
    )
    serve.add_argument("folder", type=Path, help="the witness's folder")
    serve.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)"
    )
    serve.add_argument(
        "--port", type=int, default=8444, help="TCP port (default: 8444; 0 takes a free one)"
    )
    serve.add_argument(
        "--tls",
        type=Path,
        nargs=2,
        metavar=("CHAIN", "KEY"),
        help="PEM files; without them plain HTTP",
    )


def run(arguments: Any) -> int:
    """Show, verify, prove, cosign, copy, or be a witness."""
    if arguments.action == "witness":
        return _be_witness(arguments)
    from casemate.cli.output import emit

    project = open_for(arguments)
    if arguments.action == "show":
        return _show(arguments, project)
    if arguments.action == "verify":
        report = project.audit.verify(arguments.checkpoint)
        text = [
            (
                f"OK: {report.entries} entries of {report.origin}; tree, tiles, both signatures and"
                " every body hold"
            )
        ]
        if report.witnesses:
            text.append(
                f"    {report.witnessed} of {report.entries} entries cosigned by"
                f" {', '.join(report.witnesses)}, on {report.cosigned[:19]}Z"
            )
        text += [
            f"    the witness {name} could not be asked: {why}" for name, why in report.away.items()
        ]
        text += [
            f"    {where}: a former state of this log at {size} entries"
            for where, size in report.copies.items()
        ]
        text += [f"    {path}: a former state of this log" for path in arguments.checkpoint]
        emit(arguments, report, "\n".join(text))
    elif arguments.action == "prove":
        out = arguments.out or Path(f"entry-{arguments.entry}.tlog-proof")
        size = project.audit.prove(arguments.entry, out)
        text = [
            f"wrote {out} ({size} bytes); it discloses this entry and nothing else",
            f"check it anywhere: casemate verify {out} --key log.vkey",
        ]
        emit(arguments, {"proof": str(out), "bytes": size}, "\n".join(text))
    elif arguments.action == "resolve":
        count = project.audit.resolve(arguments.reason)
        emit(
            arguments,
            {"resolved": count},
            f"{count} other histories are explained; copies and witnesses still hold what they"
            " know",
        )
    elif arguments.action == "copy":
        places = project.audit.copy()
        emit(
            arguments,
            {"copies": places},
            "\n".join(places) or "no place is configured: [audit] copies",
        )
    else:
        return _cosign(arguments, project)
    return 0


def _cosign(arguments: Any, project: Any) -> int:
    from casemate.cli.output import emit

    answers = project.audit.cosign()
    value = {
        name: "cosigned" if fault is None else fault.message for name, fault in answers.items()
    }
    emit(
        arguments,
        value,
        "\n".join(f"{name}: {said}" for name, said in value.items())
        or "no witness is configured: [audit.witnesses]",
    )
    project.publication.judge(answers)
    return 0


def _show(arguments: Any, project: Any) -> int:
    from casemate.cli.output import emit, table
    from casemate.controls.audit.query import Query

    query = Query.of(
        principal=arguments.match_principal,
        action=arguments.match_action,
        resource=arguments.match_resource,
        outcome=arguments.match_outcome,
        since=arguments.since,
        until=arguments.until,
        now=project.clock.now(),
    )
    size, found = project.audit.entries(query, arguments.last)
    rows = [[e.index, e.time, e.principal, e.action, e.resource, e.outcome] for e in found]
    if arguments.follow and arguments.format == "json":
        _lines(found)
    else:
        emit(
            arguments,
            found,
            table(["#", "time", "principal", "action", "resource", "outcome"], rows),
        )
    while arguments.follow:
        sys.stdout.flush()
        time.sleep(FOLLOW_SECONDS)
        for entry in project.audit.since(size):
            size = entry.index + 1
            if query.matches(entry):
                if arguments.format == "json":
                    _lines([entry])
                else:
                    print(
                        entry.index,
                        entry.time,
                        entry.principal,
                        entry.action,
                        entry.resource,
                        entry.outcome,
                        sep="  ",
                        flush=True,
                    )
    return 0


def _lines(entries: list[Any]) -> None:
    import msgspec

    for entry in entries:
        print(msgspec.json.encode(entry).decode(), flush=True)


def _be_witness(arguments: Any) -> int:
    from casemate.cli.output import emit
    from casemate.controls.audit.witness import PUBLIC, Witness

    if arguments.what == "init":
        made = Witness.create(arguments.folder, arguments.name)
        emit(
            arguments,
            {"folder": str(arguments.folder), "keys": made.vkeys.split()},
            f"publish {arguments.folder / PUBLIC}:\n{made.vkeys}",
        )
        return 0
    witness = Witness.open(arguments.folder)
    if arguments.what == "trust":
        origin = witness.trust(arguments.key.read_text(encoding="utf-8"))
        emit(arguments, {"trusted": origin}, f"{witness.cosigner.name} cosigns for {origin}")
        return 0
    from casemate.serve.witness import serve

    serve(
        witness,
        arguments.host,
        arguments.port,
        tuple(arguments.tls) if arguments.tls else None,
        lambda url: print(f"witness {witness.cosigner.name} at {url}", flush=True),
    )
    return 0
