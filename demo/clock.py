"""`casemate` with a clock that can be moved on: `python demo/clock.py FILE WORDS...`, where FILE
says how many seconds that clock is ahead of this machine's. A demonstration of days fits into
minutes so; everything else is the program as it is.
"""

import datetime
import sys
import time
from pathlib import Path

from casemate.cli import main
from casemate.core.clock import SystemClock

REAL = time.time
FILE = Path(sys.argv[1])


def moved() -> float:
    """Seconds since 1970, on the moved clock."""
    return REAL() + float(FILE.read_text())


def now(_: SystemClock) -> datetime.datetime:
    """See `SystemClock.now`."""
    return datetime.datetime.fromtimestamp(moved(), datetime.UTC)


time.time = moved  # the gateway stamps its records with it
SystemClock.now = now  # type: ignore[method-assign]
sys.exit(main(sys.argv[2:]))
