"""`casemate model`."""

import argparse
from pathlib import Path
from typing import Any

from casemate.cli.doors import enter
from casemate.cli.options import common


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser("list", help="every version with its verdict", parents=[common(nested=True)])
    actions.add_parser("show", help="one version in full", parents=[common(nested=True)]).add_argument("reference", help="NAME or NAME@VERSION")
    approve = actions.add_parser("approve", help="say, as somebody who did not train it, that it shall be used", parents=[common(nested=True)])
    approve.add_argument("reference", help="NAME or NAME@VERSION")
    approve.add_argument("--reason", required=True, help="why, for the record")
    approve.add_argument("--stage", help="what for (default: [release] stage)")
    export = actions.add_parser("export", help="write the signed model for others", parents=[common(nested=True)])
    export.add_argument("reference", help="NAME or NAME@VERSION")
    export.add_argument("dir", type=Path, help="a new folder")


def run(arguments: Any) -> int:
    """Show, approve or export models."""
    from casemate.cli.output import emit, table
    from casemate.controls.access.policy import Resource
    from casemate.project import Model

    project = enter(arguments)
    if arguments.action == "list":
        found: list[dict[str, Any]] = [
            {
                "model": m.reference,
                "outcome": m.release.verdict.outcome,
                "signed": bool(m.release.bundle),
                "created": m.created,
                "run": m.release.lineage.run,
            }
            for m in project.registry.list()
        ]
        rows = [[f["model"], f["outcome"], "yes" if f["signed"] else "no", f["created"][:19], f["run"]] for f in found]
        emit(arguments, found, table(["model", "verdict", "signed", "created", "run"], rows))
        return 0
    model = Model(project, project.registry.get(arguments.reference))
    if arguments.action == "export":
        verified = model.export(arguments.dir)
        text = [
            f"exported {model.reference} to {arguments.dir}; signer SHA-256 {verified.fingerprint}",
            f"check it: casemate verify {arguments.dir}",
            f"or:       model_signing verify key {arguments.dir}/model --signature {arguments.dir}/model.sig --public_key {arguments.dir}/signer.pub",
        ]
        emit(arguments, {"model": model.reference, "folder": str(arguments.dir), "signer": verified.fingerprint}, "\n".join(text))
        return 0
    if arguments.action == "approve":
        model.approve(arguments.reason, arguments.stage)
        emit(arguments, {"approved": model.reference}, f"{model.reference} is approved; {len(model.approvals())} approvals so far")
        return 0
    project.access.permitted("model:read", Resource("Model", model.registered.release.model))
    release = model.registered.release
    gates = [[gate.outcome, gate.gate, "" if gate.value is None else f"{gate.value:.4g}", gate.limit] for gate in release.verdict.gates]
    lines = [
        f"{model.reference}: {release.verdict.outcome}, {'signed' if release.bundle else 'unsigned'}, created {model.registered.created[:19]}",
        "",
    ]
    lines += [table(["", "gate", "value", "required"], gates), "", "lineage"]
    lines += [f"  {name:<19} {getattr(release.lineage, name)}" for name in release.lineage.__struct_fields__]
    lines += ["", "approvals", *(f"  {a.principal} for {a.stage}, {a.time[:19]}: {a.reason}" for a in model.approvals())] if release.bundle else []
    lines += ["", "files", *(f"  {name:<16} {digest}" for name, digest in sorted(release.files.items()))]
    emit(arguments, model.registered.release, "\n".join(lines))
    return 0
