"""Looking for entries: time, principal, action, resource, outcome."""

import datetime
import re
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from casemate.core.entry import Entry
from casemate.core.errors import ConfigError

_AGO = re.compile(r"(\d{1,6})([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def parse_time(text: str, now: datetime.datetime) -> datetime.datetime:
    """A moment: RFC 3339 or a date (UTC where no zone is given), or how long before `now`, such as
    `90m`.

    Raises:
        ConfigError: it is neither.
    """
    if match := _AGO.fullmatch(text):
        return now - datetime.timedelta(seconds=int(match[1]) * _SECONDS[match[2]])
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(
            f"{text!r} is no time",
            hint="such as 2026-11-23, 2026-11-23T09:30:00Z, or 12h for twelve hours ago",
        ) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)


@dataclass(frozen=True)
class Query:
    """What an entry must be like; patterns match as in file names (`*`, `?`), case counts."""

    patterns: dict[str, str]
    since: datetime.datetime | None = None
    until: datetime.datetime | None = None

    @classmethod
    def of(
        cls,
        *,
        principal: str | None = None,
        action: str | None = None,
        resource: str | None = None,
        outcome: str | None = None,
        since: str | None = None,
        until: str | None = None,
        now: datetime.datetime,
    ) -> "Query":
        """A query from texts; ConfigError when a time is malformed."""
        given = {"principal": principal, "action": action, "resource": resource, "outcome": outcome}
        patterns = {name: pattern for name, pattern in given.items() if pattern is not None}
        return cls(
            patterns,
            parse_time(since, now) if since else None,
            parse_time(until, now) if until else None,
        )

    def matches(self, entry: Entry) -> bool:
        """Whether the entry is wanted."""
        if self.since is not None or self.until is not None:
            moment = datetime.datetime.fromisoformat(entry.time)
            if (self.since is not None and moment < self.since) or (
                self.until is not None and moment >= self.until
            ):
                return False
        return all(
            fnmatchcase(getattr(entry, name), pattern) for name, pattern in self.patterns.items()
        )

    def last(self, entries: Iterable[Entry], count: int) -> list[Entry]:
        """The last `count` entries that match, oldest first; all of them for 0."""
        return list(
            deque((entry for entry in entries if self.matches(entry)), maxlen=count or None)
        )
