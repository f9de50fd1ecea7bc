"""What a job may use, and what to say of one that ended without a result."""

import os
from dataclasses import dataclass
from functools import partial

from casemate.core.errors import Error, SandboxError, TrainingError
from casemate.core.sandbox import confined, supervise
from casemate.core.sandbox.conversation import MAX_MESSAGE, Conversation
from casemate.core.text import clean
from casemate.core.types import Finding


@dataclass(frozen=True)
class JobLimits:
    """What a job may use."""

    seconds: float
    memory_bytes: int

    @property
    def tasks(self) -> int:
        """Processes and threads together: a worker for each core, with a few pools of a thread for
        each core.
        """
        cores = os.cpu_count() or 1
        return 256 + cores * (4 * cores + 16)


class JobFailed(TrainingError):
    """The job ended without a result; `kind` is `timeout`, `killed`, `limit` or the exception's
    type inside.
    """

    def __init__(
        self, kind: str, message: str, *, hint: str, findings: list[Finding], plain: str = ""
    ) -> None:
        super().__init__(
            message, hint=hint, findings=findings, plain=plain or "the training code failed"
        )
        self.kind = kind
        self.from_outside = bool(plain)
        """Whether the kind and `plain` are what was seen from here, and not what the code said of
        itself.
        """


def _tail(log: bytes) -> str:
    """The last five lines."""
    text = clean(log[-2000:].decode(errors="replace"), 2000, lines=True)
    return "\n".join(text.strip().splitlines()[-5:])


def failure(heard: Conversation, code: int | None, limits: JobLimits) -> Error:
    """What to say of a job without a result."""
    failed = partial(JobFailed, findings=heard.findings)
    error = heard.error
    if heard.stopped == "timeout":
        text = f"the code did not finish within {limits.seconds:g} s"
        return failed("timeout", text, hint="raise the timeout or do less work", plain=text)
    if heard.stopped == "flood":
        text = f"the code said more than {MAX_MESSAGE >> 20} MiB"
        return failed("limit", text, hint="return less and report less progress", plain=text)
    if error is None and code in supervise.CODES:
        text, hint = _exceeded(code, limits)
        return failed("limit", text, hint=hint, plain=text)
    if error is None:
        tail = _tail(heard.log)
        return failed(
            "killed",
            f"the code's process died (exit {code})" + (f": {tail}" if tail else ""),
            hint="it may have run out of memory: raise [train] memory_gb or use fewer rows",
            plain="the code's process died",
        )
    # said before the code ran, not by it
    if error["kind"] == "sandbox" and not confined(heard.isolation):
        return SandboxError(
            f"this kernel cannot confine the code: only {', '.join(heard.isolation)} work here",
            hint=(
                'use Linux 5.13 or newer with Landlock, or set [sandbox] mode = "prefer" and accept'
                " the finding; [train] transformers are run in a sandbox or not at all"
            ),
        )
    kind = clean(error["kind"], 100)
    if kind in ("MemoryError", "ArrowMemoryError", "_ArrayMemoryError"):
        text, hint = (
            f"the code ran out of memory: {error['message']}",
            "raise [train] memory_gb or use fewer rows",
        )
    else:
        text, hint = f"{kind}: {error['message']}", error["traceback"].strip() or "see the message"
    return failed(kind, text, hint=hint)


def _exceeded(code: int, limits: JobLimits) -> tuple[str, str]:
    """What to say, and advise, of a limit of the whole job."""
    return {
        supervise.MEMORY: (
            (
                "the job's processes together used more than [train] memory_gb ="
                f" {limits.memory_bytes / 2**30:g}"
            ),
            (
                "raise [train] memory_gb, lower [train] jobs, or use fewer rows; /dev/shm counts as"
                " memory"
            ),
        ),
        supervise.TASKS: (
            f"the job had more than {limits.tasks} processes and threads",
            "start fewer; [train] jobs starts what pays",
        ),
        supervise.FILES: (
            (
                f"the job left more than {supervise.MAX_FILES} files or"
                f" {supervise.MAX_WRITTEN >> 30} GiB"
            ),
            "remove temporary files while the code works",
        ),
        supervise.HIDDEN: (
            "what the job uses could not be looked at",
            "do not take rights away from its own files, and nest no folders thousands deep",
        ),
    }[code]
