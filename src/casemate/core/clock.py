"""Time is injected: wall clock for people, monotonic for measuring."""

import datetime
from typing import Protocol


class Clock(Protocol):
    """Tells the time; tests have one of their own."""

    def now(self) -> datetime.datetime:
        """The current time, aware, in UTC."""


class SystemClock:
    """The clock of this machine."""

    def now(self) -> datetime.datetime:
        """See `Clock.now`."""
        return datetime.datetime.now(datetime.UTC)
