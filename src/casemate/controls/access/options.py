"""What the configuration says of access."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from casemate.config import PlaceTable

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
