"""`casemate deploy`."""

import argparse
from pathlib import Path
from typing import Any

from casemate.cli import deploying
from casemate.cli.options import common


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    from casemate.deploy.targets import TARGETS

    actions = parser.add_subparsers(dest="action", metavar="TARGET", required=True)
    for name, target in TARGETS.items():
        one = actions.add_parser(name, help=target.help, parents=[common(nested=True)])
        one.add_argument("folder", help="where the files go")
        for option in target.options:
            one.add_argument(
                f"--{option.name}",
                metavar=option.metavar,
                default=option.default,
                help=option.help,
            )
        one.add_argument("--replace", action="store_true", help="write over files that differ")
    check = actions.add_parser(
        "check",
        help="whether rendered files say what the project says, and may be used",
        parents=[common(nested=True)],
    )
    check.add_argument("folder", help="where they are")
    status = actions.add_parser(
        "status",
        help="what was rendered where, of which model, and what was edited since",
        parents=[common(nested=True)],
    )
    status.add_argument(
        "folders", nargs="*", metavar="folder", help="where to look (default: below the project)"
    )
    deploying.add_place(status)
    deploying.add_arguments(actions)


def run(arguments: Any) -> int:
    """Render files, look at some, or bring them where they run; exit code 1 when `check` finds some
    that must not be used, and when `drift` finds any.
    """
    if arguments.action == "check":
        return _check(arguments)
    if arguments.action in deploying.RUN:
        return deploying.RUN[arguments.action](arguments)
    if arguments.action == "status":
        return (
            deploying.running(arguments) if deploying.is_placed(arguments) else _status(arguments)
        )
    from casemate.cli.output import emit
    from casemate.config import locate
    from casemate.deploy.files import write
    from casemate.deploy.interface import Given
    from casemate.deploy.targets import TARGETS

    root, config = locate(arguments.config, arguments.overrides)
    target, folder = TARGETS[arguments.action], Path(arguments.folder)
    given = {option.name: getattr(arguments, option.name) for option in target.options}
    options = {name: value for name, value in given.items() if value is not None}
    rendering = target.render(Given(config, root, folder, options))
    done = write(
        folder,
        arguments.action,
        rendering.files,
        options,
        model=rendering.model,
        replace=arguments.replace,
    )
    lines = [f"{done.folder}: {len(done.written)} files written, {len(done.kept)} as they were"]
    if done.edited:
        lines.append(f"with lines of your own: {', '.join(done.edited)}")
    if done.removed:
        lines.append(f"removed, rendered no more: {', '.join(done.removed)}")
    lines += [*rendering.notes, f"Next: {done.folder}/{target.next}"]
    emit(arguments, done, "\n".join(lines))
    return 0


def _check(arguments: Any) -> int:
    from casemate.cli.output import emit, table
    from casemate.config import locate
    from casemate.deploy.checking import judge

    root, config = locate(arguments.config, arguments.overrides)
    judged = judge(config, root, Path(arguments.folder))
    unsound = [one for one in judged if not one.sound]
    lines = [table(["file", "", "for"], [[one.file, one.how, one.target] for one in judged])]
    lines += [f"UNSAFE: {one.file}: {danger}" for one in judged for danger in one.dangers]
    if again := sorted({one.target for one in unsound if not one.dangers}):
        lines += ["", *(f"Next: casemate deploy {one} {arguments.folder}" for one in again)]
    emit(arguments, judged, "\n".join(lines))
    return 1 if unsound else 0


def _status(arguments: Any) -> int:
    from casemate.cli.output import emit, table
    from casemate.config import locate
    from casemate.deploy.checking import held, rendered_folders

    folders = [Path(folder) for folder in arguments.folders]
    if not folders:
        folders = list(rendered_folders(locate(arguments.config, arguments.overrides)[0]))
    found = [one for folder in folders for one in held(folder)]
    rows = [
        [
            one.folder,
            one.target,
            one.model or "any",
            one.files,
            ", ".join(one.edited),
            ", ".join(one.missing),
        ]
        for one in found
    ]
    heads = ["folder", "target", "model", "files", "edited", "missing"]
    emit(arguments, found, table(heads, rows) if rows else "nothing was rendered here")
    return 0
