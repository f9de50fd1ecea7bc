"""A confined process that is asked again and again, until whoever started it closes it.

It gets an empty folder, no tables, and two pipes to be asked through; what it reports of attempts
is heard in a thread.
"""

import os
import tempfile
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from casemate.core.errors import Error
from casemate.core.files import remove_tree
from casemate.core.sandbox.conversation import Conversation, converse
from casemate.core.sandbox.failure import JobLimits, failure
from casemate.core.sandbox.run import described
from casemate.core.sandbox.server import ForkServer, Job
from casemate.core.types import Finding

FOR_EVER = 10 * 365 * 86400.0
"""Seconds that it may live and compute: it ends with whoever started it, and who asks decides how
long an answer may take.
"""
LAST_WORDS = 5.0
"""Seconds after its end within which all that it said has been heard; it is in the pipe by then."""


@dataclass(frozen=True)
class Surroundings:
    """What a process in a session may use, and what must not lie in its reach."""

    memory_bytes: int = 16 * 2**30
    """Of all of its processes together; default: that of `[train] memory_gb`."""
    hidden: tuple[Path, ...] = ()
    """See `Worker.run`."""


class Session:
    """One such process."""

    def __init__(self, target: str, surroundings: Surroundings) -> None:
        """Start it; it confines itself, or ends without having run anything.

        Args:
            target: `module:function`, called as `function(job, channel, watch)`; the job's `tables`
                are the descriptors that it reads questions from and writes answers to.
            surroundings: what it may use.

        Raises:
            SandboxError: something hidden lies in a folder that it can read.
        """
        folder = Path(tempfile.mkdtemp(prefix="casemate-"))
        self._limits = JobLimits(FOR_EVER, surroundings.memory_bytes)
        closing: list[Callable[[], object]] = [lambda: remove_tree(folder)]
        self.close = weakref.finalize(self, _each, closing)
        """End it; also when nobody holds this object any more."""
        message, self._heard = described(
            {}, folder, self._limits, list(surroundings.hidden), required=True
        )
        server = ForkServer([target], threads=1)
        closing.insert(0, server.close)
        theirs_read, self.write = os.pipe()
        self.read, theirs_write = os.pipe()
        job = Job(server, target, [], [theirs_read, theirs_write])
        listening = _listening(job, msgspec.json.encode(message), self._heard)
        self._thread = threading.Thread(target=listening, daemon=True)
        self._job = job
        self._thread.start()

    @property
    def findings(self) -> list[Finding]:
        """What it tried so far."""
        return list(self._heard.findings)

    def fault(self) -> Error:
        """Why it ended."""
        self._thread.join(LAST_WORDS)
        return failure(self._heard, self._job.code, self._limits)


def _listening(job: Job, message: bytes, heard: Conversation) -> Callable[[], None]:
    """What the thread does; it holds no session, so that one can end."""

    def listen() -> None:
        with job:
            converse(job, message, FOR_EVER, None, heard)

    return listen


def _each(closing: list[Callable[[], object]]) -> None:
    for close in closing:
        close()
