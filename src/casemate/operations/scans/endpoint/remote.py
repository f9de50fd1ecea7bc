"""A gateway that others use, which somebody named: asked as callers whose credentials they gave,
and never attacked.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from casemate.controls.access.types import Principal
from casemate.core.errors import ConfigError
from casemate.core.http import is_private
from casemate.core.types import Record
from casemate.operations.scans.endpoint.accounts import permitted, strangers
from casemate.operations.scans.endpoint.scratch import ACTIONS, PYTHON, Copy
from casemate.operations.serving import live
from casemate.supply.scanners.running import Identity, Known, Meter, Target
from casemate.wiring import Wiring

RATE = 50.0
"""Requests a second at most, whatever `[scan.endpoint] rate` says: others use it too."""
KINDS = ("User", "Service")


class Remote(Record, frozen=True, kw_only=True):
    """Which gateway, and who lets it be asked."""

    url: str
    consent: str
    """Why, in the words of whoever lets it happen; for the record."""
    callers: dict[str, str]
    """`Service:NAME` or `User:NAME` -> reference of a token: `env:NAME`, `file:PATH`."""
    ca: str = ""
    """File with the certificate of its authority; empty: this project's own."""

    def require(self) -> None:
        """ConfigError: nobody consents, the URL is none, or there are no credentials."""
        if not self.consent.strip():
            raise ConfigError(
                "nobody consents to asking a gateway that others use",
                hint="--consent, with the reason for the record",
            )
        if not is_private(self.url):
            raise ConfigError(
                f"{self.url[:200]!r} is no https:// URL of a gateway",
                hint="http is for this machine alone",
            )
        parts = urlsplit(self.url)
        if parts.username or parts.password or parts.query or parts.path not in ("", "/"):
            raise ConfigError(
                "the URL of a gateway has no more than a host and a port",
                hint="credentials: --as Service:NAME=env:TOKEN",
            )
        for name in self.callers:
            kind, _, who = name.partition(":")
            if kind not in KINDS or not who:
                raise ConfigError(
                    f"{name[:80]!r} is nobody", hint="--as Service:NAME=env:TOKEN or User:NAME=…"
                )
        if not self.callers:
            raise ConfigError(
                "there are no credentials of anybody", hint="--as Service:NAME=env:TOKEN"
            )


@contextlib.contextmanager
def reached(project: Wiring, work: Path, remote: Remote) -> Iterator[Target]:
    """The gateway, as it is to be asked.

    Args:
        project: whose policies say what is to be answered.
        work: an empty folder.
        remote: which one, and as whom.

    Raises:
        ConfigError: a caller or a credential is not there.
    """
    table, serve = project.config.scan.endpoint, project.config.serve
    named = serve.models or {project.config.project.name: project.config.project.name}
    alias, reference = next(iter(named.items()))
    if "@" not in reference:
        reference = live(project, reference)
    model = reference.partition("@")[0]
    policy = project.point.in_force()
    identities = []
    for name, secret in remote.callers.items():
        found = _caller(project, *name.split(":", 1))
        one = Identity(
            group=f"{found.kind.lower()} {found.name}",
            uid=found.uid,
            kind="User" if found.kind == "User" else "Service",
            roles=list(found.roles),
            state="good",
            token=project.read_secret(secret),
        )
        identities.append(permitted(project, policy, one, found.models, ACTIONS, model))
    own = project.keystore.folder / "public" / "ca.pem"
    ca = Path(remote.ca) if remote.ca else own if own.is_file() else None
    yield Target(
        url=remote.url.rstrip("/"),
        ca=ca if remote.url.startswith("https") else None,
        doors=Copy(work, work, PYTHON).doors(),
        known=Known(
            identities=[*identities, *strangers()],
            served=alias,
            reference=reference,
            most_body=int(serve.max_body_mb * 2**20),
        ),
        meter=Meter(table.seconds, table.requests, min(table.rate, RATE)),
        scratch=False,
    )


def _caller(project: Wiring, kind: str, name: str) -> Principal:
    found = project.point.directory.find(kind, name)
    if found is None:
        raise ConfigError(f"there is no {kind} {name[:80]!r} here", hint="casemate access list")
    return found
