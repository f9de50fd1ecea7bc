"""People and roles."""

from typing import Any


def _list(arguments: Any, project: Any) -> int:
    from casemate.cli.output import emit, table

    found = project.access.list()
    rows = [
        [
            one.principal,
            ", ".join(one.roles),
            ", ".join(one.models),
            "yes" if one.second_factor else "",
            _kept_out(one),
        ]
        for one in found
    ]
    emit(arguments, found, table(["principal", "roles", "models", "second factor", ""], rows))
    return 0


def _kept_out(one: Any) -> str:
    """Why somebody does not act now; empty: they do."""
    from casemate.controls.access.identity.registered import is_final

    if one.disabled:
        return "disabled" if is_final(one.disabled) else "suspended"
    return f"locked until {one.locked[:16]}" if one.locked else ""


def _user_add(arguments: Any, project: Any) -> int:
    from casemate.cli.access.login import ask
    from casemate.cli.output import emit

    password = (
        ask(arguments.password, project, f"Password for {arguments.name}")
        if arguments.password
        else None
    )
    made = project.access.add_user(arguments.name, arguments.role, password, arguments.account)
    how = (
        f"casemate access login {made.name} --password prompt"
        if password
        else "they act as the user of that name on this machine"
    )
    how = "casemate access login --provider NAME" if arguments.account else how
    emit(
        arguments,
        {"principal": made.uid, "roles": list(made.roles)},
        f"{made.uid}, roles: {', '.join(made.roles) or 'none'}; {how}",
    )
    return 0


def _user_password(arguments: Any, project: Any) -> int:
    from casemate.cli.access.login import ask
    from casemate.cli.output import emit

    current = ask(arguments.current, project, "Present password") if arguments.current else None
    project.access.set_password(
        arguments.name,
        ask(arguments.password, project, f"New password of {arguments.name}"),
        current,
    )
    emit(
        arguments,
        {"user": arguments.name},
        f"the password of {arguments.name} is set; sessions of {arguments.name} are over",
    )
    return 0


def _user_disable(arguments: Any, project: Any) -> int:
    from casemate.cli.output import emit

    project.access.disable_user(arguments.name)
    emit(
        arguments,
        {"disabled": arguments.name},
        f"{arguments.name} acts no more, on every server within a second",
    )
    return 0


def _suspend(arguments: Any, project: Any) -> int:
    from casemate.cli.output import emit

    ended = project.access.suspend(arguments.principal, arguments.reason)
    said = f"nobody acts as {arguments.principal}, on every server within a second"
    emit(arguments, {"sessions_ended": ended}, f"{said}; {ended} sessions ended")
    return 0


def _resume(arguments: Any, project: Any) -> int:
    from casemate.cli.output import emit

    project.access.resume(arguments.principal, arguments.reason)
    emit(arguments, {"resumed": arguments.principal}, f"{arguments.principal} may act again")
    return 0


def _role_list(arguments: Any, project: Any) -> int:
    from casemate.cli.output import emit, table

    value = project.access.roles()
    rows = [
        [one.role, "" if one.shipped else "own", ", ".join(one.includes), ", ".join(one.held_by)]
        for one in value
    ]
    emit(arguments, value, table(["role", "", "includes", "held by"], rows))
    return 0


def _role_define(arguments: Any, project: Any) -> int:
    from casemate.cli.output import emit

    project.access.define_role(arguments.role, arguments.include)
    emit(
        arguments,
        {"role": arguments.role, "includes": arguments.include},
        f"{arguments.role} includes: {', '.join(arguments.include) or 'nothing'}",
    )
    return 0


def _role_grant(arguments: Any, project: Any) -> int:
    from casemate.cli.output import emit

    project.access.grant(arguments.name, arguments.role)
    emit(
        arguments,
        {"user": arguments.name, "role": arguments.role},
        f"{arguments.name} is {arguments.role}",
    )
    return 0


def _role_withdraw(arguments: Any, project: Any) -> int:
    from casemate.cli.output import emit

    project.access.withdraw(arguments.name, arguments.role)
    emit(
        arguments,
        {"user": arguments.name, "role": arguments.role},
        f"{arguments.name} is {arguments.role} no more, on every server within a second",
    )
    return 0


def _role_delegate(arguments: Any, project: Any) -> int:
    from casemate.cli.output import emit
    from casemate.core.clock import lifetime
    from casemate.operations.access.people import MAX_DELEGATION

    made = project.access.delegate(
        arguments.name,
        arguments.role,
        arguments.reason,
        lifetime(arguments.lifetime, MAX_DELEGATION),
    )
    emit(
        arguments,
        made,
        f"{made.name} is {made.role} until {made.until:%Y-%m-%d %H:%M} UTC; `access role withdraw`"
        " ends it earlier",
    )
    return 0


VERBS = {
    "list": _list,
    "user add": _user_add,
    "user password": _user_password,
    "user disable": _user_disable,
    "suspend": _suspend,
    "resume": _resume,
    "role list": _role_list,
    "role define": _role_define,
    "role grant": _role_grant,
    "role withdraw": _role_withdraw,
    "role delegate": _role_delegate,
}
