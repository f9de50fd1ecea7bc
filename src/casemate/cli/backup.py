"""`casemate backup`."""

import argparse
from pathlib import Path
from typing import Any

from casemate.cli.doors import enter
from casemate.cli.options import common


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    create = actions.add_parser("create", help="write one encrypted file, keys included, while runs go on", parents=[common(nested=True)])
    verify = actions.add_parser("verify", help="read a backup to its end and check every file in it", parents=[common(nested=True)])
    restore = actions.add_parser("restore", help="bring a project back into a new folder and check it", parents=[common(nested=True)])
    subjects = actions.add_parser("subjects", help="bring the subjects' keys back into a restored project", parents=[common(nested=True)])
    for action in (create, verify, restore, subjects):
        action.add_argument("file", type=Path, help="the backup")
        action.add_argument("--passphrase", metavar="REF", required=True, help="reference to the passphrase: env:NAME or file:PATH")
    restore.add_argument("folder", type=Path, help="new folder for the project")


def run(arguments: Any) -> int:
    """Create, verify or restore a backup."""
    from casemate import backup
    from casemate.cli.output import emit
    from casemate.core.secrets import read_secret

    passphrase = read_secret(arguments.passphrase)
    if arguments.action == "create":
        project = enter(arguments)
        principal = project.authorise("backup:create", file=arguments.file.name)
        contents = backup.create(project, arguments.file, passphrase)
        project.audit.record(
            principal.uid, "backup:created", f'Project::"{contents.project}"', "done", entries=contents.entries, files=len(contents.files)
        )
        text = f"{arguments.file}: {len(contents.files)} files, {contents.size} bytes, audit log up to entry {contents.entries - 1}; keys are inside"
        if (people := backup.subjects_of(arguments.file)).is_file():
            text += f"\n{people}: the subjects' keys; keep only the newest such file, so that erasing a person reaches every backup"
    elif arguments.action == "verify":
        contents = backup.read(arguments.file, passphrase)
        text = f"OK: {contents.project} of {contents.created}, {len(contents.files)} files, audit log up to entry {contents.entries - 1}"
    elif arguments.action == "subjects":
        project = enter(arguments)
        principal = project.authorise("backup:restore", file=arguments.file.name)
        count = backup.restore_subjects(project, arguments.file, passphrase)
        project.audit.record(principal.uid, "backup:subjects", f'Project::"{project.config.project.id}"', "done", keys=count)
        emit(arguments, {"keys": count}, f"{count} keys are back")
        return 0
    else:
        project, contents = backup.restore(arguments.file, arguments.folder, passphrase)
        principal = project.authorise("backup:restore", created=contents.created)
        text = f"restored {contents.project} of {contents.created} to {arguments.folder}; log and catalogue verify\nNext: casemate fsck"
        if not backup.subjects_of(arguments.file).is_file():
            text += "\nRestored without the subjects' keys (there is no .subjects file beside the backup); casemate backup subjects brings them"
    emit(arguments, {"project": contents.project, "created": contents.created, "entries": contents.entries, "files": len(contents.files)}, text)
    return 0
