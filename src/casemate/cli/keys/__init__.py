"""`casemate keys`."""

import argparse
from pathlib import Path
from typing import Any

from casemate.cli.commands import open_for
from casemate.cli.keys.certificates import certificate_arguments, certify
from casemate.cli.keys.shredding import shred
from casemate.cli.keys.signers import sign, signer_arguments
from casemate.cli.options import common

SETTINGS = (
    "address",
    "ca",
    "namespace",
    "mount",
    "auth",
    "role",
    "secret",
    "region",
    "endpoint",
    "passphrase",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    def action(name: str, text: str) -> argparse.ArgumentParser:
        return actions.add_parser(name, help=text, parents=[common(nested=True)])

    action("list", "key-encryption keys, signing keys and their fingerprints; never a secret")
    show = action("show", "the versions of one key, and how many data keys are under each")
    show.add_argument("key", help="such as objects")
    rotate = action(
        "rotate", "new versions; every data key is wrapped anew, no data byte is touched"
    )
    rotate.add_argument("key", nargs="*", help="such as objects (default: all)")
    rotate.add_argument(
        "--resume", action="store_true", help="make no new version: finish what was interrupted"
    )
    rotate.add_argument(
        "--compromised",
        action="store_true",
        help="the data keys may be known: encrypt the data itself again too",
    )
    for name, text in (
        ("disable", "refuse this version and all older ones until they are enabled"),
        ("enable", "allow this version and all newer ones to unwrap again"),
        (
            "destroy",
            (
                "destroy this version and all older ones for ever; refused while anything is under"
                " them"
            ),
        ),
    ):
        parser_ = action(name, text)
        parser_.add_argument("key", help="such as objects")
        parser_.add_argument("version", type=int, help="its number")
    protect = action(
        "protect",
        "put the file provider's keys under a passphrase, or change it; prints a recovery key once",
    )
    protect.add_argument(
        "passphrase",
        metavar="REF",
        help="reference to the new passphrase: env:NAME, file:PATH or prompt",
    )
    protect.add_argument(
        "--new-recovery",
        action="store_true",
        help="make a new recovery key too: the old one was seen, or is lost",
    )
    recover = action("recover", "set a new passphrase with the recovery key")
    recover.add_argument(
        "recovery", metavar="REF", help="reference to the recovery key: env:NAME or file:PATH"
    )
    recover.add_argument(
        "passphrase",
        metavar="REF",
        help="reference to the new passphrase: env:NAME, file:PATH or prompt",
    )
    shred = action(
        "shred",
        "erase a person: their key is destroyed for ever, and everything kept is looked through for"
        " their identifier",
    )
    shred.add_argument(
        "subject",
        metavar="REF",
        help="reference to the person's identifier: env:NAME, file:PATH or prompt",
    )
    shred.add_argument(
        "--look", action="store_true", help="destroy nothing: say where the identifier can be read"
    )
    shred.add_argument(
        "--blank",
        action="store_true",
        help="also where identifiers were read as numbers: empty every cell that could be theirs",
    )
    migrate = action("migrate", "bring everything under another provider and change casemate.toml")
    migrate.add_argument("provider", choices=("file", "vault", "aws"), help="the new provider")
    for name in SETTINGS:
        migrate.add_argument(f"--{name}", help=f"[keys] {name} of the new provider")
    signer_arguments(
        action("signer", "who signs, who signed before, and a compromise").add_subparsers(
            dest="what", metavar="ACTION", required=True
        )
    )
    certificate_arguments(
        action("certificate", "certificates of the project's own authority").add_subparsers(
            dest="what", metavar="ACTION", required=True
        )
    )
    for name, text in (
        ("backup", "write the key store to one encrypted file"),
        ("restore", "bring the key store back"),
    ):
        parser_ = action(name, text)
        parser_.add_argument("file", type=Path, help="the backup")
        parser_.add_argument(
            "passphrase",
            metavar="REF",
            help="reference to the backup's passphrase: env:NAME, file:PATH or prompt",
        )


def run(arguments: Any) -> int:
    """List, rotate, disable, destroy, protect, move, save and restore keys."""
    if arguments.action in {"recover", "restore"}:
        return _bring_back(arguments)
    project = open_for(arguments)
    return {
        "list": _list,
        "show": _show,
        "rotate": _rotate,
        "disable": _change,
        "enable": _change,
        "destroy": _change,
        "protect": _protect,
        "migrate": _migrate,
        "backup": _backup,
        "shred": shred,
        "signer": sign,
        "certificate": certify,
    }[arguments.action](arguments, project)


def _list(arguments: Any, project: Any) -> int:
    from casemate.cli.output import emit, table

    shown = project.keys.list()
    rows = [
        [
            name,
            "AES-256-GCM",
            ", ".join(
                f"{version.number} {version.state}"
                for version in versions
                if version.state != "destroyed"
            ),
            versions[-1].created[:10] + (" overdue" if name in shown.overdue else ""),
        ]
        for name, versions in shown.keys.items()
    ]
    rows += [["signer", "ECDSA P-256 + ML-DSA-65", shown.signer[:32], ""]]
    rows += [["log", "Ed25519 + ML-DSA-44", shown.log[0].partition("+")[0], ""]]
    rows += [
        [
            "certificate authority",
            "ECDSA P-256",
            f"until {shown.certificate_authority_until[:10]}",
            "",
        ]
    ]
    heads = ["key", "algorithm", "versions or identity", "since"]
    emit(arguments, shown, f"{shown.folder} ({shown.protection})\n" + table(heads, rows))
    return 0


def _show(arguments: Any, project: Any) -> int:
    from casemate.cli.output import emit, table

    value = project.keys.show(arguments.key)
    rows = [[one.number, one.state, one.created, one.wrapped] for one in value]
    emit(arguments, value, table(["version", "state", "since", "data keys under it"], rows))
    return 0


def _rotate(arguments: Any, project: Any) -> int:
    from casemate.cli.output import emit
    from casemate.core.progress import counting

    with counting() as progress:
        done = project.keys.rotate(
            arguments.key,
            compromised=arguments.compromised,
            resume=arguments.resume,
            progress=progress,
        )
    text = [f"{name}: version {number}" for name, number in done.keys.items()]
    text += [f"wrapped anew: {count} in {place}" for place, count in done.rewrapped.items()]
    text += [f"encrypted again: {count} in {place}" for place, count in done.sealed_anew.items()]
    emit(
        arguments,
        done,
        "\n".join(
            [
                *text,
                (
                    "Older versions still unwrap: `casemate keys destroy KEY VERSION` when no"
                    " backup needs them."
                ),
            ]
        ),
    )
    return 0


def _change(arguments: Any, project: Any) -> int:
    from casemate.cli.output import emit

    keys = project.keys
    {"destroy": keys.destroy, "disable": keys.disable, "enable": keys.enable}[arguments.action](
        arguments.key, arguments.version
    )
    emit(
        arguments,
        {"key": arguments.key, "version": arguments.version},
        f"{arguments.key} version {arguments.version}: {arguments.action} done",
    )
    return 0


def _protect(arguments: Any, project: Any) -> int:

    recovery = project.keys.protect(arguments.passphrase, new_recovery=arguments.new_recovery)
    # at once: nothing that fails later may take the recovery key along
    _say_protected(arguments, recovery)
    project.keys.remember_passphrase(arguments.passphrase)
    return 0


def _say_protected(arguments: Any, recovery: str | None) -> None:
    from casemate.cli.output import emit

    text = f"The keys are under the passphrase; casemate.toml reads it from {arguments.passphrase}."
    if recovery:
        text += (
            "\nRecovery key, shown this once and kept nowhere. Print it and lock it"
            f" away:\n\n{recovery}"
        )
    emit(arguments, {"passphrase": arguments.passphrase, "recovery": recovery}, text)


def _migrate(arguments: Any, project: Any) -> int:
    from casemate.cli.output import emit
    from casemate.config import keys_table
    from casemate.core.progress import counting

    table = keys_table(
        {"provider": arguments.provider}
        | {name: value for name in SETTINGS if (value := getattr(arguments, name)) is not None}
    )
    with counting() as progress:
        counts = project.keys.migrate(table, progress)
    text = (
        f"The keys are with the {arguments.provider} provider; {sum(counts.values())} data keys"
        " were wrapped anew and casemate.toml says so."
    )
    if project.keystore.recovery:
        text += (
            "\nRecovery key, shown this once and kept nowhere. Print it and lock it"
            f" away:\n\n{project.keystore.recovery}"
        )
    emit(
        arguments,
        {
            "provider": arguments.provider,
            "rewrapped": counts,
            "recovery": project.keystore.recovery,
        },
        text,
    )
    return 0


def _backup(arguments: Any, project: Any) -> int:
    from casemate.cli.output import emit
    from casemate.core.secrets import read_secret

    project.keys.save(arguments.file, read_secret(arguments.passphrase))
    emit(
        arguments,
        {"file": str(arguments.file)},
        f"{arguments.file}: the key store; keep it apart from backups of the data",
    )
    return 0


def _bring_back(arguments: Any) -> int:
    from casemate.cli.output import emit
    from casemate.config import FILE_NAME, load
    from casemate.controls.keys.savedkeys import recover, restore
    from casemate.core.home import keystore_folder
    from casemate.core.secrets import read_secret

    path = Path(arguments.config)
    folder = keystore_folder(
        load(path if path.is_file() else path / FILE_NAME, arguments.overrides).project.id
    )
    if arguments.action == "recover":
        recover(folder, read_secret(arguments.recovery), read_secret(arguments.passphrase))
        text = "the passphrase was replaced"
    else:
        restore(folder, arguments.file.read_bytes(), read_secret(arguments.passphrase))
        text = f"{folder}: the key store is back"
    overrides = (
        [*arguments.overrides, f"keys.passphrase={arguments.passphrase}"]
        if arguments.action == "recover"
        else arguments.overrides
    )
    project = open_for(arguments, overrides=overrides)
    if arguments.action == "recover":
        project.keys.remember_passphrase(arguments.passphrase)
    else:
        project.publish_keys()
    project.keys.brought_back(arguments.action)
    emit(arguments, {"folder": str(folder)}, text)
    return 0
