"""`casemate incident`."""

import argparse
from typing import Any

from casemate.cli.options import common

SEVERITIES = ("low", "medium", "high", "critical")
TIME = "2026-11-29T08:00:00Z"
"""An example of a time."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    def add(name: str, help_: str) -> argparse.ArgumentParser:
        return actions.add_parser(name, help=help_, parents=[common(nested=True)])

    def of(name: str, help_: str) -> argparse.ArgumentParser:
        made = add(name, help_)
        made.add_argument("id", type=int, help="number of the incident")
        return made

    listing = add("list", "open incidents, newest first")
    listing.add_argument(
        "--state",
        default="open",
        choices=(
            *("open", "all", "new", "acknowledged", "contained", "recovered", "closed"),
            "reviewed",
        ),
        help="which (default: open)",
    )
    of("show", "one incident: clocks, what happened, alerts")
    alerts = add("alerts", "alerts that stand")
    alerts.add_argument("--all", action="store_true", help="those that ended too")
    _add_steps(of)
    merge = of("merge", "let it be part of another one")
    merge.add_argument("into", type=int, help="number of the other one")
    erase = of("erase", "take what people said on its tickets out of it")
    erase.add_argument(
        "--account", default="", metavar="NAME", help="of the tracker (default: all)"
    )
    mute = add("mute", "announce maintenance: alerts in it open nothing")
    mute.add_argument("--from", dest="since", metavar="TIME", help=f"such as {TIME} (default: now)")
    mute.add_argument("--until", required=True, metavar="TIME", help="its end")
    mute.add_argument(
        "--matching",
        action="append",
        required=True,
        metavar="NAME=VALUE",
        help="name, source or a label, and its value; all of them must fit",
    )
    mute.add_argument("--reason", required=True, metavar="TEXT", help="why")
    export = of("export", "for others, without who did what")
    export.add_argument(
        "--as",
        dest="form",
        default="json",
        choices=("json", "markdown", "ocsf"),
        help="the form (default: json)",
    )
    export.add_argument(
        "--draft", action="store_true", help="drafts of the notices that [incidents] laws want"
    )
    export.add_argument("--out", metavar="FILE", help="where it goes (default: printed)")
    report = add("report", "hear a message of an alerting system")
    report.add_argument("file", help="JSON as Alertmanager or Splunk post it, or our own; - reads")


def _add_steps(of: Any) -> None:
    ack = of("ack", "take it up")
    ack.add_argument("--owner", metavar="NAME", help="who sees to it (default: you)")
    ack.add_argument("--personal-data", action="store_true", help="personal data is concerned")
    ack.add_argument("--aware", metavar="TIME", help="since when the clocks of laws run")
    for name, help_ in (
        ("contain", "it does no more harm"),
        ("recover", "everything works as before"),
    ):
        of(name, help_).add_argument("--how", default="", metavar="TEXT", help="what was done")
    close = of("close", "it is over")
    close.add_argument(
        "--despite", default="", metavar="REASON", help="why, although alerts of it stand"
    )
    review = of("review", "say what was learnt")
    review.add_argument("text", help="a paragraph")
    reopen = of("reopen", "it is not over")
    reopen.add_argument("--reason", required=True, metavar="TEXT", help="why")
    note = of("note", "say something about it")
    note.add_argument("text", help="for everybody who reads it; no personal data")
    note.add_argument(
        "--served", default="", metavar="DUTY", help="a duty that was done, such as gdpr-33"
    )
    note.add_argument("--aware", metavar="TIME", help="since when the clocks of laws run")
    note.add_argument(
        "--personal-data",
        action=argparse.BooleanOptionalAction,
        help="whether personal data is concerned",
    )
    assign = of("assign", "hand it over")
    assign.add_argument("owner", help="a person of the project")
    severity = of("severity", "say how severe it is")
    severity.add_argument("severity", choices=SEVERITIES, help="from now on")
    severity.add_argument("--reason", default="", metavar="TEXT", help="why")


def run(arguments: Any) -> int:
    """Do what the action says."""
    from casemate.cli.incident import acts, views

    action = {**views.VIEWS, **acts.ACTS}[arguments.action]
    return action(arguments)
