"""`casemate privacy erase` and `alias`: a person is erased, under every identifier of theirs."""

import argparse
import datetime
import functools
from typing import Any, get_args

from casemate.cli.options import WAITING, common
from casemate.cli.privacy.requests import SUBJECT, closing_lines, unreached_lines


def add_arguments(actions: Any) -> None:
    """The actions of erasure, below `casemate privacy`.

    Args:
        actions: where they are added.
    """
    from casemate.respond.requests.states import Law

    day = datetime.date.fromisoformat
    erase: argparse.ArgumentParser = actions.add_parser(
        "erase",
        help="erase a person who asked for it, from the request to its certificate",
        parents=[common(nested=True)],
    )
    erase.add_argument("subject", metavar="SUBJECT", help=f"whom: {SUBJECT}")
    erase.add_argument(
        "--alias",
        action="append",
        default=[],
        metavar="SUBJECT",
        help="another identifier of the same person; repeatable",
    )
    erase.add_argument("--law", default="gdpr", choices=get_args(Law), help="default: gdpr")
    erase.add_argument(
        "--received", type=day, metavar="DAY", help="when they asked (default: today)"
    )
    erase.add_argument(
        "--models",
        default="retrain",
        choices=["retrain", "unlearn", "withdraw"],
        help="what becomes of models that nothing is decided about (default: retrain)",
    )
    erase.add_argument(
        "--until", type=day, metavar="DAY", help="the last day on which a law wants the data kept"
    )
    erase.add_argument("--reason", default="", help="which law that is; name nobody")
    alias: argparse.ArgumentParser = actions.add_parser(
        "alias",
        help="say that two identifiers are one person's",
        parents=[common(nested=True)],
    )
    alias.add_argument("subject", metavar="SUBJECT", help=f"one: {SUBJECT}")
    alias.add_argument("other", metavar="OTHER", help="the other, in the same way")


def run(arguments: Any, project: Any) -> int:
    """Erase a person, or link two identifiers."""
    from casemate.cli.output import emit
    from casemate.core.secrets import read_secret

    ask = functools.partial(functools.partial, read_secret)
    if arguments.action == "alias":
        linked = project.privacy.alias(ask(arguments.subject), ask(arguments.other))
        how = "are now" if linked.new else "were known to be"
        text = f"these {how} one person's; {linked.identifiers} identifiers of theirs are known"
        emit(arguments, linked, text)
        return 0
    done = project.privacy.erase(
        ask(arguments.subject),
        aliases=[ask(one) for one in arguments.alias],
        law=arguments.law,
        received=arguments.received,
        models=arguments.models,
        until=arguments.until,
        reason=arguments.reason,
    )
    one = done.request.request
    lines = [f"request {one.id} is {one.state}; subject {one.subject[:16]}"]
    lines += [f"NOT CLOSED: {reason}" for reason in done.waiting]
    lines += closing_lines(one.closing)
    if done.waiting:
        lines.append("Next: casemate privacy request fulfil --due, or casemate watch by itself")
    elif one.closing is not None:
        lines.append(f"Next: casemate privacy request certificate {one.id} --out FOLDER")
    lines += unreached_lines(done)
    emit(arguments, done, "\n".join(lines))
    return WAITING if done.waiting else 0
