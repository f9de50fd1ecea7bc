"""The policies in force, and questions about them."""

import sys
from typing import Any


def words(arguments: Any) -> int:
    """What a policy may speak of; needs no project."""
    from casemate.cli.output import emit, table
    from casemate.controls.access.policy import actions, schema_text

    if arguments.action == "actions":
        found = actions()
        emit(
            arguments,
            found,
            table(
                ["action", "about"],
                [[name, ", ".join(kinds)] for name, kinds in sorted(found.items())],
            ),
        )
    else:
        emit(arguments, {"schema": schema_text()}, schema_text())
    return 0


def _show(arguments: Any, project: Any) -> int:
    from casemate.cli.output import emit
    from casemate.controls.access.policy import roles_text

    policy, newest = project.access.show_policies()
    value = {
        "number": newest.number,
        "by": newest.by,
        "time": newest.time,
        "version": policy.version,
        "own": newest.texts,
    }
    text = [] if arguments.own else [roles_text()]
    text += [
        f"// {name}, applied by {newest.by} at {newest.time[:19]}\n{content}"
        for name, content in newest.texts.items()
    ]
    emit(arguments, value, "\n".join(text) or "the project has no policies of its own")
    _pending(project)
    return 0


def _pending(project: Any) -> None:
    if project.point.pending:
        print(
            "note: the folder differs from what is in force; whoever may change policies: casemate"
            " access policy apply",
            file=sys.stderr,
        )


def _history(arguments: Any, project: Any) -> int:
    from casemate.cli.output import emit, table

    found = project.access.policy_history()
    emit(
        arguments,
        found,
        table(
            ["#", "time", "by", "files", "version"],
            [[s.number, s.time[:19], s.by, ", ".join(s.texts), s.version[:16]] for s in found],
        ),
    )
    return 0


def _apply(arguments: Any, project: Any) -> int:
    from casemate.cli.output import emit

    number = project.access.apply_policies()
    emit(
        arguments,
        {"number": number},
        f"policy set {number} is in force, on every server within a second",
    )
    return 0


def _question(arguments: Any) -> Any:
    import datetime

    from casemate.controls.access.explain import Expectation
    from casemate.core.errors import ConfigError

    try:
        at = None if arguments.at is None else datetime.datetime.fromisoformat(arguments.at)
    except ValueError as error:
        raise ConfigError(
            f"{arguments.at!r} is not a time", hint="such as 2026-03-04T12:30:00Z"
        ) from error
    same = (
        "network",
        "purpose",
        "mfa_age",
        "device",
        "environment",
        "risk",
        "column_class",
        "stage",
        "trainer",
        "steward",
        "subject",
    )
    return Expectation(
        principal=getattr(arguments, "principal", ""),
        action=arguments.asked,
        allow=True,
        resource=arguments.resource,
        roles=getattr(arguments, "role", None),
        at=at,
        **{name: getattr(arguments, name) for name in same},
    )


def _explain(arguments: Any, project: Any) -> int:
    from casemate.cli.output import emit
    from casemate.controls.access.explain import missing

    said = project.access.explain(_question(arguments))
    _pending(project)
    answer = "may" if said.decision.allowed else "may not"
    text = [
        (
            f"{said.principal} (roles: {', '.join(said.roles) or 'none'}) {answer} {said.action} on"
            f" {said.resource}"
        )
    ]
    text.append(
        "because of " + ", ".join(said.decision.reasons) if said.decision.allowed else missing(said)
    )
    text += ["", *said.policies.values()]
    emit(arguments, said, "\n".join(text))
    return 0


def _who_can(arguments: Any, project: Any) -> int:
    from casemate.cli.output import emit, table

    found = project.access.who_can(_question(arguments))
    _pending(project)
    value = [
        {"principal": p.uid, "roles": list(p.roles), "because": list(d.reasons)} for p, d in found
    ]
    rows = [[v["principal"], ", ".join(v["roles"]), ", ".join(v["because"])] for v in value]
    emit(arguments, value, table(["principal", "roles", "because of"], rows) if rows else "nobody")
    return 0


def _test(arguments: Any, project: Any) -> int:
    from casemate.cli.output import emit, table

    found = project.access.test_policies(arguments.file)
    _pending(project)
    value = [
        {
            "principal": said.principal,
            "action": said.action,
            "resource": said.resource,
            "expected": asked.allow,
        }
        | {"allowed": said.decision.allowed, "because": list(said.decision.reasons), "met": met}
        for asked, said, met in found
    ]
    rows = [
        [
            "ok" if v["met"] else "FAIL",
            v["principal"],
            v["action"],
            v["resource"],
            "allow" if v["allowed"] else "deny",
            ", ".join(v["because"]),
        ]
        for v in value
    ]
    failed = sum(not v["met"] for v in value)
    end = (
        f"{failed} of {len(value)} expectations are not met"
        if failed
        else f"all {len(value)} expectations are met"
    )
    emit(
        arguments,
        value,
        table(["", "principal", "action", "resource", "answer", "because of"], rows) + "\n" + end,
    )
    return 1 if failed else 0


VERBS = {
    "policy show": _show,
    "policy history": _history,
    "policy apply": _apply,
    "explain": _explain,
    "who-can": _who_can,
    "test": _test,
}
