"""People and roles."""

from typing import Any


def _list(arguments: Any, project: Any) -> int:
    from casemate.cli.output import emit, table

    directory, accounts = project.access.directory, project.access.accounts.known()
    live = {(p.kind, p.name): p for p in directory.principals()}
    found = []
    for row in directory.rows():
        principal = live.get((row["kind"], row["name"]))
        account = accounts.get(row["name"], {}) if row["kind"] == "User" else {}
        found.append(
            {
                "principal": f'{row["kind"]}::"{row["name"]}"',
                "roles": list(principal.roles) if principal else [],
                "models": row["models"],
                "second_factor": bool(principal and principal.mfa),
                "password": bool(account),
                "disabled": row["disabled"],
                "locked": account.get("locked"),
            }
        )
    rows = [
        [
            f["principal"],
            ", ".join(f["roles"]),
            ", ".join(f["models"]),
            "yes" if f["second_factor"] else "",
            "disabled" if f["disabled"] else f"locked until {f['locked'][:16]}" if f["locked"] else "",
        ]
        for f in found
    ]
    emit(arguments, found, table(["principal", "roles", "models", "second factor", ""], rows))
    return 0


def _user_add(arguments: Any, project: Any) -> int:
    from casemate.cli.access.login import ask
    from casemate.cli.output import emit

    password = ask(arguments.password, project, f"Password for {arguments.name}") if arguments.password else None
    made = project.access.admin.add_user(arguments.name, arguments.role, password, arguments.account)
    how = f"casemate access login {made.name} --password prompt" if password else "they act as the user of that name on this machine"
    how = "casemate access login --provider NAME" if arguments.account else how
    emit(arguments, {"principal": made.uid, "roles": list(made.roles)}, f"{made.uid}, roles: {', '.join(made.roles) or 'none'}; {how}")
    return 0


def _user_password(arguments: Any, project: Any) -> int:
    from casemate.cli.access.login import ask
    from casemate.cli.output import emit

    current = ask(arguments.current, project, "Present password") if arguments.current else None
    project.access.admin.set_password(arguments.name, ask(arguments.password, project, f"New password of {arguments.name}"), current)
    emit(arguments, {"user": arguments.name}, f"the password of {arguments.name} is set; sessions of {arguments.name} are over")
    return 0


def _user_disable(arguments: Any, project: Any) -> int:
    from casemate.cli.output import emit

    project.access.admin.disable_user(arguments.name)
    emit(arguments, {"disabled": arguments.name}, f"{arguments.name} acts no more, on every server within a second")
    return 0


def _role_list(arguments: Any, project: Any) -> int:
    from casemate.cli.output import emit, table
    from casemate.controls.access.policy import shipped_roles

    own = project.access.directory.roles()
    held: dict[str, list[str]] = {}
    for principal in project.access.directory.principals():
        for role in principal.roles:
            held.setdefault(role, []).append(principal.name)
    value = [
        {"role": role, "shipped": role not in own, "includes": list(own.get(role, ())), "held_by": held.get(role, [])}
        for role in sorted({*shipped_roles(), *own})
    ]
    rows = [[v["role"], "" if v["shipped"] else "own", ", ".join(v["includes"]), ", ".join(v["held_by"])] for v in value]
    emit(arguments, value, table(["role", "", "includes", "held by"], rows))
    return 0


def _role_define(arguments: Any, project: Any) -> int:
    from casemate.cli.output import emit

    project.access.admin.define_role(arguments.role, arguments.include)
    emit(
        arguments, {"role": arguments.role, "includes": arguments.include}, f"{arguments.role} includes: {', '.join(arguments.include) or 'nothing'}"
    )
    return 0


def _role_grant(arguments: Any, project: Any) -> int:
    from casemate.cli.output import emit

    project.access.admin.grant(arguments.name, arguments.role)
    emit(arguments, {"user": arguments.name, "role": arguments.role}, f"{arguments.name} is {arguments.role}")
    return 0


def _role_withdraw(arguments: Any, project: Any) -> int:
    from casemate.cli.output import emit

    project.access.admin.withdraw(arguments.name, arguments.role)
    emit(
        arguments, {"user": arguments.name, "role": arguments.role}, f"{arguments.name} is {arguments.role} no more, on every server within a second"
    )
    return 0


def _role_delegate(arguments: Any, project: Any) -> int:
    from casemate.cli.output import emit
    from casemate.controls.access.admin import MAX_DELEGATION
    from casemate.controls.access.point import lifetime

    made = project.access.admin.delegate(arguments.name, arguments.role, arguments.reason, lifetime(arguments.lifetime, MAX_DELEGATION))
    emit(arguments, made, f"{made.name} is {made.role} until {made.until:%Y-%m-%d %H:%M} UTC; `access role withdraw` ends it earlier")
    return 0


VERBS = {
    "list": _list,
    "user add": _user_add,
    "user password": _user_password,
    "user disable": _user_disable,
    "role list": _role_list,
    "role define": _role_define,
    "role grant": _role_grant,
    "role withdraw": _role_withdraw,
    "role delegate": _role_delegate,
}
