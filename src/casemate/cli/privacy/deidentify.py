"""`casemate privacy deidentify`."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from casemate.core.errors import ConfigError

if TYPE_CHECKING:
    from casemate.stages.data.identifiers.deidentify import Deidentified
    from casemate.stages.data.identifiers.groups import Groups

LISTS = ("drop", "quasi", "sensitive")
NUMBERS = {"k": int, "l": int, "t": float, "suppress": float}
WORDS = ("method", "subject", "dates")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the action."""
    parser.add_argument("table", help="the table")
    parser.add_argument(
        "-o", "--out", required=True, metavar="FILE",
        help="the new table: .csv, .csv.gz, .parquet or .arrow",
    )  # fmt: skip
    parser.add_argument("--force", action="store_true", help="write over FILE")
    parser.add_argument("--plan", type=Path, metavar="FILE", help="TOML with any of what follows")
    parser.add_argument("--method", help="safe-harbor (default) or k-anonymity")
    parser.add_argument("--subject", metavar="COLUMN", help="says whose row it is")
    parser.add_argument(
        "--key", metavar="REFERENCE", help="file:PATH or env:NAME, for pseudonyms and moved dates"
    )
    parser.add_argument("--dates", help="year (default), or shift: the same days for a subject")
    parser.add_argument(
        "--pseudonym", action="append", default=[], metavar="COLUMN[=NAME]",
        help="becomes a pseudonym; columns of one NAME join (default: the column's)",
    )  # fmt: skip
    parser.add_argument(
        "--as", dest="said", action="append", default=[], metavar="COLUMN=KIND",
        help="what a column is: a kind of identifier, text or none",
    )  # fmt: skip
    parser.add_argument("--drop", nargs="+", metavar="COLUMN", help="goes, whatever it holds")
    parser.add_argument(
        "--keep", action="append", default=[], metavar="COLUMN=REASON",
        help="why what is still found there may stay; the report says it",
    )  # fmt: skip
    parser.add_argument(
        "--quasi", nargs="+", metavar="COLUMN", help="what others may know of a person"
    )
    parser.add_argument(
        "--sensitive", nargs="+", metavar="COLUMN", help="what they should not learn"
    )
    parser.add_argument("-k", type=int, help="fewest people who share quasi-identifiers (5)")
    parser.add_argument("-l", type=int, help="fewest sensitive values among them (1)")
    parser.add_argument("-t", type=float, help="greatest distance from the table's values (1)")
    parser.add_argument("--suppress", type=float, help="greatest share of rows left out (0.05)")
    parser.add_argument(
        "--header", metavar="NAMES", help="column names, with commas, of text that has none"
    )


def run(arguments: Any) -> int:
    """Write the table; nothing is written where something is still found."""
    from casemate.cli.output import emit
    from casemate.stages.data.identifiers.deidentify import deidentify
    from casemate.stages.data.identifiers.plans import plan_of
    from casemate.stages.data.identifiers.secret import read_key

    names = (*WORDS, *LISTS, *NUMBERS)
    said = {name: value for name in names if (value := getattr(arguments, name)) is not None}
    if arguments.header:
        said["header"] = arguments.header.split(",")
    said["columns"] = _pairs(arguments.said, "--as COLUMN=KIND")
    said["keep"] = _pairs(arguments.keep, "--keep COLUMN=REASON")
    said["pseudonyms"] = _pairs(
        [one if "=" in one else f"{one}={one}" for one in arguments.pseudonym], ""
    )
    key = None if arguments.key is None else read_key(arguments.key)
    plan = plan_of(arguments.plan, said)
    done = deidentify(arguments.table, arguments.out, plan, key, force=arguments.force)
    emit(arguments, done, _text(done))
    return 0


def _pairs(told: list[str], form: str) -> dict[str, str]:
    pairs = {}
    for one in told:
        column, equals, value = one.partition("=")
        if not equals or not column or not value:
            raise ConfigError(f"{one!r} is not written as it should be", hint=f"write {form}")
        pairs[column] = value
    return pairs


def _text(done: "Deidentified") -> str:
    from casemate.cli.output import printable, table

    rows = [
        [
            one.column,
            one.kind,
            one.action + (f", step {one.step}" if one.step else ""),
            one.changed or "",
            one.lost or "",
            "; ".join(
                [*(f"{seen.kind} in {seen.cells} cells" for seen in one.left)]
                + ([f"kept: {one.reason}"] if one.reason else [])
            ),
        ]
        for one in done.columns
    ]
    lines = [
        f"{printable(done.out)}: {done.rows} rows"
        + (f", {done.suppressed} left out" if done.suppressed else "")
        + f" (SHA-256 {done.sha256[:16]}…)",
        table(["column", "taken for", "action", "changed", "now missing", "still there"], rows),
        "",
    ]
    if done.before is not None and done.after is not None:
        lines += [_groups("before", done.before), _groups("after", done.after), ""]
    lines += ["What this does not decide:", *(f"- {what}" for what in done.undecided)]
    return "\n".join(lines)


def _groups(when: str, found: "Groups") -> str:
    figures = [
        f"{found.people} people in {found.groups} groups",
        f"k = {found.k}",
        *(f"l = {value} ({name})" for name, value in found.l.items()),
        *(f"t = {value:.3f} ({name})" for name, value in found.t.items()),
        f"alone {found.unique:.1%}",
        f"mean risk {found.mean_risk:.2%}",
    ]
    return f"{when}: {', '.join(figures)}"
