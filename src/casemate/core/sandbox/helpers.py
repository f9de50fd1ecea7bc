"""A confined job asks for hands: it names tasks, and others, confined like it, answer them.

The job keeps no connection: it writes what it wants done where it writes its progress, and reads
answers from a pipe. Outside, a thread hands the tasks on and writes the answers, in their order,
while what the job says is still heard.
"""

import base64
import contextlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
import pyarrow as pa

from casemate.core.errors import Error, SandboxError
from casemate.core.sandbox.child import Channel
from casemate.core.sandbox.failure import JobLimits
from casemate.core.types import Finding

ANSWERS = "answers"
"""In the job: the descriptor that answers are read from, where somebody gives any."""
NEAR = "near"
"""In a task: whatever has the same number here is quicker done together. May be left out."""
MOST_TASKS = 100_000
"""Of one question; a search of ten thousand candidates in ten folds."""
Task = dict[str, Any]
Answer = dict[str, Any]


@dataclass(frozen=True)
class Assignment:
    """What all tasks of a job have in common: what the job itself was given."""

    target: str
    """`module:function` that answers a list of tasks: see `TASKS`."""
    job: dict[str, Any]
    tables: list[pa.Table]
    inputs: dict[str, bytes]
    limits: JobLimits
    required: bool
    """Refuse where a kernel cannot confine."""


@dataclass(frozen=True)
class Heard:
    """One answer, and what its process tried and was confined by."""

    answer: Answer
    findings: list[Finding]
    isolation: list[str]


class Helpers(Protocol):
    """Who has tasks done; the contract is in `tests/contract/test_crews.py`."""

    def begin(self) -> None:
        """Start whom they need, if that is not running. Called by the thread that waits for the
        job: what it starts may end with it.

        Raises:
            TransientError: it does not come up. ConfigError: as in `answers`.
        """

    def answers(self, assignment: Assignment, tasks: list[Task]) -> Iterator[Heard]:
        """One for each task, in the order of the tasks, whoever is ready first.

        Raises:
            JobFailed: a task failed as the job would have; the other tasks are given up.
            TransientError: whoever should have answered is gone.
            ConfigError: it is another version, or cannot be reached as it is configured.
        """

    def close(self) -> None:
        """Give up what is under way; also from another thread."""


class Asked:
    """The job's side."""

    def __init__(self, job: dict[str, Any], channel: Channel) -> None:
        """Take the pipe.

        Args:
            job: as the sandbox gave it, with `ANSWERS`.
            channel: what tasks are named by.
        """
        self._channel = channel
        self._file = os.fdopen(job[ANSWERS], "rb")

    def __call__(self, tasks: list[Task]) -> Iterator[Answer]:
        """Answers in the order of the tasks, each as soon as it and those before it are there."""
        self._channel.send(tasks=tasks)
        for _ in tasks:
            line = self._file.readline()
            if not line:
                raise EOFError("nobody answers any longer")
            yield msgspec.json.decode(line, type=dict[str, Any])


class Broker:
    """The side outside: one for each job, with a thread while there is a question."""

    def __init__(self, helpers: Helpers, assignment: Assignment, pipe: int) -> None:
        """Nothing happens before the job asks.

        Args:
            helpers: who answers.
            assignment: what they are given.
            pipe: where answers are written; closed with the broker.
        """
        self._helpers, self._assignment = helpers, assignment
        self._pipe = pipe
        self._thread: threading.Thread | None = None
        self.fault: BaseException | None = None
        """Why there will be no more answers."""
        self.findings: list[Finding] = []
        self.isolation: list[str] | None = None
        """What held in every process that answered; None: none did."""

    def ask(self, tasks: list[Task]) -> None:
        """Have them answered; a job asks one question at a time."""
        if self._thread is not None:
            self._thread.join()
        if len(tasks) > MOST_TASKS:
            self.fault = SandboxError(
                f"the job asked for {len(tasks)} tasks at once, at most {MOST_TASKS} are given out",
                hint="try fewer candidates",
            )
            return
        self._thread = threading.Thread(target=self._answer, args=(tasks,), daemon=True)
        self._thread.start()

    def _answer(self, tasks: list[Task]) -> None:
        try:
            for heard in self._helpers.answers(self._assignment, tasks):
                self.findings += [one for one in heard.findings if one not in self.findings]
                known = self.isolation
                self.isolation = (
                    heard.isolation
                    if known is None
                    else [name for name in known if name in heard.isolation]
                )
                _write(self._pipe, msgspec.json.encode(heard.answer) + b"\n")
        except Error as error:
            self.fault = error
        except OSError:  # the job is gone; how it ended is told by itself
            return
        except BaseException as error:  # noqa: BLE001 - raised again where the job is waited for
            self.fault = error

    def close(self) -> None:
        """End the thread and what it waits for; the pipe is closed once it writes no more."""
        if self._thread is not None and self._thread.is_alive():
            self._helpers.close()
            self._thread.join()
        with contextlib.suppress(OSError):
            os.close(self._pipe)


def packed(values: Any) -> str:
    """Floats as text, so that none changes on the way: their bytes, little-endian, in base64."""
    import numpy as np

    return base64.b64encode(np.ascontiguousarray(values, dtype="<f8").tobytes()).decode()


def unpacked(text: str) -> Any:
    """The same floats, float64 [n]."""
    import numpy as np

    return np.frombuffer(base64.b64decode(text), dtype="<f8").astype(np.float64)


def _write(pipe: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(pipe, view) :]
