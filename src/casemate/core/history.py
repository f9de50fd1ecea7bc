"""What is known of runs and of their finished steps."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa

from casemate.core.clock import Clock
from casemate.core.lease import RUNS, owner_state, place_of
from casemate.core.steps import STEPS, FinishedStep, Journal, Notices, RetryPolicy, RunRow, T
from casemate.core.store import Store, decode
from casemate.core.store.rowdigests import CHECKED


class History:
    """What the catalogue knows of runs and their finished steps, and what a run works with."""

    def __init__(
        self,
        store: Store,
        journal: Journal,
        clock: Clock,
        folder: Path,
        notices: Notices | None = None,
        retry_policy: RetryPolicy | None = None,
    ) -> None:
        self.store = store
        self.journal = journal
        self.clock = clock
        self.folder = folder
        self.notices = notices
        self.retry_policy = retry_policy or RetryPolicy()

    def newest_step(self, step: str, kind: type[T]) -> T | None:
        """The record of the newest finished step of this name in any run."""
        query = (
            sa.select(STEPS.c.record, STEPS.c.digest)
            .where(STEPS.c.name == step)
            .order_by(STEPS.c.finished.desc())
        )
        with self.store.reading() as tx:
            row = tx.execute(query).first()
        return None if row is None else decode(row.record, kind, row.digest)

    def find(self, step: str, kind: type[T], wanted: Callable[[T], bool]) -> T | None:
        """The oldest record of finished steps of this name that `wanted` accepts."""
        query = (
            sa.select(STEPS.c.record, STEPS.c.digest)
            .where(STEPS.c.name == step)
            .order_by(STEPS.c.finished)
        )
        with self.store.reading() as tx:
            return next(
                (
                    record
                    for row in tx.execute(query)
                    if wanted(record := decode(row.record, kind, row.digest))
                ),
                None,
            )

    def runs(self) -> list[RunRow]:
        """Every run with its finished steps, newest first; one whose process is gone is
        `interrupted`.
        """
        with self.store.reading() as tx:
            rows = tx.execute(sa.select(RUNS).order_by(RUNS.c.started.desc())).all()
            return [self._told(tx, row) for row in rows]

    @staticmethod
    def _told(tx: sa.Connection, row: sa.Row[tuple[Any, ...]]) -> RunRow:
        columns = (
            STEPS.c.name,
            STEPS.c.seconds,
            STEPS.c.attempts,
            STEPS.c.origin,
            STEPS.c.finished,
            STEPS.c.digest,
            STEPS.c.principal,
        )
        steps = (
            tx.execute(sa.select(*columns).where(STEPS.c.run == row.id).order_by(STEPS.c.finished))
            .mappings()
            .all()
        )
        unfinished = row.state == "running"
        return RunRow(
            id=row.id,
            state=_state(row) if unfinished else row.state,
            principal=row.principal,
            started=row.started,
            ended=row.ended,
            error=row.error,
            key=row.key,
            where=whereabouts(row) if unfinished else msgspec.UNSET,
            steps={step["name"]: step["seconds"] for step in steps},
            # steps of former versions do not say who did them: whoever started the run
            finished=[
                FinishedStep(**(dict(step) | {"principal": step["principal"] or row.principal}))
                for step in steps
            ],
        )

    def record(self, run: str, step: str, kind: type[T]) -> T | None:
        """A finished step's record."""
        row = self._finished(run, step)
        return None if row is None else decode(row.record, kind, row.digest)

    def finished(self, run: str, step: str) -> bool:
        """Whether the step is finished."""
        return self._finished(run, step) is not None

    def _finished(self, run: str, step: str) -> Any:
        query = sa.select(STEPS.c.record, STEPS.c.digest).where(
            STEPS.c.run == run, STEPS.c.name == step
        )
        with self.store.reading() as tx:
            self.store.row_digests.require(tx, STEPS, (run,))
            return tx.execute(query, execution_options=CHECKED).first()


def _state(row: sa.Row[tuple[Any, ...]]) -> str:
    """What a run that has not ended is doing: nobody is left to say that a process was killed."""
    state = owner_state(row)
    return "interrupted" if state == "dead" else "stopped" if state == "stopped" else "running"


def whereabouts(row: sa.Row[tuple[Any, ...]]) -> str:
    """Which process has a run that has not ended, for people."""
    place = place_of(row)
    return "at a place unknown" if place is None else f"process {place.pid} on {place.host}"
