"""The time that the log store goes by: a clock that is years ahead for a while makes no day old."""

import datetime
import time
from pathlib import Path

from casemate.core.types import Record

LEAP = 86_400.0
"""Seconds by which a clock may be off against the machine's own before it has leapt."""
SURE = 3_600.0
"""Seconds for which a clock must stay where it leapt to before it is believed: after a start of the
machine, setting it takes minutes.
"""


class Reading(Record, frozen=True, kw_only=True):
    """A time that is believed, and how long the machine had run."""

    boot: str
    """Which start of the machine."""
    uptime: float
    """Seconds since then."""
    time: float
    """Seconds since 1970."""
    apart: float | None = None
    """`uptime` when the clock was first seen to say something else; None: it does not."""


def read(now: datetime.datetime, last: Reading | None) -> Reading:
    """This moment.

    Args:
        now: what the clock says.
        last: the moment that was read before.
    """
    boot, uptime = machine()
    said = now.timestamp()
    if last is None:
        return Reading(boot=boot, uptime=uptime, time=said)
    is_same = last.boot == boot
    # how long a machine was off, its clock alone knows
    expected = last.time + (uptime - last.uptime if is_same else 0.0)
    if abs(said - expected) <= LEAP:
        return Reading(boot=boot, uptime=uptime, time=said)
    apart = last.apart if is_same and last.apart is not None else uptime
    if uptime - apart >= SURE:
        return Reading(boot=boot, uptime=uptime, time=said)
    return Reading(boot=boot, uptime=uptime, time=expected, apart=apart)


def machine() -> tuple[str, float]:
    """(which start of this machine, seconds since it, those asleep included)."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    identifier = boot.read_text(encoding="ascii").strip() if boot.exists() else ""
    return identifier, time.clock_gettime(time.CLOCK_BOOTTIME)
