"""The command line: one file per verb with `add_parser` and `run`; faults are caught here and
nowhere else.

Only the module of the verb that was asked for does real work, and it imports heavy things inside
`run`.
"""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from casemate import __version__
from casemate.cli.options import JsonParser, anywhere, as_json, common
from casemate.core.errors import Error, Interrupted, from_os_error
from casemate.core.extras import needed

VERBS = {
    "init": "make a new project",
    "check": "say what it thinks of the table, before anything is sealed",
    "run": "take the table to a signed model",
    "runs": "list, show, cancel or export runs",
    "status": "what this project holds now",
    "data": "sealed data sets",
    "model": "registered models",
    "assess": "measure a registered model, or the table, all of it or a part",
    "image": "models and the gateway as OCI images, without Docker and without a registry",
    "privacy": "privacy budgets, what concerns people in the data, tables without identifiers",
    "verify": "check a model, evidence, table or log offline",
    "serve": "answer predictions over TLS",
    "sagemaker": "what Amazon SageMaker starts in a container, and what it captured",
    "explain": (
        "look at one prediction again: who asked, what counted, and the same answer bit for bit"
    ),
    "predict": "ask the running gateway",
    "watch": "see what changes after the release: inputs, answers, quality, machine, or plain files",
    "feedback": "what people and callers say of answers, and whether it may teach",
    "retrain": "train again with feedback, if it is due and no worse",
    "federate": "several owners learn together without sharing rows: agree, learn, look, or simulate",
    "logs": "search what was done, asked and alarmed; rules over it",
    "sinks": "log lines and gauges on their way to Elasticsearch, syslog, Splunk, OpenTelemetry",
    "incident": "alerts that belong together: who sees to them, until when, what happened",
    "playbook": "what is done about incidents of a kind, step by step, each proven",
    "hold": "what must not happen until a person says so: releases, answers, lessons, deletion",
    "controls": "what laws and standards ask for: which checks look at it, and when they last passed",
    "scan": "look for weaknesses: code, secrets, dependencies, artifacts, configuration",
    "drill": "play attacks on a copy of this project: which are seen, which are stopped, how fast",
    "evidence": "a signed folder of what holds and what does not, which others verify offline",
    "bom": "bills of materials: what a model, its data and its environment are made of",
    "deploy": "files for other people's systems: build servers, Prometheus, Elasticsearch, rsyslog",
    "access": "principals, tokens and decisions",
    "audit": "read and check the audit log",
    "tracker": "issue trackers: which there are, whether tickets could be made, what people did there",
    "outbox": "what leaves: messages, deliveries, dead letters",
    "store": "the catalogue's database: upgrade, move to PostgreSQL",
    "fsck": "check everything that the project keeps",
    "gc": "say what nothing refers to any more, and remove it",
    "backup": "encrypted backups: create, verify, restore",
    "keys": "what the key store holds",
    "config": "check, show or explain casemate.toml",
    "doctor": "what this machine can enforce",
    "completion": "what makes the shell complete commands",
}
"""Every verb with its line in `casemate --help`."""


def build_parser(
    verb: str | None = None,
    kind: type[argparse.ArgumentParser] = argparse.ArgumentParser,
    *,
    alone: bool = False,
) -> argparse.ArgumentParser:
    """The parser; with `verb` only that verb's options are built, none for a word that is no verb.

    Args:
        verb: the only one that is asked for; default: all.
        kind: class of the parser and of those below it.
        alone: the others are left out: where the line begins with `verb`, nothing asks for them.
    """
    parser = kind(
        prog="casemate",
        description="A secure-by-default, reliable machine-learning pipeline.",
        parents=[common()],
    )
    parser.add_argument("--version", action="version", version=f"casemate {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name, help_ in VERBS.items():
        if verb not in (name, None):
            if not alone:
                verbs.add_parser(name, help=help_, add_help=False)
        else:
            sub = verbs.add_parser(
                name,
                help=help_,
                description=help_[0].upper() + help_[1:] + ".",
                parents=[common(nested=True)],
            )
            importlib.import_module(f"casemate.cli.{name}").add_arguments(sub)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code says how it went (see docs/reference/errors.md)."""
    argv = list(sys.argv[1:] if argv is None else argv)
    shared, rest = anywhere(argv)
    kind = JsonParser if shared.format == "json" else argparse.ArgumentParser
    verb = next((word for word in rest if not word.startswith("-")), "")
    alone = verb in VERBS and rest[0] == verb
    arguments = build_parser(verb, kind, alone=alone).parse_args(rest, shared)
    try:
        return int(importlib.import_module(f"casemate.cli.{arguments.verb}").run(arguments))
    except Error as error:
        return _fail(arguments, error)
    except ModuleNotFoundError as error:
        return _fail(arguments, needed(f"casemate {arguments.verb}", error))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return _fail(arguments, from_os_error(error))
    except KeyboardInterrupt:
        again = "the same command goes on where it stopped, or anew where it keeps nothing"
        return _fail(arguments, Interrupted("interrupted", hint=again))


def _fail(arguments: argparse.Namespace, error: Error) -> int:
    print(as_json(error) if arguments.format == "json" else error.diagnostics(), file=sys.stderr)
    return error.exit_code
