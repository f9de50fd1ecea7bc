"""What the configuration says of access."""

import datetime
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from casemate.config import PlaceTable
from casemate.core.errors import ConfigError

if TYPE_CHECKING:
    from casemate.controls.access.identity.issuers import Workloads
    from casemate.controls.access.identity.oidc import Provider

Alert = Callable[[sa.Connection, str, str, dict[str, Any]], None]
"""Queues a message (transaction, event, key, content) for whoever is to hear of it."""


@dataclass(frozen=True)
class Options:
    """What the configuration says of access."""

    project: str
    purpose: str
    folder: Path
    """The project's own policies."""
    environment: str = "local"
    timezone: str = "UTC"
    mfa_required: bool = False
    local: bool = True
    breached: Path | None = None
    posture: Path | None = None
    places: dict[str, PlaceTable] = field(default_factory=dict)
    bulk_rows: int = 100_000
    origin: str = "https://localhost:8443"
    """Where browsers find this service; passkeys are bound to it."""
    provider: Callable[[str], "Provider"] | None = None
    """Makes the OpenID provider of a name."""
    workloads: Callable[[], "Workloads | None"] = lambda: None
    """Makes the verifier of workloads' tokens, if there are issuers of any."""


def lifetime(text: str, most: datetime.timedelta) -> datetime.timedelta:
    """`90m`, `4h` or `7d` as a time, at most `most`; ConfigError when it is none."""
    units = {"m": "minutes", "h": "hours", "d": "days"}
    number, unit = text[:-1], text[-1:]
    if (
        unit not in units
        or not number.isdigit()
        or len(number) > 6
        or not datetime.timedelta(0)
        < (found := datetime.timedelta(**{units[unit]: int(number)}))
        <= most
    ):
        raise ConfigError(f"{text!r} is not a time of at most {most}", hint="such as 90m, 4h or 7d")
    return found
