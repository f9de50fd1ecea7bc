"""`casemate config`."""

import argparse
from typing import Any

from casemate.cli.commands import open_for
from casemate.cli.options import common


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser(
        "check",
        help="check casemate.toml, the training code's files and the policies",
        parents=[common(nested=True)],
    )
    actions.add_parser(
        "show", help="every option with the value in force", parents=[common(nested=True)]
    )
    actions.add_parser(
        "schema", help="every option with type, default and meaning", parents=[common(nested=True)]
    )


def run(arguments: Any) -> int:
    """Check, show or explain the configuration."""
    import msgspec

    from casemate import config
    from casemate.cli.output import emit

    if arguments.action == "schema":
        emit(arguments, config.schema(), _options())
        return 0

    project = open_for(arguments)
    if arguments.action == "check":
        from casemate.stages.data.files import place
        from casemate.stages.data.files.several import paths
        from casemate.stages.train.training_code import code_files

        files = code_files(project.root, project.config)
        where = place(project.root, project.config.data.source)
        found = [where] if isinstance(where, str) else [path.name for path in paths(where)]
        policies = project.policy.version
        emit(
            arguments,
            {"ok": True, "code": sorted(files), "policies": policies},
            f"OK: casemate.toml, {', '.join(files)}, {', '.join(found[:8])} and the policies",
        )
        return 0
    built = msgspec.to_builtins(project.config)
    emit(arguments, built, "\n".join(_flat(built)))
    return 0


def _flat(value: Any, name: str = "") -> list[str]:
    if isinstance(value, dict) and value:
        return [
            line
            for key, item in value.items()
            for line in _flat(item, f"{name}.{key}" if name else str(key))
        ]
    return [f"{name} = {value!r}"]


def _options() -> str:
    from casemate.config import Config, describe

    lines = []
    for table, option, kind, default, meaning in describe(Config):
        lines.append(f"{table + '.' + option:<28} {kind:<28} {default:<24} {meaning}")
    return "\n".join(lines)
