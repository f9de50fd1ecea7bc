"""Appending from a busy process: many entries and predictions in few transactions."""

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from casemate.controls.audit.log import AuditLog
from casemate.controls.audit.predictions import Committed, Committer, append
from casemate.core.errors import VerificationError
from casemate.core.store import Unsettled

Entry = tuple[str, str, str, str, dict[str, Any]]
Release = Callable[[list[Any], Exception | None], None]


class GroupCommit:
    """A thread that appends what has gathered, and one that publishes it: an append is acknowledged
    only when it is durable.

    Predictions may be lazy: they wait up to `LINGER_SECONDS` for company, and whoever asked does
    not wait for them.
    """

    MAX_GROUP = 2048
    PUBLISH_SECONDS = 1.0
    LINGER_SECONDS = 0.2
    GATHER_SECONDS = 0.002
    """Where several predictions came together, the next ones gather as long as their commit took,
    at most this: larger groups cost less each.
    """

    def __init__(
        self,
        log: AuditLog,
        writer: str = "",
        *,
        lazy: bool = False,
        release: Release = lambda _waiting, _fault: None,
    ) -> None:
        """Start the thread.

        Args:
            log: the log.
            writer: who numbers the predictions' requests.
            lazy: predictions wait for company.
            release: called from the thread with what waits for a group of predictions, and with the
                fault that kept it from becoming durable.
        """
        self.log = log
        self.writer = writer
        self.fault: Exception | None = None
        """Why nothing can be appended any more."""
        self.failing: Exception | None = None
        """What the last commit failed of; None once one has succeeded."""
        self.committing = 0.0
        """`time.monotonic()` when the commit began that is going on; 0 while none is."""
        self._lazy = lazy
        self._release = release
        self._entries: deque[tuple[Entry, Future[int]]] = deque()
        self._predictions: deque[tuple[Committed, Any]] = deque()
        self._unsettled: tuple[Unsettled, list[tuple[Committed, Any]]] | None = None
        """Lazy predictions that may be durable, and what is known of that."""
        self._commits = Committer()
        self._open = True
        self._wake = threading.Event()
        self._hurry = threading.Event()
        self._pending = False
        self._ended = threading.Event()
        works = (("casemate-audit", self._drain), ("casemate-publish", self._publish))
        self._threads = [
            threading.Thread(target=work, name=name, daemon=True) for name, work in works
        ]
        for thread in self._threads:
            thread.start()

    def append(
        self, principal: str, action: str, resource: str, outcome: str, detail: dict[str, Any]
    ) -> Future[int]:
        """Queue an entry; the future resolves to its index once durable, or to the fault."""
        future: Future[int] = Future()
        self._entries.append(((principal, action, resource, outcome, detail), future))
        self._hurry.set()
        self._wake.set()
        return future

    def predicted(
        self,
        number: int,
        body: bytes,
        rows: bytes | None,
        waiting: Any,
        people: tuple[bytes, ...] = (),
    ) -> None:
        """Queue a prediction.

        Args:
            number: the request's number; ascending.
            body: `Prediction` as JSON.
            rows: what it was made from, where that is kept.
            waiting: what `release` gets once it is durable, or failed.
            people: whom it is about, see `Prediction`.
        """
        self._predictions.append((self._commits(number, body, rows, people), waiting))
        if not self._wake.is_set():
            self._wake.set()

    @property
    def waiting(self) -> int:
        """Predictions that are not durable yet."""
        return len(self._predictions)

    def close(self) -> None:
        """Write what is queued and stop."""
        self._open = False
        self._hurry.set()
        self._wake.set()
        self._threads[0].join()
        self._ended.set()
        self._threads[1].join()

    def _drain(self) -> None:
        gather = 0.0
        while True:
            self._wake.wait()
            self._wake.clear()
            if self._predictions and not self._entries and self._open:
                if self._lazy:
                    self._hurry.wait(self.LINGER_SECONDS)
                elif gather:
                    time.sleep(gather)
            self._hurry.clear()
            going_on = self._open
            entries, predictions = self._taken(self._entries), self._taken(self._predictions)
            if entries or predictions or (self._unsettled is not None and not going_on):
                self.committing = began = time.monotonic()
                self._commit(entries, predictions)
                self.committing = 0.0
                gather = (
                    min(time.monotonic() - began, self.GATHER_SECONDS)
                    if len(predictions) > 1
                    else 0.0
                )
                self._pending = True
            elif not going_on:
                return
            if self.MAX_GROUP in (len(entries), len(predictions)) or not going_on:
                self._wake.set()

    def _taken(self, queue: deque[Any]) -> list[Any]:
        return [queue.popleft() for _ in range(min(len(queue), self.MAX_GROUP))]

    def _publish(self) -> None:
        """Derive the public log once a second, and at the end; whoever waits for a commit does not
        wait for this.
        """
        ended = False
        while not ended:
            ended = self._ended.wait(self.PUBLISH_SECONDS)
            if self._pending and self.fault is None:
                self._pending = False
                try:
                    self.log.publish()
                except VerificationError as error:
                    self.fault = error  # the thread has no caller: every later append raises it
                except Exception:  # noqa: BLE001 - what is committed is safe; the disk may be back the next time
                    self._pending = True

    def _commit(
        self,
        entries: list[tuple[Entry, Future[int]]],
        predictions: list[tuple[Committed, Any]],
    ) -> None:
        # A caller that gave up still gets its entry written; its future takes no answer any more.
        waiting = [
            (entry, future if future.set_running_or_notify_cancel() else Future[int]())
            for entry, future in entries
        ]
        indexes: list[int] = []
        try:
            if self.fault is not None:
                raise self.fault
            predictions = self._settled() + predictions
            with self.log.store.transaction() as tx:
                if waiting:
                    indexes = self.log.append_many(tx, [entry for entry, _ in waiting])
                if predictions:
                    append(self.log, tx, self.writer, sorted([one for one, _ in predictions]))
        except Exception as error:  # noqa: BLE001 - every waiter must learn that its entry is not durable
            self.failing = error
            if not self._open:
                self._unsettled = None  # nobody is there later to ask again
            # they were answered already: their records wait for the next commit
            if self._lazy and self._open and self.fault is None:
                if isinstance(error, Unsettled):
                    self._unsettled = error, predictions
                else:
                    self._predictions.extendleft(reversed(predictions))
                predictions = []
            self._tell(waiting, [], predictions, error)
            return
        self.failing = None
        self._tell(waiting, indexes, predictions, None)

    def _settled(self) -> list[tuple[Committed, Any]]:
        """What a commit left out that nobody knew the end of; raises while nobody does."""
        if self._unsettled is None:
            return []
        fault, predictions = self._unsettled
        done, self._unsettled = fault.was_done(), None
        return [] if done else predictions

    def _tell(
        self,
        waiting: list[tuple[Entry, Future[int]]],
        indexes: list[int],
        predictions: list[Any],
        fault: Exception | None,
    ) -> None:
        if fault is not None:
            for _, future in waiting:
                future.set_exception(fault)
        for (_, future), index in zip(waiting, indexes, strict=False):
            future.set_result(index)
        if predictions:
            self._release([one for _, one in predictions], fault)
