"""`casemate privacy request`: what people asked for, and until when they must be answered."""

import argparse
import datetime
from pathlib import Path
from typing import Any, get_args

from casemate.cli.options import WAITING, common

SUBJECT = "env:NAME, file:PATH, file:/dev/stdin or prompt, exactly as the table has it"

NO_TERM = "no term known"


def add_arguments(actions: Any) -> None:
    """The verbs of requests.

    Args:
        actions: where they are added.
    """
    from casemate.respond.requests.states import How, Kind, Law, State, What

    request: argparse.ArgumentParser = actions.add_parser(
        "request", help="what people asked for, and until when they must be answered"
    )
    verbs = request.add_subparsers(dest="what", metavar="WHAT", required=True)
    day = datetime.date.fromisoformat

    def verb(name: str, help_: str) -> argparse.ArgumentParser:
        made: argparse.ArgumentParser = verbs.add_parser(
            name, help=help_, parents=[common(nested=True)]
        )
        return made

    open_ = verb("open", "write down that somebody asked")
    open_.add_argument("subject", metavar="SUBJECT", help=f"who: {SUBJECT}")
    open_.add_argument("--kind", required=True, choices=get_args(Kind), help="what they want")
    open_.add_argument("--law", default="gdpr", choices=get_args(Law), help="default: gdpr")
    open_.add_argument("--received", type=day, metavar="DAY", help="when it came (default: today)")
    open_.add_argument("--reason", default="", help="what else is to be known; name nobody")
    list_ = verb("list", "requests with their terms")
    list_.add_argument(
        "--state",
        default="running",
        choices=["running", "all", *get_args(State)],
        help="default: those that are not over",
    )
    verb("show", "one request with all that happened").add_argument("number", type=int)
    decide = verb(
        "decide", "confirm, say who asks, grant, refuse, extend, or lift what takes rows out"
    )
    decide.add_argument("number", type=int)
    decide.add_argument("decision", choices=get_args(What))
    decide.add_argument("--reason", default="", help="why; all but confirm and grant need it")
    decide.add_argument(
        "--until",
        type=day,
        metavar="DAY",
        help="of defer: the last day on which a law wants the data",
    )
    model = verb(
        "model", "what becomes of a model that was made of rows that are erased or were wrong"
    )
    model.add_argument("number", type=int)
    model.add_argument("how", choices=get_args(How))
    model.add_argument("model", metavar="NAME@VERSION")
    model.add_argument("--by", type=day, metavar="DAY", help="until when, of retrain and unlearn")
    model.add_argument("--reason", default="", help="why; keep needs it")
    fulfil = verb("fulfil", "do what was granted: copy, erase, or say what was done")
    fulfil.add_argument("number", type=int, nargs="?")
    fulfil.add_argument(
        "--due",
        action="store_true",
        help="instead of one: erasures that were put off and are due, or wait to be closed",
    )
    fulfil.add_argument("--out", type=Path, metavar="FOLDER", help="a new one for the copy")
    fulfil.add_argument(
        "--to",
        type=Path,
        metavar="FILE",
        help="a public key of `backup keygen`: the copy is sealed to it, and --out is its file",
    )
    fulfil.add_argument("--subject", help=f"whose, of erasure: {SUBJECT}")
    fulfil.add_argument(
        "--reason",
        default="",
        help="what was done, of other kinds; of erasure, that an identifier written almost alike is"
        " somebody else's",
    )
    certificate = verb("certificate", "write the certificate of an erasure that was closed")
    certificate.add_argument("number", type=int)
    certificate.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="a new one")


def run(arguments: Any, project: Any) -> int:
    """Open, list, show, decide or fulfil requests."""
    from casemate.core.secrets import read_secret

    requests, what = project.privacy.requests, arguments.what
    if what == "list":
        return _list(arguments, project)
    if what == "fulfil":
        return _fulfil(arguments, requests)
    if what == "certificate":
        return _certificate(arguments, requests)
    if what == "open":
        found = requests.begin(
            lambda: read_secret(arguments.subject),
            arguments.kind,
            law=arguments.law,
            received=arguments.received,
            reason=arguments.reason,
        )
    elif what == "decide":
        found = requests.decide(
            arguments.number, arguments.decision, arguments.reason, arguments.until
        )
    elif what == "model":
        found = requests.decide_model(
            arguments.number,
            arguments.how,
            arguments.model,
            by=arguments.by,
            reason=arguments.reason,
        )
    else:
        found = requests.show(arguments.number)
    return _show(arguments, found)


def _list(arguments: Any, project: Any) -> int:
    from casemate.cli.output import emit, table
    from casemate.operations.calendar import today

    found, day = project.privacy.requests.list(arguments.state), today(project)
    rows = [
        [
            *(str(one.id), one.kind, one.law, one.state, one.received),
            "; ".join(_left(clock, day) for clock in clocks if not clock.done)
            or ("-" if clocks else NO_TERM),
        ]
        for one, clocks in found
    ]
    heads = ["", "kind", "law", "state", "received", "until"]
    told = [{"request": one, "clocks": clocks} for one, clocks in found]
    emit(arguments, told, table(heads, rows) if rows else "no requests")
    return 0


def _left(clock: Any, day: datetime.date) -> str:
    left = clock.left(day)
    return f"{clock.due} ({clock.id}, {'LATE' if left < 0 else f'{left} days'})"


def _show(arguments: Any, found: Any) -> int:
    from casemate.cli.output import emit

    one = found.request
    lines = [
        f"request {one.id}: {one.kind} under {one.law}, {one.state}; subject {one.subject[:16]}",
        f"received {one.received}",
    ]
    lines += [
        f"  {'done' if clock.done else 'until ' + clock.due}: {clock.what} ({clock.id})"
        for clock in found.clocks
    ]
    if not found.clocks:
        lines.append(f"  {NO_TERM} in {one.law} for {one.kind}")
    elif not found.holidays:
        lines.append("  no holidays are named in [privacy]: weekends alone were counted as off")
    if one.deferred and one.state == "granted":
        lines.append(f"  kept until {one.deferred} because of {one.floor}")
    if one.held:
        lines.append(f"  HELD by {one.held}")
    lines += [f"  {name}: {decided.how} {decided.by}" for name, decided in one.models.items()]
    lines += closing_lines(one.closing)
    lines += ["", "what happened"]
    lines += [
        f"  {line.time[:19]} {line.action.partition(':')[2]} by {line.who}"
        + (f": {line.change.text}" if line.change.text else "")
        + f" (entry {line.entry})"
        for line in found.lines
    ]
    emit(arguments, found, "\n".join(lines))
    return 0


def _fulfil(arguments: Any, requests: Any) -> int:
    from casemate.cli.output import emit
    from casemate.core.errors import ConfigError
    from casemate.core.secrets import read_secret

    if arguments.due == (arguments.number is not None):
        raise ConfigError("say which request", hint="fulfil NUMBER, or fulfil --due")
    if arguments.due:
        went_on = requests.fulfil_due()
        said = ", ".join(map(str, went_on))
        emit(arguments, went_on, f"went on: request {said}" if went_on else "nothing is due")
        return 0
    done = requests.fulfil(
        arguments.number,
        folder=arguments.out,
        subject=None if arguments.subject is None else lambda: read_secret(arguments.subject),
        text=arguments.reason,
        to="" if arguments.to is None else arguments.to.read_text(encoding="utf-8"),
    )
    one = done.request.request
    lines = [f"request {one.id} is {one.state}: {one.kind}, {done.rows} rows"]
    lines += [f"NOT CLOSED: {reason}" for reason in done.waiting]
    lines += closing_lines(one.closing)
    if arguments.out is not None:
        how = (
            f"sealed to {done.sealed[:16]}"
            if done.sealed
            else "hand it over safely, then remove it"
        )
        lines.append(f"the copy is {arguments.out}: {how}")
    if done.withheld:
        lines.append(f"WITHHELD by policy from the copy: {', '.join(done.withheld)}")
    lines += [
        f"WITHHELD by policy from the copy: {count} of their rows in {version}"
        for version, count in done.withheld_rows.items()
    ]
    lines += unreached_lines(done)
    emit(arguments, done, "\n".join(lines))
    return WAITING if done.waiting else 0


def unreached_lines(done: Any) -> list[str]:
    """Where it is not known whether it was reached, and what cannot be.

    Args:
        done: what was carried out for a person.
    """
    lines = [f"NOT KNOWN: {gap.what}: {gap.reason}" for gap in done.affected.unknown]
    if done.erased is None:
        return lines
    return lines + [
        f"beyond casemate's reach: {place.where}: {place.advice}" for place in done.erased.beyond
    ]


def closing_lines(closing: Any) -> list[str]:
    """What was seen when an erasure was closed, in lines."""
    if closing is None:
        return []
    if not closing.held:
        lines = ["nothing was held of this person"]
    else:
        lines = [f"{closing.keys} keys destroyed, {closing.rows} rows without their identifier"]
    if closing.predictions:
        others = f", {closing.shared} of them about others too" if closing.shared else ""
        lines.append(f"{closing.predictions} recorded predictions taken out{others}")
    looked = ", ".join(f"{count} {what}" for what, count in closing.looked.items())
    lines.append(f"looked through for {closing.identifiers} identifiers: {looked}")
    lines += [f"not known: {gap}" for gap in closing.not_known]
    for one in closing.models:
        what = {
            "retrain": f"trained without them as {one.instead}",
            "unlearn": f"unlearnt in {one.instead}"
            + ("" if one.grown is None else f", {one.taken_over} trees kept, {one.grown} grown"),
            "withdraw": "withdrawn",
            "keep": f"kept under differential privacy, epsilon {one.epsilon}: {one.reason}",
        }[one.how]
        told = {
            "at chance": f"; their {one.rows} rows are not told from others (AUC {one.auc})",
            "inconclusive": f"; {one.rows} rows are too few to tell whether they are known to it",
            "told apart": "",
            "not measured": "",
        }[one.membership]
        lines.append(f"{one.model}: {what}{told}")
    return lines


def _certificate(arguments: Any, requests: Any) -> int:
    from casemate.cli.output import emit

    said = requests.certificate(arguments.number, arguments.out)
    text = f"{arguments.out}: the certificate of request {said.request}; casemate verify checks it"
    emit(arguments, said, text)
    return 0
