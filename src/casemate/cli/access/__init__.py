"""`casemate access`."""

import argparse
from pathlib import Path
from typing import Any

from casemate.cli.commands import name_of, open_for
from casemate.cli.options import common

HOUR = "1h"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    def action(name: str, help_: str, under: Any = actions) -> argparse.ArgumentParser:
        made: argparse.ArgumentParser = under.add_parser(
            name, help=help_, parents=[common(nested=True)]
        )
        return made

    def group(name: str, help_: str) -> Any:
        return action(name, help_).add_subparsers(dest="what", metavar="ACTION", required=True)

    action("whoami", "who acts now, with which roles")
    login = action("login", "begin a session: 15 minutes, renewed by use, 8 hours at most")
    login.add_argument(
        "name", nargs="?", help="a local account (default: the user of this machine)"
    )
    login.add_argument("--password", metavar="REF", help="prompt, env:NAME or file:PATH")
    login.add_argument(
        "--code", metavar="REF", help="code of the second factor: prompt, env:NAME or file:PATH"
    )
    login.add_argument(
        "--provider", metavar="NAME", help="log in through an OpenID provider of [access.providers]"
    )
    login.add_argument(
        "--device",
        action="store_true",
        help="with --provider: type a code on another device, where this one has no browser",
    )
    action("logout", "end the session")
    action("step-up", "prove the second factor within the session").add_argument(
        "--code", metavar="REF", default="prompt", help="prompt, env:NAME or file:PATH"
    )
    action("list", "every principal")
    action("actions", "every action that policies speak of")
    _people(group, action)
    _machines(group, action)
    _policies(group, action)
    glass = action(
        "break-glass", "emergency access: told to everybody concerned, reviewed by somebody else"
    )
    glass.add_argument("--reason", required=True, help="why, for the review")
    glass.add_argument(
        "--for", dest="lifetime", default=HOUR, help="how long, at most 4h (default: 1h)"
    )
    finding = group("finding", "access that is not as usual")
    action("list", "what is open", finding).add_argument(
        "--all", action="store_true", help="what was closed or has ended too"
    )
    harmless = action("close", "say that one was harmless or dealt with", finding)
    harmless.add_argument("id", help="of the finding")
    harmless.add_argument("--reason", required=True, help="why")
    review = group("review", "what nobody uses, who is stale, which emergencies wait")
    report = action("report", "the access review", review)
    report.add_argument("--days", type=int, default=90, help="period (default: 90)")
    close = action("close", "close the review of an emergency access", review)
    close.add_argument("id", help="of the emergency access")
    close.add_argument("--finding", required=True, help="what it was worth")


def _people(group: Any, action: Any) -> None:
    user = group("user", "people")
    add = action("add", "register a person", user)
    add.add_argument("name", help="of the account, or of a user of this machine")
    add.add_argument(
        "--role", action="append", default=[], help="what they are; may be given again"
    )
    add.add_argument("--password", metavar="REF", help="prompt, env:NAME or file:PATH")
    add.add_argument(
        "--account", metavar="'ISSUER ACCOUNT'", help="their account at an OpenID provider"
    )
    password = action("password", "set a password; every session of that person ends", user)
    password.add_argument("name", help="whose")
    password.add_argument(
        "--password",
        metavar="REF",
        default="prompt",
        help="the new one: prompt, env:NAME or file:PATH",
    )
    password.add_argument("--current", metavar="REF", help="one's own present one")
    action("disable", "let a person act no more", user).add_argument("name", help="who")
    for name, help_ in (
        ("suspend", "let nobody act as a person or a service until resume"),
        ("resume", "let a suspended person or service act again"),
    ):
        one = action(name, help_)
        one.add_argument("principal", metavar="PRINCIPAL", help='User::"NAME" or Service::"NAME"')
        one.add_argument("--reason", required=True, help="why, for the record")
    role = group("role", "roles, for good or on loan")
    action("list", "every role", role)
    define = action("define", "make a role out of others", role)
    define.add_argument("role", help="its name")
    define.add_argument(
        "--include", action="append", default=[], help="a role that it includes; may be given again"
    )
    for name, help_ in (
        ("grant", "give a person a role for good"),
        ("withdraw", "take a role from a person"),
    ):
        change = action(name, help_, role)
        change.add_argument("name", help="who")
        change.add_argument("role", help="what")
    lend = action("delegate", "lend a person a role that you have", role)
    lend.add_argument("name", help="who")
    lend.add_argument("role", help="what")
    lend.add_argument("--reason", required=True, help="why")
    lend.add_argument(
        "--for", dest="lifetime", default="7d", help="how long, at most 30d (default: 7d)"
    )
    factor = group("factor", "second factors")
    action("add", "enrol a time-based factor; its secret is shown once", factor).add_argument(
        "kind", choices=["totp"], help="RFC 6238"
    )
    action(
        "confirm", "let it count, with its first code; shows recovery codes once", factor
    ).add_argument("--code", metavar="REF", default="prompt", help="prompt, env:NAME or file:PATH")
    action("list", "how many you have", factor)
    action("remove", "forget the factors of a person who has lost them", factor).add_argument(
        "name", help="who"
    )
    session = group("session", "sessions of people")
    action("list", "live ones", session)
    action("end", "end one, wherever it is used", session).add_argument(
        "id", help="the session's id"
    )


def _machines(group: Any, action: Any) -> None:
    token = group("token", "tokens of services")
    create = action("create", "make one; it is shown once", token)
    create.add_argument("service", help="name of the service")
    create.add_argument(
        "--role", action="append", help="client (default), analyst, monitor, alerter, auditor"
    )
    create.add_argument("--model", action="append", help="models it may ask (default: all)")
    create.add_argument("--days", type=float, default=30.0, help="lifetime (default: 30)")
    create.add_argument(
        "--action",
        action="append",
        default=[],
        dest="only",
        help="only this action; may be given again",
    )
    create.add_argument(
        "--network",
        action="append",
        default=[],
        help="only from this network, CIDR; may be given again",
    )
    create.add_argument("--rate", type=int, help="requests a minute")
    create.add_argument("--certificate", type=Path, help="only with this client certificate (PEM)")
    create.add_argument("--out", type=Path, help="write it there, 0600, instead of printing it")
    action("list", "every token, without its secret", token)
    action("revoke", "make one useless", token).add_argument("id", help="the token's id")
    service = group("service", "services")
    add = action("add", "register one that needs no token", service)
    add.add_argument("name", help="of the service")
    add.add_argument(
        "--role", action="append", help="client (default), analyst, monitor, alerter, auditor"
    )
    add.add_argument("--model", action="append", help="models it may ask (default: all)")
    add.add_argument(
        "--certificate",
        action="store_true",
        help="a client certificate of its name stands for it; else [access.workloads] does",
    )
    action("list", "every service with its roles and models", service)
    action("remove", "forget one with all its tokens", service).add_argument(
        "name", help="of the service"
    )


def _policies(group: Any, action: Any) -> None:
    policy = group("policy", "the policies in force")
    show = action("show", "the shipped ones and the project's own as applied", policy)
    show.add_argument("--own", action="store_true", help="only the project's own")
    action("history", "who applied what when", policy)
    action("schema", "every word that a policy may use", policy)
    action("apply", "put what lies in the folder in force", policy)
    for name, help_ in (
        ("explain", "why somebody may or may not do something"),
        ("who-can", "everybody who may do something"),
    ):
        asked = action(name, help_)
        if name == "explain":
            asked.add_argument("principal", help="a user's name, User::NAME or Service::NAME")
            asked.add_argument(
                "--role", action="append", help="with these roles instead; may be given again"
            )
        asked.add_argument("asked", metavar="ACTION", help="such as model:export")
        asked.add_argument(
            "resource",
            nargs="?",
            default="Project",
            help="such as Model::wdbc (default: the project)",
        )
        asked.add_argument("--at", help="at this time, RFC 3339")
        asked.add_argument("--from", dest="network", help="from this address")
        asked.add_argument("--purpose", help="for this purpose")
        asked.add_argument("--mfa-age", type=int, help="seconds since the second factor was used")
        asked.add_argument("--device", help="with this posture")
        asked.add_argument("--environment", help="in this environment")
        asked.add_argument("--risk", type=int, default=0, help="at this risk, 0 to 100")
        asked.add_argument(
            "--column-class",
            choices=["general", "sensitive", "identifier"],
            help="for dataset:read",
        )
        asked.add_argument("--stage", help="for model:sign and model:approve")
        for person in ("trainer", "steward", "subject"):
            asked.add_argument(f"--{person}", help="a user's name, where the action knows one")
    action("test", "check a table of expectations; exit code 1 when one is not met").add_argument(
        "file", type=Path, help="TOML, [[expect]] rows"
    )


def run(arguments: Any) -> int:
    """Show or change access."""
    from casemate.cli.access import login, people, policies, review, services

    if (
        arguments.action in ("actions", "policy")
        and getattr(arguments, "what", "schema") == "schema"
    ):
        return policies.words(arguments)
    verbs = login.VERBS | people.VERBS | services.VERBS | policies.VERBS | review.VERBS
    return verbs[name_of(arguments).removeprefix("access ")](arguments, open_for(arguments))
