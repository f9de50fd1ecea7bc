"""`casemate logs rules`."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from casemate.cli.options import common

if TYPE_CHECKING:
    from casemate.watch.rules import Match, Rules


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the action."""
    whats = parser.add_subparsers(dest="what", metavar="ACTION", required=True)

    def what(name: str, text: str) -> argparse.ArgumentParser:
        return whats.add_parser(name, help=text, parents=[common(nested=True)])

    for parser_ in (
        what("check", "say which rules cannot be run, and why; exit code 1 if there is one"),
        what("list", "the rules that run"),
    ):
        parser_.add_argument(
            "folder", nargs="?", help="of .yml files (default: rules in the project's folder)"
        )
    test = what("test", "say what a rule would have matched; exit code 1 if it matched")
    test.add_argument("rule", help="a file, or the id or title of a rule that is listed")
    test.add_argument(
        "--lines", required=True, metavar="FILE", help="lines as JSON, one in a line, oldest first"
    )


def run(arguments: Any) -> int:
    """Do what the action says."""
    return {"check": _check, "list": _list, "test": _test}[arguments.what](arguments)


def _check(arguments: Any) -> int:
    from casemate.cli.output import emit, printable

    rules = _rules(arguments)
    lines = [
        f"{printable(one.file)}: {printable(one.rule or '-')}: {printable(one.reason)}"
        for one in rules.faults
    ]
    lines.append(f"{len(rules.rules)} rules run, {len(rules.faults)} faults")
    emit(arguments, {"run": len(rules.rules), "faults": rules.faults}, "\n".join(lines))
    return 1 if rules.faults else 0


def _list(arguments: Any) -> int:
    from casemate.cli.output import emit, table

    rules = _rules(arguments)
    rows = [
        [
            rule.level if rule.is_told else "",
            rule.title,
            "single lines" if rule.counted is None else rule.counted.kind,
            rule.key,
            rule.file,
        ]
        for rule in rules.rules
    ]
    text = table(["level", "title", "about", "id", "file"], rows)
    if rules.faults:
        text += f"\n{len(rules.faults)} faults: casemate logs rules check"
    emit(arguments, rules.rules, text)
    return 0


def _test(arguments: Any) -> int:
    from casemate.cli.output import emit, printable
    from casemate.core.errors import ConfigError
    from casemate.watch.rules import Rules
    from casemate.watch.rules.examples import read_lines

    path = Path(arguments.rule)
    is_file = path.is_file()
    rules = Rules(path, starter=False) if is_file else _rules(arguments)
    wanted = [one for one in rules.rules if is_file or arguments.rule in (one.key, one.title)]
    faults = [one for one in rules.faults if is_file or one.rule == arguments.rule]
    if faults:
        said = "; ".join(f"{one.rule or one.file}: {one.reason}" for one in faults)
        raise ConfigError(f"it does not run: {said}", hint="casemate logs rules check")
    if not wanted:
        raise ConfigError(f"no rule is called {arguments.rule!r}", hint="casemate logs rules list")
    keys = {one.key for one in wanted}
    found = []
    for batch in read_lines(Path(arguments.lines)):
        found += [one for one in rules.judge(batch) if one.rule.key in keys]
        if rules.faults:
            said = "; ".join(one.reason for one in rules.faults)
            raise ConfigError(f"it could not be asked: {said}", hint="narrow the rule")
    lines = [printable(_told(one)) for one in found] or ["no line matched"]
    if not any(one.is_told for one in wanted):
        lines.append("it only counts for correlations, so it tells of no match of its own")
    emit(arguments, found, "\n".join(lines))
    return 1 if found else 0


def _told(match: "Match") -> str:
    of = ", ".join(f"{field} {value}" for field, value in match.group.items())
    return (
        f"{match.rule.level} {match.rule.title}{f' ({of})' if of else ''}: {match.count}, from"
        f" {match.first} to {match.last}: {', '.join(match.lines)}"
    )


def _rules(arguments: Any) -> "Rules":
    """Those that ship, and the folder's."""
    from casemate.operations.watching.ruled import FOLDER
    from casemate.watch.rules import Rules

    if getattr(arguments, "folder", None) is not None:
        return Rules(Path(arguments.folder))
    place = Path(arguments.config)
    folder = (place if place.is_dir() else place.parent) / FOLDER
    return Rules(*([folder] if folder.is_dir() else []))
