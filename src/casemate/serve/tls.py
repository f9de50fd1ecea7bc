"""The gateway's own certificate and its settings of TLS; a younger one takes its place in time."""

import asyncio
import contextlib
import os
import ssl
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from casemate.controls.keys.pki import SERVER_DAYS, Authority
from casemate.serve.health import Health
from casemate.wiring import Wiring

RENEW_SECONDS = SERVER_DAYS * 24 * 3600 * 2 / 3
RENEW_RETRY_SECONDS = 3600.0


async def renew(context: ssl.SSLContext, project: Wiring, beside: Any, health: Health) -> None:
    """Keep the server's certificates young."""
    wait = RENEW_SECONDS
    while True:
        await asyncio.sleep(wait)
        try:
            _load(
                context,
                project.keystore.authority,
                project.config.serve.names,
                project.keystore.folder,
            )
            if beside is not None:
                beside.certificates.renew()
            health.well("certificate")
            wait = RENEW_SECONDS
        except Exception as error:  # noqa: BLE001 - a third of its life is left to try again
            health.failed("certificate", error)
            wait = RENEW_RETRY_SECONDS


def tls_context(
    authority: Authority, names: list[str], folder: Path, *, clients: bool = False
) -> ssl.SSLContext:
    """The gateway's TLS settings with a fresh certificate for `names`.

    Args:
        authority: issues it.
        names: what clients call this server.
        folder: private; takes two files for a moment.
        clients: demand a certificate of the same authority from every client.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(["http/1.1"])
    if clients:
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        context.load_verify_locations(cadata=authority.pem.decode())
    _load(context, authority, names, folder)
    return context


def _load(context: ssl.SSLContext, authority: Authority, names: list[str], folder: Path) -> None:
    """Issue a certificate and load it; the files that Python's ssl needs exist for a
    moment, 0600.
    """
    chain, key = authority.issue_server(names)
    with _moment(folder, chain) as chain_file, _moment(folder, key) as key_file:
        context.load_cert_chain(chain_file, key_file)


@contextlib.contextmanager
def _moment(folder: Path, content: bytes) -> Iterator[str]:
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".tls-") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(content)
        file.flush()
        yield file.name
