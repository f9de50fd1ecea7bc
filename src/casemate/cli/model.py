"""`casemate model`."""

import argparse
import json
from pathlib import Path
from typing import Any

from casemate.cli.commands import open_for
from casemate.cli.options import common


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser("list", help="every version with its verdict", parents=[common(nested=True)])
    actions.add_parser(
        "show", help="one version in full", parents=[common(nested=True)]
    ).add_argument("reference", help="NAME or NAME@VERSION")
    approve = actions.add_parser(
        "approve",
        help="say, as somebody who did not train it, that it shall be used",
        parents=[common(nested=True)],
    )
    approve.add_argument("reference", help="NAME or NAME@VERSION")
    approve.add_argument("--reason", required=True, help="why, for the record")
    approve.add_argument("--stage", help="what for (default: [release] stage)")
    promote = actions.add_parser(
        "promote",
        help="let gateways serve a version: live, to a part of the callers, or unseen",
        parents=[common(nested=True)],
    )
    promote.add_argument("reference", help="NAME@VERSION")
    how = promote.add_mutually_exclusive_group()
    how.add_argument(
        "--canary",
        type=float,
        metavar="SHARE",
        help="to this share of requests (0 to 1), until promoted or rolled back",
    )
    how.add_argument(
        "--shadow", action="store_true", help="asked about everything, heard by nobody"
    )
    promote.add_argument(
        "--principal",
        action="append",
        default=[],
        help="of a canary: always to this caller; may be given several times",
    )
    promote.add_argument("--reason", default="", help="why, for the record")
    rollback = actions.add_parser(
        "rollback",
        help="take back the canary, the shadow, else the live version",
        parents=[common(nested=True)],
    )
    rollback.add_argument(
        "name", help="NAME, or NAME@VERSION to take back this version and nothing else"
    )
    rollback.add_argument("--reason", default="", help="why, for the record")
    waive = actions.add_parser(
        "waive",
        help="let the project's model pass without one gate, for a time",
        parents=[common(nested=True)],
    )
    waive.add_argument("gate", help="as in [gates], or `findings`")
    waive.add_argument("--until", required=True, help="when it ends, such as 2027-01-31")
    waive.add_argument("--reason", required=True, help="why, for the record")
    actions.add_parser(
        "unwaive", help="end the waivers of a gate", parents=[common(nested=True)]
    ).add_argument("gate", help="as in [gates]")
    import_ = actions.add_parser(
        "import",
        help="scan a model file from outside and convert it into a safe format",
        parents=[common(nested=True)],
    )
    import_.add_argument(
        "file",
        type=Path,
        help=(
            "pickle, joblib, skops, ONNX, torch, Keras, HDF5 or safetensors, or the folder of a"
            " model that casemate exported"
        ),
    )
    import_.add_argument(
        "--own-code",
        action="store_true",
        help="take in the code that such a folder carries, after you have read it",
    )
    import_.add_argument("--name", help="of the result (default: the file's)")
    import_.add_argument("--scan-only", action="store_true", help="look, and write nothing")
    export = actions.add_parser(
        "export", help="write the signed model for others", parents=[common(nested=True)]
    )
    export.add_argument("reference", help="NAME or NAME@VERSION")
    export.add_argument("dir", type=Path, help="a new folder")


def run(arguments: Any) -> int:
    """Show, approve or export models."""
    from casemate.cli.output import emit, table
    from casemate.core.errors import ConfigError
    from casemate.stages.release.rollout import Part

    project = open_for(arguments)
    if arguments.action == "list":
        found: list[dict[str, Any]] = [
            {
                "model": m.reference,
                "outcome": m.release.verdict.outcome,
                "signed": bool(m.release.bundle),
                "created": m.created,
                "run": m.release.lineage.run,
            }
            for m in project.models.list()
        ]
        rows = [
            [f["model"], f["outcome"], "yes" if f["signed"] else "no", f["created"][:19], f["run"]]
            for f in found
        ]
        emit(arguments, found, table(["model", "verdict", "signed", "created", "run"], rows))
        return 0
    if arguments.action in ("waive", "unwaive"):
        return _waive(arguments, project)
    if arguments.action == "rollback":
        back = project.models.take_back if "@" in arguments.name else project.models.rollback
        gone, live = back(arguments.name, arguments.reason)
        emit(
            arguments,
            {"gone": gone, "live": live},
            f"{gone} is taken back" + (f"; {live} is live" if live else ""),
        )
        return 0
    if arguments.action == "import":
        return _import(arguments, project)
    models, reference = project.models, arguments.reference
    if arguments.action == "export":
        verified = models.export(reference, arguments.dir)
        reference = f"{verified.card.name}@{verified.card.model_version}"
        text = [
            f"exported {reference} to {arguments.dir}; signer SHA-256 {verified.fingerprint}",
            f"check it: casemate verify {arguments.dir}",
            (
                f"or:       model_signing verify key {arguments.dir}/model --signature"
                f" {arguments.dir}/model.sig --public_key {arguments.dir}/signer.pub"
            ),
        ]
        emit(
            arguments,
            {"model": reference, "folder": str(arguments.dir), "signer": verified.fingerprint},
            "\n".join(text),
        )
        return 0
    if arguments.action == "promote":
        part: Part = (
            "live"
            if arguments.canary is None and not arguments.shadow
            else "shadow"
            if arguments.shadow
            else "canary"
        )
        if arguments.principal and part != "canary":
            raise ConfigError(
                "--principal is for a canary",
                hint="add --canary 0 to let these callers alone have it",
            )
        model = models.promote(
            reference,
            part,
            share=arguments.canary or 0.0,
            principals=arguments.principal,
            reason=arguments.reason,
        )
        told = f"{model.reference} is released ({part}); gateways that run take it within a second"
        emit(arguments, {"promoted": model.reference, "part": part}, told)
        return 0
    if arguments.action == "approve":
        model = models.approve(reference, arguments.reason, arguments.stage)
        told = f"{model.reference} is approved; {len(model.approvals())} approvals so far"
        if model.code:
            told += (
                "\nit computes with code of its own, which is approved with it: have you read it?"
            )
            told += "".join(f"\n  {name}  {digest}" for name, digest in model.code.items())
        emit(arguments, {"approved": model.reference, "code": model.code}, told)
        return 0
    model = models.show(reference)
    release = model.registered.release
    gates = [
        [gate.outcome, gate.gate, "" if gate.value is None else f"{gate.value:.4g}", gate.limit]
        for gate in release.verdict.gates
    ]
    lines = [
        (
            f"{model.reference}: {release.verdict.outcome},"
            f" {'signed' if release.bundle else 'unsigned'}, created"
            f" {model.registered.created[:19]}"
        ),
        "",
    ]
    lines += _people(project, model.reference)
    lines += [table(["", "gate", "value", "required"], gates), "", "lineage"]
    lines += [
        f"  {name:<19} {value}"
        for name in release.lineage.__struct_fields__
        if (value := getattr(release.lineage, name))
    ]
    lines += (
        [
            "",
            "approvals",
            *(
                f"  {a.principal} for {a.stage}, {a.time[:19]}: {a.reason}"
                for a in model.approvals()
            ),
        ]
        if release.bundle
        else []
    )
    lines += [
        "",
        "files",
        *(f"  {name:<16} {digest}" for name, digest in sorted(release.files.items())),
    ]
    emit(arguments, model.registered.release, "\n".join(lines))
    return 0


def _people(project: Any, reference: str) -> list[str]:
    lines = []
    if count := project.privacy.consent.withdrawn(reference):
        lines += [f"withdrawn consent of {count} subjects since", ""]
    if count := project.privacy.requests.restricted(reference):
        lines += [f"the processing of {count} subjects is restricted since", ""]
    return lines


def _waive(arguments: Any, project: Any) -> int:
    from casemate.cli.output import emit
    from casemate.cli.until import moment

    if arguments.action == "unwaive":
        count = project.models.unwaive(arguments.gate)
        emit(
            arguments,
            {"ended": count},
            f"{count} waivers of {arguments.gate} have ended; a model that needed one is not served"
            " any more",
        )
        return 0
    until = moment(arguments.until)
    project.models.waive(arguments.gate, until, arguments.reason)
    emit(
        arguments,
        {"waived": arguments.gate},
        f"{arguments.gate} is waived until {until:%Y-%m-%d}; the next `casemate run` goes by that",
    )
    return 0


def _import(arguments: Any, project: Any) -> int:
    from casemate.cli.output import emit
    from casemate.core.text import clean
    from casemate.operations.checkup import import_model

    found = import_model(
        project,
        arguments.file,
        arguments.name,
        convert=not arguments.scan_only,
        own_code=arguments.own_code,
    )
    names = ", ".join([*found.scan.names[:10], *(path.name for path in found.code)])
    names = names or "nothing that is executed"
    text = [f"{arguments.file.name}: {found.scan.format}; it names {names}"]
    if found.file is not None:
        relative = found.file.relative_to(project.root)
        text += [f"written as {relative}"]
        if found.problem:
            text += [
                f"as it stands, a run would refuse it: {found.problem}",
                f"  hint: {found.remedy}",
            ]
        named = [str(path.relative_to(project.root)) for path in found.code]
        also = f" and transformers = {json.dumps(named)}" if named else ""
        text += [
            (
                f'Next: [train] model = "{relative}"{also} in casemate.toml, then casemate run: it'
                " is measured like any other"
            )
        ]
    said = {
        "scan": found.scan,
        "file": None if found.file is None else str(found.file),
        "problem": found.problem,
        "remedy": found.remedy,
        "code": [str(path) for path in found.code],
    }
    emit(arguments, said, clean("\n".join(text), lines=True))  # it may quote a foreign file
    return 1 if found.problem else 0
