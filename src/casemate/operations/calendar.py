"""Days of the controller's calendar, that of `[access] timezone`: whatever the clock does on one,
it begins and ends as people there count it.
"""

import datetime
from zoneinfo import ZoneInfo

from casemate.wiring import Wiring


def zone(project: Wiring) -> ZoneInfo:
    """Of the calendar."""
    return ZoneInfo(project.config.access.timezone)


def today(project: Wiring) -> datetime.date:
    """The day there."""
    return project.clock.now().astimezone(zone(project)).date()


def begins(day: datetime.date, zone: ZoneInfo) -> datetime.datetime:
    """When a day begins, in UTC."""
    return datetime.datetime.combine(day, datetime.time(), zone).astimezone(datetime.UTC)


def day_of(time: str, zone: ZoneInfo) -> datetime.date:
    """The day there of a time (ISO 8601 with its zone)."""
    return datetime.datetime.fromisoformat(time).astimezone(zone).date()
