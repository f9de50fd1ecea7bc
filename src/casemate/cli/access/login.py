"""Logging in and out, second factors, sessions."""

from typing import Any


def _whoami(arguments: Any, project: Any) -> int:
    from casemate.cli.output import emit

    identity, age = project.access.whoami()
    me, session = identity.principal, identity.session
    value = {
        "principal": me.uid,
        "roles": list(me.roles),
        "method": identity.method,
        "until": session and session.until.isoformat(),
        "second_factor": me.mfa,
        "second_factor_age": age,
    }
    text = [f"{me.uid}, roles: {', '.join(me.roles) or 'none'}"]
    text.append(
        f"logged in by {identity.method} until {session.until:%H:%M} UTC, renewed by use"
        if session
        else "as the user of this machine"
    )
    if me.mfa or age is not None:
        text.append(
            "second factor: " + ("not used in this session" if age is None else f"used {age} s ago")
        )
    emit(arguments, value, "\n".join(text))
    return 0


def ask(reference: str, project: Any, what: str) -> str:
    """The secret behind a reference; `prompt` says what is asked for."""
    import getpass
    import sys

    if reference == "prompt" and sys.stdin.isatty():
        return getpass.getpass(f"{what}: ")
    return str(project.read_secret(reference))


def _login(arguments: Any, project: Any) -> int:
    from casemate.controls.access.identity.principals import current_name
    from casemate.core.errors import ConfigError

    if arguments.provider:
        return _through(arguments, project)
    if arguments.device:
        raise ConfigError("--device goes with --provider", hint="[access.providers] names them")
    if arguments.name and not arguments.password and arguments.name != current_name():
        raise ConfigError(
            "the password is missing", hint="--password prompt, env:NAME or file:PATH"
        )
    name = arguments.name or current_name()
    password = (
        ask(arguments.password, project, f"Password of {name}") if arguments.password else None
    )
    code = ask(arguments.code, project, "Code") if arguments.code else None
    session = project.logins.login(name, password, code)
    return _logged_in(arguments, session)


def _logged_in(arguments: Any, session: Any) -> int:
    from casemate.cli.output import emit

    value = {
        "principal": session.principal.uid,
        "until": session.until.isoformat(),
        "second_factor": session.mfa is not None,
    }
    emit(
        arguments, value, f"{session.principal.uid} is logged in; `casemate access logout` ends it"
    )
    return 0


def _through(arguments: Any, project: Any) -> int:
    import hmac
    import sys
    import time

    from casemate.controls.access.identity.loopback import Loopback
    from casemate.core.errors import ConfigError

    if arguments.name or arguments.password or arguments.code:
        raise ConfigError(
            "with --provider the provider asks for name, password and code", hint="leave them out"
        )
    provider = project.point.options.provider(arguments.provider)
    if arguments.device:
        device = provider.begin_device()
        print(
            f"On any device, open {device.verification_uri} and type {device.user_code}",
            file=sys.stderr,
            flush=True,
        )
        return _logged_in(
            arguments, project.logins.through(provider, lambda: provider.poll(device, time.sleep))
        )
    with Loopback() as loopback:
        begun = provider.begin(loopback.address)
        print(
            f"Log in with a browser on this machine:\n\n{begun.url}\n", file=sys.stderr, flush=True
        )
        answer = loopback.wait(
            lambda said: hmac.compare_digest(said.get("state", "").encode(), begun.state.encode())
        )
    return _logged_in(
        arguments, project.logins.through(provider, lambda: provider.finish(begun, answer))
    )


def _logout(arguments: Any, project: Any) -> int:
    from casemate.cli.output import emit

    ended = project.logins.logout()
    emit(arguments, {"ended": ended}, "logged out" if ended else "nobody was logged in")
    return 0


def _step_up(arguments: Any, project: Any) -> int:
    from casemate.cli.output import emit

    session = project.logins.step_up(ask(arguments.code, project, "Code"))
    emit(
        arguments,
        {"principal": session.principal.uid},
        f"{session.principal.uid}: the second factor counts for 15 minutes",
    )
    return 0


def _factor_add(arguments: Any, project: Any) -> int:
    from casemate.cli.output import emit

    secret, address = project.access.add_factor()
    text = (
        "Shown this once. Add it to an authenticator app, by its address or by its"
        f" secret:\n\n{address}\n\n{secret}\n"
    )
    emit(
        arguments,
        {"secret": secret, "uri": address},
        text + "\nNext: casemate access factor confirm --code prompt",
    )
    return 0


def _factor_confirm(arguments: Any, project: Any) -> int:
    from casemate.cli.output import emit

    codes = project.access.confirm_factor(ask(arguments.code, project, "First code"))
    text = (
        "The factor counts. Recovery codes, each good once, shown this once and kept nowhere:\n\n"
        + "\n".join(codes)
    )
    emit(arguments, {"recovery_codes": codes}, text)
    return 0


def _factor_list(arguments: Any, project: Any) -> int:
    from casemate.cli.output import emit

    kinds = project.access.factors()
    text = (
        "\n".join(f"{kind}: {count}" for kind, count in kinds.items())
        or "no second factor: casemate access factor add totp"
    )
    emit(arguments, kinds, text)
    return 0


def _factor_remove(arguments: Any, project: Any) -> int:
    from casemate.cli.output import emit

    count = project.access.remove_factors(arguments.name)
    emit(
        arguments,
        {"removed": count},
        f"{count} factors of {arguments.name} are forgotten, recovery codes included",
    )
    return 0


def _session_list(arguments: Any, project: Any) -> int:
    from casemate.cli.output import emit, table

    found = project.access.sessions()
    rows = [
        [
            one.id,
            one.name,
            one.method,
            one.started[:16],
            one.until[:16],
            (one.mfa or "")[:16],
            one.network,
        ]
        for one in found
    ]
    emit(
        arguments,
        found,
        (
            table(["session", "who", "by", "since", "until", "second factor", "from"], rows)
            if found
            else "nobody is logged in"
        ),
    )
    return 0


def _session_end(arguments: Any, project: Any) -> int:
    from casemate.cli.output import emit

    project.access.end_session(arguments.id)
    emit(
        arguments,
        {"ended": arguments.id},
        f"session {arguments.id} is over, on every server within a second",
    )
    return 0


VERBS = {
    "whoami": _whoami,
    "login": _login,
    "logout": _logout,
    "step-up": _step_up,
    "factor add": _factor_add,
    "factor confirm": _factor_confirm,
    "factor list": _factor_list,
    "factor remove": _factor_remove,
    "session list": _session_list,
    "session end": _session_end,
}
