"""`casemate access`."""

import argparse
import datetime
from pathlib import Path
from typing import Any

from casemate.cli.options import common

MAX_DAYS = 3650


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser("whoami", help="who acts now, with which roles", parents=[common(nested=True)])
    actions.add_parser("list", help="every principal", parents=[common(nested=True)])
    token = actions.add_parser("token", help="tokens of services", parents=[common(nested=True)]).add_subparsers(
        dest="token", metavar="ACTION", required=True
    )
    create = token.add_parser("create", help="make one; it is shown once", parents=[common(nested=True)])
    create.add_argument("service", help="name of the service")
    create.add_argument("--role", action="append", help="client (default), monitor, auditor")
    create.add_argument("--model", action="append", help="models it may ask (default: all)")
    create.add_argument("--days", type=float, default=30.0, help="lifetime (default: 30)")
    create.add_argument("--out", type=Path, help="write it there, 0600, instead of printing it")
    token.add_parser("list", help="every token, without its secret", parents=[common(nested=True)])
    token.add_parser("revoke", help="make one useless", parents=[common(nested=True)]).add_argument("id", help="the token's id")


def run(arguments: Any) -> int:
    """Show or change access."""
    from casemate.cli.output import emit, table
    from casemate.project import open_project

    project = open_project(arguments.config, arguments.overrides)
    if arguments.action == "whoami":
        me = project.access.identify().principal
        emit(arguments, {"principal": me.uid, "roles": list(me.roles)}, f"{me.uid}, roles: {', '.join(me.roles)}")
    elif arguments.action == "list":
        found = [{"principal": p.uid, "roles": list(p.roles), "models": list(p.models)} for p in project.access.directory.principals()]
        emit(
            arguments,
            found,
            table(["principal", "roles", "models"], [[f["principal"], ", ".join(f["roles"]), ", ".join(f["models"])] for f in found]),
        )
    elif arguments.token == "create":
        return _create(arguments, project)
    elif arguments.token == "list":
        tokens = project.access.tokens.all()
        emit(arguments, tokens, table(["id", "service", "expires", "revoked"], [[t["id"], t["service"], t["expires"], t["revoked"]] for t in tokens]))
    else:
        principal = project.authorise("token:revoke")
        with project.store.transaction() as tx:
            project.access.tokens.revoke(tx, arguments.id)
            project.audit.append(tx, principal.uid, "token:revoke", f'Token::"{arguments.id}"', "done", {})
        project.audit.publish()
        emit(arguments, {"revoked": arguments.id}, f"revoked {arguments.id}; running gateways refuse it within a second")
    return 0


def _create(arguments: Any, project: Any) -> int:
    from casemate.cli.output import emit
    from casemate.core.errors import ConfigError
    from casemate.core.files import write_atomic

    if arguments.out and arguments.out.exists():
        raise ConfigError(f"{arguments.out} exists already", hint="name a new file")
    if not 0 < arguments.days <= MAX_DAYS:
        raise ConfigError(f"--days {arguments.days:g}: a token lives more than 0 and at most {MAX_DAYS} days")
    principal = project.authorise("token:create")
    roles, models = arguments.role or ["client"], arguments.model or ["*"]
    lifetime = datetime.timedelta(days=arguments.days)
    with project.store.transaction() as tx:
        token, identifier = project.access.tokens.create(tx, arguments.service, roles, models, lifetime)
        detail = {"token": identifier, "roles": roles, "models": models, "days": arguments.days}
        project.audit.append(tx, principal.uid, "token:create", f'Service::"{arguments.service}"', "done", detail)
        if arguments.out:
            write_atomic(arguments.out, token.encode() + b"\n")
    project.audit.publish()
    if arguments.out:
        emit(arguments, {"id": identifier, "file": str(arguments.out)}, f"token {identifier} written to {arguments.out}")
    else:
        emit(arguments, {"id": identifier, "token": token}, token)
    return 0
