"""The gateway's own certificate: a younger one takes its place in time."""

import asyncio
import ssl
from typing import Any

from casemate.controls.keys.pki import SERVER_DAYS
from casemate.controls.keys.tls import load_certificate
from casemate.serve.health import Health
from casemate.wiring import Wiring

RENEW_SECONDS = SERVER_DAYS * 24 * 3600 * 2 / 3
RENEW_RETRY_SECONDS = 3600.0
"""After a renewal that failed: a third of the certificate's life is left."""


async def renew(context: ssl.SSLContext, project: Wiring, beside: Any, health: Health) -> None:
    """Keep the server's certificates young."""
    wait = RENEW_SECONDS
    while True:
        await asyncio.sleep(wait)
        try:
            load_certificate(
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
