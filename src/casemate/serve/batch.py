"""Same-turn micro-batching: requests that arrive in one turn of the event loop share one run of the
model.

There is no timer, so a request that is alone waits for nobody. A model that takes long runs in a
thread; what arrives meanwhile is the next batch.
"""

import asyncio
import time
from collections import deque
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from casemate.core.errors import RequestError, Wrong
from casemate.ml.frame import joined
from casemate.serve.endpoint import Endpoint
from casemate.serve.guard import Unfit
from casemate.serve.heartbeat import Heartbeat, Lane
from casemate.serve.protocols.interface import Asked
from casemate.serve.types import Array

MOST_ROWS = 1024
"""Rows from which a batch takes no further request."""


class TooLate(RequestError):
    """The answer was not ready by the deadline."""

    code = "CM-DEADLINE"
    http_status = 503
    who = "the gateway's operator, if it happens often"


@dataclass(slots=True)
class Job:
    """One request on its way through a model."""

    asked: Asked
    began: float
    """`time.perf_counter()` when the whole request was there."""
    context: Any
    """Whose it is; the batcher only hands it on."""
    done: asyncio.Future[Any]
    alone: bool = False
    """Whether it shares no batch, because one that it was in failed."""


class StandsStill(RequestError):
    """The model does not come to an end with the rows that it was asked about."""

    code = "CM-STUCK"
    http_status = 503
    who = "the model's owner"


class BatchListener(Protocol):
    """Hears how jobs ended."""

    def answered(
        self,
        endpoint: Endpoint,
        job: Job,
        codes: list[int],
        probabilities: Array,
        noticed: dict[str, int],
    ) -> None:
        """The model has spoken: class numbers [n], probabilities float32 [n, k], and rows that each
        guard noticed.
        """

    def failed(
        self, endpoint: Endpoint, job: Job, fault: Exception, noticed: dict[str, int]
    ) -> None:
        """The job was refused or could not be done."""


class Batcher:
    """The queue before one model version."""

    def __init__(
        self, endpoint: Endpoint, deadline: float, listener: BatchListener, lane: Lane | None = None
    ) -> None:
        """Wait for work.

        Args:
            endpoint: the model.
            deadline: seconds after a request is there from which on it is not worth an answer.
            listener: hears how each job ended.
            lane: where the supervisor sees whether the model stands still.
        """
        self.endpoint = endpoint
        self._lane = lane or Heartbeat.alone().lane("")
        self._computing: list[Job] = []
        """What a thread computes."""
        self._deadline = deadline
        self._answered, self._failed = listener.answered, listener.failed
        self._queue: deque[Job] = deque()
        self._busy = False

    @property
    def waiting(self) -> int:
        """Jobs in the queue."""
        return len(self._queue)

    def submit(self, job: Job) -> None:
        """Take a job; `listener` will hear of it."""
        if not self._queue and not self._busy:
            # Two hops: one more look at the sockets gets the requests in that have arrived by now.
            loop = asyncio.get_running_loop()
            loop.call_soon(loop.call_soon, self._drain)
        self._queue.append(job)

    def _drain(self) -> None:
        if self._busy:
            return
        while self._queue:
            jobs: list[Job] = []
            count, late = 0, time.perf_counter() - self._deadline
            while self._queue and (not jobs or self._joins(jobs[0], self._queue[0], count)):
                job = self._queue.popleft()
                if job.done.done():
                    continue
                if job.began < late:
                    self._fail(job, TooLate("the answer was not ready in time"), {})
                    continue
                jobs.append(job)
                count += job.asked.count
            if not jobs:
                continue
            if self.endpoint.in_thread(count):
                self._busy, self._computing = True, jobs
                running = asyncio.get_running_loop().run_in_executor(None, self._run, jobs)
                running.add_done_callback(lambda future, jobs=jobs: self._finished(jobs, future))  # type: ignore[misc]
                return
            try:
                found = self._run(jobs)
            except Exception as error:  # noqa: BLE001 - a model may raise anything; its callers must hear of it
                self._retry(jobs, error)
                continue
            self._tell(jobs, *found)

    def _joins(self, first: Job, job: Job, count: int) -> bool:
        """Whether a job goes into the batch of `first`, which has so many rows."""
        return (
            self.endpoint.steady
            and not first.alone
            and not job.alone
            and count + job.asked.count <= MOST_ROWS
        )

    def give_up(self) -> bool:
        """Whether the model stands still; then all who wait hear so."""
        if not self._busy or not self._lane.overdue:
            return False
        jobs, self._computing = [*self._computing, *self._queue], []
        self._queue.clear()
        for job in jobs:
            self._fail(job, StandsStill("the model came to no end"), {})
        return True

    def _finished(self, jobs: list[Job], future: Any) -> None:
        self._busy = False
        if not self._computing:  # given up
            return
        self._computing = []
        if future.exception() is not None:
            self._retry(jobs, future.exception())
        else:
            self._tell(jobs, *future.result())
        self._drain()

    def _retry(self, jobs: list[Job], error: Exception) -> None:
        """What fails a whole batch may be one request's rows: the others are asked about alone."""
        if len(jobs) == 1:
            self._fail(jobs[0], error, {})
            return
        for job in jobs:
            job.alone = True
        self._queue.extendleft(reversed(jobs))

    def _fail(self, job: Job, fault: Exception, noticed: dict[str, int]) -> None:
        try:
            self._failed(self.endpoint, job, fault, noticed)
        except Exception as error:  # noqa: BLE001 - whoever waits must hear of it, and the next job must be done
            if not job.done.done():
                job.done.set_exception(error)
                job.done.exception()  # nobody waits for a shadow's

    def _run(
        self, jobs: list[Job]
    ) -> tuple[
        dict[int, tuple[list[Wrong], dict[str, int]]], dict[int, dict[str, int]], list[int], Array
    ]:
        """What `_computed` finds, within a time that the supervisor knows."""
        self._lane.begin(self.endpoint.allowance(sum(job.asked.count for job in jobs)))
        try:
            return self._computed(jobs)
        finally:
            self._lane.end()

    def _computed(
        self, jobs: list[Job]
    ) -> tuple[
        dict[int, tuple[list[Wrong], dict[str, int]]], dict[int, dict[str, int]], list[int], Array
    ]:
        """(per refused job why and what was noticed, per other job what was noticed, class numbers,
        probabilities).
        """
        rows = joined([job.asked.rows for job in jobs])
        marks, words = self.endpoint.guard(rows)
        if not marks:
            codes, probabilities = self.endpoint.predict(rows)
            return {}, {}, codes.tolist(), probabilities
        refused, noticed, start = {}, {}, 0
        for place, job in enumerate(jobs):
            end = start + job.asked.count
            counts = {name: int(mark[start:end].sum()) for name, mark in marks.items()}
            counts = {name: count for name, count in counts.items() if count}
            if self.endpoint.guard.refuses(counts) is None:
                noticed[place] = counts
            else:
                refused[place] = (words(start, end), counts)
            start = end
        good = [job.asked.rows for place, job in enumerate(jobs) if place not in refused]
        if not good:
            return refused, noticed, [], np.empty((0, 0), np.float32)
        codes, probabilities = self.endpoint.predict(joined(good))
        return refused, noticed, codes.tolist(), probabilities

    def _tell(
        self,
        jobs: list[Job],
        refused: dict[int, tuple[list[Wrong], dict[str, int]]],
        noticed: dict[int, dict[str, int]],
        codes: list[int],
        probabilities: Array,
    ) -> None:
        start = 0
        for place, job in enumerate(jobs):
            if place in refused:
                why, counts = refused[place]
                self._fail(job, Unfit.rows_of(why), counts)
                continue
            end = start + job.asked.count
            try:
                self._answered(
                    self.endpoint,
                    job,
                    codes[start:end],
                    probabilities[start:end],
                    noticed.get(place, {}),
                )
            except Exception as error:  # noqa: BLE001 - one answer that cannot be written must not fail its neighbours
                self._fail(job, error, {})
            start = end
