"""`casemate watch` without an action: look again and again."""

import signal
import sys
import threading
from typing import Any

from casemate.cli.commands import open_for


def run(arguments: Any) -> int:
    """Look every so often until a signal ends it; a look that fails is told, and tried again."""
    from casemate.cli.output import emit
    from casemate.cli.watch.once import line
    from casemate.core.errors import AccessDenied, BusyError, ConfigError, Error

    if arguments.every is not None and arguments.every < 1:
        raise ConfigError("--every is less than a second", hint="give at least 1")
    project = open_for(arguments)
    every = arguments.every or project.config.watch.every
    ending = threading.Event()
    before = {
        number: signal.signal(number, lambda *_: ending.set())
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    print(f"looking every {every} s; stop with Ctrl-C", file=sys.stderr, flush=True)
    try:
        while not ending.is_set():
            try:
                seen = project.watch.once()
                emit(arguments, seen, line(seen))
                sys.stdout.flush()
            except (AccessDenied, BusyError, ConfigError):
                raise  # trying again changes nothing
            except Error as error:
                print(f"casemate watch: {error.code}: {error.message}", file=sys.stderr, flush=True)
            ending.wait(every)
    finally:
        for number, former in before.items():
            signal.signal(number, former)
    return 0
