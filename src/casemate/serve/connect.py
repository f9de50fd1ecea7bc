"""A client of the project's own gateway: what a model is called there, and a token for it."""

import contextlib
import datetime
import secrets
from collections.abc import Iterator
from pathlib import Path

from casemate.core.errors import (
    ConfigError,
)
from casemate.core.secrets import read_secret
from casemate.operations.access import machines
from casemate.serve.called import Called
from casemate.serve.client import Client
from casemate.wiring import Wiring

MINUTES = 60
"""Life of the token that one command makes for itself. A judgement: a large file takes minutes."""


@contextlib.contextmanager
def connect(
    project: Wiring,
    model: str | None = None,
    *,
    url: str | None = None,
    token: str | None = None,
    certificate: Path | None = None,
) -> Iterator[Client]:
    """A client of the project's gateway.

    Args:
        project: whose authority is trusted.
        model: as callers name it, or as it is registered; perhaps with `@VERSION`. Default: the
            only one, or the project's.
        url: of the gateway; default: `[serve]` host and port.
        token: `file:PATH` or `env:NAME`; default: one for this block, made by the owner and
            forgotten afterwards.
        certificate: folder with `cert.pem` and `key.pem`, where the gateway demands one.
    """
    options = project.config
    alias, name = _alias(options.serve.models, options.project.name, model)
    url = url or f"https://{options.serve.host}:{options.serve.port}"
    with contextlib.ExitStack() as stack:
        secret = read_secret(token) if token else stack.enter_context(_own_token(project, name))
        authority = project.keystore.folder / "public" / "ca.pem"
        client = Client(
            url,
            secret,
            authority,
            certificate,
            model=alias,
            missing=options.data.null_values,
            most_rows=options.serve.max_rows,
            called=Called(options.data),
        )
        stack.callback(client.close)
        yield client


def _alias(served: dict[str, str], own: str, given: str | None) -> tuple[str, str]:
    """(what callers name a model, what it is registered as): a token is for the latter, a path has
    the former.
    """
    served = served or {own: own}
    if given is None:
        given = own if own in served or len(served) != 1 else next(iter(served))
    name, at, version = given.partition("@")
    if name not in served:
        aliases = [
            alias for alias, reference in served.items() if reference.partition("@")[0] == name
        ]
        if len(aliases) > 1:
            raise ConfigError(
                f"{name} is served under several names: {', '.join(aliases)}",
                hint="give one of them as --model",
            )
        if not aliases:
            raise ConfigError(
                f"[serve.models] serves no {name!r}", hint=f"served are: {', '.join(served)}"
            )
        name = aliases[0]
    return name + at + version, served[name].partition("@")[0]


@contextlib.contextmanager
def _own_token(project: Wiring, model: str) -> Iterator[str]:
    service = f"predict-{secrets.token_hex(4)}"
    token, identifier = machines.create_token(
        project, service, ["client"], [model], datetime.timedelta(minutes=MINUTES)
    )
    try:
        yield token
    finally:
        machines.forget(project, service, identifier)
