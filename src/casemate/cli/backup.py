"""`casemate backup`."""

import argparse
from pathlib import Path
from typing import Any

from casemate.cli.commands import open_for
from casemate.cli.options import common

REF = "env:NAME, file:PATH or prompt"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    def action(name: str, text: str) -> argparse.ArgumentParser:
        return actions.add_parser(name, help=text, parents=[common(nested=True)])

    create = action(
        "create", "write an encrypted backup for the project's recipients, while runs go on"
    )
    create.add_argument(
        "--with-keys",
        action="store_true",
        help="the key store too, in FILE.keys, for recipients that may open keys",
    )
    verify = action("verify", "read a backup to its end and check every file in it")
    restore = action("restore", "bring a project back into a new folder and check it")
    subjects = action("subjects", "bring the subjects' keys back into a restored project")
    for parser_ in (create, verify, restore, subjects):
        parser_.add_argument("file", type=Path, help="the backup")
    for parser_ in (verify, restore, subjects):
        parser_.add_argument(
            "--identity",
            metavar="REF",
            action="append",
            default=[],
            help="reference to a recipient's private key: env:NAME or file:PATH",
        )
        parser_.add_argument(
            "--passphrase", metavar="REF", help=f"reference to a recipient's passphrase: {REF}"
        )
    restore.add_argument("folder", type=Path, help="new folder for the project")
    restore.add_argument(
        "--owner",
        action="store_true",
        help=(
            "make this machine's user an owner: for whoever may open the keys, where nobody is"
            " known"
        ),
    )
    restore.add_argument(
        "--code",
        metavar="REF",
        help=f"reference to a code of a second factor, where policy asks for one: {REF}",
    )
    keygen = action(
        "keygen", "make a recipient's key pair: FILE is for its holder, FILE.pub for the project"
    )
    keygen.add_argument("file", type=Path, help="new file for the private key")
    _recipients(
        action("recipients", "who can open backups").add_subparsers(
            dest="what", metavar="ACTION", required=True
        )
    )


def _recipients(actions: Any) -> None:
    actions.add_parser(
        "list", help="everybody whom backups are sealed to", parents=[common(nested=True)]
    )
    add = actions.add_parser(
        "add", help="seal to one more from now on", parents=[common(nested=True)]
    )
    add.add_argument("name", help="for people, such as safe or ana")
    way = add.add_mutually_exclusive_group(required=True)
    way.add_argument(
        "--public", type=Path, metavar="FILE", help="the public key that `backup keygen` wrote"
    )
    way.add_argument(
        "--passphrase",
        metavar="REF",
        help=f"no key file: a passphrase opens the backup; reference to it: {REF}",
    )
    add.add_argument(
        "--keys",
        action="store_true",
        help="may open backups of the key store too, and so everything",
    )
    remove = actions.add_parser(
        "remove", help="seal to this one no more", parents=[common(nested=True)]
    )
    remove.add_argument("name", help="as `list` shows it")


def run(arguments: Any) -> int:
    """Create, verify or restore a backup; say who can open them."""
    return {
        "create": _create,
        "verify": _verify,
        "restore": _restore,
        "subjects": _subjects,
        "keygen": _keygen,
        "recipients": _recipient,
    }[arguments.action](arguments)


def _opener(arguments: Any) -> Any:
    from casemate.controls.keys.sealedfile import Opener
    from casemate.core.errors import ConfigError
    from casemate.core.secrets import read_secret

    if arguments.passphrase is None and not arguments.identity:
        raise ConfigError(
            "nothing to open the backup with",
            hint="--identity file:PATH of a recipient's private key, or --passphrase prompt",
        )
    passphrase = None if arguments.passphrase is None else read_secret(arguments.passphrase)
    return Opener(passphrase, [read_secret(one) for one in arguments.identity])


def _emit(arguments: Any, contents: Any, text: str) -> int:
    from casemate.cli.output import emit

    value = {
        "project": contents.project,
        "created": contents.created,
        "entries": contents.entries,
        "files": len(contents.files),
    }
    emit(arguments, value, text)
    return 0


def _create(arguments: Any) -> int:
    from casemate.operations import backup

    project = open_for(arguments)
    contents = project.backups.create(arguments.file, with_keys=arguments.with_keys)
    text = (
        f"{arguments.file}: {len(contents.files)} files, {contents.size} bytes, audit log up to"
        f" entry {contents.entries - 1}; no keys are inside"
    )
    if (people := backup.subjects_of(arguments.file)).is_file():
        text += (
            f"\n{people}: the subjects' keys; keep only the newest such file, so that erasing a"
            " person reaches every backup"
        )
    if (erased := backup.erased_of(arguments.file)).is_file():
        text += (
            f"\n{erased}: who was erased, by keyed digest; keep the newest such file beside every"
            " backup, so that a restore erases them again"
        )
    if arguments.with_keys:
        text += f"\n{backup.keys_of(arguments.file)}: the key store; keep it apart from the data"
    return _emit(arguments, contents, text)


def _verify(arguments: Any) -> int:
    from casemate.operations import backup

    contents = backup.read(arguments.file, _opener(arguments))
    text = (
        f"OK: {contents.project} of {contents.created}, {len(contents.files)} files, audit log up"
        f" to entry {contents.entries - 1}"
    )
    return _emit(arguments, contents, text)


def _restore(arguments: Any) -> int:
    from casemate.core.secrets import read_secret
    from casemate.operations import backup

    code = None if arguments.code is None else read_secret(arguments.code)
    project, contents = backup.restore(
        arguments.file, arguments.folder, _opener(arguments), owner=arguments.owner, code=code
    )
    text = (
        f"restored {contents.project} of {contents.created} to {arguments.folder}; log and"
        " catalogue verify\nNext: casemate fsck"
    )
    if not backup.subjects_of(arguments.file).is_file():
        text += (
            "\nRestored without the subjects' keys (there is no .subjects file beside the backup);"
            " casemate backup subjects brings them"
        )
    if (again := backup.erased_again(project)) is not None:
        text += (
            f"\n{again.people} people who were erased since are erased again; the register of"
            f" erasures ends with {again.newest[:19]} UTC: who was erased later is not known here,"
            " unless the newest .erased file lies beside the backup"
        )
    return _emit(arguments, contents, text)


def _subjects(arguments: Any) -> int:
    from casemate.cli.output import emit

    count = open_for(arguments).backups.restore_subjects(arguments.file, _opener(arguments))
    emit(arguments, {"keys": count}, f"{count} keys are back")
    return 0


def _keygen(arguments: Any) -> int:
    from casemate.cli.output import emit
    from casemate.controls.keys import recipients
    from casemate.core.errors import ConfigError
    from casemate.core.files import write_atomic

    public = arguments.file.with_name(arguments.file.name + ".pub")
    for path in (arguments.file, public):
        if path.exists():
            raise ConfigError(f"{path} exists already", hint="name a new file")
    private, told = recipients.generate()
    write_atomic(arguments.file, private.encode())
    write_atomic(public, told.encode(), mode=0o644)
    fingerprint = recipients.fingerprint(recipients.read_public(told))
    text = (
        f"{arguments.file}: the private key; keep it off this machine\n{public}: give it to the"
        f" project's owner; SHA-256 {fingerprint}"
    )
    emit(
        arguments,
        {"private": str(arguments.file), "public": str(public), "fingerprint": fingerprint},
        text,
    )
    return 0


def _recipient(arguments: Any) -> int:
    from casemate.cli.output import emit, table
    from casemate.core.secrets import read_secret

    project = open_for(arguments)
    if arguments.what == "add":
        public = None if arguments.public is None else arguments.public.read_text(encoding="utf-8")
        passphrase = None if arguments.passphrase is None else read_secret(arguments.passphrase)
        made = project.backups.add_recipient(
            arguments.name, public=public, passphrase=passphrase, keys=arguments.keys
        )
        emit(
            arguments,
            {"name": made.name, "keys": made.keys, "fingerprint": made.fingerprint},
            f"backups are sealed to {made.name} from now on",
        )
    elif arguments.what == "remove":
        project.backups.remove_recipient(arguments.name)
        emit(
            arguments,
            {"removed": arguments.name},
            f"no new backup is sealed to {arguments.name}; those that there are stay open to it",
        )
    else:
        found = project.backups.recipients()
        value = [
            {
                "name": one.name,
                "keys": one.keys,
                "passphrase": one.locked is not None,
                "fingerprint": one.fingerprint,
                "by": one.by,
                "since": one.since,
            }
            for one in found
        ]
        rows = [
            [
                r["name"],
                "data and keys" if r["keys"] else "data",
                "passphrase" if r["passphrase"] else "key file",
                *list(r.values())[3:],
            ]
            for r in value
        ]
        emit(
            arguments,
            value,
            table(["recipient", "opens", "with", "SHA-256", "set by", "since"], rows),
        )
    return 0
