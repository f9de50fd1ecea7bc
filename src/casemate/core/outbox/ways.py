"""From what the configuration says of a receiver to a way to deliver."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from casemate.core.outbox.interface import Message


def way(
    kind: Literal["webhook", "mail", "folder"],
    to: str,
    root: Path,
    timeout: float,
    server: str,
    sender: str,
    secret: Callable[[], str] | None,
) -> Callable[[Message], None]:
    """How messages get to one receiver.

    Args:
        kind: how it is delivered.
        to: URL, mail address or folder.
        root: what a folder is relative to.
        timeout: seconds that one delivery may take.
        server: mail: `HOST:PORT` of the relay.
        sender: mail: the From address.
        secret: webhook: gives the key of the signature.

    Raises:
        ConfigError: an address is malformed, or a webhook is not https.
    """
    from casemate.core.outbox import folder, mail, webhook  # each brings its own libraries

    if kind == "folder":
        return folder.deliver_to(root / to)
    if kind == "mail":
        return mail.deliver_to(to, server, sender, timeout)
    return webhook.deliver_to(to, secret, timeout)
