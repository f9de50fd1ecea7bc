"""How often scans are to be: one that did not happen in time is a fault that somebody is told."""

import datetime

from casemate.wiring import Wiring

UNITS = {"hour": 1, "day": 24, "week": 7 * 24}
"""Hours of each."""
GRACE = 0.1
"""Share of the time between two scans that the next may be late: timers start when they can, and
no scan takes as long as the one before.
"""


def period(text: str) -> datetime.timedelta:
    """How long `[scan] every` is.

    Args:
        text: such as `1 week`, as the configuration has checked it.
    """
    count, _, unit = text.partition(" ")
    return datetime.timedelta(hours=int(count) * UNITS[unit.removesuffix("s")])


def late(project: Wiring, now: datetime.datetime) -> list[str]:
    """Which kinds of `[scan] kinds` were not looked at as often as `[scan] every` says, each in a
    sentence; nothing where it says nothing.

    Args:
        project: whose.
        now: the time.
    """
    table = project.config.scan
    if table.every is None:
        return []
    newest = project.findings_kept.newest()
    oldest = now - (1 + GRACE) * period(table.every)
    missed = []
    for kind in table.kinds:
        if kind not in newest:
            missed.append(f"{kind} was never looked at, and is to be every {table.every}")
        elif datetime.datetime.fromisoformat(newest[kind].time) < oldest:
            time = newest[kind].time
            missed.append(f"{kind} was looked at on {time[:16]}Z, and is to be every {table.every}")
    return missed
