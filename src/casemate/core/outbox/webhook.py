"""Webhooks: a signed POST with an idempotency key (headers as in Standard Webhooks,
https://www.standardwebhooks.com).
"""

import base64
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import msgspec
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.hmac import HMAC

from casemate.core.errors import ConfigError, TransientError
from casemate.core.http import is_private, post
from casemate.core.outbox.interface import Message


def deliver_to(
    url: str, secret: Callable[[], str] | None, timeout: float
) -> Callable[[Message], None]:
    """A way to POST messages to `url`; `secret` gives the key of the signature.

    Raises:
        ConfigError: the URL is not https (http is for this machine only).
    """
    parts = urlsplit(url)
    if not is_private(url):
        raise ConfigError(
            f"a webhook to {parts.hostname or url!r} must use https",
            hint="http is allowed to this machine only",
        )
    if parts.username or parts.password:
        raise ConfigError(
            "a webhook URL holds a password", hint='take it out; sign with secret = "env:NAME"'
        )

    def deliver(message: Message) -> None:
        body = msgspec.json.encode(message)
        stamp = str(int(time.time()))
        headers = {
            "content-type": "application/json",
            "idempotency-key": message.key,
            "webhook-id": message.key,
            "webhook-timestamp": stamp,
        }
        if secret is not None:
            mac = HMAC(secret().encode(), hashes.SHA256())
            mac.update(f"{message.key}.{stamp}.".encode() + body)
            headers["webhook-signature"] = "v1," + base64.b64encode(mac.finalize()).decode()
        status, _ = post(url, body, headers, timeout)
        if not 200 <= status < 300:
            raise TransientError(
                f"{parts.hostname} answered {status}", hint="see the receiver's log"
            )

    return deliver
