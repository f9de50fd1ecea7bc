"""What a decision knows beside who, what and about what: Cedar's context, of one moment."""

import datetime
import ipaddress
import zoneinfo
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from casemate.core.errors import ConfigError

MAX_POSTURE = 100


@dataclass(frozen=True)
class Situation:
    """From where, when and how sure; `context` gives it as the schema's `Call`."""

    purpose: str
    now: datetime.datetime
    """With a time zone; `hour` and `weekday` are taken in it."""
    environment: str = "local"
    mfa_required: bool = False
    mfa_age: int | None = None
    """Seconds since a second factor was used in this session."""
    network: str | None = None
    """The caller's address."""
    device: str | None = None
    """What the posture check said."""
    risk: int = 0
    """0 (usual) to 100."""

    def context(self) -> dict[str, Any]:
        """Cedar's JSON for it (https://docs.cedarpolicy.com/auth/entities-syntax.html)."""
        known = {
            "purpose": self.purpose,
            "environment": self.environment,
            "now": _extension(
                "datetime", self.now.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            ),
            "hour": self.now.hour,
            "weekday": self.now.isoweekday(),
            "mfa_required": self.mfa_required,
            "mfa_age": self.mfa_age,
            "network": None if self.network is None else _extension("ip", self.network),
            "device": self.device,
            "risk": self.risk,
        }
        return {name: value for name, value in known.items() if value is not None}

    @property
    def key(self) -> tuple[Any, ...]:
        """Equal for moments that no policy needs to tell apart: the clock to the second and the
        factor's age to ten.
        """
        age = None if self.mfa_age is None else self.mfa_age // 10
        return (
            self.purpose,
            self.environment,
            int(self.now.timestamp()),
            age,
            self.network,
            self.device,
            self.risk,
        )


def zone(name: str) -> zoneinfo.ZoneInfo:
    """The time zone called `name`, such as Europe/Berlin; ConfigError when there is none."""
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ConfigError(
            f"[access] timezone: there is no time zone {name!r}",
            hint="such as UTC or Europe/Berlin",
        ) from error


def address(text: str) -> str:
    """An IP address in its usual spelling; ConfigError when it is none."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError as error:
        raise ConfigError(f"{text!r} is not an IP address", hint="such as 10.1.2.3") from error


def _extension(name: str, value: str) -> dict[str, Any]:
    return {"__extn": {"fn": name, "arg": value}}


def posture_of(path: Path | None) -> str | None:
    """What the posture check writes of this device; None where there is none."""
    if path is None:
        return None
    try:
        with path.open(encoding="utf-8") as file:
            return file.readline(MAX_POSTURE).strip() or "unknown"
    except (OSError, UnicodeDecodeError):
        return "unknown"
