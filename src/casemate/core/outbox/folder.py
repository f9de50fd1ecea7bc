"""A folder that another program watches: one file a message, whole or absent, the same name at
every attempt.
"""

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from casemate.core.errors import TransientError
from casemate.core.files import write_atomic
from casemate.core.outbox.interface import Message


def deliver_to(folder: Path) -> Callable[[Message], None]:
    """A way to put messages into `folder`."""

    def deliver(message: Message) -> None:
        name = sha256(message.key.encode()).hexdigest()[:32]
        try:
            write_atomic(folder / f"{name}.json", message.to_json(), mode=0o644)
        except OSError as error:
            raise TransientError(
                f"{folder} was not written: {error.strerror}",
                hint="see its permissions and free space",
            ) from error

    return deliver
