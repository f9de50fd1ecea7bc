"""`casemate keys`."""

import argparse
from typing import Any

from casemate.cli.options import common


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser("list", help="key-encryption keys, signing keys and their fingerprints; never a secret", parents=[common(nested=True)])


def run(arguments: Any) -> int:
    """List keys."""
    from casemate.cli.output import emit, table
    from casemate.project import open_project

    project = open_project(arguments.config, arguments.overrides)
    keys = project.keys
    value: dict[str, Any] = {
        "folder": str(keys.folder),
        "keks": keys.versions(),
        "signer": keys.signer.verifier.fingerprint,
        "log": project.audit.signer.vkeys.split(),
        "certificate_authority_until": keys.authority.certificate.not_valid_after_utc.isoformat(),
    }
    rows = [[name, "AES-256-GCM", ", ".join(map(str, versions))] for name, versions in keys.versions().items()]
    rows += [["signer", "ECDSA P-256 + ML-DSA-65", value["signer"]], ["log", "Ed25519 + ML-DSA-44", project.audit.signer.name]]
    rows += [["certificate authority", "ECDSA P-256", f"until {value['certificate_authority_until'][:10]}"]]
    emit(arguments, value, f"{keys.folder}\n" + table(["key", "algorithm", "versions or identity"], rows))
    return 0
