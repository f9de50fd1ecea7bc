"""What was seen of an attack, and after how long."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from casemate.stages.release.drill import Moment

PAUSE = 0.05
"""Seconds between two looks."""


class NotPlayable(Exception):
    """Why an attack could not be played here."""


@dataclass(frozen=True)
class Seen:
    """What was seen of an attack."""

    detected: Moment | None = None
    contained: Moment | None = None
    said: str = ""
    owed: bool = True
    """Whether something in this project is there to stop it."""


class Stopwatch:
    """Times from the moment of an attack's act."""

    def __init__(self, within: float) -> None:
        self.began, self.within = time.monotonic(), within
        self.detected: Moment | None = None
        self.contained: Moment | None = None

    @property
    def seconds(self) -> float:
        """Since the act."""
        return time.monotonic() - self.began

    def sees(self, by: str) -> None:
        """A part of casemate says that something is wrong."""
        self.detected = self.detected or Moment(by=by, seconds=round(self.seconds, 3))

    def stops(self, by: str) -> None:
        """A part of casemate keeps it from doing harm."""
        self.contained = self.contained or Moment(by=by, seconds=round(self.seconds, 3))

    def until(self, holds: Callable[[], Any]) -> bool:
        """Wait until something holds, as long as the attack may take."""
        while True:
            if holds():
                return True
            if self.seconds >= self.within:
                return False
            time.sleep(PAUSE)

    def seen(self, said: str = "", *, owed: bool = True) -> Seen:
        """What was seen; `owed`: whether something in this project is there to stop it."""
        return Seen(self.detected, self.contained, said, owed)
