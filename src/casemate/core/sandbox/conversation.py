"""What is said between the outside and a job; nothing that it says is believed."""

import contextlib
import os
import selectors
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from casemate.core.sandbox.server import MAX_LOG, Job
from casemate.core.text import clean, clean_values
from casemate.core.types import Finding

MAX_MESSAGE = 64 * 1024 * 1024
MAX_PROGRESS = 20_000
"""Lines of progress; a search of a thousand trials says a thousand."""
MAX_FINDINGS = 100
"""Of each severity."""
_LONGEST = 4096
"""Characters of a path that can be opened (PATH_MAX, limits.h); to follow a longer one takes time
and finds nothing.
"""
ATTEMPTS = ("sandbox.file", "sandbox.metadata")
"""Findings about a path."""
Progress = Callable[[str, int, int], None]


class Hands(Protocol):
    """Who takes tasks that a job names; see `helpers.Broker`."""

    fault: BaseException | None

    def ask(self, tasks: list[dict[str, Any]]) -> None:
        """Take them; answers go to the job."""


@dataclass
class Conversation:
    """What was heard of a job."""

    read: list[str]
    """What it may open."""
    write: list[str]
    """What it may change."""
    isolation: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    result: dict[str, Any] | None = None
    error: dict[str, str] | None = None
    steps: int = 0
    log: bytes = b""
    """The end of what it printed."""
    stopped: str = ""
    """Why nobody listened any longer: `timeout`, `flood`, or nothing."""
    hands: Hands | None = None
    """Who takes tasks that the job names; None: it has to do them itself."""

    @property
    def ended(self) -> bool:
        """Whether there is nothing more to wait for."""
        told = self.result is not None or self.error is not None
        return told or (self.hands is not None and self.hands.fault is not None)


def converse(
    process: Job, message: bytes, seconds: float, progress: Progress | None, heard: Conversation
) -> None:
    """Feed the job and hear it until it says how it ended, is gone, says too much, or its time is
    up.
    """
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(message)
        process.stdin.close()
    deadline = time.monotonic() + seconds
    pending, total = b"", 0
    with selectors.DefaultSelector() as selector:
        said = selector.register(process.stdout, selectors.EVENT_READ)
        selector.register(process.stderr, selectors.EVENT_READ)
        while said.fileobj in selector.get_map():
            left = deadline - time.monotonic()
            if left <= 0:
                heard.stopped = "timeout"
                return
            ready = selector.select(min(left, 1.0))
            if not ready and process.server.ended() is not None:
                return
            for key, _ in ready:
                chunk = os.read(key.fd, 1 << 20)
                if not chunk:
                    selector.unregister(key.fileobj)
                elif key is not said:
                    heard.log = (heard.log + chunk)[-MAX_LOG:]
                else:
                    total += len(chunk)
                    *lines, pending = (pending + chunk).split(b"\n")
                    for line in lines:
                        _hear(heard, line, progress)
            if heard.ended:
                return
            if total > MAX_MESSAGE:
                heard.stopped = "flood"
                return
    while process.server.ended() is None:  # it says nothing more, and ends
        if time.monotonic() > deadline:
            heard.stopped = "timeout"
            return
        time.sleep(0.005)


def _hear(heard: Conversation, line: bytes, progress: Progress | None) -> None:
    """Take one message. Every text that leaves the sandbox is bounded and cleaned here, and nowhere
    else.
    """
    try:
        message = clean_values(msgspec.json.decode(line, type=dict[str, Any]))
        if not heard.isolation:
            heard.isolation = list(map(str, message["isolation"]))
        elif "finding" in message:
            _take_down(heard, message["finding"])
        elif "progress" in message:
            told = message["progress"]
            heard.steps += 1
            if progress and heard.steps <= MAX_PROGRESS:
                progress(clean(str(told["text"]), 200), int(told["done"]), int(told["total"]))
        elif "tasks" in message and heard.hands is not None:
            heard.hands.ask([dict(task) for task in message["tasks"]])
        elif "result" in message:
            heard.result = dict(message["result"])
        elif "error" in message:
            told = dict(message["error"])
            heard.error = {
                name: str(told.get(name, ""))[:MAX_LOG] for name in ("kind", "message", "traceback")
            }
    except (msgspec.MsgspecError, KeyError, TypeError, ValueError, RecursionError):
        # what foreign code writes there is not believed; without a result the job has failed
        return


def _take_down(heard: Conversation, told: dict[str, Any]) -> None:
    """Keep a finding; an attempt counts when there is something to be had at its path, which the
    sandbox cannot see.
    """
    finding = msgspec.convert({**told, "confidence": "high"}, Finding)
    attempt = finding.id in ATTEMPTS and finding.location
    if attempt:
        if len(finding.location) > _LONGEST:
            return
        allowed = heard.write if finding.id == "sandbox.metadata" else heard.read + heard.write
        path = os.path.realpath(finding.location)
        inside = any(
            path == base or path.startswith(base + "/") for base in map(os.path.realpath, allowed)
        )
        if inside or not os.path.lexists(path):
            return
    finding = msgspec.structs.replace(
        finding,
        id=clean(finding.id, 100),
        message=clean(finding.message, 500),
        location="" if attempt else clean(finding.location, 200),
    )
    alike = [other for other in heard.findings if other.severity == finding.severity]
    if finding not in alike and len(alike) < MAX_FINDINGS:
        heard.findings.append(finding)
