"""Time is injected: wall clock for people, monotonic for measuring."""

import datetime
from typing import Protocol

from casemate.core.errors import ConfigError


class Clock(Protocol):
    """Tells the time; tests have one of their own."""

    def now(self) -> datetime.datetime:
        """The current time, aware, in UTC."""


class SystemClock:
    """The clock of this machine."""

    def now(self) -> datetime.datetime:
        """See `Clock.now`."""
        return datetime.datetime.now(datetime.UTC)


def lifetime(text: str, most: datetime.timedelta) -> datetime.timedelta:
    """`90m`, `4h` or `7d` as a time, at most `most`; ConfigError when it is none."""
    units = {"m": "minutes", "h": "hours", "d": "days"}
    number, unit = text[:-1], text[-1:]
    if (
        unit not in units
        or not number.isdecimal()
        or len(number) > 6
        or not datetime.timedelta(0)
        < (found := datetime.timedelta(**{units[unit]: int(number)}))
        <= most
    ):
        raise ConfigError(f"{text!r} is not a time of at most {most}", hint="such as 90m, 4h or 7d")
    return found
