"""What the policy point is built with: the options of access, and who vouches for logins."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from casemate.config import Config
from casemate.controls.access.options import Options
from casemate.core.clock import Clock
from casemate.core.errors import ConfigError

if TYPE_CHECKING:
    from casemate.controls.access.identity.issuers import Workloads
    from casemate.controls.access.identity.oidc import Provider


def access_options(
    root: Path, config: Config, clock: Clock, read_secret: Callable[[str], str]
) -> Options:
    """What the policy point is to know of the configuration."""

    def provider(name: str) -> "Provider":
        from casemate.controls.access.identity.oidc import Provider  # not at start-up: 0.1 s

        known = config.access.providers
        if name not in known:
            raise ConfigError(
                f"there is no provider {name!r}",
                hint="[access.providers]: " + (", ".join(sorted(known)) or "none"),
            )
        return Provider(name, known[name], root, clock, read_secret)

    def workloads() -> "Workloads | None":
        from casemate.controls.access.identity.issuers import Workloads

        tables = config.access.workloads
        return Workloads(tables, root, clock, config.outbox.timeout) if tables else None

    project, table = config.project, config.access
    return Options(
        project=project.id,
        purpose=project.purpose,
        folder=root / table.policies,
        environment=table.environment,
        timezone=table.timezone,
        mfa_required=table.mfa == "required",
        local=table.local,
        breached=None if table.breached is None else root / table.breached,
        posture=None if table.posture is None else root / table.posture,
        places=table.places,
        bulk_rows=table.bulk_rows,
        origin=table.origin or f"https://{config.serve.names[0]}:{config.serve.port}",
        provider=provider,
        workloads=workloads,
    )
