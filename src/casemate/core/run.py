"""One run: its steps are made durable one after the other, under its lease."""

import contextlib
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import msgspec
import sqlalchemy as sa

from casemate.core.digest import sha256
from casemate.core.errors import (
    BackendError,
    Error,
    LeaseLost,
    RunCancelled,
    TransientError,
    VerificationError,
)
from casemate.core.files import DRAFT, fsync_folder, fsync_tree, make_folder
from casemate.core.history import History
from casemate.core.lease import RUNS, Lease, owner_state
from casemate.core.steps import STAGES, STEPS, T
from casemate.core.store import decode
from casemate.core.types import Record

MAX_TOLD = 20
"""Findings that the entry of a failed run names."""


class Run:
    """One run that this process owns, or one that has ended; a refused input leaves no row
    behind.
    """

    def __init__(
        self,
        engine: History,
        identifier: str,
        chain: dict[str, str],
        principal: str,
        lease: Lease | None = None,
        *,
        kept: dict[str, tuple[str, bytes]] | None = None,
        resumed: bool = False,
        ended: str = "",
    ) -> None:
        self.engine = engine
        self.id = identifier
        self.chain = chain
        self.principal = principal
        # a run releases by itself
        self.kept = {name: found for name, found in (kept or {}).items() if name != STAGES[-1]}
        self.resumed = resumed
        self.ended = ended
        """`passed`, `refused` (an idempotency key was used again), `unchanged` (everything is as in
        this run), or empty.
        """
        self.folder = engine.folder / identifier
        self._lease = lease

    @property
    def lease(self) -> Lease:
        """The right to write."""
        if self._lease is None:
            raise LeaseLost(
                f"run {self.id} has ended", hint="`casemate run --fresh` begins a new one"
            )
        return self._lease

    def __enter__(self) -> Self:
        if self._lease is not None:
            self._lease.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _trace: object
    ) -> None:
        """Give the lease back; what failed is recorded, what was interrupted or met an absent back
        end stays resumable.
        """
        if self._lease is None:
            return
        self._lease.stop()
        why = self._lease.lost
        if isinstance(error, KeyboardInterrupt) and why is not None:
            error = why
        if isinstance(error, Error) and not isinstance(error, BackendError | RunCancelled):
            self.finish("failed", error)
        elif error is not None and not isinstance(error, BackendError | RunCancelled):
            # not after a fault of disk or database: such a store is not written again
            self._release()
        if error is why and why is not None and kind is KeyboardInterrupt:
            raise why from None

    def _release(self) -> None:
        """Let the next start go on at once, if the store can still be written."""
        with contextlib.suppress(Error), self.engine.store.transaction() as tx:
            mine = self.lease.mine
            if not self._begun(tx):
                tx.execute(RUNS.delete().where(*mine, RUNS.c.key.is_(None)))
            tx.execute(RUNS.update().where(*mine).values(owner="", place=""))

    def _begun(self, tx: sa.Connection) -> bool:
        """Whether the run has a finished step."""
        return tx.execute(sa.select(STEPS.c.name).where(STEPS.c.run == self.id)).first() is not None

    def step(
        self,
        name: str,
        kind: type[T],
        work: Callable[[], T],
        *,
        pictures: Callable[[T], dict[str, bytes]] | None = None,
        commit: Callable[[sa.Connection, T], None] | None = None,
    ) -> T:
        """The record of step `name`: the finished one, one taken over from an earlier run, or
        `work()` made durable.

        Args:
            name: one of `STAGES`.
            kind: the record's type.
            work: computes the record; artifacts it stores are content-addressed, so doing it twice
                is harmless.
            pictures: further evidence files for the record.
            commit: rows that belong into the step's transaction.

        Raises:
            StageTimeout: it took longer than `RetryPolicy.timeouts` allows.
            OutOfMemory: this process used more than `RetryPolicy.memory`.
            LeaseLost: this process stood still for so long that another one took the run over.
        """
        done = self.engine.record(self.id, name, kind)
        if done is not None:
            self._check_evidence(name, done)
            return done
        retry_policy = self.engine.retry_policy
        self.lease.limit(name, retry_policy.timeouts.get(name), retry_policy.memory)
        try:
            for attempt in range(1, retry_policy.retries + 1):
                try:
                    return self._attempt(name, kind, work, pictures, commit, attempt)
                except TransientError:
                    time.sleep(retry_policy.backoff * 2 ** (attempt - 1) * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            return self._attempt(name, kind, work, pictures, commit, retry_policy.retries + 1)
        finally:
            self.lease.limit("", None)

    def _attempt(
        self,
        name: str,
        kind: type[T],
        work: Callable[[], T],
        pictures: Callable[[T], dict[str, bytes]] | None,
        commit: Callable[[sa.Connection, T], None] | None,
        attempt: int,
    ) -> T:
        began = time.monotonic()
        origin, content = self.kept.get(name, (None, None))
        record = decode(content, kind) if content is not None else work()
        files = {f"{name}.json": record.to_json(), **(pictures(record) if pictures else {})}
        draft = self._write_draft(name, files)
        digests = {file: sha256(content) for file, content in files.items()}
        seconds = time.monotonic() - began
        with self.engine.store.transaction() as tx:
            self.lease.require(tx)
            # inside: a process that lost its lease must not replace the owner's
            self._rename_evidence(name, draft)
            self._open(tx)
            content = msgspec.json.encode(record, order="deterministic")
            tx.execute(
                STEPS.insert().values(
                    run=self.id,
                    name=name,
                    record=content,
                    digest=sha256(content),
                    finished=self.engine.clock.now().isoformat(),
                    seconds=seconds,
                    inputs=self.chain[name],
                    attempts=attempt,
                    origin=origin,
                    principal=self.principal,
                )
            )
            if commit:
                commit(tx, record)
            detail = {"evidence": digests} | ({"kept_from": origin} if origin else {})
            self.engine.journal.append(
                tx, self.principal, f"run:{name}", f'Run::"{self.id}"', "done", detail
            )
        self.engine.journal.publish()
        return record

    def has(self, name: str) -> bool:
        """Whether step `name` needs no work: it is finished, or taken from an earlier run."""
        return name in self.kept or self.engine.finished(self.id, name)

    def _open(self, tx: sa.Connection) -> None:
        """With the first finished step the run enters the log, and unfinished ones whose process is
        gone leave the field.
        """
        if self._begun(tx):
            return
        engine, now = self.engine, self.engine.clock.now().isoformat()
        older = tx.execute(
            sa.select(RUNS).where(
                RUNS.c.state == "running", RUNS.c.id != self.id, RUNS.c.key.is_(None)
            )
        ).all()
        for other in [row for row in older if owner_state(row) == "dead"]:
            tx.execute(
                RUNS.update().where(RUNS.c.id == other.id).values(state="abandoned", ended=now)
            )
            engine.journal.append(
                tx, self.principal, "run:abandon", f'Run::"{other.id}"', "done", {"by": self.id}
            )
        engine.journal.append(
            tx,
            self.principal,
            "run:start",
            f'Run::"{self.id}"',
            "done",
            {"inputs": self.chain[STAGES[-1]]},
        )

    def _folder_of(self, name: str) -> Path:
        return self.folder / f"{STAGES.index(name) + 1}-{name}"

    def _write_draft(self, name: str, files: dict[str, bytes]) -> Path:
        draft = self.folder / f"{DRAFT}{name}-{self.lease.token}"
        shutil.rmtree(draft, ignore_errors=True)
        make_folder(draft)
        for file, content in files.items():
            (draft / file).write_bytes(content)
        fsync_tree(draft)
        return draft

    def _rename_evidence(self, name: str, draft: Path) -> None:
        folder = self._folder_of(name)
        shutil.rmtree(folder, ignore_errors=True)
        draft.rename(folder)
        fsync_folder(self.folder)

    def _check_evidence(self, name: str, record: Record) -> None:
        path = self._folder_of(name) / f"{name}.json"
        if not path.is_file() or path.read_bytes() != record.to_json():
            raise VerificationError(
                f"the evidence {path} of a finished step was changed or removed",
                hint="`casemate fsck --repair` restores it, or begin anew with --fresh",
            )

    def finish(self, state: str, error: Error | None = None) -> None:
        """End the run as `passed`, `refused` or `failed`; a run that never finished a step leaves
        no trace.

        Raises:
            LeaseLost: another process took it over.
        """
        self.lease.stop()  # a heartbeat after the end would take it for a loss
        now = self.engine.clock.now().isoformat()
        text = None if error is None else f"{error.code}: {error.message}"[:2000]
        detail: dict[str, Any] = {} if text is None else {"error": text}
        if error is not None and error.findings:
            detail["findings"] = [
                f"{finding.id} ({finding.severity}): {finding.message}"
                for finding in error.findings[:MAX_TOLD]
            ]
        with self.engine.store.transaction() as tx:
            self.lease.lost = None if self.lease.lost is error else self.lease.lost
            self.lease.require(tx)
            if not self._begun(tx):
                tx.execute(RUNS.delete().where(RUNS.c.id == self.id))
                return
            tx.execute(
                RUNS.update()
                .where(RUNS.c.id == self.id)
                .values(state=state, ended=now, error=text, owner="", place="")
            )
            self.engine.journal.append(
                tx, self.principal, "run:end", f'Run::"{self.id}"', state, detail
            )
            if self.engine.notices is not None:
                told = {"run": self.id, "state": state, "principal": self.principal, **detail}
                self.engine.notices.enqueue(tx, f"run:{state}", f"{self.id}/end", told)
        self.engine.journal.publish()
