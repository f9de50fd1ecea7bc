"""`casemate scan`."""

import argparse
from pathlib import Path
from typing import Any

from casemate.cli.options import common

KINDS = {
    "code": "Python files and notebooks",
    "secrets": "passwords, tokens and keys, in files and in git's history",
    "dependencies": "installed packages and lock files, against a signed snapshot of advisories",
    "artifacts": "model files: what they would execute",
    "configuration": "casemate.toml, policies, keys, and rendered files",
    "endpoint": "a gateway that runs: a scratch copy of the project's, made for the scan",
    "all": "what [scan] kinds names: all that is only read, unless it says something else",
}
"""What there is to look at; `core.types.scan.SCANS`, which a light installation need not import."""
FORMS = ("sarif", "sarif-github", "junit", "sonar", "sonar-old", "vex", "json", "html")
"""`operations.scans.exports.FORMS`."""
SOURCES = ("zap", "sonar", "sarif")
"""`operations.scans.reports.SOURCES`."""
LOOKS = "; exit code 1: a finding is graver than may stand; 5: something could not be looked at"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    for kind, help_ in KINDS.items():
        one = actions.add_parser(kind, help=help_ + LOOKS, parents=[common(nested=True)])
        if kind == "endpoint":
            _remote(one)
    list_ = actions.add_parser(
        "list", help="findings, and the scans that they are of", parents=[common(nested=True)]
    )
    list_.add_argument("--gone", action="store_true", help="those too that are not there any more")
    show = actions.add_parser("show", help="one finding", parents=[common(nested=True)])
    waive = actions.add_parser(
        "waive", help="let a finding stand, for a time", parents=[common(nested=True)]
    )
    unwaive = actions.add_parser(
        "unwaive", help="end the waivers of a finding", parents=[common(nested=True)]
    )
    for one in (show, waive, unwaive):
        one.add_argument(
            "finding", help="the beginning of its fingerprint, as `scan list` shows it"
        )
    export = actions.add_parser(
        "export", help="findings as other people's tools take them", parents=[common(nested=True)]
    )
    export.add_argument("file", type=Path, help="to write")
    export.add_argument(
        "--as",
        dest="form",
        choices=FORMS,
        default="sarif",
        help=(
            "sarif: what is waived is suppressed; sarif-github: it is left out; junit; sonar: generic"
            " issues of SonarQube 10.3 and later; sonar-old: of earlier ones; vex: CycloneDX, of"
            " dependencies; json; html: a page (default: sarif)"
        ),
    )
    _reports(actions)
    _advisories(actions)
    waive.add_argument("--until", required=True, help="when it ends, such as 2027-01-31")
    waive.add_argument("--reason", required=True, help="why, for the record")


def _reports(actions: Any) -> None:
    take = actions.add_parser(
        "import",
        help="take in a report of somebody else's scanner" + LOOKS,
        parents=[common(nested=True)],
    )
    take.add_argument("file", type=Path, help="the report, below 32 MiB")
    take.add_argument(
        "--from",
        dest="source",
        choices=SOURCES,
        required=True,
        help=(
            "zap: traditional JSON or XML; sonar: generic issues, or an answer of api/issues/search"
            " or api/qualitygates/project_status; sarif: SARIF 2.1.0"
        ),
    )
    plan = actions.add_parser(
        "plan",
        help="write a plan by which ZAP looks at a gateway, for `scan import`",
        parents=[common(nested=True)],
    )
    plan.add_argument("file", type=Path, help="to write, such as zap.yaml")
    plan.add_argument(
        "--target",
        required=True,
        metavar="URL",
        help="the gateway that you may attack, such as https://staging.example.org",
    )
    plan.add_argument(
        "--minutes", type=int, default=15, help="that the active scan may take (default: 15)"
    )
    plan.add_argument(
        "--rate", type=int, default=20, help="requests a second at most (default: 20)"
    )
    plan.add_argument(
        "--passive", action="store_true", help="attack nothing: send what OpenAPI describes"
    )
    plan.add_argument(
        "--reports",
        default="/zap/wrk",
        metavar="FOLDER",
        help="where ZAP writes its report (default: /zap/wrk, of its container)",
    )
    plan.add_argument(
        "--certificate",
        type=Path,
        metavar="FILE",
        help="PKCS #12 file for mutual TLS; a second file, .properties, tells ZAP of it",
    )
    actions.add_parser(
        "sonar",
        help="ask the SonarQube server of [scan.sonar] for its quality gate and issues" + LOOKS,
        parents=[common(nested=True)],
    )


def _remote(parser: Any) -> None:
    parser.add_argument("--target", metavar="URL", help="a gateway that others use, instead")
    parser.add_argument(
        "--consent", metavar="REASON", default="", help="with --target: why, for the record"
    )
    parser.add_argument(
        "--as",
        dest="callers",
        metavar="KIND:NAME=REFERENCE",
        action="append",
        default=[],
        help="with --target: a token of Service:NAME or User:NAME, as env:NAME or file:PATH",
    )
    parser.add_argument(
        "--ca", metavar="FILE", default="", help="with --target: its authority's certificate"
    )


def _advisories(actions: Any) -> None:
    parser = actions.add_parser(
        "advisories", help="the snapshot of advisories", parents=[common(nested=True)]
    )
    what = parser.add_subparsers(dest="what", metavar="WHAT", required=True)
    what.add_parser("show", help="which one is here", parents=[common(nested=True)])
    for name, help_ in (
        ("import", "take one in, signed by whom [scan] advisories_keys names"),
        ("sign", "sign one for projects that trust this one's keys: FILE.sig appears"),
    ):
        one = what.add_parser(name, help=help_, parents=[common(nested=True)])
        one.add_argument("file", type=Path, help="a zip file of OSV entries")


def run(arguments: Any) -> int:
    """Look, list, show or waive."""
    from casemate.cli.scan import acts, views

    action = arguments.action or "all"
    if action in KINDS:
        return views.scan(arguments, action)
    chosen = {
        "list": views.listing,
        "show": views.show,
        "export": acts.export,
        "import": views.reported,
        "sonar": views.reported,
        "plan": acts.plan,
        "waive": acts.waive,
        "unwaive": acts.unwaive,
        "advisories": acts.advisories,
    }[action]
    return chosen(arguments)
