"""Options that every command takes, wherever on the line they stand, and what is printed of a
fault.
"""

import argparse
from collections.abc import Sequence
from typing import NoReturn

from casemate.core.errors import ConfigError, Error
from casemate.core.text import clean

THEN = "--then"
"""What stands before another program's words."""
WAITING = 6
"""Exit code of what is done as far as it can be now, and waits for something that it names."""


def common(*, nested: bool = False) -> argparse.ArgumentParser:
    """A parent parser; `nested` ones keep what an outer parser has read."""
    parser = argparse.ArgumentParser(add_help=False)

    def default(value: object) -> object:
        return argparse.SUPPRESS if nested else value

    parser.add_argument(
        "--config",
        default=default("."),
        metavar="PATH",
        help="the project's folder or casemate.toml (default: here)",
    )
    parser.add_argument(
        "-s",
        dest="overrides",
        action="append",
        default=default([]),
        metavar="TABLE.KEY=VALUE",
        help="override one option",
    )
    parser.add_argument(
        "--format",
        choices=("text", "json"),
        default=default("text"),
        help="how to print (default: text)",
    )
    return parser


def anywhere(argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """What the options that every command takes say, and the other words: before the verb, behind
    it, in between. The words behind `verify … --then` are another program's: they are `then`, and
    nothing here reads them.
    """
    command: list[str] | None = None
    if THEN in argv and "verify" in argv[: argv.index(THEN)]:
        cut = argv.index(THEN)
        argv, command = argv[:cut], [*argv[cut + 1 :]]
    usage = (
        "casemate [-h] [--version] [--config PATH] [-s TABLE.KEY=VALUE] [--format {text,json}]"
        " VERB ..."
    )
    parser = argparse.ArgumentParser(
        prog="casemate", usage=usage, parents=[common()], add_help=False, allow_abbrev=False
    )
    shared, rest = parser.parse_known_args(argv)
    shared.then = command
    return shared, rest


def as_json(error: Error) -> str:
    """A fault as one line of JSON: `{"error": {"code", "message", "hint", "who", "exit_code"}}`."""
    import msgspec

    said = {
        "code": error.code,
        "message": clean(error.message, lines=True),
        "hint": clean(error.hint, lines=True),
        "who": error.who,
    }
    return msgspec.json.encode({"error": said | {"exit_code": error.exit_code}}).decode()


class JsonParser(argparse.ArgumentParser):
    """Says in JSON what is wrong with a command line."""

    def error(self, message: str) -> NoReturn:
        """Print the fault and exit with 2, as argparse does."""
        self.exit(
            2, as_json(ConfigError(message, hint=" ".join(self.format_usage().split()))) + "\n"
        )
