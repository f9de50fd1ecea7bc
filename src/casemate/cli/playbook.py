"""`casemate playbook`."""

import argparse
from typing import TYPE_CHECKING, Any

from casemate.cli.commands import open_for
from casemate.cli.options import common

if TYPE_CHECKING:
    from casemate.respond.playbooks.runs import PlaybookRun


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    def action(name: str, help_: str) -> argparse.ArgumentParser:
        return actions.add_parser(name, help=help_, parents=[common(nested=True)])

    copy = action("copy", "write playbooks that ship with casemate to playbooks/, to be changed")
    copy.add_argument("names", nargs="*", metavar="NAME", help="none: list them")
    action("check", "read playbooks/*.toml; nothing is put in force")
    action("apply", "put playbooks/*.toml in force as they are now, as whoever may do their steps")
    action("list", "playbooks of the folder and in force")
    show = action("show", "one in force")
    show.add_argument("name", metavar="NAME")
    run_ = action("run", "carry one out about an incident, as far as it goes")
    run_.add_argument("name", metavar="NAME")
    run_.add_argument("--incident", type=int, required=True, metavar="N")
    run_.add_argument(
        "--dry-run", action="store_true", help="say what would be done, and do nothing"
    )
    run_.add_argument("--reason", default="", help="why, for the record")
    runs = action("runs", "how far every run is, or those about one incident")
    runs.add_argument("--incident", type=int, metavar="N")
    action("resume", "go on with runs that wait; casemate watch does so at each look")
    approve = action("approve", "let a step be done that waits for persons")
    approve.add_argument("number", type=int, metavar="RUN")
    approve.add_argument("step", metavar="STEP")
    approve.add_argument("--reason", required=True, help="why, for the record")
    undo = action("undo", "take back what a run did, its last step first")
    undo.add_argument("number", type=int, metavar="RUN")
    undo.add_argument("--step", default="", help="only this one")
    undo.add_argument("--reason", required=True, help="why, for the record")


def run(arguments: Any) -> int:
    """Do what the action says; exit code 1 where a step failed, or a file is no playbook."""
    does = {
        "copy": _copy,
        "check": _check,
        "apply": _apply,
        "list": _list,
        "show": _show,
        "run": _run,
        "runs": _runs,
        "resume": _resume,
        "approve": _approve,
        "undo": _undo,
    }
    return does[arguments.action](arguments)


def _copy(arguments: Any) -> int:
    from casemate.cli.output import emit
    from casemate.operations.playbooks import forces

    if not arguments.names:
        known = sorted(forces.starters())
        emit(arguments, known, "\n".join(known))
        return 0
    paths = [str(path) for path in forces.copy(open_for(arguments), arguments.names)]
    then = "read them, change them, then: casemate playbook apply"
    emit(arguments, paths, "\n".join([*(f"wrote {path}" for path in paths), then]))
    return 0


def _check(arguments: Any) -> int:
    from casemate.cli.output import emit

    found = open_for(arguments).playbooks.check()
    count = len(found.playbooks)
    emit(arguments, found, f"{count} playbooks: {', '.join(found.playbooks) or 'none'}")
    return 0


def _apply(arguments: Any) -> int:
    from casemate.cli.output import emit

    changed = open_for(arguments).playbooks.apply()
    emit(arguments, changed, f"changed: {', '.join(changed)}" if changed else "nothing has changed")
    return 0


def _list(arguments: Any) -> int:
    from casemate.cli.output import emit, table

    found = open_for(arguments).playbooks.list()
    rows = [
        [
            one.name,
            one.state,
            "by itself" if one.automatic else "by people",
            ", ".join(one.steps),
            one.author,
        ]
        for one in found
    ]
    heads = ["name", "state", "begins", "steps", "put in force by"]
    none = "there are no playbooks: casemate playbook copy shows those that ship"
    emit(arguments, found, table(heads, rows) if rows else none)
    return 0


def _show(arguments: Any) -> int:
    from casemate.cli.output import emit, table

    found = open_for(arguments).playbooks.show(arguments.name)
    when = found.when
    standing = "; while an alert stands" if when.standing else ""
    causes, alerts = ", ".join(when.causes) or "any", ", ".join(when.alerts) or "any"
    about = f"causes: {causes}; alerts: {alerts}; at least {when.severity}{standing}"
    rows = [
        [one.name, one.do, one.aim, ", ".join(one.needs), one.unless, one.people, one.otherwise]
        for one in found.steps
    ]
    heads = ["step", "does", "of", "needs", "unless", "persons", "otherwise"]
    emit(arguments, found, f"{found.title}\n{about}\n\n{table(heads, rows)}")
    return 0


def _run(arguments: Any) -> int:
    from casemate.cli.output import emit, table

    playbooks = open_for(arguments).playbooks
    if not arguments.dry_run:
        return _told(arguments, playbooks.run(arguments.name, arguments.incident, arguments.reason))
    found = playbooks.plan(arguments.name, arguments.incident)
    rows = [
        [
            one.name,
            one.text,
            "yes" if one.possible else "no",
            "yes" if one.permitted else "no",
            one.people,
            one.undo,
        ]
        for one in found.steps
    ]
    heads = ["step", "would", "possible", "permitted", "persons", "undo"]
    begins = "it would begin by itself" if found.fits else "it would not begin by itself"
    emit(arguments, found, f"{table(heads, rows)}\n{begins}; nothing was done")
    return 0 if all(one.possible and one.permitted for one in found.steps) else 1


def _lines(found: "PlaybookRun") -> list[list[Any]]:
    return [
        [found.id, found.playbook, found.incident, one.name, one.progress, one.text]
        for one in found.steps
    ]


def _told(arguments: Any, *found: "PlaybookRun") -> int:
    from casemate.cli.output import emit, table

    heads = ["run", "playbook", "incident", "step", "progress", "what was seen"]
    rows = [row for one in found for row in _lines(one)]
    shown: Any = found[0] if arguments.action not in ("runs", "resume") else list(found)
    emit(arguments, shown, table(heads, rows) if rows else "no playbook is, or was, at work")
    failed = any(step.progress == "failed" for one in found for step in one.steps)
    return 1 if failed and arguments.action not in ("runs", "undo") else 0


def _runs(arguments: Any) -> int:
    return _told(arguments, *open_for(arguments).playbooks.runs(arguments.incident))


def _resume(arguments: Any) -> int:
    return _told(arguments, *open_for(arguments).playbooks.resume())


def _approve(arguments: Any) -> int:
    playbooks = open_for(arguments).playbooks
    return _told(arguments, playbooks.approve(arguments.number, arguments.step, arguments.reason))


def _undo(arguments: Any) -> int:
    playbooks = open_for(arguments).playbooks
    return _told(arguments, playbooks.undo(arguments.number, arguments.step, arguments.reason))
