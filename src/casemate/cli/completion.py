"""`casemate completion bash|zsh|fish`."""

import argparse
from pathlib import Path
from typing import Any

SHELLS = {
    "bash": 'in ~/.bashrc: eval "$(casemate completion bash)"',
    "zsh": "casemate completion zsh > ~/.zfunc/_casemate, with ~/.zfunc in fpath",
    "fish": "casemate completion fish > ~/.config/fish/completions/casemate.fish",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("shell", choices=tuple(SHELLS), help="; ".join(SHELLS.values()))


def run(arguments: Any) -> int:
    """Print the shell's script for every verb and option."""
    import shtab

    from casemate.cli import build_parser
    from casemate.cli.output import emit

    parser = build_parser()
    _files(parser)
    script = shtab.complete(parser, arguments.shell)
    emit(arguments, {"shell": arguments.shell, "script": script}, script)
    return 0


def _files(parser: argparse.ArgumentParser) -> None:
    """Let the shell offer files where a path is wanted."""
    import shtab

    for action in parser._actions:  # noqa: SLF001 - shtab reads them there, and argparse has no other place for them
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for inner in action.choices.values():
                _files(inner)
        elif action.type is Path or action.dest == "config":
            vars(action)["complete"] = shtab.FILE
