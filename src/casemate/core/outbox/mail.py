"""Mail: one message through an SMTP relay; STARTTLS where the relay offers it. The Message-ID
carries the idempotency key.
"""

import smtplib
import ssl
from collections.abc import Callable
from email.message import EmailMessage
from hashlib import sha256

import msgspec

from casemate.core.errors import ConfigError, TransientError
from casemate.core.outbox.interface import Message


def deliver_to(address: str, server: str, sender: str, timeout: float) -> Callable[[Message], None]:
    """A way to mail messages to `address` through the relay `server` (HOST:PORT); ConfigError when
    one is malformed.
    """
    host, _, port = server.rpartition(":")
    if not host or not port.isdigit():
        raise ConfigError(f"mail server {server!r} is not HOST:PORT")
    if "@" not in address or any(c.isspace() for c in address + sender):
        raise ConfigError(f"{address!r} is not a mail address")

    def deliver(message: Message) -> None:
        mail = EmailMessage()
        mail["From"], mail["To"], mail["Subject"] = sender, address, f"casemate: {message.event}"
        mail["Message-ID"] = f"<{sha256(message.key.encode()).hexdigest()[:32]}@casemate>"
        mail.set_content(msgspec.json.format(msgspec.json.encode(message), indent=2).decode())
        try:
            with smtplib.SMTP(host, int(port), timeout=timeout) as relay:
                relay.ehlo()
                if relay.has_extn("starttls"):
                    relay.starttls(context=ssl.create_default_context())
                relay.send_message(mail)
        except (OSError, smtplib.SMTPException) as error:
            raise TransientError(
                f"the mail server {server} did not take the message: {error}",
                hint="see that it runs and relays for you",
            ) from error

    return deliver
