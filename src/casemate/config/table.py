"""The words and limits that tables share."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

FILE_NAME = "casemate.toml"
Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$(?!\n)")]
"""Without the last part `$` lets a final line break through."""
Share = Annotated[float, Meta(ge=0.0, le=1.0)]
Count = Annotated[int, Meta(ge=1)]
MOST_SECONDS, MOST_MINUTES, MOST_HOURS = 31_622_400, 527_040, 8784
"""A leap year: what waits longer waits for ever, and clocks of the system take it."""
MOST_DAYS = 100_000
"""So long before today, and after it, there still is a date."""
MOST_GB, MOST_MB = 2**20, 2**30
"""A pebibyte: as bytes it is still a number that limits of processes take."""
Days = Annotated[int, Meta(ge=1, le=MOST_DAYS)]
Url = Annotated[str, Meta(pattern=r"^https?://[^\s?#]+$(?!\n)")]
Origin = Annotated[str, Meta(pattern=r"^https://[^\s/?#]+$(?!\n)")]
Cron = Annotated[str, Meta(pattern=r"^[0-9*,/-]+( [0-9*,/-]+){4}$(?!\n)")]
Authority = Annotated[
    str | None,
    Meta(
        description="PEM file of the only authority that is believed for it; default: the system's."
    ),
]
"""Of whoever is asked over TLS."""
Part = Literal["year", "month", "weekday", "hour", "days", "words"]
Mask = Annotated[
    str, Meta(pattern=r"^(redact|year|first-[1-9][0-9]?|round-[1-9][0-9]{0,8})$(?!\n)")
]
DetectorId = Literal[
    "duplicate", "flood", "outlier", "neighbours", "label-noise", "trigger", "spectral"
]
"""What a row of the quarantine is there for."""
Event = Literal[
    "run:passed",
    "run:refused",
    "run:failed",
    "access:break-glass",
    "access:anomaly",
    "model:rolled-back",
    "model:canary-failed",
    "model:withdrawn",
    "model:not-loaded",
    "watch:alarm",
    "watch:well",
    "incident:opened",
    "incident:changed",
    "incident:overdue",
    "playbook:waits",
    "playbook:notice",
    "request:due",
    "request:overdue",
    "*",
]
"""What the outbox can tell; `*` is all of it."""


def is_pattern(name: str) -> bool:
    """Whether a name in `[data.columns]` stands for all columns that match it."""
    return any(sign in name for sign in "*?[")


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One table of the file."""


SPANS = ("clock", "duration")
"""Formats of a column that make numbers of it."""
Digits = Annotated[int, Meta(ge=1, le=7)]
Reaction = Literal["flag", "refuse"]
