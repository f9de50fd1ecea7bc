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
from casemate.core.http import host_and_port
from casemate.core.outbox.interface import Message


def deliver_to(address: str, server: str, sender: str, timeout: float) -> Callable[[Message], None]:
    """A way to mail messages to `address` through the relay `server` (HOST:PORT); ConfigError when
    one is malformed.
    """
    send = relay_to(address, server, sender, timeout)

    def deliver(message: Message) -> None:
        text = msgspec.json.format(msgspec.json.encode(message), indent=2).decode()
        send(f"casemate: {message.event}", sha256(message.key.encode()).hexdigest()[:32], text, "")

    return deliver


def relay_to(
    address: str, server: str, sender: str, timeout: float
) -> Callable[[str, str, str, str], None]:
    """A way to mail (subject, name, text, name of the mail that it follows, or "") to `address`.

    Args:
        address: of the receiver.
        server: of the relay, HOST:PORT.
        sender: From address.
        timeout: seconds for each step.

    Raises:
        ConfigError: one is malformed.
    """
    try:
        host, port = host_and_port(server)
    except ValueError as error:
        raise ConfigError(f"mail server {server!r} is not HOST:PORT") from error
    if "@" not in address or any(c.isspace() for c in address + sender):
        raise ConfigError(f"{address!r} is not a mail address")

    def send(subject: str, name: str, text: str, follows: str) -> None:
        mail = EmailMessage()
        mail["From"], mail["To"], mail["Subject"] = sender, address, subject
        mail["Message-ID"] = f"<{name}@casemate>"
        if follows:
            mail["In-Reply-To"] = mail["References"] = f"<{follows}@casemate>"
        mail.set_content(text)
        try:
            with smtplib.SMTP(host, port, timeout=timeout) as relay:
                relay.ehlo()
                if relay.has_extn("starttls"):
                    relay.starttls(context=ssl.create_default_context())
                relay.send_message(mail)
        except (OSError, smtplib.SMTPException) as error:
            raise TransientError(
                f"the mail server {server} did not take the message: {error}",
                hint="see that it runs and relays for you",
            ) from error

    return send
